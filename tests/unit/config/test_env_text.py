"""Env files written by us read back exactly; others are told by their keys."""

from __future__ import annotations

import random
import subprocess

import pytest

from fsbackup_tui.config.env_file import env_text, parse_env_text, raw_assignments

NASTY = "ab'\"\\$`{}()\n\r\t #=;é€\u2028"


def test_what_is_written_reads_back_exactly() -> None:
    chance = random.Random(5)
    for _ in range(5000):
        one, two = ("".join(chance.choices(NASTY, k=chance.randrange(12))) for _ in "12")
        values = {"ONE": one, "TWO_2": two}
        parsed = parse_env_text(env_text(values), {"a": "something", "ONE": "else"})
        assert (parsed.values, parsed.notes) == (values, ())


def test_a_shell_reads_most_of_it_too() -> None:
    values = {"URL": "postgres://a:b@h/d?x=1&y=2", "TEXT": 'two\nlines $HOME `x` "q"', "E": ""}
    script = env_text(values) + 'printf "%s|" "$URL" "$TEXT" "$E"'
    printed = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert printed.stdout == "".join(f"{value}|" for value in values.values())


@pytest.mark.parametrize("values", [{"A B": "1"}, {"1A": "1"}, {"": "1"}, {"A": "\0"}])
def test_what_no_env_file_can_hold_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"name|NUL"):
        env_text(values)


def test_only_a_file_of_assignments_has_keys() -> None:
    text = "# c\nexport A=1\r\nB=${A}/$X\nC='x\ny'\n"
    assert raw_assignments(text) == {"A": "1", "B": "${A}/$X", "C": "x\ny"}
    for other in ("[Unit]\nDescription=x\n", "server {\n", "A: 1\n", "A='open\n"):
        assert raw_assignments(other) is None
