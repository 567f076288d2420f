"""Databases that a recovery left: what their comment tells of them, and finding them again.

The mark lies in the database itself, so that another host, or somebody with psql alone, knows
whose a ``NAME__before_…`` is when the state directory is gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.domain.kept_name import kept_name as kept_name
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

KeptKind = Literal["before", "after", "restore", "evidence", "drill"]

_WORDS: Mapping[KeptKind, str] = {
    "before": "as it was before the swap",
    "after": "as it was before the swap was undone",
    "restore": "a restored copy",
    "evidence": "a copy of its files as they were, damage and all",
    "drill": "a copy to practise on",
}
_KINDS: Mapping[str, KeptKind] = {words: kind for kind, words in _WORDS.items()}
_MARK = re.compile(
    rf"fsbackup: (?P<database>.*), (?P<words>{'|'.join(map(re.escape, _KINDS))}), "
    r"at (?P<at>\S+), by job (?P<job>\S+)\. Drop it with: fsbackup leftovers",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A database that was left: its name and OID now, of which it is what, since when (UTC).

    ``database`` is the name of the live database that it is a copy, or the former one, of.
    """

    name: str
    oid: int
    kind: KeptKind
    database: str
    at: str
    job: str
    size_bytes: int | None


def kept_comment(kind: KeptKind, database: str, at: str, job: str) -> str:
    """Return the comment that says what a database is, and by whom; ``at`` is UTC, as written."""
    return (
        f"fsbackup: {database}, {_WORDS[kind]}, at {at}, by job {job}. "
        "Drop it with: fsbackup leftovers"
    )


def kept_kind(comment: str, database: str) -> KeptKind | None:
    """Return what a database with that comment is to ``database``; None: it has not its mark."""
    mark = _MARK.fullmatch(comment)
    if mark is None or mark["database"] != database:
        return None
    return _KINDS[mark["words"]]


async def find_kept(admin: Connection) -> tuple[Kept, ...]:
    """Return the databases on the server that bear the mark, the oldest first."""
    rows = await fetch_all(
        admin,
        "SELECT d.datname::text, d.oid::int8, pg_catalog.shobj_description(d.oid, 'pg_database'),"
        " CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')"
        " OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"
        " THEN pg_catalog.pg_database_size(d.oid) END"
        " FROM pg_catalog.pg_database AS d"
        " WHERE pg_catalog.shobj_description(d.oid, 'pg_database') LIKE 'fsbackup: %'",
    )
    found = [
        Kept(name, oid, _KINDS[mark["words"]], mark["database"], mark["at"], mark["job"], size)
        for name, oid, comment, size in rows
        if (mark := _MARK.fullmatch(comment)) is not None
    ]
    return tuple(sorted(found, key=lambda kept: (kept.at, kept.name)))
