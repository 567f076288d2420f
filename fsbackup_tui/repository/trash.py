"""The trash: where points go before their space is freed, and from where they come back.

``REPO/trash/ID/`` holds the point itself (``point``), what was learned of it (``records``), and
``why.json``. Each way is a few renames in an order that leaves the point whole in one place
wherever the process dies; ``settle_trash`` finishes what was begun. Space is freed under a name
that no reader looks at: nothing half removed is ever seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.errors import PointDamaged, PointNotFound, SafetyRefusal
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.point import new_tag, point_time
from fsbackup_tui.repository.files import (
    TEMPORARY_PREFIX,
    make_directory,
    remove_tree,
    replace_file,
    sync_directory,
    writing,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import write_lock
from fsbackup_tui.repository.manifest import MANIFEST_NAME, parse_manifest, read_bytes
from fsbackup_tui.repository.points import SHORTEST_PREFIX
from fsbackup_tui.repository.records import pin_in, read_record, read_records, trash_parts

WHY_FORMAT = 1
WHY_NAME = "why.json"
FREEING_PREFIX = ".freeing-"


@dataclass(frozen=True, slots=True)
class Who:
    """Who moves something: a person, on which host, by which job, at what time."""

    operator: str
    host: str
    job: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Trashed:
    """A point in the trash; what its ``why.json`` can't tell is None or empty.

    ``bytes`` is its stored size as its manifest has it.
    """

    id: str
    plan: str
    created: datetime | None
    bytes: int
    at: datetime | None
    until: datetime | None
    operator: str
    host: str
    why: str

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "id": self.id,
            "plan": self.plan,
            "created": None if self.created is None else format_time(self.created),
            "bytes": self.bytes,
            "at": None if self.at is None else format_time(self.at),
            "until": None if self.until is None else format_time(self.until),
            "operator": self.operator,
            "host": self.host,
            "why": self.why,
        }


def move_to_trash(
    repository: Repository,
    point: str,
    why: str,
    who: Who,
    *,
    grace: timedelta,
    successor: str | None = None,
) -> None:
    """Move a point and its records to the trash; the caller holds its use lock for itself alone.

    A ``successor`` has the same content and is pinned where the point is: it stays in its place.

    Raises:
        SafetyRefusal: one of that id lies there, or it was pinned meanwhile.
        DiskFull, RepositoryUnwritable, LockHeld: it stays where it is.
    """
    source = repository.point_directory(point)
    entry = repository.trash / point
    with writing(entry), write_lock(repository, who.job, who.operator):
        there, _ = trash_parts(repository, point)
        if there.exists():
            raise SafetyRefusal(
                f"NOT REMOVED: {point} lies in the trash already.",
                why=f"{there} would have to make room for it.",
                fix="Free the trash first: fsbackup retain --empty",
            )
        reason = pin_in(read_records(repository, point))
        if reason and not (successor and pin_in(read_records(repository, successor))):
            raise SafetyRefusal(
                f"{point} stays: it was pinned meanwhile: {reason}.", fix=f"fsbackup show {point}"
            )
        make_directory(repository.trash)
        make_directory(entry)
        document = _why_document(repository, point, why, who, grace)
        if successor:
            document["successor"] = successor
        replace_file(entry / WHY_NAME, (json.dumps(document, indent=1) + "\n").encode())
        sync_directory(entry)
        sync_directory(repository.trash)
        source.rename(there)
        sync_directory(entry)
        sync_directory(repository.points)
        _move_records(repository.records / point, entry / "records")


def _why_document(
    repository: Repository, point: str, why: str, who: Who, grace: timedelta
) -> dict[str, object]:
    plan, created, size = "", point_time(point), 0
    with suppress(PointDamaged, OSError):
        path = repository.point_directory(point) / MANIFEST_NAME
        manifest = parse_manifest(path, read_bytes(path))
        plan, created, size = manifest.plan, manifest.started, manifest.bytes
    return {
        "format": WHY_FORMAT,
        "point": point,
        "plan": plan,
        "created": None if created is None else format_time(created),
        "bytes": size,
        "why": why,
        "operator": who.operator,
        "host": who.host,
        "job": who.job,
        "at": format_time(who.at),
        "until": format_time(who.at + grace),
    }


def take_back(repository: Repository, point: str, who: Who) -> None:
    """Bring a point, and what was learned of it, back out of the trash.

    Raises:
        PointNotFound: it does not lie there.
        SafetyRefusal: a point of that id stands.
        DiskFull, RepositoryUnwritable, LockHeld: it stays in the trash.
    """
    target = repository.point_directory(point)
    entry = repository.trash / point
    with writing(target), write_lock(repository, who.job, who.operator):
        there, records = trash_parts(repository, point)
        if not there.is_dir():
            raise PointNotFound(
                f"NOT IN THE TRASH: {point}.", fix="fsbackup retain shows what lies there."
            )
        if target.exists():
            raise SafetyRefusal(
                f"NOT TAKEN BACK: {point} stands among the points.",
                why=f"{target} is there.",
                fix=f"fsbackup show {point}",
            )
        # Nobody may see the point without what is known of it, a pin among that.
        make_directory(repository.records)
        _move_records(records, repository.records / point)
        sync_directory(entry)
        there.rename(target)
        sync_directory(repository.points)
        _remove_entry(entry)


def settle_trash(repository: Repository, who: Who) -> list[str]:
    """Finish what a killed process had begun; return what was done, in words.

    Raises:
        DiskFull, RepositoryUnwritable, LockHeld: it can't be finished now.
    """
    done: list[str] = []
    if not repository.trash.is_dir():
        return done
    with writing(repository.trash), write_lock(repository, who.job, who.operator):
        for entry in sorted(repository.trash.iterdir()):
            if entry.name.startswith(FREEING_PREFIX):
                continue
            done += _settle(repository, entry)
    for entry in sorted(repository.trash.glob(f"{FREEING_PREFIX}*")):
        with writing(entry):
            remove_tree(entry)
        done.append(f"freed {entry.name.removeprefix(FREEING_PREFIX)[:-5]}")
    return done


def _settle(repository: Repository, entry: Path) -> Iterator[str]:
    there, records = trash_parts(repository, entry.name)
    stands = repository.point_directory(entry.name).is_dir()
    left = repository.records / entry.name
    if there.is_dir() and left.is_dir() and not stands:
        _move_records(left, records)
        yield f"{entry.name} is in the trash, its records with it"
    elif not there.exists() and entry.is_dir():
        if stands and records.is_dir():
            _move_records(records, left)
        if not records.exists():
            _remove_entry(entry)
            yield f"{entry.name} stayed where it was"


def _move_records(source: Path, target: Path) -> None:
    """Move a directory of records; into one that is there, file by file: no name comes twice."""
    if not source.is_dir():
        return
    if not target.exists():
        source.rename(target)
    else:
        for path in sorted(source.iterdir()):
            path.rename(target / path.name)
        source.rmdir()
        sync_directory(target)
    sync_directory(source.parent)
    sync_directory(target.parent)


def _remove_entry(entry: Path) -> None:
    for path in (entry / WHY_NAME, *entry.glob(f"{TEMPORARY_PREFIX}*")):
        path.unlink(missing_ok=True)
    # What else somebody put there stays.
    with suppress(OSError):
        entry.rmdir()
    sync_directory(entry.parent)


def list_trash(repository: Repository) -> list[Trashed]:
    """Return the points in the trash, the oldest there first; nothing is written."""
    found = [_read(repository, name) for name in _entries(repository.trash)]
    whole = [each for each in found if each is not None]
    return sorted(whole, key=lambda each: (each.at or datetime.fromtimestamp(0, UTC), each.id))


def find_in_trash(repository: Repository, text: str) -> Trashed:
    """Return the point in the trash that an id, or the beginning of one, means.

    Raises:
        PointNotFound: none, or more than one.
    """
    wanted, there = text.strip(), list_trash(repository)
    found = [each for each in there if each.id == wanted]
    if not found and len(wanted) >= SHORTEST_PREFIX:
        found = [each for each in there if each.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    near = ", ".join(each.id for each in (found or there)[:3]) or "nothing"
    raise PointNotFound(
        f"{'AMBIGUOUS' if found else 'NOT IN THE TRASH'}: {wanted}.",
        why=f"In it lie {near}.",
        fix="fsbackup retain shows what lies there.",
    )


def _entries(trash: Path) -> list[str]:
    try:
        with os.scandir(trash) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def _read(repository: Repository, point: str) -> Trashed | None:
    there, _ = trash_parts(repository, point)
    if not there.is_dir():
        return None
    document = _why(repository, point)
    size = document.get("bytes")
    return Trashed(
        point,
        str(document.get("plan") or ""),
        _time(document.get("created")) or point_time(point),
        size if isinstance(size, int) else 0,
        _time(document.get("at")),
        _time(document.get("until")),
        str(document.get("operator") or ""),
        str(document.get("host") or ""),
        str(document.get("why") or ""),
    )


def _why(repository: Repository, point: str) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        read = json.loads((repository.trash / point / WHY_NAME).read_bytes())
        return read if isinstance(read, dict) else {}
    return {}


def _time(text: object) -> datetime | None:
    with suppress(ValueError, TypeError):
        moment = parse_time(str(text))
        return moment if moment.tzinfo is not None else None
    return None


def past_grace(
    trashed: Iterable[Trashed], now: datetime, grace: timedelta, needed: Collection[str] = ()
) -> list[Trashed]:
    """Return what may be freed: it has lain there for as long as the configuration says now.

    What does not tell since when it lies there is never freed by itself, and nothing of the
    plans that are ``needed`` is.
    """
    return [
        each
        for each in trashed
        if each.at is not None and each.at + grace <= now and each.plan not in needed
    ]


def free(repository: Repository, points: Sequence[str], who: Who) -> int:
    """Remove points in the trash for good; return the bytes that came free by it.

    What shares its bytes with a file that stays (a hard link) frees nothing.

    Raises:
        SafetyRefusal: one is pinned; it stays.
        DiskFull, RepositoryUnwritable, LockHeld: what was not freed yet stays.
    """
    total = 0
    for point in points:
        entry = repository.trash / point
        doomed = repository.trash / f"{FREEING_PREFIX}{point}-{new_tag()}"
        with writing(entry):
            with write_lock(repository, who.job, who.operator):
                if not entry.is_dir():
                    continue
                _refuse_pinned(repository, point)
                entry.rename(doomed)
                sync_directory(repository.trash)
                # Nobody opens it any more: without its point it is litter.
                repository.use_lock(point).unlink(missing_ok=True)
            size = freed_bytes([doomed])
            remove_tree(doomed)
        total += size
    return total


def _refuse_pinned(repository: Repository, point: str) -> None:
    """Raise where somebody pinned a point that lies in the trash, before it went or since.

    The pin of one that has a successor went over to that.
    """
    if _why(repository, point).get("successor"):
        return
    paths = [
        path
        for directory in (repository.trash / point / "records", repository.records / point)
        for path in (directory.glob("*.json") if directory.is_dir() else ())
        if not path.name.startswith(".")
    ]
    facts = [read_record(path, "") for path in sorted(paths, key=lambda path: path.name)]
    reason = ""
    # Away from its place a fact counts for nothing; for staying it is word enough.
    for fact in sorted(facts, key=lambda record: (record.number, record.path.name)):
        if fact.kind in ("pinned", "unpinned"):
            pinned = fact.kind == "pinned"
            reason = str(fact.document.get("reason") or "no reason was given") if pinned else ""
    if reason:
        raise SafetyRefusal(
            f"NOT FREED: {point} is PINNED: {reason}.",
            fix=f"Take it back: fsbackup retain --take-back {point}",
        )


def freed_bytes(directories: Iterable[Path]) -> int:
    """Return the bytes on disk that come free when all these directories are removed.

    A file of which another name stays elsewhere frees nothing; one whose names are all in these
    counts once. What can't be read counts for nothing.
    """
    sizes: dict[tuple[int, int], list[int]] = {}
    for directory in directories:
        for root, _, names in os.walk(directory):
            for name in names:
                with suppress(OSError):
                    facts = os.lstat(f"{root}/{name}")
                    seen = sizes.setdefault(
                        (facts.st_dev, facts.st_ino), [facts.st_nlink, 0, facts.st_blocks * 512]
                    )
                    seen[1] += 1
    return sum(size for links, seen, size in sizes.values() if seen >= links)
