"""Schemas beside a live one: their names, and what their comments remember of them.

A schema that is not live must neither change nor hold up what is: its foreign keys to tables of
other schemas (a row deleted there would be deleted here, or not at all) and its places in
publications are taken away for that time. The schema's own comment remembers them, so that
another host, or a person with psql alone, can give them back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from psycopg import sql

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.kept_name import shortened
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

MarkKind = Literal["unfinished", "restored", "before", "after"]

_WORDS: dict[MarkKind, str] = {
    "unfinished": "an unfinished copy",
    "restored": "a restored copy",
    "before": "as it was before the swap",
    "after": "as it was before the swap was undone",
}
_MARK = re.compile(
    r"fsbackup: schema (?P<schema>.*), (?P<words>as it was before the swap( was undone)?|"
    r"a restored copy|an unfinished copy), at (?P<at>\S+), by job (?P<job>\S+)\. "
    r"Drop it with: fsbackup leftovers\n(?P<memory>\{.*\})",
    re.DOTALL,
)
# An incident's id, and the attempt behind it.
_TAG = re.compile(r"[a-z0-9][a-z0-9_]{0,23}")


@dataclass(frozen=True, slots=True)
class Tie:
    """A foreign key to another schema's table, or a place in a publication, of one ``table``.

    ``name`` is the constraint's or the publication's; ``definition`` as PostgreSQL writes it:
    ``FOREIGN KEY …``, or a column list and a row filter. ``checked``: it was no NOT VALID one.
    """

    kind: Literal["constraint", "publication"]
    schema: str
    table: str
    name: str
    definition: str
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """What a schema had while it was live: its comment, its ties, who relied on it checked.

    ``checked`` are constraints of other schemas' tables (schema, table, name) that held then.
    """

    comment: str | None = None
    ties: tuple[Tie, ...] = ()
    checked: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a schema that fsbackup made or kept says of itself; ``at`` is UTC, as written."""

    kind: MarkKind
    schema: str
    at: str
    job: str
    memory: Memory

    def comment(self) -> str:
        """Return the comment that the schema bears."""
        return (
            f"fsbackup: schema {self.schema}, {_WORDS[self.kind]}, at {self.at}, by job {self.job}."
            f" Drop it with: fsbackup leftovers\n{json.dumps(asdict(self.memory))}"
        )


@dataclass(frozen=True, slots=True)
class MarkedSchema:
    """A schema in the database that bears a mark."""

    name: str
    oid: int
    mark: Mark


def parse_mark(comment: str | None) -> Mark | None:
    """Return what the comment says; None where it is none of fsbackup's."""
    found = _MARK.fullmatch(comment or "")
    if found is None:
        return None
    kinds = {words: kind for kind, words in _WORDS.items()}
    try:
        memory = json.loads(found["memory"])
        return Mark(
            kinds[found["words"]],
            found["schema"],
            found["at"],
            found["job"],
            Memory(
                memory["comment"],
                tuple(Tie(**tie) for tie in memory["ties"]),
                tuple((schema, table, name) for schema, table, name in memory["checked"]),
            ),
        )
    except (ValueError, KeyError, TypeError):
        return None


async def find_marked(connection: Connection) -> tuple[MarkedSchema, ...]:
    """Return the schemas of the session's database that bear a mark, by name."""
    rows = await fetch_all(
        connection,
        "SELECT nspname::text, oid::int8, pg_catalog.obj_description(oid, 'pg_namespace')"
        " FROM pg_catalog.pg_namespace"
        " WHERE pg_catalog.obj_description(oid, 'pg_namespace') LIKE 'fsbackup: schema %'"
        " ORDER BY nspname",
    )
    return tuple(
        MarkedSchema(name, oid, mark)
        for name, oid, comment in rows
        if (mark := parse_mark(comment)) is not None
    )


async def schema_oids(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Return the OIDs of those of the schemas that are there."""
    rows = await fetch_all(
        connection,
        "SELECT nspname::text, oid::int8 FROM pg_catalog.pg_namespace WHERE nspname = ANY (%s)",
        [list(names)],
    )
    return dict(rows)


async def schema_comment(connection: Connection, oid: int) -> str | None:
    """Return a schema's comment."""
    rows = await fetch_all(
        connection, "SELECT pg_catalog.obj_description(%s::oid, 'pg_namespace')", [oid]
    )
    return None if rows[0][0] is None else str(rows[0][0])


async def set_comment(connection: Connection, schema: str, comment: str | None) -> None:
    """Give a schema its comment, or none."""
    await connection.execute(
        sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(comment))
    )


def beside_name(schema: str, tag: str) -> str:
    """Return ``SCHEMA__r_TAG``, under which a restored schema stands beside the live one."""
    return shortened(schema, f"__r_{tag}")


def check_tag(tag: str) -> None:
    """Raise UsageError for what can't be part of a schema's name as it is."""
    if _TAG.fullmatch(tag) is None:
        raise UsageError(
            f"NO TAG: {tag!r} can't mark a schema's name.",
            fix="Use 1 to 24 small letters, digits and underscores.",
        )


def check_different(names: Sequence[str]) -> None:
    """Raise UsageError where two of the names that are to be used are one."""
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise UsageError(
            f"SAME NAME TWICE: {', '.join(twice)}.",
            why="Long names are cut to PostgreSQL's 63 bytes, and became the same.",
            fix="Recover these schemas one after the other.",
        )
