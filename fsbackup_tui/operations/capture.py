"""What capturing one source gets and gives, whatever kind it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository

_ADVANCE_STEP = 64 << 20


@dataclass(frozen=True)
class CaptureRun:
    """One source while it is captured into ``directory`` (private, its own).

    ``last_good`` is the source's part in the last good point, to compare and to estimate with;
    ``phases`` collects seconds by phase.
    """

    source: str
    context: JobContext
    repository: Repository
    directory: Path
    last_good: PartManifest | None
    plan: str
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's duration to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - started, 3)


def hashing_progress(report: Report, total: int | None, detail: str) -> Callable[[int], None]:
    """Return what is told the bytes as they are read, and reports them every so often."""
    done = 0
    told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if done - told >= _ADVANCE_STEP:
            told = done
            report(Progress(float(done), None if total is None else float(total), "bytes", detail))

    return advance


def weights_of(part: PartManifest | None) -> Mapping[str, float]:
    """Return each table's share of the work, by qualified name, as the last good part tells."""
    if part is None or part.postgres is None:
        return {}
    return {
        table.qualified: float(table.bytes)
        for table in part.postgres.tables
        if table.bytes is not None
    }
