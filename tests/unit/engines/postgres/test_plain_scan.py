"""Plain dumps are divided as psql divides them: rows, text, commands, and a true end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.engines.compression import copy_content, zstd_module
from fsbackup_tui.engines.postgres.plain import (
    PlainScan,
    check_harmless,
    read_plain_to_the_end,
    scan_plain,
    scan_stream,
)

HEADER = """--
-- PostgreSQL database dump
--

\\restrict Abc123

SET standard_conforming_strings = on;

"""
TRAILER = """
--
-- PostgreSQL database dump complete
--

\\unrestrict Abc123

"""


class Blocks:
    """A stream that gives its content in pieces of a chosen size."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = content
        self._size = size
        self._position = 0

    def read(self, size: int, /) -> bytes:
        piece = self._content[self._position : self._position + min(size, self._size)]
        self._position += len(piece)
        return piece


def section(kind: str, schema: str, name: str, body: str) -> str:
    data = "Data for " if kind == "TABLE DATA" else ""
    return f"--\n-- {data}Name: {name}; Type: {kind}; Schema: {schema}; Owner: me\n--\n\n{body}\n\n"


def scan(text: str, block: int = 1 << 20) -> PlainScan:
    return scan_stream(Blocks(text.encode(), block))


ROWS = section(
    "TABLE DATA", "public", "t", "COPY public.t (a, b) FROM stdin;\n1\tx\n2\t\\\\.\n\\.\n"
)
WHOLE = HEADER + section("TABLE", "public", "t", "CREATE TABLE public.t (a int, b text);") + ROWS


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 20])
def test_rows_are_counted_wherever_blocks_end(block: int) -> None:
    found = scan(WHOLE + TRAILER, block)
    assert found.complete
    assert found.commands == []
    assert [(entry.kind, entry.name) for entry in found.entries] == [
        ("TABLE", "t"),
        ("TABLE DATA", "t"),
    ]
    assert found.rows == {2: 2}


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\\\0"))),
    st.integers(1, 50),
)
def test_any_rows_are_counted(rows: list[str], block: int) -> None:
    text = "".join(f"{row}\n" for row in rows)
    body = section("TABLE DATA", "s", "t", f"COPY s.t (a) FROM stdin;\n{text}\\.\n")
    assert scan(HEADER + body + TRAILER, block).rows == {1: len(rows)}


@pytest.mark.parametrize(
    "text",
    [
        "\\! touch /tmp/x\n",
        "SELECT 1; \\! touch /tmp/x\n",
        "SELECT 'a''b' \\g | touch /tmp/x\n",
        "\\unrestrict `touch x`\n",
        "\\restrict a b\n",
        "/* a comment */ \\copy t from program 'x'\n",
        "/* /* nested */ */ \\i x\n",
        'SELECT "a" \\! x\n',
        "SELECT E'it\\'s' \\! x\n",
        "SELECT $a$ $b$ $a$ \\! x\n",
        "COPY public.t (a) FROM stdin;\n1\n\\.\n\\! x\n",
        "SET standard_conforming_strings = off;\n",
    ],
)
def test_commands_for_psql_are_found(text: str, tmp_path: Path) -> None:
    found = scan(HEADER + text + TRAILER)
    assert len(found.commands) == 1
    with pytest.raises(SafetyRefusal):
        check_harmless(tmp_path / "x.sql", found)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '\\! x';\n",
        "SELECT 'a\n\\! x';\n",
        "SELECT E'it\\'s \\! x';\n",
        "CREATE FUNCTION f() AS $body$\n\\! x\n$body$;\n",
        "CREATE FUNCTION f() AS $_$ 'a $_$;\n",
        "-- \\! x\n",
        "/* \\! x\n /* \\! */ */\n",
        'CREATE TABLE "a\\! x" (b int);\n',
        'COPY public."two\nlines" (a) FROM stdin;\n\\N\n\\! x\n\\.\n',
    ],
)
def test_backslashes_in_quotes_and_rows_are_text(text: str) -> None:
    found = scan(HEADER + text + TRAILER)
    assert found.commands == []
    assert found.complete


@pytest.mark.parametrize(
    "text", [WHOLE, WHOLE.rpartition("2\t")[0], "", HEADER + "SELECT 'open" + TRAILER]
)
def test_a_torn_dump_is_not_complete(text: str, tmp_path: Path) -> None:
    found = scan(text)
    assert not found.complete
    with pytest.raises(PointDamaged, match="DUMP INCOMPLETE"):
        check_harmless(tmp_path / "x.sql", found)


def test_names_with_marks_of_their_own_are_read() -> None:
    text = section("TABLE", "a; b", 'we"ird; db', "CREATE TABLE x ();")
    (entry,) = scan(HEADER + text + TRAILER).entries
    assert (entry.schema, entry.name, entry.owner) == ("a; b", 'we"ird; db', "me")


def test_a_comment_in_a_text_is_no_entry() -> None:
    text = "COMMENT ON TABLE t IS '\n-- Name: x; Type: TABLE; Schema: s; Owner: o\n';\n"
    assert scan(HEADER + text + TRAILER).entries == []


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_entries_can_be_cut_out(block: int, tmp_path: Path) -> None:
    kept = section("TABLE", "public", "kept", "CREATE TABLE public.kept ();")
    cut = section("SUBSCRIPTION", "-", "s", "CREATE SUBSCRIPTION s CONNECTION 'x';")
    text = HEADER + kept + cut + kept.replace("kept", "also") + TRAILER
    found = scan(text, block)
    path = tmp_path / "dump.sql"
    path.write_text(text)
    pieces: list[bytes] = []
    copy_content(path, pieces.append, found.ranges_of([found.entries[1]]))
    left = b"".join(pieces).decode()
    assert "SUBSCRIPTION" not in left
    assert scan(left).complete
    assert [entry.name for entry in scan(left).entries] == ["kept", "also"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_every_way_of_being_torn_is_seen(suffix: str, tmp_path: Path) -> None:
    content = (WHOLE + ROWS * 500 + TRAILER).encode()
    if suffix == ".gz":
        content = gzip.compress(content)
    elif suffix == ".zst":
        content = zstd_module().compress(content)
    path = tmp_path / f"database.sql{suffix}"
    path.write_bytes(content)
    read_plain_to_the_end(path)
    assert scan_plain(path).complete
    for length in (0, 10, len(content) // 2, len(content) - (1 if suffix else 120)):
        path.write_bytes(content[:length])
        with pytest.raises(PointDamaged):
            read_plain_to_the_end(path)
