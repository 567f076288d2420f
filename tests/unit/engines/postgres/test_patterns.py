"""Exclusion patterns become the regular expressions that pg_dump makes of them."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.patterns import exclusions_for, pattern_parts


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


def test_managed_schemas_are_left_out_on_supabase_alone() -> None:
    ours = exclusions_for(["audit"], [], ["log"], supabase=False)
    assert ours.all_schemas == ("audit",)
    assert ours.all_tables == ()
    supabase = exclusions_for(["audit"], [], ["log"], supabase=True)
    assert supabase.schemas == ("audit",)
    assert {"audit", "auth", "storage", "vault"} <= set(supabase.all_schemas)
    assert "public" not in supabase.all_schemas
    assert "auth.schema_migrations" in supabase.all_tables
