"""Checking a copy's foreign keys anew, where its rows came while nothing checked them."""

from __future__ import annotations

import psycopg
from psycopg import sql

from fsbackup_tui.domain.proof import ProofCheck
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


async def check_foreign_keys(connection: Connection) -> list[ProofCheck]:
    """Drop and make each foreign key again, in transactions that are rolled back.

    VALIDATE CONSTRAINT passes over one that counts as valid already (tried); making it looks at
    all rows. Event triggers are switched off in the same transaction.
    """
    checks: list[ProofCheck] = []
    keys = await fetch_all(connection, _FOREIGN_KEYS)
    for schema, table, name, definition in keys:
        label = f"{schema}.{table}.{name}"
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD CONSTRAINT {} {}").format(
            sql.Identifier(schema, table),
            sql.Identifier(name),
            sql.Identifier(name),
            sql.SQL(definition),
        )
        try:
            async with connection.transaction(force_rollback=True):
                await _switch_event_triggers_off(connection)
                await connection.execute(statement)
        except psycopg.errors.ForeignKeyViolation:
            note = "rows refer to what is not there"
            checks.append(ProofCheck("constraint", label, "different", note))
        except psycopg.Error as error:
            if connection.broken:
                raise
            why = error.diag.message_primary or str(error).strip().splitlines()[0]
            checks.append(ProofCheck("constraint", label, "blocked", f"not checked: {why}"))
    held = len(keys) - len(checks)
    note = f"{held} hold, checked row by row"
    return [ProofCheck("constraint", "foreign keys", "equal", note), *checks]


async def _switch_event_triggers_off(connection: Connection) -> None:
    rows = await fetch_all(
        connection,
        "SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D'"
        " AND current_setting('event_triggers', true) IS DISTINCT FROM 'off'",
    )
    for (name,) in rows:
        await connection.execute(
            sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(name))
        )


_FOREIGN_KEYS = """
SELECT n.nspname::text, r.relname::text, c.conname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.conrelid
JOIN pg_namespace AS n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.convalidated AND c.conparentid = 0
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1, 2, 3
"""
