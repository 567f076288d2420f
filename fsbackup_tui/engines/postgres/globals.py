"""Roles and memberships as a ``globals.sql`` of pg_dumpall tells them.

The file is read, never run: what is taken from it is put together anew, so that no other
statement in it, and no password, can reach a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FLAGS = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]* | \\[^\n]*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<text>'(?:[^']|'')*')
    | "(?P<quoted>(?:[^"]|"")*)"
    | (?P<dollars>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>-?\d+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement: ``kind`` is word, quoted, text, number or other."""

    kind: str
    text: str

    @property
    def keyword(self) -> str:
        """The word in capitals; empty for anything that can't be a keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The identifier that it is, folded as the server does."""
        return self.text.lower() if self.kind == "word" else self.text


@dataclass(frozen=True, slots=True)
class GlobalRole:
    """A role: which flags it has (name: true or false), and its other attributes."""

    name: str
    flags: dict[str, bool] = field(default_factory=dict)
    connection_limit: int | None = None
    valid_until: str | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """That ``member`` is in ``role``, with the options of the grant (name: true or false)."""

    role: str
    member: str
    options: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Globals:
    """What the file tells, in its order; ``tablespaces`` are names alone."""

    roles: tuple[GlobalRole, ...] = ()
    memberships: tuple[Membership, ...] = ()
    tablespaces: tuple[str, ...] = ()


def split_statements(text: str) -> Iterator[list[Token]]:
    """Give each statement as its tokens, without comments and psql's own commands.

    Semicolons, backslashes and line breaks inside quotes belong to what is quoted; a backslash
    elsewhere begins a command for psql, up to the end of its line.
    """
    statement: list[Token] = []
    for match in _TOKEN.finditer(text):
        if match[0] == ";":
            if statement:
                yield statement
            statement = []
        elif match["space"] is None:
            statement.append(_token(match))
    if statement:
        yield statement


def _token(match: re.Match[str]) -> Token:
    if match["quoted"] is not None:
        return Token("quoted", match["quoted"].replace('""', '"'))
    if match["text"] is not None:
        return Token("text", match["text"][1:-1].replace("''", "'"))
    for kind in ("word", "number"):
        if match[kind] is not None:
            return Token(kind, match[kind])
    return Token("other", match[0])


def parse_globals(text: str) -> Globals:
    """Return the roles, memberships and tablespaces of pg_dumpall's output."""
    roles: dict[str, GlobalRole] = {}
    memberships: list[Membership] = []
    tablespaces: list[str] = []
    for statement in split_statements(text):
        verb = tuple(token.keyword for token in statement[:2])
        if verb in (("CREATE", "ROLE"), ("ALTER", "ROLE")) and len(statement) > 2:
            name = statement[2].name
            roles[name] = _with_attributes(roles.get(name, GlobalRole(name)), statement[3:])
        elif verb == ("CREATE", "TABLESPACE") and len(statement) > 2:
            tablespaces.append(statement[2].name)
        elif verb[:1] == ("GRANT",) and (membership := _membership(statement)) is not None:
            memberships.append(membership)
    return Globals(tuple(roles.values()), tuple(memberships), tuple(tablespaces))


def _with_attributes(role: GlobalRole, tokens: list[Token]) -> GlobalRole:
    """Return the role with what ``WITH …`` says; settings (``SET``) are not its attributes."""
    words = [token.keyword for token in tokens]
    if "SET" in words or "RESET" in words or "RENAME" in words or "IN" in words:
        return role
    flags = dict(role.flags)
    limit, until = role.connection_limit, role.valid_until
    for index, word in enumerate(words):
        if word in _FLAGS:
            flags[word] = True
        elif word.startswith("NO") and word[2:] in _FLAGS:
            flags[word[2:]] = False
        elif words[index : index + 2] == ["CONNECTION", "LIMIT"]:
            limit = _number(tokens[index + 2 : index + 3])
        elif words[index : index + 2] == ["VALID", "UNTIL"]:
            until = next((token.text for token in tokens[index + 2 : index + 3]), None)
    return GlobalRole(role.name, flags, limit, until)


def _number(tokens: list[Token]) -> int | None:
    return int(tokens[0].text) if tokens and tokens[0].kind == "number" else None


def _membership(statement: list[Token]) -> Membership | None:
    """Return ``GRANT role TO member [WITH …] [GRANTED BY …]``; None for rights on objects."""
    words = [token.keyword for token in statement]
    if len(statement) < 4 or words[2] != "TO" or "ON" in words:
        return None
    options: dict[str, bool] = {}
    rest = words[4:]
    if "GRANTED" in rest:
        rest = rest[: rest.index("GRANTED")]
    for option in ("ADMIN", "INHERIT", "SET"):
        if option in rest:
            value = rest[rest.index(option) + 1 : rest.index(option) + 2]
            options[option] = value != ["FALSE"]
    return Membership(statement[1].name, statement[3].name, options)
