"""Materialised views that show rows as they were before a merge."""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


async def stale_views(connection: Connection, tables: Sequence[int]) -> tuple[TableName, ...]:
    """Return the materialised views over these tables (OIDs), through other views as well."""
    rows = await fetch_all(connection, _OVER, [list(tables)])
    return tuple((schema, name) for schema, name in rows)


_OVER = """
WITH RECURSIVE over AS (
    SELECT c.oid FROM pg_class AS c WHERE c.oid::int8 = ANY (%s)
    UNION
    SELECT w.ev_class
    FROM over
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = over.oid
         AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS w ON w.oid = d.objid
)
SELECT n.nspname::text, c.relname::text
FROM over JOIN pg_class AS c ON c.oid = over.oid AND c.relkind = 'm'
JOIN pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY 1, 2
"""
