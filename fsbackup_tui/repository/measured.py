"""How long what was done with a point took, read from its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from fsbackup_tui.domain.estimate import MeasuredRun, parse_run
from fsbackup_tui.repository.records import Record

TIMING = "timing"
"""The key of a measured run in a record's document."""

_RUNS_KEPT = 4


def measured_runs(records: Iterable[Record]) -> tuple[MeasuredRun, ...]:
    """Return the newest runs that the records of a point measured, the oldest first.

    A run writes a record for every rung; they are put together by its job.
    """
    counting = [record for record in records if record.counts]
    drills = {record.job for record in counting if record.kind == "drill"}
    runs: dict[str, MeasuredRun] = {}
    for record in counting:
        timing = record.document.get(TIMING)
        if record.kind != "verified" or not isinstance(timing, Mapping):
            continue
        with suppress(ValueError):
            run = parse_run(timing, record.at, drill=record.job in drills)
            before = runs.pop(record.job, None)
            runs[record.job] = run if before is None else _together(before, run)
    return tuple(runs.values())[-_RUNS_KEPT:]


def _together(before: MeasuredRun, after: MeasuredRun) -> MeasuredRun:
    return replace(
        after, seconds={**before.seconds, **after.seconds}, place=after.place or before.place
    )
