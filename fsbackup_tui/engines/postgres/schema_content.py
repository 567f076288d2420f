"""Moving all that is in one schema into another, where the schema itself has to stay.

An extension that can't leave its schema (PostGIS is not relocatable; what a trusted extension
made is the superuser's) keeps the schema its name. Then its content changes places instead:
``ALTER … SET SCHEMA`` for each object, with the same locks and in the same transaction as the
renames. The schema keeps its own grants and default privileges.
"""

from __future__ import annotations

from psycopg import sql

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_LISTED = 5

# What belongs to a table (indexes, owned sequences, its row type, arrays) goes with it.
_CONTENT = """
WITH members AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
here AS (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE'
            ELSE 'TABLE' END,
       format('%%I.%%I', %(schema)s, c.relname)
FROM pg_class AS c WHERE c.relnamespace = (SELECT oid FROM here)
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM members)
  AND NOT (c.relkind = 'S' AND EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text
FROM pg_type AS t WHERE t.typnamespace = (SELECT oid FROM here) AND t.typtype IN ('d', 'e')
  AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM members)
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text
FROM pg_proc AS p WHERE p.pronamespace = (SELECT oid FROM here)
  AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM members)
UNION ALL
SELECT 'OPERATOR', o.oid::regoperator::text
FROM pg_operator AS o WHERE o.oprnamespace = (SELECT oid FROM here)
  AND ('pg_operator'::regclass, o.oid) NOT IN (SELECT classid, objid FROM members)
UNION ALL
SELECT 'STATISTICS', format('%%I.%%I', %(schema)s, s.stxname)
FROM pg_statistic_ext AS s WHERE s.stxnamespace = (SELECT oid FROM here)
"""
_LEFT = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d
JOIN pg_namespace AS n ON d.refclassid = 'pg_namespace'::regclass AND n.oid = d.refobjid
WHERE n.nspname = %s AND d.deptype = 'n' AND d.classid <> 'pg_extension'::regclass
  AND NOT EXISTS (SELECT FROM pg_depend AS e
                  WHERE e.deptype = 'e' AND e.classid = d.classid AND e.objid = d.objid)
ORDER BY 1
"""


async def move_content(connection: Connection, schema: str, into: str) -> None:
    """Move all that is in a schema, but for what extensions made; in the transaction at hand.

    Raises:
        SafetyRefusal: something in it is of a kind that is not moved here.
        psycopg.Error: the server refuses one.
    """
    for kind, name in await fetch_all(connection, _CONTENT, {"schema": schema}):
        await connection.execute(
            sql.SQL("ALTER {} {} SET SCHEMA {}").format(
                sql.SQL(kind), sql.SQL(name), sql.Identifier(into)
            )
        )
    left = [str(what) for (what,) in await fetch_all(connection, _LEFT, [schema])]
    if left:
        raise SafetyRefusal(
            f"NOT DONE. Nothing changed: {schema} can't be emptied.",
            why="; ".join(left[:_LISTED]),
            fix="An extension keeps the schema where it is. Move the extension out as a "
            "superuser (ALTER EXTENSION … SET SCHEMA …), or merge the rows instead.",
        )
