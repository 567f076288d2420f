"""Look at the whole site as monitoring does: everything that goes wrong silently, told.

What can't be looked at is told as *unknown*, never passed over: a probe that fails, or that
takes too long, is a finding of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.finding import Check, Finding, worst_first
from fsbackup_tui.domain.text import duration_text
from fsbackup_tui.operations.probes.ground import Ground, JobFacts
from fsbackup_tui.operations.probes.probe import Probe
from fsbackup_tui.operations.status import job_liveness, site_catalogue, site_zone
from fsbackup_tui.repository.files import replace_file, state_file_mode
from fsbackup_tui.repository.layout import site_state

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

PROBES: tuple[Probe, ...] = ()
_SEEN_NAME = "findings.json"
_FORMAT = 1


async def look(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    now: datetime,
    jobs: Callable[[Path], Sequence[JobFacts]] = lambda state: (),
    probes: Iterable[Probe] = PROBES,
) -> Check:
    """Look at a site and return what was found; never raises for what a probe meets.

    ``jobs`` returns the jobs of a state directory, the newest first.
    """
    with site_catalogue(loaded, environ) as (catalogue, repository, error, where):
        catalogue.refresh(running=job_liveness(loaded, environ, repository))
        state = site_state(loaded, environ, repository)
        ground = Ground(
            loaded=loaded,
            environ=environ,
            now=now,
            zone=site_zone(loaded),
            state=state,
            where=where,
            repository=repository,
            problem=None if error is None else error.problem(),
            catalogue=catalogue,
            jobs=jobs(state),
        )
        listed = list(probes)
        results = await asyncio.gather(*(_probed(probe, ground) for probe in listed))
        found = [finding for findings, _ in results for finding in findings]
        return Check(
            site=loaded.config.site,
            at=now,
            findings=worst_first(_with_since(state, found, now)),
            numbers=tuple(ground.numbers),
            notes=tuple(ground.notes),
            probes={probe.name: looked for probe, (_, looked) in zip(listed, results, strict=True)},
        )


async def _probed(probe: Probe, ground: Ground) -> tuple[list[Finding], bool]:
    """Return a probe's findings, and whether it could look."""
    try:
        return await asyncio.wait_for(probe.run(ground), probe.seconds), True
    except TimeoutError:
        took = duration_text(probe.seconds)
        return [unknown(probe.name, probe.about, f"It did not end within {took}.")], False
    except FsbackupError as error:
        return [unknown(probe.name, probe.about, error.what, error.fix)], False
    except Exception as error:  # noqa: BLE001 - one look that breaks must not silence the others
        why = f"{type(error).__name__}: {error}"
        return [unknown(probe.name, probe.about, why)], False


def unknown(name: str, about: str, why: str, fix: str = "") -> Finding:
    """Return the finding that something could not be looked at; not known is never good."""
    return Finding(
        f"unknown:{name}",
        "unknown",
        None,
        f"NOT KNOWN: {about}.",
        why,
        fix or "fsbackup doctor   tells more",
        subject=name,
    )


def _with_since(state: Path, findings: Sequence[Finding], now: datetime) -> list[Finding]:
    """Have every finding say since when it is there: its own time, else its first sight."""
    known = _read_seen(state)
    dated = [
        replace(finding, since=finding.since or known.get(finding.id, now)) for finding in findings
    ]
    seen = {finding.id: finding.since or now for finding in dated}
    if seen != known:
        _write_seen(state, seen)
    return dated


def _read_seen(state: Path) -> dict[str, datetime]:
    try:
        document = json.loads((state / _SEEN_NAME).read_bytes())
        return {str(name): parse_time(str(at)) for name, at in document["seen"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_seen(state: Path, seen: Mapping[str, datetime]) -> None:
    document = {"format": _FORMAT, "seen": {name: format_time(at) for name, at in seen.items()}}
    path = state / _SEEN_NAME
    # A state that can't be written is a finding itself; what is told now is told anyway.
    with suppress(OSError):
        replace_file(path, json.dumps(document, indent=1).encode(), mode=state_file_mode(path))
