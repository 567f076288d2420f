"""What hangs on tables beside their rows: indexes, constraints, triggers, policies; and views."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import Drift, DriftKind
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Schema

DefinitionKey = tuple[DriftKind, TableName, str]


@dataclass(frozen=True, slots=True)
class Definition:
    """One of them, by its table (of a view: itself) and name, with the SQL that makes and drops it.

    ``text`` is for people. ``refers_to`` is the parent of a foreign key. A view is not made by
    ``make``: pg_dump knows its owner and privileges.
    """

    kind: DriftKind
    table: TableName
    name: str
    text: str
    make: tuple[str, ...]
    drop: str
    refers_to: TableName | None = None

    @property
    def key(self) -> DefinitionKey:
        """What tells it from any other."""
        return self.kind, self.table, self.name

    def drift(self) -> Drift:
        """Return it as something that live lost."""
        name = None if self.kind == "view" else self.name
        return Drift(self.kind, self.table, name, self.text, None)


async def read_definitions(connection: Connection) -> Mapping[DefinitionKey, Definition]:
    """Return those of a database, but for what belongs to an extension or to a partition."""
    found = [_definition(row) for query in _QUERIES for row in await fetch_all(connection, query)]
    return {definition.key: definition for definition in found}


def _definition(row: tuple[Any, ...]) -> Definition:
    kind, schema, table, name, text, make, drop, parent_schema, parent = row
    refers_to = None if parent is None else (parent_schema, parent)
    statements = tuple(statement for statement in make if statement)
    return Definition(kind, (schema, table), name, text, statements, drop, refers_to)


def lost_definitions(
    copy: Mapping[DefinitionKey, Definition],
    live: Mapping[DefinitionKey, Definition],
    schema: Schema,
    wanted: Container[TableName],
) -> tuple[Definition, ...]:
    """Return what the copy has and live has not: of the wanted tables that live has, and views."""
    return tuple(
        definition
        for key, definition in sorted(copy.items())
        if key not in live
        and (
            definition.kind == "view"
            or (definition.table in wanted and definition.table in schema.tables)
        )
    )


_PLACE = """
  AND n.nspname !~ '^(pg_|fsbackup_merge_)' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
"""
_INDEXES = """
SELECT 'index', n.nspname::text, c.relname::text, ic.relname::text, pg_get_indexdef(i.indexrelid),
       ARRAY[pg_get_indexdef(i.indexrelid)], format('DROP INDEX %I.%I', n.nspname, ic.relname),
       NULL, NULL
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid
      AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid)
"""
_CONSTRAINTS = """
SELECT 'constraint', n.nspname::text, c.relname::text, k.conname::text,
       pg_get_constraintdef(k.oid),
       ARRAY[format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname,
                    pg_get_constraintdef(k.oid))],
       format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, k.conname),
       pn.nspname::text, p.relname::text
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS p ON p.oid = k.confrelid
LEFT JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE k.contype IN ('p', 'u', 'x', 'c', 'f') AND k.conparentid = 0 AND k.conislocal
"""
_TRIGGERS = """
SELECT 'trigger', n.nspname::text, c.relname::text, t.tgname::text, pg_get_triggerdef(t.oid),
       ARRAY[pg_get_triggerdef(t.oid), CASE t.tgenabled WHEN 'O' THEN NULL ELSE
             format('ALTER TABLE %I.%I %s TRIGGER %I', n.nspname, c.relname,
                    CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                    ELSE 'ENABLE ALWAYS' END, t.tgname) END],
       format('DROP TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname), NULL, NULL
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgparentid = 0
"""
_POLICIES = """
SELECT 'policy', n.nspname::text, c.relname::text, o.polname::text, s.text, ARRAY[s.text],
       format('DROP POLICY %I ON %I.%I', o.polname, n.nspname, c.relname), NULL, NULL
FROM pg_policy AS o
JOIN pg_class AS c ON c.oid = o.polrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO %s%s%s',
       o.polname, n.nspname, c.relname,
       CASE WHEN o.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
       CASE o.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                     WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
       (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END,
                          ', ') FROM unnest(o.polroles) AS r),
       coalesce(' USING (' || pg_get_expr(o.polqual, o.polrelid) || ')', ''),
       coalesce(' WITH CHECK (' || pg_get_expr(o.polwithcheck, o.polrelid) || ')', '')
       ) AS text) AS s
WHERE true
"""
_VIEWS = """
SELECT 'view', n.nspname::text, c.relname::text, c.relname::text, pg_get_viewdef(c.oid),
       '{}'::text[], format('DROP %sVIEW %I.%I', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED '
                            ELSE '' END, n.nspname, c.relname), NULL, NULL
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
"""
_QUERIES = tuple(query + _PLACE for query in (_INDEXES, _CONSTRAINTS, _TRIGGERS, _POLICIES, _VIEWS))
