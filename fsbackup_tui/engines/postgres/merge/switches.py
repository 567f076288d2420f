"""A table's own triggers switched off for one transaction, each by its name, and on again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_ON = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}


@dataclass(frozen=True, slots=True)
class Trigger:
    """A user's trigger that fires, on a table or one of its partitions."""

    schema: str
    table: str
    name: str
    fires: str

    @property
    def label(self) -> str:
        """The trigger as people read it: ``schema.table: name``."""
        return f"{self.schema}.{self.table}: {self.name}"

    def alter(self, how: str) -> sql.Composed:
        """Return the statement that switches this one alone."""
        return sql.SQL("ALTER TABLE ONLY {} {} {}").format(
            sql.Identifier(self.schema, self.table), sql.SQL(how), sql.Identifier(self.name)
        )


async def find_triggers(connection: Connection, tables: Sequence[int]) -> list[Trigger]:
    """Return the users' triggers that fire on these tables (OIDs) and their partitions.

    Those that check foreign keys are the server's own, and stay on.
    """
    rows = await fetch_all(
        connection,
        "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text"
        " FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        # PostgreSQL 14 calls a partition's own copy of the user's trigger internal.
        " WHERE (NOT t.tgisinternal OR t.tgparentid <> 0 AND NOT EXISTS (SELECT FROM"
        " pg_constraint AS k WHERE k.oid = t.tgconstraint AND k.contype <> 't'))"
        " AND t.tgenabled IN ('O', 'A')"
        " AND coalesce(CASE WHEN c.relispartition THEN pg_partition_root(c.oid) END, c.oid)::int8"
        " = ANY (%s) ORDER BY 1, 2, 3",
        [list(tables)],
    )
    return [Trigger(*row) for row in rows]


async def switch_off(connection: Connection, triggers: Sequence[Trigger]) -> None:
    """Switch them off until the end of the transaction, or ``switch_on``."""
    for trigger in triggers:
        await connection.execute(trigger.alter("DISABLE TRIGGER"))


async def switch_on(
    connection: Connection, triggers: Sequence[Trigger], tables: Sequence[int]
) -> None:
    """Switch them on as they were; PostgresError unless all fire as before."""
    for trigger in triggers:
        await connection.execute(trigger.alter(_ON[trigger.fires]))
    if await find_triggers(connection, tables) != list(triggers):
        raise PostgresError(
            "TRIGGERS NOT AS BEFORE: nothing was merged.",
            why="After they were switched on again, not the same ones fire as before.",
            fix="See who alters triggers now, then merge again.",
        )
