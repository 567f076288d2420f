"""What is learned of a point after it was captured: create-only files, one per fact.

A record carries the hash of the manifest it speaks of and its own; one that does not match
(another manifest, altered, cut off) counts for nothing and is told as a problem.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.point import new_tag
from fsbackup_tui.repository.files import create_whole, make_directory, writing
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME

RECORD_FORMAT = 1
KINDS = frozenset(
    {"verified", "drill", "cleared", "pinned", "unpinned", "adopted", "spare", "rekeyed"}
    | {"copied", "uncopied"}
)
_LARGEST_BYTES = 16 << 20
_SEQUENCE = re.compile(rb'"sequence": ?(\d{1,18})\b')


@dataclass(frozen=True, slots=True)
class Record:
    """One fact about a point.

    ``number`` orders the records of a point whatever the clock said; ``problem`` says why the
    record counts for nothing, empty when it counts.
    """

    path: Path
    kind: str
    number: int
    at: datetime
    job: str
    operator: str
    manifest_sha256: str
    document: Mapping[str, object]
    problem: str = ""

    @property
    def counts(self) -> bool:
        """Whether the record is whole and speaks of the manifest that is there."""
        return not self.problem


def manifest_digest(repository: Repository, point: str) -> str:
    """Return the SHA-256 of a point's manifest, empty where there is none."""
    return _digest(repository.point_directory(point) / MANIFEST_NAME)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def write_record(
    repository: Repository,
    point: str,
    kind: str,
    document: Mapping[str, object],
    *,
    now: datetime,
    job: str,
    operator: str,
    or_in_trash: bool = False,
) -> Record:
    """Add a fact to a point; nothing that is there is touched.

    With ``or_in_trash`` to one that lies in the trash, too.

    Raises:
        UsageError: no such kind of record, or no such point.
        RepositoryUnwritable, DiskFull: it can't be written.
    """
    directory, records = repository.point_directory(point), repository.records / point
    if or_in_trash and not directory.is_dir():
        directory, records = trash_parts(repository, point)
    if kind not in KINDS:
        raise UsageError(f"UNKNOWN RECORD: {kind!r} is no kind of record.")
    if not directory.is_dir():
        raise UsageError(f"NO SUCH POINT: {point}.", fix="fsbackup list shows what there is.")
    manifest = directory / MANIFEST_NAME
    body: dict[str, object] = {
        "format": RECORD_FORMAT,
        "kind": kind,
        "point": point,
        "sequence": head_sequence(manifest),
        "number": _next_number(records),
        "at": format_time(now),
        "job": job,
        "operator": operator,
        "manifest_sha256": _digest(manifest),
        "document": dict(document),
    }
    body["sha256"] = _own_digest(body)
    # The number leads neither: names sort by time for people, `number` decides for fsbackup.
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"
    path = records / f"{stamp}-{kind}-{new_tag()}.json"
    content = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with writing(path):
        make_directory(repository.records)
        make_directory(records)
        # What can't be written in UTF-8 (a name's stray bytes) becomes an escape of JSON's own.
        create_whole(path, content.encode(errors="backslashreplace"))
    return read_record(path, str(body["manifest_sha256"]))


def read_records(
    repository: Repository, point: str, *, manifest_sha256: str | None = None
) -> list[Record]:
    """Return a point's records, oldest first, those that count for nothing included.

    ``manifest_sha256`` spares reading the manifest where the caller has its hash already.
    """
    directory = repository.records / point
    if not directory.is_dir():
        return []
    expected = manifest_digest(repository, point) if manifest_sha256 is None else manifest_sha256
    names = sorted(path for path in directory.iterdir() if path.suffix == ".json")
    records = [read_record(path, expected) for path in names if not path.name.startswith(".")]
    return sorted(records, key=lambda record: (record.number, record.path.name))


def was_whole(repository: Repository, point: str) -> bool:
    """Whether a fact about the point speaks of its manifest: then there once was one."""
    return any(record.manifest_sha256 for record in read_records(repository, point))


def read_record(path: Path, manifest_sha256: str) -> Record:
    """Return one record; what is wrong with it stands in ``problem``, nothing is raised."""
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("not a plain small file")
        body = json.loads(path.read_bytes())
        record = _parse(path, body)
    except OSError as error:
        return _worthless(path, f"it can't be read ({error.strerror})")
    except (ValueError, KeyError, TypeError, RecursionError):
        return _worthless(path, "it is not what fsbackup wrote")
    problem = ""
    if body["format"] != RECORD_FORMAT:
        problem = f"its format {body['format']} is unknown here"
    elif body["sha256"] != _own_digest(body):
        problem = "it was altered after it was written"
    elif body["point"] != path.parent.name:
        problem = f"it speaks of {body['point']}"
    elif record.manifest_sha256 != manifest_sha256:
        problem = "it speaks of another manifest than the one that is there"
    if not problem:
        return record
    return Record(
        path,
        record.kind,
        record.number,
        record.at,
        record.job,
        record.operator,
        record.manifest_sha256,
        record.document,
        f"records/{path.parent.name}/{path.name} counts for nothing: {problem}",
    )


def _parse(path: Path, body: Mapping[str, object]) -> Record:
    number, document, kind = body["number"], body["document"], body["kind"]
    if not isinstance(number, int) or not isinstance(document, dict) or kind not in KINDS:
        raise ValueError("wrong types")
    at = parse_time(str(body["at"]))
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return Record(
        path,
        str(kind),
        number,
        at,
        str(body["job"]),
        str(body["operator"]),
        str(body["manifest_sha256"]),
        document,
    )


def _worthless(path: Path, why: str) -> Record:
    return Record(
        path,
        "",
        0,
        datetime.fromtimestamp(0, UTC),
        "",
        "",
        "",
        {},
        f"records/{path.parent.name}/{path.name} counts for nothing: {why}",
    )


def _own_digest(body: Mapping[str, object]) -> str:
    rest = {name: value for name, value in body.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _next_number(directory: Path) -> int:
    numbers = [0]
    if directory.is_dir():
        numbers += [read_record(path, "").number for path in directory.glob("*.json")]
    return max(numbers) + 1


def pin_in(records: Iterable[Record]) -> str:
    """Return why a point is pinned, empty where it is not; ``records`` oldest first.

    Of a point whose manifest is gone or damaged too: those that are whole by themselves count.
    """
    reason = ""
    for record in records:
        if record.kind in ("pinned", "unpinned"):
            whole = record if record.counts else read_record(record.path, record.manifest_sha256)
            if whole.counts and record.kind == "pinned":
                reason = str(record.document.get("reason") or "no reason was given")
            elif whole.counts:
                reason = ""
    return reason


def head_sequence(path: Path) -> int:
    """Return the ``sequence`` near the head of a manifest or record, 0 where it can't be read."""
    try:
        with path.open("rb") as file:
            match = _SEQUENCE.search(file.read(4096))
    except OSError:
        return 0
    return int(match[1]) if match else 0


def highest_sequence(repository: Repository, *, known: Mapping[str, int] | None = None) -> int:
    """Return the highest sequence that any point or record tells of, 0 for none.

    ``known`` (point id to sequence) spares reading those again; see ``scan_sequences``.
    """
    return max(scan_sequences(repository, known=known).values(), default=0)


def scan_sequences(
    repository: Repository, *, known: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return the sequence of every point that has one, those known by records alone included."""
    known = known or {}
    found: dict[str, int] = {}
    points = _names(repository.points) | _names(repository.trash)
    for name in points:
        sequence = known.get(name, 0)
        for directory in (repository.points / name, trash_parts(repository, name)[0]):
            sequence = sequence or head_sequence(directory / MANIFEST_NAME)
        if sequence:
            found[name] = sequence
    for name in _names(repository.records) - set(found):
        paths: Sequence[Path] = sorted((repository.records / name).glob("*.json"))
        sequence = known.get(name, 0) or max((head_sequence(path) for path in paths), default=0)
        if sequence:
            found[name] = sequence
    return found


def trash_parts(repository: Repository, point: str) -> tuple[Path, Path]:
    """Return where a point in the trash lies, and where its records do; neither need be there."""
    entry = repository.trash / point
    return entry / "point", entry / "records"


def _names(directory: Path) -> set[str]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}
    except OSError:
        return set()
