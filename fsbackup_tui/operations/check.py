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
from fsbackup_tui.operations.audit_state import audit_log
from fsbackup_tui.operations.probes import (
    anomalies,
    backups,
    beyond,
    keys,
    notify,
    permissions,
    place,
    replicas,
    servers,
    space,
    trust,
    work,
)
from fsbackup_tui.operations.probes.ground import Ground, JobFacts
from fsbackup_tui.operations.probes.probe import Probe
from fsbackup_tui.operations.status import job_liveness, site_catalogue, site_zone
from fsbackup_tui.repository.files import replace_file, state_file_mode
from fsbackup_tui.repository.layout import site_state

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

PROBES: tuple[Probe, ...] = (
    Probe("repository", "whether the repository can be read and written", place.repository),
    Probe("incidents", "open incidents", work.incidents),
    Probe("backup-age", "whether each plan's backups come in time", backups.plan_ages),
    Probe("rpo", "how old the newest good backups are", backups.promised_ages),
    Probe("backup-failed", "how the last runs went", backups.last_runs),
    Probe("backup-count", "how many runs of the last week are good", backups.runs_done),
    Probe("damaged", "damaged points", trust.damaged),
    Probe("newest", "what the newest points are worth", trust.newest_points),
    Probe("never-proven", "whether anything was ever proven", trust.never_proven),
    Probe("proof-age", "how old the proofs are", trust.proof_ages),
    Probe("drills", "drills, and how long getting back takes", trust.drills),
    Probe("anomalies", "sizes and rows against their history", anomalies.anomalies),
    Probe("disk", "how long the disk will do", space.disk),
    Probe("audit", "whether the audit log is whole", audit_log),
    Probe("jobs-stuck", "jobs that do not get on", work.stuck_jobs),
    Probe("jobs-lost", "jobs that vanished", work.lost_jobs),
    Probe("catalogue", "the catalogue and the state", place.catalogue),
    Probe("clock", "the clock", place.clock),
    Probe("permissions", "who may read and write what is kept", permissions.permissions),
    Probe("replicas", "the copies elsewhere", replicas.copies),
    Probe("kit", "the recovery kit", beyond.kit),
    Probe("writer", "whether this host may write", beyond.writer),
    Probe("plain", "whether points are encrypted as promised", keys.in_plain),
    Probe("restore-rights", "the rights to restore", servers.restore_rights),
    Probe("key", "the key of the points", keys.encryption, live=True),
    Probe("signing", "the key that signs", keys.signing, live=True),
    Probe("notify-undelivered", "whether messages are delivered", notify.messages),
    Probe("clients", "the database clients", servers.clients, live=True),
    Probe("servers", "the database servers", servers.servers, seconds=8.0, live=True),
)
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
        found = {probe.name: findings for probe, (findings, _) in zip(listed, results, strict=True)}
        return Check(
            site=loaded.config.site,
            at=now,
            findings=worst_first(_with_since(state, found, now, keeps=not loaded.config.read_only)),
            numbers=tuple(ground.numbers),
            notes=tuple(ground.notes),
            zone=ground.zone,
            probes={probe.name: looked for probe, (_, looked) in zip(listed, results, strict=True)},
        )


async def _probed(probe: Probe, ground: Ground) -> tuple[list[Finding], bool]:
    """Return a probe's findings, and whether it could look."""
    found: list[Finding] = []
    try:
        await asyncio.wait_for(probe.run(ground, found), probe.seconds)
    except TimeoutError:
        took = duration_text(probe.seconds)
        found.append(unknown(probe.name, probe.about, f"It did not end within {took}."))
    except FsbackupError as error:
        found.append(unknown(probe.name, probe.about, error.what, error.fix))
    except Exception as error:  # noqa: BLE001 - one look that breaks must not silence the others
        found.append(unknown(probe.name, probe.about, f"{type(error).__name__}: {error}"))
    else:
        return found, True
    return found, False


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


def _with_since(
    state: Path, found: Mapping[str, Sequence[Finding]], now: datetime, *, keeps: bool
) -> list[Finding]:
    """Have every finding say since when it is there: its own time, else its first sight.

    ``found`` has them by their probe; what other probes saw, that were not asked now, is kept.
    """
    known = _read_seen(state)
    dated: list[Finding] = []
    seen = {probe: times for probe, times in known.items() if probe not in found}
    for probe, findings in found.items():
        before = known.get(probe, {})
        told = [replace(one, since=one.since or before.get(one.id, now)) for one in findings]
        dated += told
        if told:
            seen[probe] = {finding.id: finding.since or now for finding in told}
    if keeps and seen != known:
        _write_seen(state, seen)
    return dated


def _read_seen(state: Path) -> dict[str, dict[str, datetime]]:
    try:
        document = json.loads((state / _SEEN_NAME).read_bytes())
        return {
            str(probe): {str(name): parse_time(str(at)) for name, at in times.items()}
            for probe, times in document["seen"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_seen(state: Path, seen: Mapping[str, Mapping[str, datetime]]) -> None:
    times = {
        probe: {name: format_time(at) for name, at in found.items()}
        for probe, found in seen.items()
    }
    path = state / _SEEN_NAME
    # A state that can't be written is a finding itself; what is told now is told anyway.
    with suppress(OSError):
        content = json.dumps({"format": _FORMAT, "seen": times}, indent=1).encode()
        replace_file(path, content, mode=state_file_mode(path))
