"""Exclusion patterns become the regular expressions that pg_dump makes of them."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.managed import (
    SUPABASE,
    SUPABASE_OWN_ROWS,
    SUPABASE_OWN_SCHEMAS,
    SUPABASE_OWN_TABLES,
    SUPABASE_SHARED_SCHEMAS,
    managed_reason,
)
from fsbackup_tui.engines.postgres.patterns import Exclusions, pattern_parts
from fsbackup_tui.engines.postgres.toc import TocEntry
from tests.support.points import facts


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("users", ("^(users)$",)),
        ("Users", ("^(users)$",)),
        ('"Users"', ("^(Users)$",)),
        ("log_*", ("^(log_.*)$",)),
        ("log_?", ("^(log_.)$",)),
        ("a|b", ("^(a|b)$",)),
        ("app.users", ("^(app)$", "^(users)$")),
        ('"a.b".c', ("^(a\\.b)$", "^(c)$")),
        ('"a*?|(b)"', ("^(a\\*\\?\\|\\(b\\))$",)),
        ('"we""ird"', ('^(we"ird)$',)),
        ("pay$", ("^(pay\\$)$",)),
        ("*.*", ("^(.*)$", "^(.*)$")),
    ],
)
def test_pattern(pattern: str, parts: tuple[str, ...]) -> None:
    assert pattern_parts(pattern) == parts


def test_what_is_managed_is_left_out_beside_what_the_config_leaves_out() -> None:
    ours = Exclusions(("audit",), ("secrets",), ("log",))
    assert (ours.all_schemas, ours.all_tables) == (("audit",), ("secrets",))
    supabase = Exclusions(
        ("audit",),
        ("secrets",),
        ("log",),
        SUPABASE,
        SUPABASE_OWN_SCHEMAS,
        SUPABASE_OWN_TABLES,
        SUPABASE_OWN_ROWS,
    )
    assert {"audit", "vault"} <= set(supabase.all_schemas)
    assert not {"public", *SUPABASE_SHARED_SCHEMAS} & set(supabase.all_schemas)
    assert {"secrets", "auth.schema_migrations"} <= set(supabase.all_tables)
    assert supabase.all_table_data == ("log", "realtime.*")


@pytest.mark.parametrize(
    ("kind", "schema", "name", "owner", "benign"),
    [
        ("EXTENSION", None, "supabase_vault", "", True),
        ("COMMENT", None, "EXTENSION supabase_vault", "", True),
        ("COMMENT", None, 'EXTENSION "uuid-ossp"', "", True),
        ("EXTENSION", None, "vector", "", False),
        ("EVENT TRIGGER", None, "pgrst_ddl_watch", "supabase_admin", True),
        ("COMMENT", None, "EVENT TRIGGER pgrst_ddl_watch", "supabase_admin", True),
        ("EVENT TRIGGER", None, "audit_ddl", "postgres", False),
        ("DEFAULT ACL", "public", "DEFAULT PRIVILEGES FOR TABLES", "supabase_admin", True),
        ("DEFAULT ACL", "public", "DEFAULT PRIVILEGES FOR TABLES", "postgres", False),
        ("ACL", "vault", "TABLE secrets", "supabase_admin", True),
        ("ACL", "extensions", "FUNCTION uuid_generate_v4()", "supabase_admin", True),
        ("ACL", "auth", "TABLE users", "supabase_auth_admin", False),
        ("ACL", None, "SCHEMA vault", "supabase_admin", True),
        ("ACL", None, "SCHEMA auth", "supabase_admin", False),
        ("ACL", "public", "TABLE profiles", "postgres", False),
        ("TABLE", "auth", "users", "supabase_auth_admin", False),
        ("TABLE DATA", "auth", "users", "supabase_auth_admin", False),
        ("TRIGGER", "auth", "users on_auth_user_created", "supabase_auth_admin", False),
        ("POLICY", "storage", "objects Own faces", "supabase_storage_admin", False),
        ("FK CONSTRAINT", "public", "profiles profiles_id_fkey", "postgres", False),
    ],
)
def test_absence_is_benign_for_the_hosts_own_alone(
    kind: str, schema: str | None, name: str, owner: str, benign: bool
) -> None:
    entry = TocEntry(1, 0, 0, kind, schema, name, owner)
    captured = facts(platform=SUPABASE, managed_schemas=("vault",))
    assert (managed_reason(entry, captured) is not None) == benign
    assert managed_reason(entry, facts()) is None
