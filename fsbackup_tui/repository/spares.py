"""The spares that the records tell of: which database, proven when, standing or gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.point import SpareSummary
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import Record, read_record, read_records

KIND = "spare"


@dataclass(frozen=True, slots=True)
class Spare:
    """One spare as it was when it was proven; only the server can tell whether it still stands.

    ``comment`` is its mark, ``counters`` what must still be the same before it is used,
    ``deferred`` what of the archive is not in it on purpose.
    """

    point: str
    part: str
    name: str
    oid: int
    comment: str
    server: str
    system_identifier: str | None
    proven_at: str
    counters: Mapping[str, object]
    deferred: tuple[str, ...] = ()

    def document(self, *, gone: str = "") -> dict[str, object]:
        """Return the spare as plain values for a record; ``gone`` says why it is no more."""
        return {**asdict(self), "deferred": list(self.deferred), "gone": gone}


def spares_of(repository: Repository, point: str) -> tuple[Spare, ...]:
    """Return the spares that a point's records tell of, the newest of each part."""
    return spares_in(read_records(repository, point))


def spares_in(records: Iterable[Record]) -> tuple[Spare, ...]:
    """Return the spares that records of one point tell of, the newest of each part."""
    newest = {spare.part: spare for spare in _standing(r for r in records if r.counts)}
    return tuple(newest[part] for part in sorted(newest))


def spare_summary(spare: Spare) -> SpareSummary:
    """Return what the inventory shows of a spare."""
    return SpareSummary(spare.part, spare.name, spare.server, parse_time(spare.proven_at))


def all_spares(repository: Repository, part: str) -> list[Spare]:
    """Return what any point's records tell of spares of the part, to be replaced by a new one.

    Points whose manifest is gone count, too: their spare still takes its space.
    """
    found: list[Spare] = []
    for directory in sorted(
        {path.parent for path in repository.records.glob(f"*/*-{KIND}-*.json")}
    ):
        records = [_own(path) for path in sorted(directory.glob(f"*-{KIND}-*.json"))]
        whole = sorted(
            (record for record in records if record.counts), key=lambda record: record.number
        )
        found += [spare for spare in _standing(whole) if spare.part == part]
    return found


def spare_document(spare: Spare) -> dict[str, object]:
    """Return a spare for ``show --json``: where it is, since when, and how it goes by hand."""
    quoted = '"' + spare.name.replace('"', '""') + '"'
    return {
        "name": spare.name,
        "server": spare.server,
        "proven_at": spare.proven_at,
        "oid": spare.oid,
        "deferred": list(spare.deferred),
        "remove": f"DROP DATABASE {quoted}",
    }


def _own(path: Path) -> Record:
    """Return a record whole by itself, whether or not its point's manifest is still there."""
    return read_record(path, read_record(path, "").manifest_sha256)


def _standing(records: Iterable[Record]) -> list[Spare]:
    """Return the spares, oldest first, that no later record calls gone."""
    standing: dict[tuple[str, int], Spare] = {}
    for record in records:
        if record.kind != KIND:
            continue
        spare = _parse(record.document)
        if spare is None:
            continue
        key = (spare.part, spare.oid)
        standing.pop(key, None)
        if not record.document.get("gone"):
            standing[key] = spare
    return list(standing.values())


def _parse(document: Mapping[str, object]) -> Spare | None:
    oid, counters, deferred = (
        document.get("oid"),
        document.get("counters"),
        document.get("deferred"),
    )
    identifier = document.get("system_identifier")
    if not isinstance(oid, int) or not isinstance(counters, Mapping):
        return None
    texts = [
        document.get(key) for key in ("point", "part", "name", "comment", "server", "proven_at")
    ]
    if not all(isinstance(text, str) for text in texts):
        return None
    try:
        parse_time(str(texts[-1]))
    except ValueError:
        return None
    point, part, name, comment, server, proven_at = (str(text) for text in texts)
    return Spare(
        point,
        part,
        name,
        oid,
        comment,
        server,
        None if identifier is None else str(identifier),
        proven_at,
        counters,
        tuple(str(item) for item in deferred) if isinstance(deferred, list) else (),
    )
