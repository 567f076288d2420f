"""Climbing the trust ladder for a stored point, one level after the other (design §2)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    PointDamaged,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.trust import Trust, least
from fsbackup_tui.engines.postgres.archive import read_through
from fsbackup_tui.operations.clients import client_for_archive
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.standing import judge

LEVELS = (Trust.SEALED, Trust.READABLE)
_FIX = "Restore another point; keep this one's files for a closer look."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: where, what, and what to do.

    ``part`` is None for a file beside the parts, ``artifact`` for a part as a whole.
    """

    part: str | None
    artifact: str | None
    what: str
    fix: str = _FIX

    def document(self) -> dict[str, str | None]:
        """Return the finding as ``verify --json`` has it (design §9)."""
        return {
            "part": self.part,
            "artifact": self.artifact,
            "table": None,
            "what": self.what,
            "fix": self.fix,
        }


@dataclass
class _Verification:
    """One verification while it runs."""

    context: JobContext
    repository: Repository
    reader: PointReader
    parts: list[PartManifest]
    levels: dict[str, dict[str, object]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Check = Callable[[_Verification, PartManifest], Awaitable[list[Finding]]]


async def run(request: VerifyRequest, context: JobContext) -> dict[str, object]:
    """Verify a point up to the level asked for; returns the document of ``fsbackup verify``.

    A level that fails ends the climb and is recorded as failed. The document's ``ok`` says
    whether every level held; damage found is a result, not an error.
    """
    repository = open_site_repository(context.loaded, os.environ)
    reader = PointReader(repository, request.point)
    lock = Lock(repository.use_lock(request.point), what=f"point {request.point}")
    async with lock.acquire_async(0, context.holder(), shared=True) as held:
        verification = _Verification(context, repository, reader, _parts(reader))
        if held.note:
            verification.notes.append(held.note)
        if not verification.parts:
            raise PointDamaged(
                f"NOTHING TO VERIFY: {request.point} has no whole part.",
                why="The backup that wrote it did not end well.",
                fix="Take a new one, or verify another point.",
            )
        for level in LEVELS:
            context.stage(level.word)
            if not await _climb(verification, level) or level.word == request.level:
                break
    return _document(verification)


def _parts(reader: PointReader) -> list[PartManifest]:
    try:
        return reader.parts()
    except PointDamaged as error:
        raise PointDamaged(error.what, why=error.why, fix=_FIX) from error


async def _climb(verification: _Verification, level: Trust) -> bool:
    """Check every part at one level and record what was found; returns whether all held."""
    started = time.monotonic()
    outcomes: dict[str, dict[str, object]] = {}
    for part in verification.parts:
        found = await CHECKS[level](verification, part)
        verification.findings.extend(found)
        outcomes[part.source] = {
            "ok": not found,
            "problems": [finding.document() for finding in found],
        }
    ok = all(outcome["ok"] for outcome in outcomes.values())
    seconds = round(time.monotonic() - started, 3)
    at = verification.context.now()
    verification.levels[level.word] = {"ok": ok, "at": format_time(at), "seconds": seconds}
    _record(verification, {"level": level.word, "ok": ok, "parts": outcomes, "seconds": seconds})
    return ok


def _record(verification: _Verification, document: Mapping[str, object]) -> None:
    context = verification.context
    if context.loaded.config.read_only:
        place = context.loaded.place("read_only")
        verification.notes.append(f"Not recorded: {place} says read_only: true.")
        return
    try:
        write_record(
            verification.repository,
            verification.reader.id,
            "verified",
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
    except (RepositoryUnwritable, DiskFull) as error:
        note = f"Not recorded: {error.what} {error.why}"
        verification.notes.append(note)
        context.report(Warned(note))


async def _check_sealed(verification: _Verification, part: PartManifest) -> list[Finding]:
    problems = await asyncio.to_thread(
        verification.reader.check_sealed, part.source, verification.context.report
    )
    return sealed_findings(part.source, problems)


def sealed_findings(source: str, problems: Sequence[str]) -> list[Finding]:
    """Return what the check of a part's seal said, each with the file that it is about."""
    findings = []
    for problem in problems:
        place, _, what = problem.partition(": ")
        if not what:
            findings.append(Finding(source, None, problem))
        elif place == source:
            findings.append(Finding(source, None, what))
        elif place.startswith(f"{source}/"):
            findings.append(Finding(source, place.removeprefix(f"{source}/"), what))
        else:
            findings.append(Finding(None, place, what))
    return findings


async def _check_readable(verification: _Verification, part: PartManifest) -> list[Finding]:
    if part.postgres is None:
        return []
    context = verification.context
    name = dump_name(part)
    try:
        path = verification.reader.path_inside(part.source, name)
        client = await client_for_archive(context, part.postgres)
        await read_through(
            client,
            path,
            part.postgres.format,
            report=context.report,
            redactor=context.redactor,
        )
    except PointDamaged as error:
        return [Finding(part.source, name, error.why or error.what)]
    return []


CHECKS: Mapping[Trust, Check] = {Trust.SEALED: _check_sealed, Trust.READABLE: _check_readable}


def dump_name(part: PartManifest) -> str:
    """Return the file or directory of a postgres part that the stock tools are given."""
    names = [artifact.path for artifact in part.artifacts if artifact.role == "dump"]
    if not names:
        raise FsbackupError(f"NO DUMP: {part.source} holds no dump.")
    return names[0].partition("/")[0]


def _document(verification: _Verification) -> dict[str, object]:
    parts = verification.parts
    if all(level["ok"] for level in verification.levels.values()):
        reached = Trust.from_word(list(verification.levels)[-1])
    else:
        reached = Trust.DAMAGED
    records = read_records(verification.repository, verification.reader.id)
    standing = judge(parts, records, whole=verification.reader.manifest is not None)
    # What could not be recorded (a read-only repository) still counts for this answer.
    trust = Trust.DAMAGED if reached is Trust.DAMAGED else max(standing.trust, least([reached]))
    if verification.reader.manifest is None:
        trust = min(trust, Trust.INCOMPLETE)
    return {
        "ok": reached is not Trust.DAMAGED,
        "point": verification.reader.id,
        "trust": trust.word,
        "levels": verification.levels,
        "problems": [finding.document() for finding in verification.findings],
        "notes": verification.notes,
    }
