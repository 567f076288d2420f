"""A few rows that differ, as text, so that a person sees what a plan is about."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from fsbackup_tui.domain.merge import MergePlan, SampleRow, SampleValue, TableDifference
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Table, read_schema
from fsbackup_tui.engines.postgres.merge.differences import differs
from fsbackup_tui.engines.postgres.merge.judging import CLASSES, key_text
from fsbackup_tui.engines.postgres.merge.planning import COPY_SET
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, Staging, read_set
from fsbackup_tui.engines.postgres.merge.work import (
    CHANGED,
    COMMA,
    MISSING,
    ONLY_IN_LIVE,
    key_operators,
    match,
    names,
    numbered,
    rows_of,
)

ROWS, COLUMNS, LETTERS = 5, 12, 120
_CUT = "…"


async def with_samples(live: Connection, staging: Staging, plan: MergePlan) -> MergePlan:
    """Return the plan with some rows of each class and table, those that meet a filter first."""
    tables = (await read_schema(live)).tables
    staged = {each.full_name: each for each in (await read_set(live, staging, COPY_SET)).tables}
    told: list[TableDifference] = []
    for difference in plan.tables:
        each = staged.get(difference.table)
        rows: tuple[SampleRow, ...] = ()
        if each is not None:
            looking = _Looking(live, staging, each, tables[difference.table], difference)
            rows = await looking.rows()
        told.append(replace(difference, sample=rows))
    return replace(plan, tables=tuple(told))


class _Looking:
    """A look at what was staged of one table."""

    def __init__(
        self,
        live: Connection,
        staging: Staging,
        staged: StagedTable,
        table: Table,
        difference: TableDifference,
    ) -> None:
        self._live = live
        self._staging = staging
        self._staged = staged
        self._table = table
        changed = difference.changed_columns
        self._changed = sorted(changed, key=lambda name: (-changed[name], name))[:COLUMNS]

    async def rows(self) -> tuple[SampleRow, ...]:
        """Return some rows of each class."""
        staged = self._staged
        found: list[SampleRow] = []
        for letter, count in (
            (MISSING, staged.missing),
            (CHANGED, staged.changed),
            (ONLY_IN_LIVE, staged.only_in_live),
        ):
            if count:
                found += await self._of_class(letter)
        return tuple(found)

    async def _of_class(self, letter: str) -> list[SampleRow]:
        staged = self._staged
        columns = self._changed if letter == CHANGED else list(staged.columns[:COLUMNS])
        values = [value for name in columns for value in self._three(name)]
        key = [] if staged.whole_rows else [key_text(staged.key, "d")]
        same = match(
            key_operators(self._table, staged.key, whole_rows=staged.whole_rows),
            names(numbered("k", len(staged.key)), "d"),
            names(staged.key, "r"),
        )
        statement = sql.SQL(
            "SELECT {what} FROM (SELECT * FROM {rows} WHERE class = {letter}"
            " ORDER BY wanted DESC, {keys} LIMIT {limit}) AS d"
            " LEFT JOIN {content} AS s ON s.id = d.id LEFT JOIN {live} ON {same}"
            " AND d.class <> 'm' ORDER BY d.wanted DESC, {keys}"
        ).format(
            keys=COMMA.join(names(numbered("k", len(staged.key)))),
            what=COMMA.join([*key, *values] or [sql.SQL("1")]),
            rows=self._staging.relation(staged.rows),
            letter=sql.Literal(letter),
            limit=sql.Literal(ROWS),
            content=self._staging.relation(staged.content),
            live=rows_of(
                self._table,
                "r",
                staged.key,
                staged.columns,
                whole_rows=staged.whole_rows,
            ),
            same=same,
        )
        keys = 0 if staged.whole_rows else len(staged.key)
        found: list[SampleRow] = []
        for row in await (await self._live.execute(statement)).fetchall():
            told = [
                SampleValue(name, _cut(row[at]), _cut(row[at + 1]))
                for at, name in zip(range(keys, len(row), 3), columns, strict=False)
                if letter != CHANGED or row[at + 2]
            ]
            key_values = tuple(_cut(value) or "" for value in row[:keys])
            found.append(SampleRow(CLASSES[letter], key_values, tuple(told)))
        return found

    def _three(self, name: str) -> list[sql.Composable]:
        """Return a column's value in the copy, that in live, and whether they differ."""
        theirs = sql.Identifier("s", f"c{self._staged.columns.index(name) + 1}")
        return [
            _text(theirs),
            _text(sql.Identifier("r", name)),
            differs(self._staged.columns, name),
        ]


def _text(value: sql.Composable) -> sql.Composable:
    return sql.SQL(
        "CASE WHEN {0} IS NOT NULL THEN pg_catalog.left(pg_catalog.format('%s', {0}), {1}) END"
    ).format(value, sql.Literal(LETTERS + 1))


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= LETTERS:
        return text
    return text[:LETTERS] + _CUT
