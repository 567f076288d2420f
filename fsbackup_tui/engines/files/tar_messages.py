"""What GNU tar says while it archives: what is to be expected of a living tree, and what isn't.

Called with ``LC_ALL=C`` and ``--quoting-style=c``, so that names are C strings and no name can
look like a message. The words are those of tar 1.26 to 1.35.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fsbackup_tui.engines.process_output import LineSplitter

_MESSAGE = re.compile(r'\S*tar: (?P<warning>Warning: )?"(?P<name>(?:[^"\\]|\\.)*)": (?P<text>.*)')
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
}  # fmt: skip
_GONE = re.compile(
    r"File removed before we read it"
    r"|(?:Warning: )?Cannot [a-z_]+: (?:No such file or directory|Not a directory"
    r"|Too many levels of symbolic links|Stale file handle)"
    r"|Cannot readlink: Invalid argument"
)
_CHANGED = re.compile(r"file changed as we read it|File shrank by \d+ bytes?; padding with zeros")
_FINAL = "Exiting with failure status due to previous errors"
_LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that tar could not do: with which path, and its words."""

    path: bytes
    text: str


class TarMessages:
    """Sorts tar's messages as they come: ``changed`` paths, ``warnings``, and ``trouble``.

    ``all_changed``: more of them changed than are kept; any path may be one.
    """

    def __init__(self) -> None:
        self.changed: set[bytes] = set()
        self.all_changed = False
        self.warnings: list[str] = []
        self.trouble: Trouble | None = None
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> None:
        """Take in what tar wrote to its standard error; no bytes mean the end of it."""
        for line in self._lines.feed(data) if data else self._lines.finish():
            self._take(line)

    def _take(self, line: str) -> None:
        if not line or line.endswith(_FINAL):
            return
        match = _MESSAGE.fullmatch(line)
        if match is None:
            self.trouble = self.trouble or Trouble(b"", line)
            return
        text = match["text"]
        if _GONE.fullmatch(text):
            return
        if _CHANGED.fullmatch(text):
            if len(self.changed) < _LONGEST:
                self.changed.add(_name(match["name"]))
            else:
                self.all_changed = True
        elif match["warning"] or text.startswith("Warning: "):
            if len(self.warnings) < 100:
                self.warnings.append(line)
        else:
            self.trouble = self.trouble or Trouble(_name(match["name"]), text)


def _name(quoted: str) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 8) & 0xFF])
        return _LETTERS.get(match[2], match[2])

    return _ESCAPE.sub(plain, quoted.encode("utf-8", "replace"))
