"""What a hosting platform owns in a database: Supabase's schemas, its roles, its extensions.

Supabase keeps objects of its own in every project's database, and rows of the site in some of
them: its users in ``auth``, its files' names in ``storage``. Those schemas are dumped whole, in
the one archive with everything else: the site's policies, foreign keys and triggers refer to
them, so that only then a copy on a server of one's own is whole; what goes into a project that
has them already is chosen by the archive's list. Other schemas hold nothing of the site and are
left out, and so is what even the project's administrator may not read; both are named.

Sources: Supabase's CLI (``InternalSchemas`` and ``excludedSchemas`` of apps/cli-go,
pkg/migration/dump.go), its image (supabase/postgres, migrations/db), its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.patterns import Exclusions, exactly, matching_tables
from fsbackup_tui.engines.postgres.toc import TocEntry

SUPABASE = "supabase"
"""The platform's name as manifests have it."""

SUPABASE_SHARED_SCHEMAS: tuple[str, ...] = (
    "auth",
    "extensions",
    "realtime",
    "storage",
    "supabase_functions",
)
"""Supabase's schemas to which the site's rows, policies, triggers or defaults belong."""

SUPABASE_OWN_SCHEMAS: tuple[str, ...] = (
    "_analytics",
    "_realtime",
    "_supavisor",
    "dbdev",
    "etl",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "repack",
    "tiger",
    "tiger_data",
    "topology",
    "vault",
)
"""Patterns of the schemas that are left out: Supabase makes them anew in every project."""

SUPABASE_OWN_TABLES: tuple[str, ...] = (
    "auth.schema_migrations",
    "realtime.schema_migrations",
    "storage.migrations",
    "supabase_functions.hooks",
    "supabase_functions.migrations",
    # Made and dropped every day; they hold what was sent, for three days.
    "realtime.messages_*",
)
"""Patterns of the tables that are left out: the services' own, which a project has already."""

SUPABASE_OWN_ROWS: tuple[str, ...] = ("realtime.*",)
"""Patterns of the tables whose rows are the services' own; policies are made on them."""

# They hold what nobody can make again. Where they can't be read that is an error like any
# other, never a thing to be left out.
_SITE_TABLES = frozenset(
    {("auth", "users"), ("auth", "identities"), ("storage", "buckets"), ("storage", "objects")}
)

SUPABASE_EXTENSIONS = frozenset(
    {
        "pg_graphql",
        "pg_net",
        "pg_stat_statements",
        "pgcrypto",
        "pgjwt",
        "pgsodium",
        "supabase_vault",
        "uuid-ossp",
    }
)
"""Extensions that Supabase installs by itself; none brings rows that a dump would hold."""

_SERVICES_ADMIN = "supabase_admin"
_ROLE_PREFIX = "supabase_"
# As the CLI has them (its reserved roles), but for postgres, who is the project's administrator.
_OTHER_ROLES = frozenset(
    {
        "anon",
        "authenticated",
        "authenticator",
        "dashboard_user",
        "pgbouncer",
        "pgtle_admin",
        "service_role",
    }
)
_OTHER_PREFIXES = ("cli_login_", "pgsodium_key")


async def is_supabase(connection: Connection) -> bool:
    """Tell a Supabase database by what is in it, wherever it runs and however it is reached.

    Its superuser is ``supabase_admin``, and ``auth`` or ``storage`` belongs to a role of its.
    """
    cursor = await connection.execute(
        "SELECT 1 FROM pg_catalog.pg_roles AS a WHERE a.rolname = %s AND EXISTS ("
        " SELECT FROM pg_catalog.pg_namespace AS n"
        " JOIN pg_catalog.pg_roles AS r ON r.oid = n.nspowner"
        " WHERE n.nspname IN ('auth', 'storage')"
        " AND pg_catalog.starts_with(r.rolname::text, %s))",
        [_SERVICES_ADMIN, _ROLE_PREFIX],
    )
    return await cursor.fetchone() is not None


async def with_managed(connection: Connection, exclusions: Exclusions) -> Exclusions:
    """Return the exclusions with what the database's platform owns, if it has one.

    What the role may not read of Supabase's is left out too, but for the tables that hold the
    site's users and files.
    """
    if not await is_supabase(connection):
        return exclusions
    cursor = await connection.execute(_UNREADABLE, [list(SUPABASE_SHARED_SCHEMAS)])
    unreadable = [row for row in await cursor.fetchall() if (row[0], row[1]) not in _SITE_TABLES]
    known = await matching_tables(connection, (*SUPABASE_OWN_TABLES, *SUPABASE_OWN_ROWS))
    return replace(
        exclusions,
        platform=SUPABASE,
        managed_schemas=SUPABASE_OWN_SCHEMAS,
        managed_tables=(
            *SUPABASE_OWN_TABLES,
            *(exactly(schema, name) for schema, name, _oid, _kind in unreadable),
        ),
        managed_table_data=SUPABASE_OWN_ROWS,
        unreadable=tuple(
            f"{schema}.{name}"
            for schema, name, oid, kind in unreadable
            if oid not in known and kind != "S"
        ),
    )


# pg_dump locks every table and reads every sequence that it dumps, whoever owns it; for a role
# that row-level security holds back it ends at the first such table.
_UNREADABLE = """
SELECT n.nspname::text, c.relname::text, c.oid::int8, c.relkind::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s::text[]) AND c.relkind IN ('r', 'p', 'S')
  AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
           AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
           AND NOT pg_catalog.row_security_active(c.oid))
ORDER BY 1, 2
"""


def unreadable_warning(exclusions: Exclusions, role: str) -> str | None:
    """Return what to say where less of the platform's schemas can be read than is usual."""
    if not exclusions.unreadable:
        return None
    names = ", ".join(exclusions.unreadable)
    return f"NOT BACKED UP: the role '{role}' may not read {names}, which Supabase keeps."


def is_platform_role(name: str) -> bool:
    """Whether a role is one that Supabase made."""
    return name in _OTHER_ROLES or name.startswith((_ROLE_PREFIX, *_OTHER_PREFIXES))


def is_managed_extension(name: str, facts: PostgresFacts) -> bool:
    """Whether an extension is one that the database's platform installs by itself."""
    return facts.platform == SUPABASE and name in SUPABASE_EXTENSIONS


_BROUGHT = "Supabase's own; it makes it in every project, and this server can't have it"
# Kinds of entries that define something of Supabase's and that nothing of the site is in. Its
# tables, their constraints and their rows are never among them, nor the triggers, policies and
# grants of row security that the site made there.
_ABSENCE_IS_BENIGN: Mapping[str, str] = {
    "ACL": "grants on what is Supabase's own and is not on this server",
    "COMMENT": "a comment on what is Supabase's own and is not on this server",
    "DEFAULT ACL": "default privileges of what Supabase's own role makes",
    "EVENT TRIGGER": _BROUGHT,
    "EXTENSION": _BROUGHT,
    "SCHEMA": _BROUGHT,
}


def managed_reason(entry: TocEntry, facts: PostgresFacts) -> str | None:
    """Return why it is no loss that an entry is not in a copy, where it is the platform's own.

    Told by the entry alone: its kind, name, schema and owner. What depends on it and is not
    there either has to be explained by itself.
    """
    reason = _ABSENCE_IS_BENIGN.get(entry.kind)
    if facts.platform != SUPABASE or reason is None:
        return None
    kind, name = entry.kind, entry.name
    if kind in {"ACL", "COMMENT"} and entry.schema is None:
        kind, _space, name = name.partition(" ")
        if name.startswith("TRIGGER "):
            kind, name = "EVENT TRIGGER", name.removeprefix("TRIGGER ")
        name = _unquoted(name)
    if kind == "EXTENSION":
        return reason if is_managed_extension(name, facts) else None
    if kind in {"EVENT TRIGGER", "DEFAULT ACL"}:
        return reason if is_platform_role(entry.owner) else None
    if kind == "SCHEMA":
        return reason if name in facts.managed_schemas else None
    return reason if entry.schema in {*facts.managed_schemas, "extensions"} else None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
