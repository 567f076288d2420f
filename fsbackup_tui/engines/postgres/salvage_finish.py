"""What follows the rows of a salvage: sequences, keys that rows are missing for, views, the rest.

Not every key can be made again where rows are lost. What can't be is told by comparing what both
databases have, not by a tool's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.point import SequenceFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import words_of
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """Something a table or schema has; ``definition`` is that of a foreign key, else empty."""

    kind: str
    schema: str
    table: str
    name: str
    definition: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is the same in both databases."""
        return self.kind, self.schema, self.table, self.name

    @property
    def label(self) -> str:
        """The object as people read it."""
        owner = f" of {self.schema}.{self.table}" if self.table else ""
        return f"{self.kind} {self.name}{owner}"


async def list_objects(connection: Connection) -> tuple[SchemaObject, ...]:
    """Return indexes, constraints, triggers, rules, policies, views and routines of the site."""
    rows = await fetch_all(connection, _OBJECTS)
    return tuple(SchemaObject(*row) for row in rows)


_OBJECTS = """
WITH members AS (
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
), tables AS (
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
      AND (('pg_class'::regclass::oid, c.oid) NOT IN (SELECT classid, objid FROM members))
)
SELECT 'index', t.schema, t.name, c.relname::text, ''
FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indisvalid
UNION ALL
SELECT CASE k.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, t.schema, t.name,
       k.conname::text, CASE k.contype WHEN 'f' THEN pg_get_constraintdef(k.oid) ELSE '' END
FROM pg_constraint AS k JOIN tables AS t ON t.oid = k.conrelid WHERE k.contype <> 'n'
UNION ALL
SELECT 'trigger', t.schema, t.name, g.tgname::text, ''
FROM pg_trigger AS g JOIN tables AS t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'rule', t.schema, t.name, r.rulename::text, ''
FROM pg_rewrite AS r JOIN tables AS t ON t.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', t.schema, t.name, p.polname::text, ''
FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid
UNION ALL
SELECT CASE t.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view'
                      WHEN 'S' THEN 'sequence' ELSE 'table' END, t.schema, '',
       t.schema || '.' || t.name, ''
FROM tables AS t WHERE t.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL
SELECT 'routine', n.nspname::text, '',
       n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', ''
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND ('pg_proc'::regclass::oid, p.oid) NOT IN (SELECT classid, objid FROM members)
ORDER BY 1, 2, 3, 4
"""


async def set_sequences(target: Connection, sequences: Iterable[SequenceFacts]) -> list[str]:
    """Give the copy's sequences their positions; returns what could not be, one text each."""
    problems: list[str] = []
    for sequence in sequences:
        label = f"sequence {sequence.schema}.{sequence.name}"
        if sequence.last_value is None:
            problems.append(f"{label}: its position could not be read")
            continue
        name = sql.Identifier(sequence.schema, sequence.name).as_string(target)
        try:
            await target.execute(
                "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)",
                [name, sequence.last_value, sequence.is_called],
            )
        except psycopg.Error as error:
            if target.broken:
                raise
            problems.append(f"{label}: {words_of(error)}")
    return problems


async def complete_objects(
    target: Connection, wanted: Sequence[SchemaObject], errors: Sequence[str]
) -> list[str]:
    """Add the foreign keys that rows are missing for as NOT VALID; returns all that is missing.

    ``errors`` are what the restoring tool said: the reasons.
    """
    here = {item.key for item in await list_objects(target)}
    problems: list[str] = []
    for item in wanted:
        if item.key in here:
            continue
        reason = next((error for error in errors if item.name in error), "")
        why = f": {' '.join(reason.split())}" if reason else ""
        if item.definition and await _add_not_valid(target, item):
            problems.append(f"{item.label}: made NOT VALID, as rows it needs are lost{why}")
        else:
            problems.append(f"{item.label}{why or ': not made'}")
    return problems


async def _add_not_valid(target: Connection, item: SchemaObject) -> bool:
    """Add a foreign key that new rows must keep to, and old ones need not; whether it worked."""
    definition = item.definition.removesuffix(" NOT VALID")
    try:
        await target.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID").format(
                sql.Identifier(item.schema, item.table),
                sql.Identifier(item.name),
                sql.SQL(definition),
            )
        )
    except psycopg.Error:
        if target.broken:
            raise
        return False
    return True


async def refresh_views(source: Connection, target: Connection, search_path: str) -> list[str]:
    """Compute the materialised views that hold rows in the source; returns what failed."""
    waiting = [tuple(row) for row in await fetch_all(source, _POPULATED)]
    await target.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [search_path])
    try:
        while waiting:
            failed: dict[tuple[str, ...], str] = {}
            for view in waiting:
                try:
                    await target.execute(
                        sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(*view))
                    )
                except psycopg.Error as error:
                    if target.broken:
                        raise
                    failed[view] = words_of(error)
            # One that reads another comes after it.
            if len(failed) == len(waiting):
                return [
                    f"materialised view {'.'.join(view)}: {why}" for view, why in failed.items()
                ]
            waiting = list(failed)
    finally:
        if not target.broken:
            await target.execute("SET search_path TO ''")
    return []


_POPULATED = """
SELECT n.nspname::text, c.relname::text FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid
"""
