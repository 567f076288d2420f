"""``${NAME}`` and its defaults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.config.template import (
    BadTemplate,
    MissingVariable,
    escape,
    expand,
    variables,
)

ENVIRONMENT = {"A": "1", "EMPTY": "", "BRACE": "}", "DOLLAR": "${A}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}/${A}", "1/1"),
        ("${B:-2}", "2"),
        ("${A:-2}", "1"),
        ("${EMPTY:-2}", "2"),
        ("${EMPTY}", ""),
        ("${B:-}", ""),
        ("${B:-${C:-${A}}}", "1"),
        ("${B:-x${A}y}z", "x1yz"),
        ("${A:-${B}}", "1"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$A pa$word $", "$A pa$word $"),
        ("${BRACE}", "}"),
        ("${DOLLAR}", "${A}"),
        ("a}b", "a}b"),
        ("${B:-http://x:1/?a=b}", "http://x:1/?a=b"),
    ],
)
def test_expansion(text: str, value: str) -> None:
    assert expand(text, ENVIRONMENT) == value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("${B}", ("B",)),
        ("${B:-${C}}", ("B", "C")),
        ("${EMPTY:-${C}}", ("EMPTY", "C")),
        ("${A}${B}", ("B",)),
    ],
)
def test_what_is_missing_is_named(text: str, names: tuple[str, ...]) -> None:
    with pytest.raises(MissingVariable) as caught:
        expand(text, ENVIRONMENT)
    assert caught.value.names == names


@pytest.mark.parametrize(
    "text", ["${", "${}", "${1A}", "${A", "${A:-x", "${A-x}", "${A:?x}", "${A b}"]
)
def test_other_forms_are_told_how_to_be_written(text: str) -> None:
    with pytest.raises(BadTemplate):
        expand(text, ENVIRONMENT)


def test_the_names_in_a_text() -> None:
    assert variables("${A:-${B:-x}}$${C}${A}") == ("A", "B")


@given(st.text())
def test_an_escaped_text_comes_back(text: str) -> None:
    assert expand(escape(text), {}) == text
