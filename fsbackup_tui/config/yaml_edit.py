"""Changes settings in a YAML text and leaves every other character as it is.

The text is not written anew from its values: spans of it are replaced. After every edit the new
text is read, and refused where anything but the wanted setting became another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fsbackup_tui.config.yaml_reader import Document, YamlSyntaxError, read_yaml
from fsbackup_tui.config.yaml_tree import Place, tree_of

Scalar: TypeAlias = str | int
Path: TypeAlias = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.%/+-]*( [A-Za-z0-9_.%/+-]+)*")
_BREAK = re.compile(r"\r\n|\n|\r")
_BYTE_ORDER_MARK = "\ufeff"


class NotEditable(Exception):
    """The text is written in a way that this setting can't be changed in without touching more."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a section shall hold: ``values`` by name at ``path``; None: there is no such section.

    What it has and ``values`` has not is taken out of it.
    """

    path: Path
    values: Mapping[str, Scalar] | None


def changed_text(text: str, changes: Sequence[Change]) -> str:
    """Return the text with the changes made, everything else as it was; NotEditable."""
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    before = text.removeprefix(mark)
    after = before
    wanted = _value(before)
    for change in changes:
        wanted = _with(wanted, change.path, change.values)
        after = _Edit(after).section(change)
    try:
        document = read_yaml(after, "")
    except YamlSyntaxError as error:
        raise NotEditable("the result could not be read again") from error
    if document.problems or not same(document.value, wanted):
        raise NotEditable("something else would have become another with it")
    return mark + after


def read_back(text: str) -> Document:
    """Return the document of a whole text, with or without a byte order mark; YamlSyntaxError."""
    return read_yaml(text.removeprefix(_BYTE_ORDER_MARK), "")


def lines_by_hand(change: Change) -> str:
    """Return the lines that say what a change would have made, to be written by hand."""
    if change.values is None:
        return f"take {'.'.join(change.path)} out"
    *above, last = change.path
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(above)]
    return "\n".join([*lines, f"{'  ' * len(above)}{last}: {_section_text(change.values)}"])


def same(one: Any, other: Any) -> bool:
    """Whether two documents are equal in values and types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    # A float that is no number equals nothing, itself included.
    return bool(one == other) or (one != one and other != other)


def _value(text: str) -> Any:
    try:
        return read_yaml(text, "").value
    except YamlSyntaxError as error:
        raise NotEditable("it can't be read as it is") from error


def _with(value: Any, path: Path, values: Mapping[str, Scalar] | None) -> Any:
    """Return the document as it shall be."""
    if value is not None and not isinstance(value, dict):
        raise NotEditable(f"above {path[0]} there is no section")
    here = dict(value or {})
    name, *rest = path
    if rest:
        here[name] = _with(here.get(name), tuple(rest), values)
    elif values:
        here[name] = dict(values)
    else:
        here.pop(name, None)
    return here


def _scalar_text(value: Scalar) -> str:
    """Return a value as YAML, plain where it reads back as what it is."""
    if isinstance(value, int):
        return str(value)
    plain = _BARE.fullmatch(value) and same(read_yaml(value, "").value, value)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _section_text(values: Mapping[str, Scalar]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar_text(value)}" for key, value in values.items()) + "}"


class _Edit:
    """One text; every step reads it anew, so that places are always those of the text as it is."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = _BREAK.search(text)
        self.line_break = found.group() if found else "\n"

    def section(self, change: Change) -> str:
        """Return the text with the section as it shall be."""
        place = self._find(change.path)
        if not change.values:
            self._remove(change.path)
            return self.text
        if place is None or place.kind != "map":
            self._put(change.path, _section_text(change.values))
            return self.text
        names = [key.word for key, _ in place.entries]
        for name, value in change.values.items():
            if not self._says((*change.path, name), value):
                self._put((*change.path, name), self._in_quotes((*change.path, name), value))
        # Only now: a section that loses its last entry on the way would be none any more.
        for name in names:
            if name not in change.values:
                self._remove((*change.path, name))
        return self.text

    def _find(self, path: Path) -> Place | None:
        place = tree_of(self.text)
        for name in path:
            entry = place.entry(name) if place is not None else None
            if entry is None:
                return None
            place = entry[1]
        return place

    def _says(self, path: Path, value: Scalar) -> bool:
        """Whether a setting has this value already, in whatever quotes."""
        place = self._find(path)
        if place is None or place.kind != "scalar":
            return False
        return same(_value(self.text[place.start : place.end]), value)

    def _in_quotes(self, path: Path, value: Scalar) -> str:
        """Return a value as YAML, in the quotes that the present one has."""
        place = self._find(path)
        quote = self.text[place.start] if place is not None and not place.empty else ""
        if isinstance(value, str) and quote == "'":
            return "'" + value.replace("'", "''") + "'"
        if isinstance(value, str) and quote == '"':
            return json.dumps(value, ensure_ascii=False)
        return _scalar_text(value)

    def _put(self, path: Path, rendered: str) -> None:
        """Give a setting a value, in its place where it has one."""
        section = self._find(path[:-1])
        name = path[-1]
        if section is None or section.empty:
            if len(path) == 1:
                raise NotEditable("the file is empty")
            self._put(path[:-1], "{" + f"{name}: {rendered}" + "}")
            return
        if section.kind != "map":
            raise NotEditable(f"{'.'.join(path[:-1]) or 'the file'} is written by reference")
        entry = section.entry(name)
        if entry is None:
            self._add(section, f"{name}: {rendered}")
            return
        _, value = entry
        if value.lines or (value.kind != "scalar" and not value.flow and value.kind != "alias"):
            raise NotEditable(f"the value of {name} goes over several lines")
        gap = " " if value.empty else ""
        self._replace(value.start, value.end, gap + rendered)

    def _add(self, section: Place, entry: str) -> None:
        """Write an entry behind the last one of a section, in the section's own way."""
        if not section.entries:
            # Only braces can have nothing in them.
            self._replace(section.end - 1, section.end - 1, entry)
            return
        last_key, last = section.entries[-1]
        end = max(last_key.end, last.end)
        if section.flow:
            self._add_in_braces(section, last_key, end, entry)
            return
        first = section.entries[0][0]
        indent = self.text[self._line_start(first.start) : first.start]
        if indent.strip():
            raise NotEditable("its section begins within a line")
        line_end = self._line_end(end)
        self._replace(line_end, line_end, self.line_break + indent + entry)

    def _add_in_braces(self, section: Place, last_key: Place, end: int, entry: str) -> None:
        """Write an entry behind the last one, in a line of its own where that one has such."""
        line_start, line_end = self._line_start(last_key.start), self._line_end(end)
        indent = self.text[line_start : last_key.start]
        if line_start <= section.start or indent.strip() or line_end >= section.end:
            self._replace(end, end, f", {entry}")
            return
        # What stands behind the last entry, a comment on it, stays there.
        behind = self.text[end:line_end]
        comma = "" if behind.lstrip().startswith(",") else ","
        self._replace(end, line_end, f"{comma}{behind}{self.line_break}{indent}{entry}")

    def _remove(self, path: Path) -> None:
        """Take a setting out, with its line where it has one of its own."""
        section = self._find(path[:-1])
        if section is None or section.kind != "map":
            return
        names = [key.word for key, _ in section.entries]
        if path[-1] not in names:
            return
        place = names.index(path[-1])
        key, value = section.entries[place]
        end = max(key.end, value.end)
        start, stop = self._line_start(key.start), self._line_end(end)
        before, after = self.text[start : key.start], self.text[end:stop]
        behind = after.lstrip(" \t").removeprefix("," if section.flow else "").lstrip(" \t")
        alone = not before.strip() and (not behind or behind.startswith("#"))
        if not section.flow and not alone:
            raise NotEditable(f"{path[-1]} shares its line with something else")
        if alone:
            self._remove_lines(start, stop)
        elif place + 1 < len(section.entries):
            self._replace(key.start, section.entries[place + 1][0].start, "")
        elif place:
            former_key, former = section.entries[place - 1]
            self._replace(max(former_key.end, former.end), end, "")
        else:
            self._replace(key.start, end, "")

    def _remove_lines(self, start: int, stop: int) -> None:
        """Take whole lines out; a text that ended without a line break still does."""
        following = _BREAK.match(self.text, stop)
        if following is not None:
            stop = following.end()
        elif start:
            start -= 2 if self.text.startswith("\r\n", start - 2) else 1
        self._replace(start, stop, "")

    def _line_start(self, place: int) -> int:
        return max(self.text.rfind("\n", 0, place), self.text.rfind("\r", 0, place)) + 1

    def _line_end(self, place: int) -> int:
        found = _BREAK.search(self.text, place)
        return found.start() if found else len(self.text)

    def _replace(self, start: int, end: int, new: str) -> None:
        self.text = self.text[:start] + new + self.text[end:]
