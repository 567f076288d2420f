"""Env files as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.config.env_file import parse_env_text, read_env_file


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b c ", "b c"),
        ("export A=b", "b"),
        ("  A=b", "b"),
        ("A=", ""),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=# comment", ""),
        ("A='b # c'", "b # c"),
        ("A='b\\n${X}$Y'", "b\\n${X}$Y"),
        ("A='it\\'s'", "it's"),
        ('A="b\\nc\\t\\"d\\" \\\\ \\$"', 'b\nc\t"d" \\ $'),
        ('A="b" # comment', "b"),
        ('A="b=c"', "b=c"),
        ("A=`b \"c\" 'd'`", "b \"c\" 'd'"),
        ('A="b\nc"', "b\nc"),
        ("A=b\r\n", "b"),
        ("A=x${HOST}y", "xdb1y"),
        ('A="${HOST}:${NOPE:-5432}"', "db1:5432"),
        ("A=pa$$word$1", "pa$$word$1"),
        ("A=\\$x", "$x"),
        ("\ufeffA=b", None),
        ("A=ü", "ü"),
        ("A.b-c=d", None),
    ],
)
def test_values(line: str, value: str | None) -> None:
    parsed = parse_env_text(line, {"HOST": "db1"})
    assert parsed.values.get("A") == value


def test_the_last_of_two_wins_and_earlier_lines_of_the_file_win_over_the_shell() -> None:
    parsed = parse_env_text("H=file\nU=x@${H}\nH=last\n", {"H": "shell"})
    assert parsed.values == {"H": "last", "U": "x@file"}
    assert parsed.lines == {"H": 3, "U": 2}


def test_lines_that_are_not_understood_are_told_and_the_others_taken() -> None:
    text = "A=1\nB: 2\nnonsense\nC=\"open\nD=${NOPE}\nE=${NOPE\nF='x' y\nG=7\n"
    parsed = parse_env_text(text, {}, name=".env")
    assert parsed.values == {"A": "1", "E": "${NOPE", "F": "x", "G": "7"}
    notes = "\n".join(parsed.notes)
    assert ".env:2: write NAME=value, not NAME: value" in notes
    assert ".env:3: no NAME=value" in notes
    assert '.env:4: the quote " is never closed' in notes
    assert ".env:5: NOPE is not set; D is left out" in notes
    assert ".env:7: something stands behind the closing quote" in notes


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    parsed = parse_env_text(f"A=$(touch {marker})\nB=`touch {marker}`\n", {})
    assert parsed.values == {"A": f"$(touch {marker})", "B": f"touch {marker}"}
    assert not marker.exists()


def test_a_world_readable_file_is_noted_and_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\n")
    path.chmod(0o600)
    assert read_env_file(path, {}).notes == ()
    path.chmod(0o644)
    found = read_env_file(path, {})
    assert found.values == {"A": "1"}
    assert found.notes == (f"{path} can be read by every user of this machine; chmod o-r {path}",)


def test_a_file_that_is_no_text_says_where(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(ValueError, match="line 2 is not UTF-8"):
        read_env_file(path, {})
