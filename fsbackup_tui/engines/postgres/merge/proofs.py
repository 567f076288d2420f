"""What a merge proves before it commits: it did what was foretold, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.merge import TableEffect
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Schema
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.work import (
    AND,
    CHANGED,
    COMMA,
    MISSING,
    Work,
    hash_of,
    match,
    names,
)

Counts = tuple[int, int, int]
"""Rows inserted, updated, deleted."""


class Touched:
    """The server's own count of what this transaction does to each table.

    It sees what no query of the result can: rows that an action of a foreign key or a trigger
    changed in a table that nobody named.
    """

    def __init__(self, connection: Connection, staging: Staging, before: Mapping[int, Counts]):
        self._connection = connection
        self._staging = staging
        self._before = before

    @classmethod
    async def begin(cls, connection: Connection, staging: Staging) -> Touched:
        """Remember where the counts stand, which may tell of earlier transactions.

        Raises:
            PostgresError: the server counts nothing here.
        """
        rows = await fetch_all(
            connection, "SELECT pg_catalog.current_setting('track_counts')::pg_catalog.bool"
        )
        if not rows[0][0]:
            raise PostgresError(
                "NOT MERGED: the server does not count what is done. Nothing changed.",
                why="track_counts is off, so nobody could prove that only these rows changed.",
                fix="ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf(); merge again.",
            )
        return cls(connection, staging, await cls._read(connection, staging))

    @staticmethod
    async def _read(connection: Connection, staging: Staging) -> dict[int, Counts]:
        found: dict[int, Counts] = {}
        for oid, *counts in await fetch_all(connection, _COUNTS, [staging.schema]):
            inserted, updated, deleted = counts
            found[oid] = (int(inserted), int(updated), int(deleted))
        return found

    async def check(self, works: Sequence[Work], effects: Sequence[TableEffect]) -> None:
        """Raise PostgresError unless exactly the foretold rows were touched, in all tables.

        A row that moves between partitions counts as one deleted and one inserted.
        """
        expected = {effect.table: effect for effect in effects}
        foretold = {work.table.oid: expected[work.table.full_name] for work in works}
        after = await self._read(self._connection, self._staging)
        for oid in after.keys() | foretold.keys():
            was, now = self._before.get(oid, (0, 0, 0)), after.get(oid, (0, 0, 0))
            inserted, updated, deleted = (b - a for a, b in zip(was, now, strict=True))
            effect = foretold.get(oid, TableEffect(("", "")))
            moves = inserted - effect.inserted
            if (
                moves < 0
                or deleted - effect.deleted != moves
                or effect.overwritten - updated != moves
            ):
                raise PostgresError(
                    "NOT MERGED: other rows than foretold were touched. Nothing changed.",
                    why=f"{await self._name(oid)}: {inserted} rows in, {updated} over, {deleted} "
                    f"out; foretold were {effect.inserted}, {effect.overwritten}, "
                    f"{effect.deleted}.",
                    fix="Look for what acts on that table by itself (rules, foreign keys).",
                )

    async def _name(self, oid: int) -> str:
        rows = await fetch_all(
            self._connection, "SELECT %s::pg_catalog.oid::pg_catalog.regclass::text", [oid]
        )
        return str(rows[0][0])


_COUNTS = """
SELECT coalesce(CASE WHEN c.relispartition THEN pg_partition_root(c.oid) END, c.oid)::int8,
       sum(s.n_tup_ins), sum(s.n_tup_upd), sum(s.n_tup_del)
FROM pg_stat_xact_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
WHERE s.schemaname <> %s
GROUP BY 1
"""


async def check_content(connection: Connection, works: Sequence[Work]) -> None:
    """Raise PostgresError unless each row that was written holds what was staged for it."""
    for work in works:
        for row_class, columns in ((MISSING, work.staged.columns), (CHANGED, work.overwritten)):
            if row_class not in work.classes:
                continue
            cursor = await connection.execute(_not_as_staged(work, row_class, columns))
            row = await cursor.fetchone()
            if row is None or row[0]:
                raise PostgresError(
                    f"NOT MERGED: rows of {work.table.schema}.{work.table.name} did not become "
                    "what they should. Nothing changed.",
                    why=f"{row[0] if row else 'Some'} rows differ from the copy's after they "
                    "were written.",
                    fix="Look for what changes rows of that table by itself.",
                )


def _not_as_staged(work: Work, row_class: str, columns: Sequence[str]) -> sql.Composed:
    wanted = hash_of(columns, [name for name in columns if name in work.staged.raw])
    staged = COMMA.join(
        sql.SQL("{} AS {}").format(work.staged_value(name), sql.Identifier(name))
        for name in columns
    )
    number = sql.Identifier(work.number)
    keys = COMMA.join(work.staged_key())
    return sql.SQL(
        "SELECT pg_catalog.count(*) FROM (SELECT {keys}, {hash} AS h FROM {rows} AS d"
        " JOIN (SELECT s.id AS {number}, {staged} FROM {content} AS s) AS r"
        " ON r.{number} = d.id WHERE {chosen}) AS d"
        " WHERE NOT EXISTS (SELECT FROM {live} WHERE {same} AND {hash} = d.h)"
    ).format(
        keys=keys,
        hash=wanted,
        rows=work.rows,
        number=number,
        staged=staged,
        content=work.content,
        chosen=work.chosen(row_class),
        live=work.live("r"),
        same=work.same_key(),
    )


async def check_parents(connection: Connection, schema: Schema, works: Sequence[Work]) -> None:
    """Raise PostgresError if a row that was written refers to one that is not there.

    The server checks the same, unless somebody switched its own triggers off.
    """
    for work in works:
        for link in schema.links_of(work.table.full_name):
            key = link.key
            classes = [MISSING, *([CHANGED] if set(key.columns) & set(work.overwritten) else [])]
            if not set(classes) & set(work.classes):
                continue
            columns = names(key.columns, "r")
            statement = sql.SQL(
                "SELECT pg_catalog.count(*) FROM {rows} AS d JOIN {live} ON {same}"
                " WHERE {chosen} AND {refers}"
                " AND NOT EXISTS (SELECT FROM {parent} WHERE {equal})"
            ).format(
                rows=work.rows,
                live=work.live("r"),
                same=work.same_key(),
                chosen=work.chosen(*classes),
                refers=AND.join(sql.SQL("{} IS NOT NULL").format(column) for column in columns),
                parent=schema.tables[key.parent].from_clause("p"),
                equal=match(link.operators, names(key.parent_columns, "p"), columns),
            )
            row = await (await connection.execute(statement)).fetchone()
            if row is None or row[0]:
                raise PostgresError(
                    f"NOT MERGED: {_of(work.table.full_name)} would refer to what is not there.",
                    why=f"{row[0] if row else 'Some'} rows have no parent by {key.name}.",
                    fix="Put the parents back, too.",
                )


def _of(table: TableName) -> str:
    return f"{table[0]}.{table[1]}"
