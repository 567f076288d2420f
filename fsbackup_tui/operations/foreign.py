"""Verifying a backup file that another script made: no server, no repository, no configuration."""

from __future__ import annotations

import asyncio
import errno
import shlex
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Literal

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import (
    ClientUnsuitable,
    DiskFull,
    FsbackupError,
    NotDecryptable,
    PointDamaged,
    PointNotFound,
    RepositoryError,
)
from fsbackup_tui.domain.events import Progress, Report, format_time
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.proof import Proof
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.layout import lay_out, stored_format
from fsbackup_tui.engines.foreign.model import Completeness, Examination, ForeignFile
from fsbackup_tui.engines.foreign.sums import Checksum, compute, known_checksum
from fsbackup_tui.engines.postgres.archive import read_through
from fsbackup_tui.engines.postgres.clients import choose_client, find_clients
from fsbackup_tui.operations.decryption import Keys, open_encrypted
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.files import owner_name
from fsbackup_tui.repository.foreign import found_at, remember_verification
from fsbackup_tui.repository.layout import site_state
from fsbackup_tui.repository.reader import PointReader

Level = Literal["sealed", "readable"]
_PROGRESS_STEP = 32 << 20
_ARCHIVES = frozenset({"custom", "directory", "tar"})
_FIX = "Use another one of that script's backups; fsbackup backup takes ones that are checked."
_RUNGS = (Trust.SEALED, Trust.READABLE, Trust.RESTORED, Trust.PROVEN)
_DAMAGING = (Trust.SEALED, Trust.READABLE)
NO_CHECKSUM = "no checksum of it is known: whether it was altered can't be told"


_Outcome = tuple[bool | None, list[tuple[str, str]]]
"""Whether a level holds (None: it can't be tried), and what keeps it from being tried."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the verification of a file works with.

    ``work`` is a private directory that the caller removes; ``clients`` are further
    directories of PostgreSQL's programs.
    """

    zone: tzinfo
    work: Path
    environ: Mapping[str, str]
    now: Callable[[], datetime]
    report: Report
    clients: Sequence[Path] = ()
    keys: Keys = field(default_factory=lambda: Keys(None, {}, Redactor()))


@dataclass
class FileVerification:
    """The verification of one file, level by level; ``proof`` is of a trial restore.

    ``laid_out`` is where an archive was made available to the stock tools, once it was;
    ``closed`` says why an encrypted file could not be opened.
    """

    path: Path
    around: Surroundings
    levels: dict[str, dict[str, object]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocked: list[dict[str, str | None]] = field(default_factory=list)
    examination: Examination | None = None
    laid_out: Path | None = None
    closed: NotDecryptable | None = None
    proof: Proof | None = None

    async def climb(self, level: Level) -> None:
        """Try the levels up to this one; FsbackupError where the file can't be read at all."""
        with readable(self.path):
            await _timed(self, "sealed", _check_sealed)
            if level == "readable" and self.levels["sealed"]["ok"] is not False:
                await _timed(self, "readable", _check_readable)

    def holds(self, level: str) -> bool:
        """Whether a level was tried and held."""
        return self.levels.get(level, {}).get("ok") is True

    def top_of(self, wanted: str) -> str:
        """Return the level asked for, or the highest that a file of this kind has."""
        examination = self.examination
        if examination is None or examination.file.is_database or wanted == Trust.SEALED.word:
            return wanted
        return Trust.READABLE.word

    def document(self, wanted: str) -> dict[str, object]:
        """Return what was found as ``fsbackup verify`` gives it."""
        return _document(self, wanted)

    def judge(self, completeness: Completeness) -> None:
        """Note what the stock tool showed of the file."""
        if self.examination is not None:
            file = replace(self.examination.file, completeness=completeness)
            self.examination = replace(self.examination, file=file)


_Check = Callable[[FileVerification], Awaitable[_Outcome]]


def is_backup_path(text: str) -> bool:
    """Whether a POINT is the path of a file rather than the name of a point."""
    if "/" in text:
        return True
    if text == "latest" or text.startswith("latest:"):
        return False
    path = Path(text)
    try:
        return path.is_file() or (path / "toc.dat").is_file()
    except (OSError, ValueError):
        return False


def backup_path(text: str) -> Path:
    """Return the path of a backup file that is there; PointNotFound otherwise."""
    path = Path(text).expanduser()
    try:
        facts = path.stat()
    except OSError as error:
        raise PointNotFound(
            f"NO SUCH FILE: {path}.",
            why=f"{error.strerror}.",
            fix="Give the path of a backup file, or a point: fsbackup list",
        ) from error
    if stat.S_ISDIR(facts.st_mode) and not (path / "toc.dat").is_file():
        raise PointNotFound(
            f"NOT A BACKUP: {path} is a directory without toc.dat.",
            why="Of directories, only pg_dump's archives in directory format are backups.",
            fix=f"fsbackup adopt {shlex.quote(str(path))}   lists the backups that lie in it",
        )
    if not (stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode)):
        raise PointNotFound(
            f"NOT A BACKUP: {path} is no regular file.",
            why="A pipe or a device can't be read twice, and may never end.",
            fix="Write what comes out of it into a file, and give that.",
        )
    return path


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read a file inside the block into an error for people."""
    try:
        yield
    except OSError as error:
        raise FsbackupError(
            f"NOT READ: {path}.",
            why=f"{error.strerror}{f': {error.filename}' if error.filename else ''}.",
            fix=f"Run it as a user who may read that file (it belongs to {owner_name(path)}).",
        ) from error


async def verify_file(path: Path, around: Surroundings, *, level: Level) -> dict[str, object]:
    """Verify a backup file up to a level; returns the document of ``fsbackup verify``.

    ``sealed`` compares it with a checksum that lies beside it; without one the level is open
    (``ok`` is null) and says so. ``readable`` reads every byte: unpacked, and either to
    pg_dump's last line or through pg_restore. The document's ``ok`` says whether the level that
    was asked for was reached; damage is a result, not an error.
    """
    verification = FileVerification(path, around)
    await verification.climb(level)
    return verification.document(level)


async def _timed(verification: FileVerification, level: Level, check: _Check) -> None:
    started = time.monotonic()
    at = verification.around.now()
    ok, blocked = await check(verification)
    entry: dict[str, object] = {
        "ok": ok,
        "at": format_time(at),
        "seconds": round(time.monotonic() - started, 3),
    }
    verification.blocked += [
        {"part": None, "what": f"{level}: {what}", "fix": fix} for what, fix in blocked
    ]
    verification.levels[level] = entry


async def _check_sealed(verification: FileVerification) -> _Outcome:
    path = verification.path
    known = None if path.is_dir() else known_checksum(path)
    if known is None:
        return None, [(NO_CHECKSUM, "")]
    found = await asyncio.to_thread(compute, path, known.algorithm, _progress(verification))
    if found == known.digest:
        verification.notes.append(f"its {known.algorithm} is the one in {known.place.name}")
        return True, []
    verification.problems.append(_differs(known, found))
    return False, []


def _differs(known: Checksum, found: str) -> str:
    return (
        f"it was altered: {known.place.name} says {known.algorithm} {known.digest[:16]}…, "
        f"the file has {found[:16]}…"
    )


async def _check_readable(verification: FileVerification) -> _Outcome:
    around = verification.around
    on_bytes = _progress_of_total(verification)
    examination = await asyncio.to_thread(
        examine, verification.path, around.zone, on_bytes=on_bytes
    )
    verification.examination = examination
    try:
        examination = await open_encrypted(
            examination,
            around.keys,
            zone=around.zone,
            work=around.work,
            report=around.report,
            on_bytes=on_bytes,
        )
    except NotDecryptable as error:
        verification.notes += examination.file.notes
        verification.closed = error
        return None, [(error.reason, error.fix)]
    except PointDamaged as error:
        verification.problems.append(error.why or error.what)
        verification.judge("damaged")
        return False, []
    file = examination.file
    verification.examination = examination
    verification.problems += file.problems
    verification.notes += file.notes
    if file.problems:
        return False, []
    if file.form not in _ARCHIVES:
        return True, []
    try:
        await _read_archive(verification, examination)
    except ClientUnsuitable as error:
        return None, [(error.what, error.fix)]
    except PointDamaged as error:
        verification.problems.append(error.why or error.what)
        verification.judge("damaged")
        return False, []
    verification.judge("whole")
    return True, []


async def _read_archive(verification: FileVerification, examination: Examination) -> None:
    file, around = examination.file, verification.around
    clients = await find_clients(around.clients, around.environ)
    major = file.client_version.split(".", 1)[0]
    client, _note = choose_client(clients, (int(major) if major.isdigit() else 0) * 10_000)
    try:
        path = await asyncio.to_thread(lay_out, file, around.work, link=True)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DiskFull(
            f"DISK FULL: {file.path.name} could not be unpacked to be read.",
            why=f"There is no room left in {around.work.parent}.",
            fix="Set TMPDIR to a directory with more room.",
        ) from error
    verification.laid_out = path
    await read_through(client, path, stored_format(file), report=around.report)


def _progress(verification: FileVerification) -> Callable[[int], None]:
    """Return what is told the bytes of each step."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if before // _PROGRESS_STEP != done // _PROGRESS_STEP:
            _tell(verification, done)

    return advance


def _progress_of_total(verification: FileVerification) -> Callable[[int], None]:
    """Return what is told all bytes so far."""
    told = 0

    def advance(total: int) -> None:
        nonlocal told
        if total - told >= _PROGRESS_STEP:
            told = total
            _tell(verification, total)

    return advance


def _tell(verification: FileVerification, done: int) -> None:
    what = f"reading {verification.path.name}"
    verification.around.report(Progress(float(done), None, "bytes", what))


def _document(verification: FileVerification, wanted: str) -> dict[str, object]:
    # A trial restore that fails may have other causes than the bytes of the file.
    is_damaged = any(
        verification.levels.get(rung.word, {}).get("ok") is False for rung in _DAMAGING
    )
    reached = [rung for rung in _RUNGS if verification.holds(rung.word)]
    trust = Trust.DAMAGED if is_damaged else max(reached, default=Trust.UNVERIFIED)
    examination = verification.examination
    return {
        "ok": verification.holds(verification.top_of(wanted)),
        "point": str(verification.path),
        "wanted": wanted,
        "trust": trust.word,
        "levels": verification.levels,
        "blocked": verification.blocked,
        "problems": [
            {
                "part": None,
                "artifact": verification.path.name,
                "table": None,
                "what": problem,
                "fix": _FIX,
            }
            for problem in dict.fromkeys(verification.problems)
        ],
        "proofs": {} if verification.proof is None else {"file": verification.proof.summary()},
        "notes": list(dict.fromkeys(verification.notes)),
        "file": None if examination is None else file_document(examination.file),
    }


def file_document(file: ForeignFile) -> dict[str, object]:
    """Return what is known of a file as JSON documents carry it; unknown is null."""
    return {
        "path": str(file.path),
        "form": file.form,
        "what": file.what,
        "compression": file.compression,
        "bytes": file.bytes,
        "taken": format_time(file.taken),
        "taken_by": file.taken_by,
        "modified": format_time(file.modified),
        "scope": file.scope,
        "completeness": file.completeness,
        "database": file.database,
        "server_version": file.server_version or None,
        "client_version": file.client_version or None,
        "files": file.files,
        "prefix": file.prefix or None,
        "problems": list(file.problems),
        "notes": list(file.notes),
    }


def remember(
    loaded: LoadedConfig, environ: Mapping[str, str], path: Path, document: Mapping[str, object]
) -> bool:
    """Keep a result for the inventory, where the file is one that the site lists."""
    absolute = path.absolute()
    if not any(absolute.is_relative_to(place.absolute()) for place in loaded.config.adopt):
        return False
    repository = None
    with suppress(RepositoryError):
        repository = open_site_repository(loaded, environ)
    try:
        state = site_state(loaded, environ, repository)
        remember_verification(state, found_at(absolute).id, document)
    except (OSError, RepositoryError):
        # A state directory that can't be written keeps nothing; doctor says so.
        return False
    return True


async def files_findings(reader: PointReader, part: PartManifest) -> list[Finding]:
    """Read the tars of an adopted part of files to their end and return what is wrong."""
    found: list[Finding] = []
    for artifact in part.artifacts:
        try:
            path = reader.artifact_path(part.source, artifact)
            file = (await asyncio.to_thread(examine, path, UTC)).file
        except PointDamaged as error:
            found.append(Finding(part.source, artifact.path, error.why or error.what))
            continue
        found += [Finding(part.source, artifact.path, problem) for problem in file.problems]
    return found
