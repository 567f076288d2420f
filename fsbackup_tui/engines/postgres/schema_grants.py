"""What roles may do with the tables of a schema, against those of the schema that takes its place.

A dump brings its grants along; those given since are the difference, and the application's role
may be among who has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema_pairs import SchemaPair

_MOST = 50


async def grant_differences(connection: Connection, pairs: Sequence[SchemaPair]) -> tuple[str, ...]:
    """Return in words what roles may do now and may not then, and the other way round.

    By table and role; the owner's rights count as grants.
    """
    differences: list[str] = []
    for pair in pairs:
        rows = await fetch_all(
            connection, _DIFFERENCES, {"live": pair.leaving_oid, "coming": pair.coming_oid}
        )
        for table, role, lost, won in rows:
            name = f"{pair.schema}.{table}"
            if lost:
                differences.append(f"{role} may {lost} {name} now, and not after the swap")
            if won:
                differences.append(f"{role} may not {won} {name} now, and may after the swap")
    if len(differences) > _MOST:
        more = len(differences) - _MOST
        return (*differences[:_MOST], f"and {more} more differences of grants")
    return tuple(differences)


_DIFFERENCES = """
WITH granted AS (
    SELECT c.relnamespace = %(live)s::oid AS live, c.relname::text AS name,
           coalesce(r.rolname::text, 'PUBLIC') AS role, a.privilege_type AS privilege
    FROM pg_class AS c
    CROSS JOIN LATERAL aclexplode(coalesce(
        c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
    )) AS a
    LEFT JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND c.relnamespace IN (%(live)s::oid, %(coming)s::oid)
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.deptype = 'e'
                      AND d.classid = 'pg_class'::regclass AND d.objid = c.oid)
), both_have AS (
    SELECT name FROM granted GROUP BY name HAVING count(DISTINCT live) = 2
), each AS (
    SELECT name, role, privilege, bool_or(live) AS now, bool_or(NOT live) AS later
    FROM granted WHERE name IN (SELECT name FROM both_have) GROUP BY 1, 2, 3
)
SELECT name, role, string_agg(privilege, ', ' ORDER BY privilege) FILTER (WHERE now AND NOT later),
       string_agg(privilege, ', ' ORDER BY privilege) FILTER (WHERE later AND NOT now)
FROM each WHERE now <> later GROUP BY 1, 2 ORDER BY 1, 2
"""
