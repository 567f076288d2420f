"""A schema on its way from the side database to its place beside the live one.

pg_dump can't give a schema another name, so it has the other name in the side database while it
is dumped. What refers to it by name in the text of functions goes on meaning the live name, which
is right: it becomes that. Extensions in the schema stay under its own name, where live has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.managed import SUPABASE_OWN_SCHEMAS, SUPABASE_SHARED_SCHEMAS
from fsbackup_tui.engines.postgres.patterns import matching_schemas
from fsbackup_tui.engines.postgres.restore import SINGLE_DATABASE_EXTENSIONS
from fsbackup_tui.engines.postgres.schema_exchange import first_line, give_name, take_name
from fsbackup_tui.engines.postgres.schema_marks import (
    Mark,
    find_marked,
    schema_comment,
    schema_oids,
    set_comment,
)
from fsbackup_tui.engines.postgres.schema_ties import Ties, find_ties
from fsbackup_tui.engines.postgres.toc import TocEntry


@dataclass(frozen=True, slots=True)
class SchemaOwn:
    """What a schema has of its own: owner, comment, and who may do what in it.

    Grants are (role, privilege, may grant it on); role None is PUBLIC.
    """

    owner: str
    comment: str | None
    grants: tuple[tuple[str | None, str, bool], ...]


async def application_schemas(connection: Connection, *, supabase: bool) -> tuple[str, ...]:
    """Return the schemas that hold something of the site's own, neither a host's nor fsbackup's."""
    patterns = (*SUPABASE_OWN_SCHEMAS, *SUPABASE_SHARED_SCHEMAS) if supabase else ()
    managed = await matching_schemas(connection, patterns)
    single = [name for names in SINGLE_DATABASE_EXTENSIONS.values() for name in names]
    marked = {item.name for item in await find_marked(connection)}
    rows = await fetch_all(connection, _APPLICATION_SCHEMAS, [single])
    return tuple(name for oid, name in rows if oid not in managed and name not in marked)


# An empty one has nothing to recover; one of an extension is made by it.
_APPLICATION_SCHEMAS = """
WITH members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
SELECT n.oid::int8, n.nspname::text FROM pg_catalog.pg_namespace AS n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^fsbackup' AND n.nspname <> ALL (%s::text[])
  AND NOT EXISTS (SELECT FROM members AS m
                  WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
  AND (EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid
               AND (c.tableoid, c.oid) NOT IN (SELECT classid, objid FROM members))
       OR EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = n.oid
                  AND (p.tableoid, p.oid) NOT IN (SELECT classid, objid FROM members)))
ORDER BY 2
"""


async def read_own(connection: Connection, schema: str) -> SchemaOwn:
    """Return what the schema has of its own."""
    oids = await schema_oids(connection, [schema])
    rows = await fetch_all(
        connection,
        "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text, r.rolname::text,"
        " a.privilege_type, a.is_grantable"
        " FROM pg_catalog.pg_namespace AS n"
        " CROSS JOIN LATERAL pg_catalog.aclexplode("
        "coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a"
        " LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee"
        " WHERE n.nspname = %s AND a.grantee <> n.nspowner"
        " AND (a.grantee = 0 OR r.oid IS NOT NULL) ORDER BY 2, 3",
        [schema],
    )
    owner = await fetch_all(
        connection,
        "SELECT pg_catalog.pg_get_userbyid(nspowner)::text FROM pg_catalog.pg_namespace"
        " WHERE nspname = %s",
        [schema],
    )
    return SchemaOwn(
        str(owner[0][0]),
        await schema_comment(connection, oids[schema]),
        tuple((role, privilege, bool(grantable)) for _owner, role, privilege, grantable in rows),
    )


async def give_own(connection: Connection, schema: str, own: SchemaOwn) -> list[str]:
    """Give a schema owner and grants; returns what could not be given."""
    name = sql.Identifier(schema)
    owner = sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(name, sql.Identifier(own.owner))
    statements: list[tuple[str, sql.Composed]] = [(f"owner {own.owner}", owner)]
    for role, privilege, grantable in own.grants:
        grant = sql.SQL("GRANT {} ON SCHEMA {} TO {}{}").format(
            sql.SQL(privilege),
            name,
            sql.SQL("PUBLIC") if role is None else sql.Identifier(role),
            sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )
        statements.append((f"{privilege} to {role or 'PUBLIC'}", grant))
    problems = []
    for what, statement in statements:
        try:
            async with connection.transaction():
                await connection.execute(statement)
        except psycopg.Error as error:
            if connection.broken:
                raise
            problems.append(f"schema {schema} has not {what}: {first_line(error)}")
    return problems


async def rename_out(copy: Connection, names: Mapping[str, str]) -> None:
    """Give the schemas of the side database their other names (schema to other name).

    Raises:
        SafetyRefusal: an extension can't leave one of them, and something else can't, either.
    """
    oids = await schema_oids(copy, list(names))
    ties = await find_ties(copy, list(oids.values()))
    async with copy.transaction():
        for schema, other in names.items():
            await give_name(copy, schema, other, fixed=schema in ties.fixed)
        for schema in sorted({extension.schema for extension in ties.extensions}):
            await copy.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for extension in ties.extensions:
            await _move(copy, extension.name, extension.schema)


async def rename_back(copy: Connection, names: Mapping[str, str]) -> None:
    """Undo ``rename_out``, wholly or not at all; what has its own name already is left."""
    oids = await schema_oids(copy, [*names, *names.values()])
    out = {schema: other for schema, other in names.items() if other in oids}
    places = [oids[schema] for schema in out if schema in oids]
    ties = await find_ties(copy, places) if places else Ties()
    async with copy.transaction():
        for extension in ties.extensions:
            await _move(copy, extension.name, out[extension.schema])
        for schema, other in out.items():
            if schema in oids and schema not in ties.fixed:
                await copy.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))
            await take_name(copy, other, schema, fixed=schema in ties.fixed)


async def _move(connection: Connection, extension: str, schema: str) -> None:
    await connection.execute(
        sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(
            sql.Identifier(extension), sql.Identifier(schema)
        )
    )


async def create_beside(live: Connection, names: Mapping[str, Mark]) -> None:
    """Make the empty schemas (name to mark) beside the live ones, all or none."""
    async with live.transaction():
        for name, mark in names.items():
            await live.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            await set_comment(live, name, mark.comment())


async def drop_beside(live: Connection, name: str) -> None:
    """Drop a schema that fsbackup made and nobody uses, with all that is in it.

    Raises:
        SafetyRefusal: it bears no mark, or something of another schema holds on to it.
        PostgresError: the server refuses; says what is left over.
    """
    found = {item.name: item for item in await find_marked(live)}.get(name)
    if found is None:
        raise SafetyRefusal(
            f"NAME TAKEN: a schema {name} exists already.",
            why="It was not made by fsbackup.",
            fix="Rename it, or choose another tag for the copy.",
        )
    ties = await find_ties(live, [found.oid])
    holders = [*ties.blockers, *(item.what for item in ties.repoints)]
    if holders:
        raise SafetyRefusal(
            f"SCHEMA IN USE: {name} is not dropped.",
            why="; ".join(holders[:5]),
            fix="See what these are, and drop them first if nobody needs them.",
        )
    try:
        await live.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise PostgresError(
            f"LEFT OVER: the schema {name} could not be dropped.",
            why=first_line(error),
            fix=f'Drop it yourself: DROP SCHEMA "{name}" CASCADE',
        ) from error


def held_back(
    entries: Sequence[TocEntry], keys: Mapping[str, Sequence[tuple[str, str]]]
) -> list[TocEntry]:
    """Return the entries of a schema's archive that are not restored beside the live one.

    The schema itself and what is said of it come from the copy's catalogue; ``keys`` (schema to
    table and name) are foreign keys to other schemas, which it gets when it is live.
    """
    wanted = {
        (schema, f"{table} {name}") for schema, items in keys.items() for table, name in items
    }
    chosen = [
        entry
        for entry in entries
        if entry.kind in {"SCHEMA", "EXTENSION", "PUBLICATION", "SUBSCRIPTION"}
        or (entry.schema is None and entry.name.startswith(("SCHEMA ", "EXTENSION ")))
        or (entry.kind == "FK CONSTRAINT" and (entry.schema, entry.name) in wanted)
    ]
    ids = {entry.dump_id for entry in chosen if entry.kind == "FK CONSTRAINT"}
    return chosen + [
        entry
        for entry in entries
        if entry.kind == "COMMENT" and not ids.isdisjoint(entry.dependencies)
    ]
