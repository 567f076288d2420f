"""Narrowing a table to the rows that have to do with what is put back elsewhere.

Whoever deleted a row on purpose, before or after the damage, does not want it back because
others of its table were lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import ForeignKey
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Link, Schema, Table
from fsbackup_tui.engines.postgres.merge.differences import differs
from fsbackup_tui.engines.postgres.merge.work import (
    AND,
    CHANGED,
    MISSING,
    Work,
    match,
    names,
)


def as_the_action_left_it(table: Table, key: ForeignKey) -> sql.Composable:
    """Return that live's ``r`` has lost its parent: NULL, or the default, in some column.

    A row that was given another parent since is nobody's to take back.
    """
    left: list[sql.Composable] = []
    for name in key.columns:
        column = table.column(name)
        live = sql.Identifier("r", name)
        if key.on_delete == "set default" and column is not None and column.default is not None:
            left.append(
                sql.SQL("ROW({})::pg_catalog.text = ROW(({})::{})::pg_catalog.text").format(
                    live, sql.SQL(column.default), sql.SQL(column.type)
                )
            )
        else:
            left.append(sql.SQL("{} IS NULL").format(live))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(left))


async def leave_related(
    connection: Connection, schema: Schema, works: Mapping[TableName, Work]
) -> None:
    """Leave of narrowed tables only what is related to rows that are put back."""
    narrowed = [work for work in works.values() if work.choice.narrow]
    for work in narrowed:
        await connection.execute(
            sql.SQL("UPDATE {} AS d SET reason = {} WHERE {}").format(
                work.rows, sql.Literal("unrelated\t"), work.chosen(MISSING, CHANGED)
            )
        )
    reaching = _Reaching(connection, schema, works)
    while narrowed:
        reached = 0
        for work in narrowed:
            if "with parents" in work.choice.narrow:
                reached += await reaching.children(work)
            if "needed" in work.choice.narrow:
                reached += await reaching.parents(work)
        if not reached:
            return


class _Reaching:
    """One round: from the rows that are in to those that they reach."""

    def __init__(
        self, connection: Connection, schema: Schema, works: Mapping[TableName, Work]
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._works = works

    async def children(self, work: Work) -> int:
        """Let the rows in that went with a parent that is in, or lost it; return how many."""
        reached = 0
        for link in self._schema.links_of(work.table.full_name):
            parent = self._works.get(link.key.parent)
            if parent is None or parent.choice.narrow == ("needed",):
                continue
            if not set(link.key.columns) <= set(work.staged.columns):
                continue
            refers = self._refers(work, parent, link)
            if link.key.takes_along:
                reached += await self._let_in(work, MISSING, refers)
            if set(link.key.columns) & set(work.overwritten):
                lost = sql.SQL("{} AND EXISTS (SELECT FROM {} WHERE {} AND {} AND {})").format(
                    refers,
                    work.live("r"),
                    work.same_key(),
                    as_the_action_left_it(work.table, link.key),
                    self._nothing_else(work),
                )
                reached += await self._let_in(work, CHANGED, lost)
        return reached

    def _nothing_else(self, work: Work) -> sql.Composable:
        """Return that overwriting takes nothing from live's ``r`` that it was given since."""
        links = self._schema.links_of(work.table.full_name)
        spared: list[sql.Composable] = []
        for name in work.overwritten:
            left = [
                as_the_action_left_it(work.table, link.key)
                for link in links
                if name in link.key.columns
            ]
            same = sql.SQL("NOT ({})").format(differs(work.staged.columns, name))
            spared.append(sql.SQL("({})").format(sql.SQL(" OR ").join([same, *left])))
        return AND.join(spared)

    def _refers(self, work: Work, parent: Work, link: Link) -> sql.Composable:
        return sql.SQL("EXISTS (SELECT FROM {} AS q WHERE {})").format(
            parent.image(MISSING),
            match(
                link.operators,
                names(link.key.parent_columns, "q"),
                [work.staged_value(name) for name in link.key.columns],
            ),
        )

    async def parents(self, work: Work) -> int:
        """Let the missing rows in that a row which is in refers to; return how many."""
        reached = 0
        for link in self._schema.links_to(work.table.full_name):
            child = self._works.get(link.key.table)
            if child is None or not set(link.key.parent_columns) <= set(work.staged.columns):
                continue
            needed = sql.SQL("EXISTS (SELECT FROM {} AS q WHERE {})").format(
                child.image(),
                match(
                    link.operators,
                    [work.staged_value(name) for name in link.key.parent_columns],
                    names(link.key.columns, "q"),
                ),
            )
            reached += await self._let_in(work, MISSING, needed)
        return reached

    async def _let_in(self, work: Work, row_class: str, condition: sql.Composable) -> int:
        cursor = await self._connection.execute(
            sql.SQL(
                "UPDATE {} AS d SET reason = NULL FROM {} AS s WHERE s.id = d.id"
                " AND d.reason LIKE 'unrelated%' AND d.class = {} AND {}"
            ).format(work.rows, work.content, sql.Literal(row_class), condition)
        )
        return cursor.rowcount
