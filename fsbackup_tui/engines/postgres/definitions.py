"""What is defined in one of two databases and not in the other, told by pg_dump's own SQL.

Both sides are entries of an archive's table of contents: a point tells its own without being
restored, a database by a schema-only dump. Definitions that were written by another major
version may differ in their writing alone; then only what is gone or added is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.domain.damage import SchemaDamage, SchemaObject
from fsbackup_tui.engines.postgres.catalogue import one_line
from fsbackup_tui.engines.postgres.schema import canonical_schema
from fsbackup_tui.engines.postgres.toc import DATA_KINDS, TocEntry

_KINDS: Mapping[str, SchemaObject] = {
    "TABLE": "table",
    "FOREIGN TABLE": "table",
    "VIEW": "view",
    "MATERIALIZED VIEW": "view",
    "INDEX": "index",
    "CONSTRAINT": "constraint",
    "FK CONSTRAINT": "constraint",
    "CHECK CONSTRAINT": "constraint",
    "SEQUENCE": "sequence",
    "FUNCTION": "function",
    "PROCEDURE": "function",
    "AGGREGATE": "function",
    "TRIGGER": "trigger",
    "EVENT TRIGGER": "trigger",
    "POLICY": "policy",
    "ROW SECURITY": "policy",
    "TYPE": "type",
    "DOMAIN": "type",
    "EXTENSION": "extension",
}
# Told elsewhere (a default with its column), or no definition that a loss would be.
_LEFT_OUT = DATA_KINDS | {
    *("ACL", "COMMENT", "DEFAULT", "DEFAULT ACL", "SECURITY LABEL", "STATISTICS DATA"),
    *("ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"),
    *("INDEX ATTACH", "SEQUENCE OWNED BY", "SHELL TYPE", "SUBSCRIPTION", "SUBSCRIPTION TABLE"),
    *("BLOB", "BLOB METADATA", "LARGE OBJECT"),
}
# An entry of these kinds is named TABLE NAME by pg_dump.
_OF_A_TABLE = frozenset(
    {"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "POLICY", "RULE", "DEFAULT"}
)
_OF_THE_DUMP = re.compile(r"ALTER [A-Z ]+ .* OWNER TO .*;|SET default_\w+ = .*;|--.*|")
_INDEX_OF = re.compile(r"CREATE (?:UNIQUE )?INDEX .* ON (?:ONLY )?(?P<table>.+?) USING ", re.DOTALL)
_COLUMN = re.compile(r'(?P<name>"(?:[^"]|"")+"|[^\W\d"][\w$]*)\s+(?P<rest>.+)', re.DOTALL)
_INLINE = re.compile(r'CONSTRAINT (?P<name>"(?:[^"]|"")+"|[^\W\d"][\w$]*) (?P<rest>.+)', re.DOTALL)
_ORDER: Sequence[SchemaObject] = (
    *("table", "column", "constraint", "index", "view", "sequence", "function"),
    *("trigger", "policy", "type", "extension", "other"),
)
_LONGEST_DETAIL = 300

_Table = tuple[str, str]
_Item = tuple[SchemaObject, str]


@dataclass(slots=True)
class _Side:
    """One database's definitions: by kind and name, with the table that each belongs to."""

    texts: dict[_Item, str] = field(default_factory=dict)
    tables: dict[_Item, _Table] = field(default_factory=dict)


def compare_definitions(
    point: Sequence[TocEntry], live: Sequence[TocEntry], *, changes: bool = True
) -> tuple[SchemaDamage, ...]:
    """Return what the point defines and live does not (gone), the other way, and what differs.

    What belongs to a table that is gone or added itself is not listed besides. ``changes``
    False: the two were written by different versions, and only names are compared.
    """
    theirs, mine = _side(point), _side(live)
    found = [
        *_only_in(theirs, mine, "gone"),
        *(_changed(theirs, mine) if changes else ()),
        *_only_in(mine, theirs, "added"),
    ]
    return tuple(sorted(found, key=lambda one: (_WHATS.index(one.what), _ORDER.index(one.kind))))


_WHATS = ("gone", "changed", "added")


def _only_in(here: _Side, there: _Side, what: Literal["gone", "added"]) -> Iterator[SchemaDamage]:
    both = {name for kind, name in here.texts.keys() & there.texts.keys() if kind == "table"}
    for item, text in here.texts.items():
        owner = here.tables.get(item)
        if item in there.texts or (owner is not None and _name(owner) not in both):
            continue
        kind, name = item
        yield SchemaDamage(kind, name, what, _detail(kind, text))


def _changed(point: _Side, live: _Side) -> Iterator[SchemaDamage]:
    for item, was in point.texts.items():
        now = live.texts.get(item)
        if now is None or now == was:
            continue
        kind, name = item
        detail = f"was {_short(was)}; is {_short(now)}" if kind == "column" else ""
        yield SchemaDamage(kind, name, "changed", detail or _difference(was, now))


def _difference(was: str, now: str) -> str:
    """Return the first lines of two definitions that differ."""
    for before, after in zip(was.splitlines(), now.splitlines(), strict=False):
        if before != after:
            return f"was {_short(before.strip())}; is {_short(after.strip())}"
    return "one of the two goes on where the other ends"


def _detail(kind: SchemaObject, text: str) -> str:
    return "" if kind == "table" else _short(text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DETAIL else f"{line[: _LONGEST_DETAIL - 1]}…"


def _name(table: _Table) -> str:
    return f"{table[0]}.{table[1]}"


def _side(entries: Iterable[TocEntry]) -> _Side:
    listed = [entry for entry in entries if entry.kind not in _LEFT_OUT - {"DEFAULT"}]
    side = _Side()
    tables: set[_Table] = set()
    for entry in listed:
        if _KINDS.get(entry.kind) == "table":
            table = (one_line(entry.schema), one_line(entry.name))
            tables.add(table)
            _add_table(side, table, entry.definition)
    for entry in listed:
        if _KINDS.get(entry.kind) != "table":
            _add(side, entry, tables)
    return side


def _add_table(side: _Side, table: _Table, definition: str) -> None:
    head, columns, constraints, tail = table_pieces(_canonical(definition))
    side.texts["table", _name(table)] = "\n".join(filter(None, (head, tail)))
    pieces: tuple[tuple[SchemaObject, Mapping[str, str]], ...] = (
        ("column", columns),
        ("constraint", constraints),
    )
    for kind, named in pieces:
        for name, text in named.items():
            joint = "." if kind == "column" else " "
            item: _Item = (kind, f"{_name(table)}{joint}{name}")
            side.texts[item], side.tables[item] = text, table


def _add(side: _Side, entry: TocEntry, tables: set[_Table]) -> None:
    schema, name = one_line(entry.schema), one_line(entry.name)
    text = _canonical(entry.definition)
    owner = _owner(entry, schema, name, tables)
    if entry.kind == "DEFAULT":
        if owner is not None:
            column: _Item = ("column", f"{_name(owner)}.{name[len(owner[1]) + 1 :]}")
            default = text.partition(" SET DEFAULT ")[2].rstrip(";")
            if column in side.texts:
                side.texts[column] += f" DEFAULT {default}"
        return
    kind = _KINDS.get(entry.kind, "other")
    shown = f"{schema}.{name}" if schema else name
    item: _Item = (kind, shown if kind != "other" else f"{entry.kind.lower()} {shown}")
    side.texts[item] = "\n".join(filter(None, (side.texts.get(item), text)))
    if owner is not None:
        side.tables[item] = owner


def _owner(entry: TocEntry, schema: str, name: str, tables: set[_Table]) -> _Table | None:
    """Return the table that an entry belongs to, as pg_dump names it."""
    if entry.kind == "ROW SECURITY":
        return (schema, name)
    if entry.kind in _OF_A_TABLE:
        places = [place for place, mark in enumerate(name) if mark == " "]
        return next(
            ((schema, name[:place]) for place in places if (schema, name[:place]) in tables), None
        )
    if entry.kind == "INDEX" and (match := _INDEX_OF.match(entry.definition)):
        pieces = [_unquoted(piece) for piece in re.findall(r'"(?:[^"]|"")+"|[^."]+', match[1])]
        return (pieces[0], pieces[1]) if len(pieces) == 2 else None
    return None


def _canonical(definition: str) -> str:
    """Return a definition without what a plain dump says around it, in the form that lasts."""
    lines = definition.encode("utf-8", "surrogateescape").splitlines(keepends=True)
    text = b"".join(canonical_schema(lines)).decode("utf-8", "surrogateescape")
    kept = [line for line in text.split("\n") if not _OF_THE_DUMP.fullmatch(line)]
    return "\n".join(kept)


def table_pieces(definition: str) -> tuple[str, dict[str, str], dict[str, str], str]:
    """Return a CREATE TABLE's head, its columns and constraints by name, and what follows them.

    A form without a list of columns is all head.
    """
    opening = _outside(definition, 0, "(")
    if opening < 0:
        return definition, {}, {}, ""
    columns: dict[str, str] = {}
    constraints: dict[str, str] = {}
    start = position = opening + 1
    end = _outside(definition, position, ")")
    while end >= 0 and start < end:
        comma = _outside(definition, position, ",")
        stop = comma if 0 <= comma < end else end
        _take(definition[start:stop].strip(), columns, constraints)
        start = position = stop + 1
        if stop == end:
            break
    head, tail = definition[:opening].strip(), definition[end + 1 :].strip() if end >= 0 else ""
    return head, columns, constraints, tail


def _take(piece: str, columns: dict[str, str], constraints: dict[str, str]) -> None:
    if match := _INLINE.fullmatch(piece):
        constraints[_unquoted(match["name"])] = match["rest"]
    elif match := _COLUMN.fullmatch(piece):
        columns[_unquoted(match["name"])] = " ".join(match["rest"].split())


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


def _outside(text: str, position: int, wanted: str) -> int:
    """Return where a mark stands next, outside quotes and brackets opened since; -1: nowhere."""
    depth = 0
    while position < len(text):
        mark = text[position]
        if mark == wanted and depth == 0:
            return position
        if mark in "'\"" and (quoted := _QUOTED.match(text, position)):
            position = quoted.end()
            continue
        depth += (mark in "([") - (mark in ")]")
        if depth < 0:
            return -1
        position += 1
    return -1
