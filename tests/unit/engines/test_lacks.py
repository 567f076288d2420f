"""What is laid at the scratch server's door, and what stays lost."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.lacks import blocked_entries, lack_in, sort_accounting
from fsbackup_tui.engines.postgres.outside import outside_entries
from fsbackup_tui.engines.postgres.toc import TocEntry

NOT_THERE = "it is not in the copy"


def entry(number: int, kind: str, name: str, *needs: int) -> TocEntry:
    schema = None if kind == "EXTENSION" else "app"
    return TocEntry(number, 0, 0, kind, schema, name, "owner", dependencies=needs)


def accounting(*lost: tuple[TocEntry, str], unexplained: tuple[str, ...] = ()) -> Accounting:
    return Accounting(0, (), (), lost, unexplained)


def said(text: str) -> str:
    return f"{NOT_THERE}; the tool said: could not execute query: ERROR:  {text}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('extension "vector" is not available', "extension vector is missing"),
        (
            'could not open extension control file "/usr/share/x/postgis.control": No such file',
            "extension postgis is missing",
        ),
        (
            'extension "hstore" has no installation script nor update path for version "99"',
            "extension hstore is on the scratch server in another version only",
        ),
        ('could not access file "$libdir/own": No such file or directory', "library $libdir/own"),
        ("pgaudit must be loaded via shared_preload_libraries", "pgaudit is not in shared_preload"),
        ("unsupported XML feature", "xml is not supported"),
        ("ICU is not supported in this build", "ICU collations are not supported"),
        ("compression method lz4 not supported", "lz4 compression is not supported"),
        ('could not create locale "de_DE.UTF-8": No such file', "locale de_DE.UTF-8 is missing"),
        ('invalid LC_COLLATE locale name: "de_DE"', "locale de_DE is missing"),
        ('invalid locale name: "de_DE"', "locale de_DE is missing"),
        ('tablespace "fast" does not exist', "tablespace fast is missing"),
        (
            'could not set "default_tablespace" to "fast disk": ERROR:  invalid value for '
            'parameter "default_tablespace": "fast disk"',
            "tablespace fast disk is missing",
        ),
    ],
)
def test_the_servers_own_words_name_what_it_lacks(text: str, what: str) -> None:
    found = lack_in(text)
    assert found is not None
    assert what in found.what
    assert found.fix


@pytest.mark.parametrize(
    "text",
    [
        'relation "app.items" does not exist',
        'type "app.mood" does not exist',
        'role "app" does not exist',
        "permission denied to create extension",
        "could not create unique index",
        "function app.f() does not exist",
        'language "plv8" does not exist',
    ],
)
def test_other_words_excuse_nothing(text: str) -> None:
    assert lack_in(text) is None


def test_what_depends_on_a_missing_extension_is_blocked_with_it() -> None:
    extension = entry(1, "EXTENSION", "vector")
    table = entry(2, "TABLE", "items", 1)
    rows = entry(3, "TABLE DATA", "items", 2)
    index = entry(4, "INDEX", "items_embedding", 2, 9)
    between = entry(9, "OPERATOR CLASS", "ops", 1)
    lost = accounting(
        (extension, said('extension "vector" is not available')),
        (table, said('type "public.vector" does not exist')),
        (rows, "its table is not in the copy"),
        (index, said('relation "app.items" does not exist')),
    )
    every = [extension, table, rows, index, between]
    blockers, really = sort_accounting(lost, entries=every)
    assert [blocker.what for blocker in blockers] == [
        "extension vector is missing on the scratch server"
    ]
    assert really == ()


def test_what_depends_on_it_but_failed_by_itself_is_lost() -> None:
    extension = entry(1, "EXTENSION", "vector")
    wrong = (
        (entry(2, "TABLE DATA", "short", 1), "it has 3 rows, the archive 5"),
        (entry(3, "TABLE DATA", "torn", 1), "its rows did not arrive (0 are there)"),
        (entry(4, "INDEX", "twice", 1), said("could not create unique index")),
        (entry(5, "TABLE", "theirs", 1), "its owner is a, not b"),
        (entry(6, "VIEW", "elsewhere"), said('type "public.vector" does not exist')),
        (entry(7, "TABLE", "closed", 1), said("permission denied for schema app")),
    )
    lost = accounting((extension, said('extension "vector" is not available')), *wrong)
    assert set(blocked_entries(lost)) == {1}
    _blockers, really = sort_accounting(lost)
    assert len(really) == len(wrong)


def test_a_missing_tablespace_excuses_no_missing_table() -> None:
    problem = 'could not set "default_tablespace" to "fast": ERROR:  invalid value'
    there = entry(1, "TABLE", "there"), f"it is there, but not all; the tool said: {problem}"
    absent = entry(2, "TABLE", "absent"), f"{NOT_THERE}; the tool said: {problem}"
    assert set(blocked_entries(accounting(there, absent))) == {1}


def test_errors_that_belong_to_no_entry_are_sorted_too() -> None:
    lost = accounting(unexplained=("ICU is not supported in this build", "connection lost"))
    blockers, really = sort_accounting(lost)
    assert [blocker.what for blocker in blockers] == [
        "ICU collations are not supported by the scratch server"
    ]
    assert really == ("connection lost",)


def test_only_a_view_that_was_kept_from_connecting_is_blocked() -> None:
    why = 'it is not filled; the tool said: ERROR:  could not connect to server "far away"'
    view = entry(1, "MATERIALIZED VIEW DATA", "far"), why
    table = entry(2, "TABLE DATA", "near"), why
    assert set(blocked_entries(accounting(view, table), offline=True)) == {1}
    assert blocked_entries(accounting(view, table), offline=False) == {}


def test_views_over_foreign_tables_are_found_through_other_views() -> None:
    entries = [
        entry(1, "FOREIGN TABLE", "far"),
        entry(2, "VIEW", "between", 1),
        entry(3, "MATERIALIZED VIEW", "copy", 2),
        entry(4, "MATERIALIZED VIEW DATA", "copy", 3),
        entry(5, "EXTENSION", "dblink"),
        entry(6, "MATERIALIZED VIEW", "called", 5),
        entry(7, "MATERIALIZED VIEW DATA", "called", 6),
        entry(8, "TABLE", "own", 1),
        entry(9, "MATERIALIZED VIEW DATA", "near", 8),
    ]
    assert [found.dump_id for found in outside_entries(entries)] == [4, 7]
