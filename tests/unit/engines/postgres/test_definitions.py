"""Definitions compared as pg_dump writes them: pieces of a table, what belongs to it, changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.engines.postgres.definitions import compare_definitions, table_pieces
from fsbackup_tui.engines.postgres.toc import TocEntry

TABLE = """CREATE TABLE app."odd, (name" (
    id integer NOT NULL,
    "a (b" text DEFAULT 'x, y (z'::text,
    price numeric(8,2) DEFAULT 1.50,
    list integer[] DEFAULT ARRAY[1, 2],
    CONSTRAINT "it's" CHECK ((price > (0)::numeric))
)
PARTITION BY LIST (id);
"""


def entry(kind: str, name: str, definition: str, schema: str | None = "app") -> TocEntry:
    return TocEntry(1, 0, 0, kind, schema, name, "me", definition=definition)


def test_a_table_is_divided_into_columns_constraints_and_the_rest() -> None:
    head, columns, constraints, tail = table_pieces(TABLE)
    assert head == 'CREATE TABLE app."odd, (name"'
    assert columns == {
        "id": "integer NOT NULL",
        "a (b": "text DEFAULT 'x, y (z'::text",
        "price": "numeric(8,2) DEFAULT 1.50",
        "list": "integer[] DEFAULT ARRAY[1, 2]",
    }
    assert constraints == {"it's": "CHECK ((price > (0)::numeric))"}
    assert tail == "PARTITION BY LIST (id);"


@given(st.text(max_size=200))
def test_no_text_ends_the_division_in_an_error(text: str) -> None:
    table_pieces(text)


def test_what_belongs_to_a_table_that_is_gone_is_told_with_it() -> None:
    kept = entry("TABLE", "kept", "CREATE TABLE app.kept (\n    id integer\n);\n")
    gone = entry("TABLE", "gone", "CREATE TABLE app.gone (\n    id integer\n);\n")
    of_gone = [
        entry("INDEX", "i", "CREATE INDEX i ON ONLY app.gone USING btree (id);\n"),
        entry("CONSTRAINT", "gone gone_pkey", "ALTER TABLE ONLY app.gone ADD …;\n"),
        entry("ROW SECURITY", "gone", "ALTER TABLE app.gone ENABLE ROW LEVEL SECURITY;\n"),
        entry("TRIGGER", "gone t", "CREATE TRIGGER t …;\n"),
        entry("DEFAULT", "gone id", "ALTER TABLE … ALTER COLUMN id SET DEFAULT 1;\n"),
    ]
    of_kept = entry("FK CONSTRAINT", "kept kept_fkey", "ALTER TABLE ONLY app.kept ADD …;\n")
    found = compare_definitions([kept, gone, *of_gone, of_kept], [kept])
    assert [(one.kind, one.name, one.what) for one in found] == [
        ("table", "app.gone", "gone"),
        ("constraint", "app.kept kept_fkey", "gone"),
    ]


def test_ownership_and_comments_around_a_definition_are_no_part_of_it() -> None:
    bare = entry("VIEW", "v", "CREATE VIEW app.v AS\n SELECT 1 AS x;\n")
    plain = entry(
        "VIEW",
        "v",
        "CREATE VIEW app.v AS\n SELECT 1 AS x;\n\n\nALTER VIEW app.v OWNER TO me;\n"
        "\nSET default_tablespace = '';\n\nSET default_table_access_method = heap;",
    )
    assert compare_definitions([plain], [bare]) == ()


def test_of_two_versions_names_alone_are_compared() -> None:
    was = entry("VIEW", "v", "CREATE VIEW app.v AS\n SELECT 1 AS x;\n")
    now = entry("VIEW", "v", "CREATE VIEW app.v AS\n SELECT 2 AS x;\n")
    (changed,) = compare_definitions([was], [now])
    assert changed.detail == "was SELECT 1 AS x;; is SELECT 2 AS x;"
    assert compare_definitions([was], [now], changes=False) == ()


def test_grants_rows_and_comments_are_left_out_and_rare_kinds_named() -> None:
    entries = [
        entry("TABLE DATA", "t", ""),
        entry("ACL", "TABLE t", "GRANT …"),
        entry("COMMENT", "TABLE t", "COMMENT …"),
        entry("COLLATION", "c", "CREATE COLLATION app.c …"),
        entry("SCHEMA", "app", "CREATE SCHEMA app;\n", None),
    ]
    found = compare_definitions(entries, [])
    assert [(one.kind, one.name) for one in found] == [
        ("other", "collation app.c"),
        ("other", "schema app"),
    ]
