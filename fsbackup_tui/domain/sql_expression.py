"""Whether a text that a person typed is one SQL expression, and cannot end what stands around it.

The server parses it afterwards; this only sees to it that the text stays inside the parentheses
that it is put into. Quotes, dollar quotes and comments are read as PostgreSQL reads them.
"""

from __future__ import annotations

import re

_DOLLAR = re.compile(r"\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def why_not_expression(text: str) -> str:
    """Return why the text can't stand in parentheses as one expression; empty: it can."""
    depth, at = 0, 0
    if not text.strip():
        return "it is empty"
    while at < len(text):
        letter = text[at]
        if letter == ";":
            return "it has a semicolon"
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth < 0:
                return "it closes a parenthesis that it did not open"
        end = _end_of_quoted(text, at)
        if end is None:
            return "a quote or a comment in it is not closed"
        at = end
    return "a parenthesis in it is not closed" if depth else ""


def _end_of_quoted(text: str, at: int) -> int | None:
    """Return where what begins at ``at`` ends; None: never. Plain letters end at once."""
    if text[at] in "'\"":
        escapes = text[at] == "'" and _is_escape_string(text, at)
        return _end_of_quotes(text, at, escapes=escapes)
    if text.startswith("--", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if text.startswith("/*", at):
        return _end_of_comment(text, at)
    if text[at] == "$" and not (at and _is_word(text[at - 1])):
        tag = _DOLLAR.match(text, at)
        if tag is not None:
            end = text.find(tag[0], tag.end())
            return None if end < 0 else end + len(tag[0])
    return at + 1


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter in "_$"


def _is_escape_string(text: str, at: int) -> bool:
    return at > 0 and text[at - 1] in "eE" and not (at > 1 and _is_word(text[at - 2]))


def _end_of_quotes(text: str, start: int, *, escapes: bool) -> int | None:
    quote, at = text[start], start + 1
    while at < len(text):
        if escapes and text[at] == "\\":
            at += 2
        elif text[at] != quote:
            at += 1
        elif text.startswith(quote, at + 1):
            at += 2
        else:
            return at + 1
    return None


def _end_of_comment(text: str, start: int) -> int | None:
    """Comments hold comments."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return None
