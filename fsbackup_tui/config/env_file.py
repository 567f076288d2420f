"""Env files as people write them for dotenv; read as data, never executed."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.template import BadTemplate, MissingVariable, expand

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_COLON = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_.-]*\s*:(?:\s|$)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "`": "`"}
_LARGEST = 1_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,-]*")
# The backslash first: the others bring one along.
_WRITTEN = {"\\": "\\\\", '"': '\\"', "$": "\\$", "`": "\\`", "\n": "\\n", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables of an env file, each one's line, and what was not understood or is unsafe."""

    values: Mapping[str, str]
    lines: Mapping[str, int]
    notes: tuple[str, ...] = ()


def read_env_file(path: Path, environ: Mapping[str, str]) -> EnvFile:
    """Return the variables of the file; OSError where it can't be read, ValueError if no text."""
    with path.open("rb") as stream:
        data = stream.read(_LARGEST + 1)
        mode = path.stat().st_mode
    if len(data) > _LARGEST:
        raise ValueError("it is larger than 1 MB, no env file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8 text") from None
    parsed = parse_env_text(text, environ, name=str(path))
    if mode & stat.S_IROTH:
        note = f"{path} can be read by every user of this machine; chmod o-r {path}"
        return EnvFile(parsed.values, parsed.lines, (note, *parsed.notes))
    return parsed


def parse_env_text(text: str, environ: Mapping[str, str], *, name: str = "env file") -> EnvFile:
    """Return the variables that the text sets; lines that can't be understood become notes.

    Taken are ``export``, single quotes (nothing in them is special but ``\\'`` and ``\\\\``),
    double quotes (escapes, several lines, ``${NAME}``), backquotes, comments, CRLF. ``${NAME}``
    means an earlier line of the file, else ``environ``. The last of two equal names wins.
    """
    return _Parser(text.replace("\r\n", "\n"), environ, name).parse()


def raw_assignments(text: str) -> Mapping[str, str] | None:
    """Return what each name is set to, as it stands there; None where a line is no assignment.

    Nothing is expanded: this tells whether a text is an env file, and which of its lines differ.
    """
    parsed = _raw(text, "")
    return None if parsed.notes else parsed.values


def not_an_assignment(text: str) -> str:
    """Return which line of a text is the first that is no assignment, and why; empty for none.

    Nothing of what stands there is in it.
    """
    notes = _raw(text, "line").notes
    return notes[0].replace(":", " ", 1) if notes else ""


def _raw(text: str, name: str) -> EnvFile:
    return _RawParser(text.replace("\r\n", "\n"), {}, name).parse()


def env_text(values: Mapping[str, str]) -> str:
    """Return an env file that ``parse_env_text`` reads back exactly, and shells mostly, too.

    Raises:
        ValueError: a name that no env file can have, or a value with a NUL.
    """
    for name, value in values.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name} is no name that an env file can have")
        if "\0" in value:
            raise ValueError(f"the value of {name} has a NUL in it")
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    if not set(value) & set("'\\\r"):
        return f"'{value}'"
    for character, escaped in _WRITTEN.items():
        value = value.replace(character, escaped)
    return f'"{value}"'


class _Parser:
    def __init__(self, text: str, environ: Mapping[str, str], name: str) -> None:
        self.text = text
        self.environ = environ
        self.name = name
        self.values: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.notes: list[str] = []

    def parse(self) -> EnvFile:
        position = 0
        while position < len(self.text):
            end = self.text.find("\n", position)
            end = len(self.text) if end < 0 else end
            line = self.text[position:end]
            if line.strip() and not line.lstrip().startswith("#"):
                end = self._assignment(position, end)
            position = end + 1
        return EnvFile(self.values, self.lines, tuple(self.notes))

    def _assignment(self, start: int, end: int) -> int:
        """Take the assignment in that line; return where the line, or its last one, ends."""
        match = _ASSIGNMENT.match(self.text, start, end)
        if match is None:
            colon = _COLON.match(self.text, start, end)
            self._note(start, "write NAME=value, not NAME: value" if colon else "no NAME=value")
            return end
        begin = match.end()
        quote = self.text[begin : begin + 1]
        if quote and quote in "\"'`":
            closing = self._closing_quote(begin, quote)
            if closing is None:
                self._note(start, f"the quote {quote} is never closed; the name is left out")
                return end
            newline = self.text.find("\n", closing)
            end = len(self.text) if newline < 0 else newline
            rest = self.text[closing + 1 : end].strip()
            if rest and not rest.startswith("#"):
                self._note(start, "something stands behind the closing quote; it is left out")
            value = self.text[begin + 1 : closing]
            raw = _unescape(value, "'\\") if quote == "'" else value
            self._set(match["name"], start, raw, expands=quote == '"', escapes=quote == '"')
        else:
            value = re.split(r"(?:^|\s)#", self.text[begin:end], maxsplit=1)[0].strip()
            self._set(match["name"], start, value, expands=True, escapes=False)
        return end

    def _closing_quote(self, begin: int, quote: str) -> int | None:
        position = begin + 1
        while position < len(self.text):
            if self.text[position] == "\\" and quote != "`":
                position += 1
            elif self.text[position] == quote:
                return position
            position += 1
        return None

    def _set(self, name: str, start: int, raw: str, *, expands: bool, escapes: bool) -> None:
        value = raw
        if expands:
            try:
                value = _expanded(raw, {**self.environ, **self.values}, escapes=escapes)
            except MissingVariable as missing:
                names = " and ".join(missing.names)
                self._note(start, f"{names} is not set; {name} is left out")
                return
            except BadTemplate as bad:
                self._note(start, f"{bad}; {name} is left out")
                return
        self.values[name] = value
        self.lines[name] = self._line(start)

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def _note(self, position: int, text: str) -> None:
        self.notes.append(f"{self.name}:{self._line(position)}: {text}")


class _RawParser(_Parser):
    def _set(self, name: str, start: int, raw: str, *, expands: bool, escapes: bool) -> None:
        self.values[name] = raw
        self.lines[name] = self._line(start)


def _expanded(raw: str, environment: Mapping[str, str], *, escapes: bool) -> str:
    r"""Return the value with ``${…}`` replaced and, in double quotes, its escapes undone.

    ``\$`` keeps a dollar. Other dollars stay as they are, ``$$`` too: passwords have them.
    """
    pieces = re.split(r"(\\.|\$\{(?:[^{}]|\$\{[^{}]*\})*\}|\$)", raw, flags=re.DOTALL)
    done: list[str] = []
    for piece in pieces:
        if piece == "\\$":
            done.append("$")
        elif escapes and len(piece) == 2 and piece[0] == "\\":
            done.append(_ESCAPES.get(piece[1], piece))
        elif piece.startswith("${"):
            done.append(expand(piece, environment))
        else:
            done.append(piece)
    return "".join(done)


def _unescape(text: str, characters: str) -> str:
    return re.sub(rf"\\([{re.escape(characters)}])", r"\1", text)
