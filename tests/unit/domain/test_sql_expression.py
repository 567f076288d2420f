"""What a person typed stays inside the parentheses that it is put into."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.sql_expression import why_not_expression


@pytest.mark.parametrize(
    "text",
    [
        "created_at > '2026-11-20'",
        "a = 'x;y)' AND (b OR c) -- ; )",
        "name = 'it''s (' /* ; /* ) */ */ AND true",
        'n = E\'\\\'; (\' AND "odd;)""x" = 1',
        "n = 'back\\'",
        "body = $$ ; ) $$ OR body = $tag$ $$ ; $tag$",
        "a$b$ > 1 AND c$b$ < 2",
        "id IN (SELECT x FROM (SELECT 1) AS t(x))",
        "a = 'E' AND typE'x' = 1",
        "x = $1",
    ],
)
def test_expressions(text: str) -> None:
    assert why_not_expression(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("true; DROP TABLE users", "semicolon"),
        ("(true;)", "semicolon"),
        ("true) OR (true", "closes"),
        ("'' ) --", "closes"),
        ("(a = 1", "not closed"),
        ("a = 'x", "not closed"),
        ('a = "x', "not closed"),
        ("a = E'x\\'", "not closed"),
        ("a = $t$ x $u$", "not closed"),
        ("a /* /* */", "not closed"),
        ("a = 'b\\'; DELETE FROM t --'", "semicolon"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    assert why in why_not_expression(text)
