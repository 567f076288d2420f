"""What foreign keys have to do with the rows that are missing: losses that were passed on."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import LinkDifference
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Link, Schema
from fsbackup_tui.engines.postgres.merge.reaching import as_the_action_left_it
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, Staging
from fsbackup_tui.engines.postgres.merge.work import key_operators, match, names, numbered


async def compare_links(
    live: Connection, schema: Schema, staging: Staging, tables: Mapping[TableName, StagedTable]
) -> tuple[LinkDifference, ...]:
    """Return the foreign keys through which missing parent rows took others along."""
    found: list[LinkDifference] = []
    for link in schema.links:
        child, parent = tables.get(link.key.table), tables.get(link.key.parent)
        if child is None or parent is None or not parent.missing:
            continue
        if not (
            set(link.key.columns) <= set(child.columns)
            and set(link.key.parent_columns) <= set(parent.columns)
        ):
            continue
        looking = _Looking(schema, staging, link, child, parent)
        lost = await _count(live, looking.lost()) if child.missing else 0
        unlinked = await _count(live, looking.unlinked()) if child.changed else 0
        if lost or unlinked:
            found.append(LinkDifference(link.key, lost, unlinked))
    return tuple(found)


async def _count(live: Connection, statement: sql.Composed) -> int:
    row = await (await live.execute(statement)).fetchone()
    return int(row[0]) if row else 0


class _Looking:
    """The two questions about one foreign key, asked of what was staged."""

    def __init__(
        self,
        schema: Schema,
        staging: Staging,
        link: Link,
        child: StagedTable,
        parent: StagedTable,
    ) -> None:
        self._schema = schema
        self._staging = staging
        self._link = link
        self._child = child
        self._parent = parent

    def _referred_to_missing(self) -> sql.Composable:
        """Return the condition that the copy's row ``s`` refers to a parent that is missing."""
        key = self._link.key
        columns = self._child.columns
        mine = [sql.Identifier("s", f"c{columns.index(name) + 1}") for name in key.columns]
        theirs = [
            sql.Identifier("ps", f"c{self._parent.columns.index(name) + 1}")
            for name in key.parent_columns
        ]
        return sql.SQL(
            "EXISTS (SELECT FROM {} AS p JOIN {} AS ps ON ps.id = p.id WHERE p.class = 'm' AND {})"
        ).format(
            self._staging.relation(self._parent.rows),
            self._staging.relation(self._parent.content),
            match(self._link.operators, theirs, mine),
        )

    def _from(self) -> sql.Composable:
        return sql.SQL("FROM {} AS d JOIN {} AS s ON s.id = d.id").format(
            self._staging.relation(self._child.rows), self._staging.relation(self._child.content)
        )

    def lost(self) -> sql.Composed:
        """Return the query that counts missing rows whose parent is missing, too."""
        return sql.SQL("SELECT pg_catalog.count(*) {} WHERE d.class = 'm' AND {}").format(
            self._from(), self._referred_to_missing()
        )

    def unlinked(self) -> sql.Composed:
        """Return the query that counts changed rows that lost their parent."""
        child, key = self._child, self._link.key
        table = self._schema.tables[child.full_name]
        return sql.SQL(
            "SELECT pg_catalog.count(*) {} JOIN {} ON {} WHERE d.class = 'c' AND {} AND {}"
        ).format(
            self._from(),
            table.from_clause("r"),  # a changed row has a key
            match(
                key_operators(table, child.key),
                names(numbered("k", len(child.key)), "d"),
                names(child.key, "r"),
            ),
            as_the_action_left_it(table, key),
            self._referred_to_missing(),
        )
