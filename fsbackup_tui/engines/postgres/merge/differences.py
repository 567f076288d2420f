"""Finding by key what differs between a table of the copy and that of live, and staging it.

First both sides add up the rows' hashes in buckets, by the hash of the key, each in one pass and
without moving a row. Where a bucket differs, its keys and hashes come over from the copy, a full
join with live's tells the classes, and only the rows that differ are fetched whole. A million
rows of which one in a hundred differs cost 12 MB of keys this way, not the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TypeVar

from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.merge import TableDifference
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Table
from fsbackup_tui.engines.postgres.merge.pairs import Pair
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, Staging
from fsbackup_tui.engines.postgres.merge.transfer import stream
from fsbackup_tui.engines.postgres.merge.work import (
    CHANGED,
    COMMA,
    MISSING,
    ONLY_IN_LIVE,
    hash_of,
    key_operators,
    match,
    names,
    numbered,
)

_ROWS_PER_BUCKET = 64
_LEAST_BUCKETS, _MOST_BUCKETS = 64, 1 << 16
# Above this share, naming the buckets costs more than it saves.
_WORTH_NAMING = 0.5

_Result = TypeVar("_Result")


class Difference:
    """One table's diff on its way from the buckets to the staged rows."""

    def __init__(self, copy: Connection, live: Connection, staging: Staging, pair: Pair) -> None:
        self._copy = copy
        self._live = live
        self._staging = staging
        self._pair = pair
        self._hash = hash_of(pair.columns, pair.raw)
        self._key_hash = (
            self._hash
            if pair.whole_rows
            else hash_of(pair.key, [name for name in pair.key if name in pair.raw])
        )
        self._buckets = _LEAST_BUCKETS

    async def find(self, number: int) -> tuple[TableDifference, StagedTable | None]:
        """Return what differs, staged as table ``number`` of set 0; None: nothing does."""
        pair = self._pair
        buckets, in_copy, in_live = await self._differing_buckets()
        if buckets is not None and not buckets:
            return self._told(in_copy, in_live), None
        empty = StagedTable(
            0,
            number,
            pair.live.schema,
            pair.live.name,
            pair.key,
            pair.columns,
            pair.raw,
            0,
            0,
            0,
            pair.whole_rows,
        )
        await self._stage_keys(empty, buckets)
        counts = await self._count_classes(empty)
        staged = replace(
            empty,
            missing=counts.get(MISSING, 0),
            changed=counts.get(CHANGED, 0),
            only_in_live=counts.get(ONLY_IN_LIVE, 0),
        )
        await self._fetch_content(staged)
        difference = replace(
            self._told(in_copy, in_live),
            missing=staged.missing,
            changed=staged.changed,
            only_in_live=staged.only_in_live,
            changed_columns=await self._changed_columns(staged),
        )
        return difference, staged

    def _told(self, in_copy: int, in_live: int) -> TableDifference:
        """Return what is known before a difference was found."""
        pair = self._pair
        key = () if pair.whole_rows else pair.key
        return TableDifference(
            pair.live.full_name, key, pair.columns, in_copy, in_live, whole_rows=pair.whole_rows
        )

    async def _differing_buckets(self) -> tuple[list[int] | None, int, int]:
        """Return the buckets that differ (None: too many to be named), and both row counts."""
        rows = max(self._pair.copy.estimated_rows, self._pair.live.estimated_rows)
        while self._buckets < min(rows // _ROWS_PER_BUCKET, _MOST_BUCKETS):
            self._buckets *= 2
        theirs, mine = await _both(
            self._sums(self._copy, self._pair.copy), self._sums(self._live, self._pair.live)
        )
        differing = sorted(
            bucket
            for bucket in theirs.keys() | mine.keys()
            if theirs.get(bucket) != mine.get(bucket)
        )
        in_copy = sum(count for count, _total in theirs.values())
        in_live = sum(count for count, _total in mine.values())
        named = len(differing) <= self._buckets * _WORTH_NAMING
        return (differing if named else None), in_copy, in_live

    def _bucket(self) -> sql.Composable:
        return sql.SQL("({} & {})").format(self._key_hash, sql.Literal(self._buckets - 1))

    async def _sums(self, connection: Connection, table: Table) -> dict[int, tuple[int, str]]:
        statement = sql.SQL(
            "SELECT b, pg_catalog.count(*), pg_catalog.sum(h)::text"
            " FROM (SELECT {} AS b, {} AS h FROM {}) AS x GROUP BY b"
        ).format(self._bucket(), self._hash, table.from_clause("r"))
        cursor = await connection.execute(statement)
        return {bucket: (count, total) for bucket, count, total in await cursor.fetchall()}

    def _in_buckets(self, buckets: list[int] | None) -> sql.Composable:
        if buckets is None:
            return sql.SQL("")
        return sql.SQL(" WHERE {} = ANY ({}::int8[])").format(
            self._bucket(), sql.Literal("{" + ",".join(map(str, buckets)) + "}")
        )

    async def _stage_keys(self, staged: StagedTable, buckets: list[int] | None) -> None:
        """Bring the copy's keys over, and stage the class of each row that differs."""
        pair, staging = self._pair, self._staging
        keys = numbered("k", len(pair.key))
        brought = staging.relation(f"{staged.rows}_keys")
        await self._live.execute(
            sql.SQL(
                "CREATE UNLOGGED TABLE {} AS SELECT {}, 0::int8 AS h FROM {} WITH NO DATA"
            ).format(brought, self._as(pair.key, keys), pair.source(pair.live))
        )
        await stream(
            self._copy,
            sql.SQL("SELECT {}, {} FROM {}{}").format(
                COMMA.join(names(pair.key, "r")),
                self._hash,
                pair.source(pair.copy),
                self._in_buckets(buckets),
            ),
            self._live,
            brought,
            binary=pair.binary(pair.key),
            what=f"keys of {pair.label}",
        )
        await self._live.execute(sql.SQL("ANALYZE {}").format(brought))
        await self._classify(staged, brought, keys, buckets)
        await self._live.execute(sql.SQL("DROP TABLE {}").format(brought))
        rows = staging.relation(staged.rows)
        for index in ("id", ", ".join(keys)):
            await self._live.execute(
                sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(rows, sql.SQL(index))
            )
        await self._live.execute(sql.SQL("ANALYZE {}").format(rows))

    async def _classify(
        self,
        staged: StagedTable,
        brought: sql.Composable,
        keys: list[str],
        buckets: list[int] | None,
    ) -> None:
        pair = self._pair
        operators = pair.operators(pair.live)
        same = match(operators, names(keys, "k"), names(keys, "r"))
        key = COMMA.join(
            sql.SQL("coalesce({}, {}) AS {}").format(
                sql.Identifier("k", name), sql.Identifier("r", name), sql.Identifier(name)
            )
            for name in keys
        )
        await self._live.execute(
            sql.SQL(
                "CREATE UNLOGGED TABLE {rows} AS SELECT pg_catalog.row_number() OVER () AS id,"
                " CASE WHEN r.h IS NULL THEN 'm' WHEN k.h IS NULL THEN 'o' ELSE 'c' END AS class,"
                " r.h AS live_hash, true AS wanted, NULL::text AS reason, {key}"
                " FROM {brought} AS k FULL JOIN (SELECT {live_key}, {hash} AS h FROM {live}{where})"
                " AS r ON {same} WHERE k.h IS NULL OR r.h IS NULL OR k.h <> r.h"
            ).format(
                rows=self._staging.relation(staged.rows),
                key=key,
                brought=brought,
                live_key=self._as(pair.key, keys),
                hash=self._hash,
                live=pair.source(pair.live),
                where=self._in_buckets(buckets),
                same=same,
            )
        )

    def _as(self, columns: Sequence[str], new: Sequence[str]) -> sql.Composable:
        return COMMA.join(
            sql.SQL("{} AS {}").format(sql.Identifier("r", column), sql.Identifier(name))
            for column, name in zip(columns, new, strict=True)
        )

    async def _count_classes(self, staged: StagedTable) -> dict[str, int]:
        cursor = await self._live.execute(
            sql.SQL("SELECT class, pg_catalog.count(*) FROM {} GROUP BY class").format(
                self._staging.relation(staged.rows)
            )
        )
        return dict(await cursor.fetchall())

    async def _fetch_content(self, staged: StagedTable) -> None:
        """Bring the rows over that are missing or changed, whole, by their keys."""
        pair = self._pair
        content = self._staging.relation(staged.content)
        columns = numbered("c", len(pair.columns))
        await self._live.execute(
            sql.SQL(
                "CREATE UNLOGGED TABLE {} AS SELECT 0::int8 AS id, {} FROM {} WITH NO DATA"
            ).format(content, self._as(pair.columns, columns), pair.source(pair.live))
        )
        expected = staged.missing + staged.changed
        if expected:
            got = await self._fetch_by_key(staged, content)
            if got != expected:
                raise PostgresError(
                    f"COPY CHANGED: {expected} rows of {pair.label} were to be fetched, "
                    f"{got} are there.",
                    why="The copy was written to while it was compared, or an index of it lies.",
                    fix="Restore it anew and prove it, then stage the differences again.",
                )
        await self._live.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (id)").format(content))
        await self._live.execute(sql.SQL("ANALYZE {}").format(content))

    async def _fetch_by_key(self, staged: StagedTable, content: sql.Composable) -> int:
        pair = self._pair
        keys = numbered("k", len(pair.key))
        asked = sql.Identifier("pg_temp", "fsbackup_asked")
        await self._copy.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(asked))
        await self._copy.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} AS SELECT 0::int8 AS id, {} FROM {} WITH NO DATA"
            ).format(asked, self._as(pair.key, keys), pair.source(pair.copy))
        )
        await stream(
            self._live,
            sql.SQL("SELECT id, {} FROM {} WHERE class IN ('m', 'c')").format(
                COMMA.join(names(keys)), self._staging.relation(staged.rows)
            ),
            self._copy,
            asked,
            binary=pair.binary(pair.key),
            what=f"keys of {pair.label} asked for",
        )
        await self._copy.execute(sql.SQL("ANALYZE {}").format(asked))
        got = await stream(
            self._copy,
            sql.SQL("SELECT a.id, {} FROM {} AS a JOIN {} ON {}").format(
                COMMA.join(names(pair.columns, "r")),
                asked,
                pair.source(pair.copy),
                match(pair.operators(pair.copy), names(keys, "a"), names(pair.key, "r")),
            ),
            self._live,
            content,
            binary=pair.binary(pair.columns),
            what=f"rows of {pair.label}",
        )
        await self._copy.execute(sql.SQL("DROP TABLE {}").format(asked))
        return got

    async def _changed_columns(self, staged: StagedTable) -> dict[str, int]:
        """Return in how many changed rows each column differs, as text."""
        pair = self._pair
        others = [name for name in pair.columns if name not in pair.key]
        if not staged.changed or not others:
            return {}
        counts = COMMA.join(
            sql.SQL("pg_catalog.count(*) FILTER (WHERE {})").format(differs(pair.columns, name))
            for name in others
        )
        statement = sql.SQL(
            "SELECT {} FROM {} AS d JOIN {} AS s ON s.id = d.id JOIN {} ON {} WHERE d.class = 'c'"
        ).format(
            counts,
            self._staging.relation(staged.rows),
            self._staging.relation(staged.content),
            pair.live.from_clause("r"),
            match(
                key_operators(pair.live, pair.key),
                names(numbered("k", len(pair.key)), "d"),
                names(pair.key, "r"),
            ),
        )
        row = await (await self._live.execute(statement)).fetchone()
        found = dict(zip(others, row or (), strict=True))
        return {name: count for name, count in found.items() if count}


async def _both(first: Awaitable[_Result], second: Awaitable[_Result]) -> tuple[_Result, _Result]:
    """Wait for both, also if one fails: no session is left in the middle of a query."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    one, other = results
    return one, other  # type: ignore[return-value]


def differs(columns: Sequence[str], name: str) -> sql.Composable:
    """Return the condition that live's ``r`` and the staged ``s`` differ in a column, as text.

    Through ROW(), as the hash goes: = may not exist for the type, or mean less than equal.
    """
    return sql.SQL("ROW({})::pg_catalog.text <> ROW({})::pg_catalog.text").format(
        sql.Identifier("s", f"c{columns.index(name) + 1}"), sql.Identifier("r", name)
    )
