"""The stored forms of a database's settings and grants, read back exactly."""

from __future__ import annotations

import pytest
from psycopg import sql

from fsbackup_tui.domain.point import DatabaseSetting
from fsbackup_tui.engines.postgres.replay import (
    parse_database_grant,
    setting_statement,
    split_name_list,
    unfinished_name,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ('"a,b", "c""d",e', ["a,b", 'c"d', "e"]),
        ('""', [""]),
        ("", [""]),
        (" app ,  public ", ["app", "public"]),
    ],
)
def test_lists_of_names_are_taken_apart(text: str, names: list[str]) -> None:
    assert split_name_list(text) == names


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("=Tc/postgres", ("", {"TEMPORARY": False, "CONNECT": False})),
        ("app=c*T/postgres", ("app", {"CONNECT": True, "TEMPORARY": False})),
        (
            '"o""dd=role"=CTc/"x y"',
            ('o"dd=role', dict.fromkeys(("CREATE", "TEMPORARY", "CONNECT"), False)),
        ),
        ("nonsense", None),
    ],
)
def test_grants_are_read(item: str, expected: object) -> None:
    assert parse_database_grant(item) == expected


def test_only_lists_of_names_are_given_as_lists() -> None:
    database = sql.Identifier("d")
    listed = setting_statement(database, DatabaseSetting(None, "search_path", '"a,b", c'))
    assert listed.as_string(None) == "ALTER DATABASE \"d\" SET \"search_path\" TO 'a,b', 'c'"
    other = setting_statement(database, DatabaseSetting("r", "app.list", "a, b"))
    assert other.as_string(None) == 'ALTER ROLE "r" IN DATABASE "d" SET "app"."list" TO \'a, b\''


@pytest.mark.parametrize("name", ["shop", "x" * 63, "ü" * 40])
def test_the_mark_of_an_unfinished_copy_is_never_cut(name: str) -> None:
    unfinished = unfinished_name(name)
    assert unfinished.endswith("__unfinished")
    assert len(unfinished.encode()) <= 63
    assert name.startswith(unfinished.removesuffix("__unfinished"))
