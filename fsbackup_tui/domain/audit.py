"""The audit log's lines: how one is written, how it hangs on the one before, what does not fit.

Every line is one JSON document in one form; its ``sha256`` is that of the document without it,
and ``previous`` is the former line's. So no byte of a line can be changed, and no line taken away,
put in or moved, without the next one telling. What was cut off at the end, or written anew as a
whole, is told by the head that the repository keeps (repository/audit.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fsbackup_tui.domain.events import format_time, parse_time

AUDIT_FORMAT = 1
Result = Literal["started", "ok", "failed", "refused", "cancelled", "lost"]
TORN = "torn-line"
BEGUN = "audit-begun"
_LONGEST_TEXT = 500
_MOST_VALUES = 50
_DEEPEST = 4
_NO_LINE = "it is no line of the log"


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, or was refused: all of a line but its place in the log.

    ``origin`` is from where (host, tty, address, sudo, via); ``subject`` what it was done to,
    ``arguments`` how, without secrets; ``problem`` the words of what went wrong.
    """

    action: str
    operator: str
    result: Result
    at: datetime
    origin: Mapping[str, str]
    subject: str = ""
    arguments: Mapping[str, object] | None = None
    problem: str = ""
    incident: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a log: its number, its hash and its time; number 0 is before the first."""

    sequence: int = 0
    sha256: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first line of a log that does not fit: its number in the file (1 is the first), why."""

    line: int
    what: str


def audit_line(deed: Deed, before: Head) -> tuple[bytes, Head]:
    """Return the bytes of the line that follows ``before``, and the head that it makes."""
    document: dict[str, object] = {
        "sequence": before.sequence + 1,
        "at": format_time(deed.at),
        "action": _short(deed.action),
        "operator": _short(deed.operator),
        "origin": {name: _short(text) for name, text in deed.origin.items() if text},
        "subject": _short(deed.subject),
        "arguments": _plain(deed.arguments or {}),
        "result": deed.result,
        "problem": _short(deed.problem),
        "incident": deed.incident,
        "job": deed.job,
        "previous": before.sha256,
    }
    document["sha256"] = hashlib.sha256(_form(document)).hexdigest()
    head = Head(before.sequence + 1, str(document["sha256"]), str(document["at"]))
    return _form(document) + b"\n", head


def head_of(line: bytes) -> Head | None:
    """Return the head that a whole line makes; None for what is no line."""
    document = _document(line)
    return None if document is None else _head(document)


def read_line(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None for what is no line. Whether it fits is not looked at."""
    return _document(line)


def torn_deed(rest: bytes, at: datetime, origin: Mapping[str, str]) -> Deed:
    """Return the note that stands behind what is left of a line that was never finished."""
    return Deed(
        TORN,
        "fsbackup",
        "ok",
        at,
        origin,
        arguments={"bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()},
        problem="The line before was never finished (a crash, a full disk); nothing is left out.",
    )


class ChainCheck:
    """Takes the lines of a log in their order and tells the first that does not fit.

    ``head`` is the last line that fitted, ``line`` how many there were before it in the file;
    ``known`` is the head that is kept elsewhere.
    """

    def __init__(self, head: Head = Head(), line: int = 0, *, known: Head | None = None) -> None:
        self.head = head
        self.line = line
        self._torn: bytes | None = None
        self._known = known

    def take(self, raw: bytes) -> Misfit | None:
        """Take the next line, without its line feed; return why it does not fit."""
        self.line += 1
        document = _document(raw)
        if document is None:
            if self._torn is not None:
                return Misfit(self.line - 1, _NO_LINE)
            self._torn = raw
            return None
        if self._torn is not None and not _tells_of(document, self._torn):
            return Misfit(self.line - 1, _NO_LINE)
        self._torn = None
        what = self._fits(raw, document)
        if what:
            return Misfit(self.line, what)
        self.head = _head(document) or self.head
        return self._other()

    def _other(self) -> Misfit | None:
        known, head = self._known, self.head
        if known is None or known.sequence != head.sequence or known.sha256 == head.sha256:
            return None
        what = f"the repository knows another line {head.sequence}: the log was written anew"
        return Misfit(self.line, what)

    def end(self) -> Misfit | None:
        """Take the end of the log; return what is missing there.

        A last line that was never finished is no misfit: the next one that is written tells.
        """
        if self._torn is not None:
            return Misfit(self.line, _NO_LINE)
        known = self._known
        if known is not None and known.sequence > self.head.sequence:
            return Misfit(
                self.line + 1,
                f"the end is cut off: the repository knows line {known.sequence}, of {known.at},"
                f" and the log ends with {self.head.sequence}",
            )
        return self._other()

    def _fits(self, raw: bytes, document: Mapping[str, Any]) -> str:
        told = document.get("sha256")
        bare = {name: value for name, value in document.items() if name != "sha256"}
        if _form(document) != raw or hashlib.sha256(_form(bare)).hexdigest() != told:
            return "it was altered"
        sequence, wanted = document.get("sequence"), self.head.sequence + 1
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            return "it has no number"
        if sequence > wanted:
            one = sequence == wanted + 1
            gone = f"line {wanted} is" if one else f"lines {wanted} to {sequence - 1} are"
            return f"{gone} missing before it"
        if sequence < wanted:
            return f"it has the number {sequence}, and {wanted} is due: put in, moved or doubled"
        if document.get("previous") != self.head.sha256:
            return "it does not follow the line before"
        return ""


def _tells_of(document: Mapping[str, Any], torn: bytes) -> bool:
    arguments = document.get("arguments")
    return (
        document.get("action") == TORN
        and isinstance(arguments, dict)
        and arguments.get("bytes") == len(torn)
        and arguments.get("sha256") == hashlib.sha256(torn).hexdigest()
    )


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _head(document: Mapping[str, Any]) -> Head | None:
    sequence, sha256, at = (document.get(name) for name in ("sequence", "sha256", "at"))
    if not isinstance(sequence, int) or not isinstance(sha256, str):
        return None
    return Head(sequence, sha256, str(at))


def head_document(head: Head) -> dict[str, object]:
    """Return the values of a head that is kept beside its log."""
    return {"sequence": head.sequence, "sha256": head.sha256, "at": head.at}


def parse_head(document: Mapping[str, Any]) -> Head:
    """Return what ``head_document`` gave; KeyError, ValueError, TypeError for any other."""
    parse_time(document["at"])
    return Head(int(document["sequence"]), str(document["sha256"]), str(document["at"]))


def _form(document: Mapping[str, object]) -> bytes:
    """Return the one form in which a document is written and hashed."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def _short(text: object) -> str:
    told = str(text)
    return told if len(told) <= _LONGEST_TEXT else f"{told[: _LONGEST_TEXT - 1]}…"


def _plain(value: object, depth: int = 0) -> object:
    """Return a value as JSON holds it, of bounded size; what is None or empty is left out."""
    if value is None or isinstance(value, bool | int):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        kept = {str(name): each for name, each in value.items() if each not in (None, "", (), [])}
        items = list(kept.items())[:_MOST_VALUES]
        return {_short(name): _plain(each, depth + 1) for name, each in items}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth + 1) for each in list(value)[:_MOST_VALUES]]
    return _short(value)
