"""The schema in live that holds what a merge staged and what undoes it, until it is dropped.

A *set* of changes is staged for any number of tables, in two relations for each:

``sN_rows_T``      one line per row: its id, class, key (``k1`` …), the hash of live's row as
                   it was looked at, whether it is ``wanted``, and the ``reason`` it stays out for
``sN_content_T``   the content (``c1`` …) that missing and changed rows shall get

Columns have numbers, so that no name of the site's can meet one of ours. Set 0 comes from the
copy; each merge writes the set that undoes it, in the same transaction. The table ``sets`` knows
them all, so that a set can be applied by another session, another day. ``lost`` has what live
lost besides rows, ``column_N`` a lost column's values by key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal, StagingLost
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import LONGEST_NAME_BYTES

_PREFIX = "fsbackup_merge_"
_MARK = "fsbackup: rows staged to merge for incident {} by job {}. Drop it when that is closed."
_MARKED = re.compile(
    r"fsbackup: rows staged to merge for incident (?P<incident>.*) by job (?P<job>.*)\. Drop it",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Staging:
    """A staging schema; ``crash_safe``: what undoes a merge survives a crash of the server.

    It does not where a publication takes all tables: the undo is unlogged then, as a subscriber
    that lacks the table would stop at its first row.
    """

    schema: str
    incident: str
    crash_safe: bool

    def relation(self, name: str) -> sql.Identifier:
        """Return one of its relations as an identifier."""
        return sql.Identifier(self.schema, name)


@dataclass(frozen=True, slots=True)
class StagedTable:
    """One table of a set: its key and columns in live, and how many rows of each class.

    ``raw`` are the columns that the rows' hash takes as they are, the rest goes as text.
    ``whole_rows``: there is no key; ``key`` then names three columns that no table has, a
    row's hashes and its number among its equals, which ``rows_of`` adds.
    """

    set_number: int
    number: int
    schema: str
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    raw: tuple[str, ...]
    missing: int
    changed: int
    only_in_live: int
    whole_rows: bool = False

    @property
    def full_name(self) -> TableName:
        """The table's name in live."""
        return self.schema, self.name

    @property
    def rows(self) -> str:
        """The name of the relation with its rows' keys."""
        return f"s{self.set_number}_rows_{self.number}"

    @property
    def content(self) -> str:
        """The name of the relation with the rows' content."""
        return f"s{self.set_number}_content_{self.number}"


@dataclass(frozen=True, slots=True)
class StagedSet:
    """A set of changes: 0 is the copy's; the others undo the merge of the set ``undoes``.

    ``applied_by`` is the set that undoes what this one did; None: it was never applied.
    ``recreated`` is what that merge made again beside rows (recreating.py). ``note`` is what its
    maker wrote down with it.
    """

    number: int
    undoes: int | None
    applied_by: int | None
    tables: tuple[StagedTable, ...]
    recreated: Mapping[str, Any]
    note: str


@dataclass(frozen=True, slots=True)
class LeftStaging:
    """A staging schema found in a database: of whom, made by which job, its size in bytes."""

    schema: str
    incident: str
    owner: str
    bytes: int
    job: str


def staging_name(incident: str, number: int = 1) -> str:
    """Return the schema's name for an incident's plan; only the incident is shortened."""
    suffix = "" if number == 1 else f"_{number}"
    room = LONGEST_NAME_BYTES - len(_PREFIX) - len(suffix)
    return _PREFIX + incident.encode()[:room].decode("utf-8", "ignore") + suffix


async def create_staging(
    live: Connection, incident: str, *, job: str = "-", number: int = 1
) -> Staging:
    """Make a staging schema of an incident in live, marked as fsbackup's.

    Raises:
        SafetyRefusal: there is one already.
        RightsMissing: the role may not make schemas in this database.
    """
    name = staging_name(incident, number)
    published = await fetch_all(live, "SELECT count(*) FROM pg_publication WHERE puballtables")
    staging = Staging(name, incident, crash_safe=not published[0][0])
    try:
        async with live.transaction():
            await live.execute("SET TRANSACTION READ WRITE")
            await live.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            await live.execute(
                sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(name))
            )
            await live.execute(
                sql.SQL("COMMENT ON SCHEMA {} IS {}").format(
                    sql.Identifier(name), sql.Literal(_MARK.format(incident, job))
                )
            )
            await live.execute(
                sql.SQL(
                    "CREATE {} TABLE {} (number int4 PRIMARY KEY, undoes int4, applied_by int4,"
                    " made timestamptz NOT NULL DEFAULT pg_catalog.now(), tables jsonb NOT NULL,"
                    " recreated jsonb NOT NULL, note text NOT NULL)"
                ).format(_persistence(staging), staging.relation("sets"))
            )
            await live.execute(
                sql.SQL(
                    "CREATE {} TABLE {} (kind text, schema text, name text, item text,"
                    " definition jsonb)"
                ).format(_persistence(staging), staging.relation("lost"))
            )
    except psycopg.errors.DuplicateSchema as error:
        raise SafetyRefusal(
            f"ALREADY STAGED: the schema {name} is there.",
            why="It holds what an earlier merge of this incident staged, and what undoes it.",
            fix=f"Go on with it, or drop it by its name: {name}",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise RightsMissing(
            "NOTHING STAGED: this role may not make a schema in the live database.",
            why=str(error).strip().splitlines()[0],
            fix="GRANT CREATE ON DATABASE … TO this role, or use the database's owner.",
        ) from error
    return staging


def _persistence(staging: Staging) -> sql.SQL:
    return sql.SQL("" if staging.crash_safe else "UNLOGGED")


async def open_staging(live: Connection, schema: str) -> Staging:
    """Return the staging schema of that name; SafetyRefusal if it is none of fsbackup's."""
    rows = await fetch_all(
        live,
        "SELECT pg_catalog.obj_description(n.oid, 'pg_namespace'), EXISTS (SELECT FROM pg_class"
        " AS c WHERE c.relnamespace = n.oid AND c.relname = 'sets' AND c.relpersistence = 'p')"
        " FROM pg_namespace AS n WHERE n.nspname = %s",
        [schema],
    )
    found = _MARKED.match(rows[0][0] or "") if rows else None
    if found is None:
        raise SafetyRefusal(
            f"NOT OURS: the schema {schema} is not one that fsbackup staged a merge in.",
            why="It is not there." if not rows else "Its comment does not say so.",
            fix="See what is there: fsbackup leftovers",
        )
    return Staging(schema, found["incident"], crash_safe=bool(rows[0][1]))


async def find_stagings(live: Connection) -> tuple[LeftStaging, ...]:
    """Return all staging schemas in the database, by their mark."""
    rows = await fetch_all(
        live,
        "SELECT n.nspname::text, pg_catalog.obj_description(n.oid, 'pg_namespace'),"
        " pg_catalog.pg_get_userbyid(n.nspowner)::text, coalesce((SELECT"
        " pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_class AS c"
        " WHERE c.relnamespace = n.oid AND c.relkind = 'r'), 0)::int8"
        " FROM pg_namespace AS n WHERE n.nspname ~ '^fsbackup_merge_' ORDER BY 1",
    )
    return tuple(
        LeftStaging(schema, found["incident"], owner, size, found["job"])
        for schema, comment, owner, size in rows
        if (found := _MARKED.match(comment or "")) is not None
    )


async def drop_staging(live: Connection, schema: str) -> None:
    """Drop a staging schema with all that is in it: what was merged can't be undone any more.

    Raises:
        SafetyRefusal: it is none of fsbackup's.
        PostgresError: the server refuses, say as something outside depends on it.
    """
    staging = await open_staging(live, schema)
    try:
        async with live.transaction():
            await live.execute("SET TRANSACTION READ WRITE")
            await drop_relations(live, staging, "")
            await live.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(staging.schema)))
    except psycopg.Error as error:
        raise PostgresError(
            f"LEFT OVER: the schema {schema} could not be dropped.",
            why=str(error).strip().splitlines()[0],
            fix=f'Look what is in it (psql: \\d "{schema}".*), then drop it yourself.',
        ) from error


async def drop_relations(live: Connection, staging: Staging, prefix: str) -> None:
    """Drop the staging schema's tables whose names begin like this."""
    tables = await fetch_all(
        live,
        "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n"
        " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'p')"
        " AND pg_catalog.starts_with(c.relname::text, %s)",
        [staging.schema, prefix],
    )
    if tables:
        listed = sql.SQL(", ").join(staging.relation(name) for (name,) in tables)
        await live.execute(sql.SQL("DROP TABLE {}").format(listed))


async def read_sets(live: Connection, staging: Staging) -> tuple[StagedSet, ...]:
    """Return the sets of a staging schema in order; none after a crash that emptied it."""
    statement = sql.SQL(
        "SELECT number, undoes, applied_by, tables, recreated, note FROM {} ORDER BY number"
    )
    cursor = await live.execute(statement.format(staging.relation("sets")))
    return tuple(
        StagedSet(
            number,
            undoes,
            applied_by,
            tuple(_staged_table(item) for item in tables),
            recreated,
            note,
        )
        for number, undoes, applied_by, tables, recreated, note in await cursor.fetchall()
    )


async def read_set(live: Connection, staging: Staging, number: int) -> StagedSet:
    """Return one set, which must be there whole.

    Raises:
        PostgresError: it is not, or a crash of the server emptied it.
    """
    for found in await read_sets(live, staging):
        if found.number == number:
            for table in found.tables:
                await _check_whole(live, staging, table)
            return found
    raise StagingLost(
        f"NOT STAGED: {staging.schema} has no set {number}.",
        why="It was never made, or a crash of the server emptied it.",
        fix="Compare again: it stages the differences anew.",
    )


async def _check_whole(live: Connection, staging: Staging, table: StagedTable) -> None:
    statement = sql.SQL("SELECT pg_catalog.count(*) FROM {}")
    cursor = await live.execute(statement.format(staging.relation(table.rows)))
    row = await cursor.fetchone()
    expected = table.missing + table.changed + table.only_in_live
    if row is None or row[0] != expected:
        raise StagingLost(
            f"STAGED ROWS LOST: {table.schema}.{table.name} has not all that was staged.",
            why=f"{expected} rows were staged, {row[0] if row else 0} are there: a crash of the "
            "server empties unlogged tables.",
            fix="Compare again: it stages the differences anew.",
        )


async def add_set(
    live: Connection,
    staging: Staging,
    number: int,
    tables: Iterable[StagedTable],
    *,
    undoes: int | None = None,
    recreated: Mapping[str, Any] | None = None,
    note: str = "",
) -> None:
    """Enter a set; one that undoes another also stands in that one's line from then on."""
    document = json.dumps([asdict(table) for table in tables])
    made_again = json.dumps(recreated or {})
    await live.execute(
        sql.SQL(
            "INSERT INTO {} (number, undoes, tables, recreated, note) VALUES ({}, {}, {}, {}, {})"
        ).format(
            staging.relation("sets"),
            *map(sql.Literal, (number, undoes, document, made_again, note)),
        )
    )
    if undoes is not None:
        await live.execute(
            sql.SQL("UPDATE {} SET applied_by = {} WHERE number = {}").format(
                staging.relation("sets"), sql.Literal(number), sql.Literal(undoes)
            )
        )


def _staged_table(item: dict[str, object]) -> StagedTable:
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in item.items()}
    return StagedTable(**values)  # type: ignore[arg-type]
