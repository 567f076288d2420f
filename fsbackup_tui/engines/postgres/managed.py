"""The schemas that Supabase manages, which a backup of the site's own data leaves out.

Source: ``InternalSchemas`` of Supabase's own CLI (apps/cli-go, pkg/migration/dump.go), without
``information_schema`` and ``pg_*``, which pg_dump never dumps. ``auth`` and ``storage`` hold rows
of the site (its users, its objects' names), yet their tables can't be created anew by a restore.
"""

from __future__ import annotations

SUPABASE_MANAGED_SCHEMAS: tuple[str, ...] = (
    "_analytics",
    "_realtime",
    "_supavisor",
    "auth",
    "etl",
    "extensions",
    "pgbouncer",
    "realtime",
    "storage",
    "supabase_functions",
    "supabase_migrations",
    "cron",
    "dbdev",
    "graphql",
    "graphql_public",
    "net",
    "pgmq",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "repack",
    "tiger",
    "tiger_data",
    "timescaledb_*",
    "_timescaledb_*",
    "topology",
    "vault",
)

# The platform's role may not read these; where somebody dumps their schemas on purpose, one of
# them would end pg_dump.
SUPABASE_UNREADABLE_TABLES: tuple[str, ...] = (
    "auth.schema_migrations",
    "storage.migrations",
    "supabase_functions.migrations",
)
