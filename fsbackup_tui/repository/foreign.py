"""Backups that other scripts keep in the ``adopt:`` directories, listed as points.

Nothing is ever written there. What a verification found out is kept in the state directory, one
small file per backup; it is forgotten with that directory, and when the backup changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.point import LevelCheck, PartSummary, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.model import ForeignFile
from fsbackup_tui.engines.foreign.recognise import TOC_NAME, glance
from fsbackup_tui.repository.files import make_directory, replace_file
from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME

FOREIGN_PLAN = "foreign"
ID_PREFIX = "foreign-"
ADOPTED_FROM = "adopted from "
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_ADOPTED = re.compile(rf"\(({ID_PREFIX}[a-z0-9]{{8}})\)$")
_MEMORY_NAME = "foreign"
_MEMORY_FORMAT = 1
_DEEPEST = 4
MOST_LOOKED_AT = 50_000
MOST_LISTED = 2_000
# Compressed backups up to this size are read to their end when they are first seen, as long as
# all of them together take no longer than this.
_SMALL_BYTES = 16 << 20
_READING_SECONDS = 1.0
# What was written to a moment ago may still be being written.
_FRESH_SECONDS = 120
_LIKE_A_BACKUP = re.compile(
    r"(?:\.(?:sql|dump|backup|bak|pgdump|pgsql|psql|tar|tgz|tbz2?|txz|gz|zst|xz|bz2|gpg|asc|pgp"
    r"|age|enc)$)|(?:^|[^a-z])(?:pg_?)?(?:dump|backup)(?:[^a-z]|$)",
    re.IGNORECASE,
)
_NO_BACKUP = re.compile(
    r"(?:\.(?:sh|bash|py|js|ts|md|txt|log|json|ya?ml|toml|ini|conf|env|prisma|html?|php|key|pub"
    r"|sha(?:1|256|512)(?:sum)?|md5(?:sum)?|lock|pid|tmp|part|partial|swp"
    r"|jpe?g|png|gif|webp|avif|svg|mp[34]|mov|webm|wav|pdf|css|woff2?|map))$"
    r"|^(?:SHA(?:1|256|512)SUMS|MD5SUMS|README)",
    re.IGNORECASE,
)
_BEGINNINGS = (b"PGDMP", b"-- PostgreSQL", b"--\n-- PostgreSQL")


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a directory in directory format, that is or ought to be a backup."""

    id: str
    path: Path
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Walk:
    """What the directories hold, the newest first, and what kept them from being read."""

    found: tuple[Found, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignPlaces:
    """The ``adopt:`` directories of a site; times without a zone are in ``zone``.

    ``memory`` is the site's state directory, where verifications are remembered.
    """

    directories: tuple[Path, ...]
    zone: tzinfo
    memory: Path | None = None


def foreign_id(path: Path, modified_ns: int, size: int) -> str:
    """Return a backup's name: the same as long as path, modification time and size are."""
    text = f"{path.absolute()}\0{modified_ns}\0{size}"
    number = int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")
    letters = []
    for _position in range(8):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return ID_PREFIX + "".join(letters)


def found_at(path: Path) -> Found:
    """Return the backup at a path as a walk would; OSError where it can't be looked at."""
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        toc = (path / TOC_NAME).stat()
        size = sum(member.stat().st_size for member in path.iterdir() if member.is_file())
        return Found(foreign_id(path, toc.st_mtime_ns, size), path, toc.st_mtime_ns, size)
    identifier = foreign_id(path, facts.st_mtime_ns, facts.st_size)
    return Found(identifier, path, facts.st_mtime_ns, facts.st_size)


def adopted_reason(path: Path, identifier: str) -> str:
    """Return the reason in the manifest of a point that was made of a foreign backup."""
    return f"{ADOPTED_FROM}{path} ({identifier})"


def adopted_identifier(reason: str) -> str | None:
    """Return which foreign backup a point with this reason was made of; None for none."""
    match = _ADOPTED.search(reason) if reason.startswith(ADOPTED_FROM) else None
    return None if match is None else match[1]


def is_adopted(point: PointSummary) -> bool:
    """Whether a point was made of a foreign backup, without anything that was counted."""
    return adopted_identifier(point.reason or "") is not None


def walk(directories: Sequence[Path]) -> Walk:
    """Return the backups below the directories; bounded, and no link is followed."""
    found: dict[str, Found] = {}
    problems: list[str] = []
    for directory in directories:
        looker = _Looker(problems)
        found.update((item.id, item) for item in looker.below(directory, 0))
        if looker.left <= 0:
            problems.append(
                f"{directory} holds more than {MOST_LOOKED_AT} files: not all were seen"
            )
    newest = sorted(found.values(), key=lambda item: item.modified_ns, reverse=True)
    if len(newest) > MOST_LISTED:
        problems.append(f"{len(newest)} backups were found: the {MOST_LISTED} newest are listed")
    return Walk(tuple(newest[:MOST_LISTED]), tuple(problems))


class _Looker:
    """Looks through one directory; ``left`` is how many names it may still look at."""

    def __init__(self, problems: list[str]) -> None:
        self.left = MOST_LOOKED_AT
        self._problems = problems

    def below(self, directory: Path, depth: int) -> Iterator[Found]:
        try:
            with os.scandir(directory) as scanned:
                entries = []
                for entry in scanned:
                    self.left -= 1
                    if self.left <= 0:
                        break
                    entries.append(entry)
        except OSError as error:
            self._problems.append(f"{directory} can't be read ({error.strerror})")
            return
        names = {entry.name for entry in entries}
        if REPOSITORY_NAME in names:
            return  # a repository of fsbackup's own
        if TOC_NAME in names:
            yield from self._look(Path(directory))
            return
        for entry in entries:
            yield from self._entry(entry, depth)

    def _entry(self, entry: os.DirEntry[str], depth: int) -> Iterator[Found]:
        if entry.name.startswith("."):
            return
        try:
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST and self.left > 0:
                    yield from self.below(Path(entry.path), depth + 1)
            elif entry.is_file(follow_symlinks=False) and _is_candidate(entry):
                yield from self._look(Path(entry.path))
        except OSError as error:
            self._problems.append(f"{entry.path} can't be looked at ({error.strerror})")

    def _look(self, path: Path) -> Iterator[Found]:
        try:
            yield found_at(path)
        except OSError as error:
            self._problems.append(f"{path} can't be looked at ({error.strerror})")


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    if _NO_BACKUP.search(entry.name):
        return False
    if _LIKE_A_BACKUP.search(entry.name):
        return True
    try:
        with Path(entry.path).open("rb") as file:
            return file.read(16).startswith(_BEGINNINGS)
    except OSError:
        return False


class ForeignReader:
    """Reads what is new in the directories, the small ones to their end while time is left."""

    def __init__(self, places: ForeignPlaces) -> None:
        self._places = places
        self._until = time.monotonic() + _READING_SECONDS

    @property
    def has_time(self) -> bool:
        """Whether a backup may still be read to its end now."""
        return time.monotonic() < self._until

    def summary(self, found: Found) -> tuple[PointSummary, bool]:
        """Return a backup as the inventory shows it, and whether a second look is useless."""
        try:
            file, settled = self._read(found)
        except OSError as error:
            return _unreadable(found, error), False
        fresh = _is_fresh(found)
        memory = recall_verification(self._places.memory, found.id)
        return _summary(found, file, memory, fresh=fresh), settled and not fresh

    def look(self, found: Found) -> tuple[ForeignFile, PointSummary]:
        """Return what is known of one backup, in detail too; OSError where it can't be read."""
        file, _settled = self._read(found)
        memory = recall_verification(self._places.memory, found.id)
        return file, _summary(found, file, memory, fresh=_is_fresh(found))

    def _read(self, found: Found) -> tuple[ForeignFile, bool]:
        """Return what a look tells, and whether there was time for all of it."""
        file = glance(found.path, self._places.zone)
        more = file.completeness == "not known" or (file.form == "plain" and not file.problems)
        if not more or found.size > _SMALL_BYTES:
            return file, True
        if not self.has_time:
            return file, False
        return examine(found.path, self._places.zone).file, True


def _is_fresh(found: Found) -> bool:
    return time.time() - found.modified_ns / 1e9 < _FRESH_SECONDS


def memory_stamp(places: ForeignPlaces, identifier: str) -> int:
    """Return a number that is another one whenever more is remembered of a backup; -1 for none."""
    path = _memory_path(places.memory, identifier)
    try:
        return -1 if path is None else path.stat().st_mtime_ns
    except OSError:
        return -1


def _summary(
    found: Found, file: ForeignFile, memory: Mapping[str, object] | None, *, fresh: bool
) -> PointSummary:
    trust, levels, problems = Trust.UNVERIFIED, {}, list(file.problems)
    if memory is not None:
        trust, levels = _trust(memory), _levels(memory)
        problems += [text for text in _texts(memory.get("problems")) if text not in problems]
    if fresh and file.problems:
        problems.append("it was written to a moment ago: perhaps it is not finished yet")
    part, kind = _part_of(file)
    return PointSummary(
        id=found.id,
        sequence=0,
        plan=FOREIGN_PLAN,
        created=file.taken,
        whole=False,
        running=False,
        trust=trust,
        suspect=(),
        bytes=file.bytes,
        parts=(PartSummary(part, kind, trust, file.bytes),),
        reason=_described(file),
        problems=tuple(problems),
        levels=levels,
        foreign=str(found.path),
    )


def _part_of(file: ForeignFile) -> tuple[str, str]:
    if file.is_database:
        return "database", "postgres-schema" if file.scope == "schema" else "postgres"
    return ("files", "files") if file.form == "files" else ("unknown", "unknown")


def _described(file: ForeignFile) -> str:
    complete: str = file.completeness
    if complete == "not known":
        complete = "" if file.form in ("encrypted", "other") else "not read to its end yet"
    told = [f"{file.path.name}: {file.what}", complete, *file.notes, f"time by {file.taken_by}"]
    return "; ".join(text for text in told if text)


def _unreadable(found: Found, error: OSError) -> PointSummary:
    moment = datetime.fromtimestamp(found.modified_ns / 1e9, UTC)
    return PointSummary(
        id=found.id,
        sequence=0,
        plan=FOREIGN_PLAN,
        created=moment,
        whole=False,
        running=False,
        trust=Trust.UNVERIFIED,
        suspect=(),
        bytes=found.size,
        parts=(PartSummary("unknown", "unknown", Trust.UNVERIFIED, found.size),),
        reason=f"{found.path.name}: not readable; time by its modification time",
        problems=(f"it can't be read ({error.strerror})",),
        foreign=str(found.path),
    )


def remember_verification(state: Path, identifier: str, document: Mapping[str, object]) -> None:
    """Keep what ``fsbackup verify`` found out of a foreign backup; OSError where it can't be."""
    directory = make_directory(state / _MEMORY_NAME)
    kept = {key: document.get(key) for key in ("trust", "levels", "problems", "notes", "job")}
    content = json.dumps({"format": _MEMORY_FORMAT, **kept}, indent=1, ensure_ascii=False)
    replace_file(directory / f"{identifier}.json", f"{content}\n".encode())


def recall_verification(state: Path | None, identifier: str) -> Mapping[str, object] | None:
    """Return what was found out of a foreign backup, None for nothing."""
    path = _memory_path(state, identifier)
    if path is None:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(document, dict) and document.get("format") == _MEMORY_FORMAT
    return document if known else None


def _memory_path(state: Path | None, identifier: str) -> Path | None:
    return None if state is None else state / _MEMORY_NAME / f"{identifier}.json"


def _trust(memory: Mapping[str, object]) -> Trust:
    try:
        return Trust.from_word(str(memory.get("trust")))
    except KeyError:
        return Trust.UNVERIFIED


def _levels(memory: Mapping[str, object]) -> dict[str, LevelCheck]:
    levels = {}
    listed = memory.get("levels")
    for word, entry in (listed if isinstance(listed, Mapping) else {}).items():
        try:
            levels[str(word)] = LevelCheck(
                entry["ok"], parse_time(entry["at"]), str(memory.get("job") or ""), entry["seconds"]
            )
        except (KeyError, TypeError, ValueError):
            continue
    return levels


def _texts(problems: object) -> list[str]:
    listed = problems if isinstance(problems, Sequence) and not isinstance(problems, str) else ()
    return [str(item.get("what")) if isinstance(item, Mapping) else str(item) for item in listed]
