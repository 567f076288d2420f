"""Plain SQL dumps: read to the end without a server, and judged before psql may see them.

psql ends with 0 on a dump that is cut off within a table's rows, and carries out backslash
commands (``\\!`` among them) that stand anywhere outside quotes: both are looked for here, by
reading the text as psql's own lexer divides it.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.engines.compression import BLOCK, ByteStream, CompressedDataDamaged, open_plain
from fsbackup_tui.engines.postgres.toc import TocEntry

_TRAILERS = (
    b"-- PostgreSQL database dump complete",
    b"-- PostgreSQL database cluster dump complete",
)
_TRAILER_LINES = 20
# `supabase db dump` deletes the comment lines of a schema, pg_dump's trailer with them, and
# writes this behind it once pg_dump has ended well (its dump_schema.sh: set -euo pipefail).
_SUPABASE_TRAILER = b"RESET ALL;"
_VERB = re.compile(
    rb"\s*(?:(COPY|INSERT|CREATE ROLE)\b|(CREATE)\s.{0,40}?\b(TABLE)\s)", re.I | re.S
)
_HEADER = re.compile(
    rb"-- (?:Data for )?Name: (?P<name>.*); Type: (?P<kind>[A-Z][A-Z ]*);"
    rb" Schema: (?P<schema>.*); Owner: (?P<owner>.*?)(?:; Tablespace: .*)?"
)
_TOKEN = re.compile(
    rb"(?P<escape>(?<![A-Za-z0-9_\x80-\xff$])[eE]')|(?P<single>')|(?P<double>\")"
    rb"|(?P<comment>--)|(?P<block>/\*)|(?P<end>;)|(?P<back>\\)"
    rb"|(?P<dollar>(?<![A-Za-z0-9_\x80-\xff$])\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$)"
)
_IN_BLOCK = re.compile(rb"/\*|\*/")
_IN_ESCAPE = re.compile(rb"\\.|'", re.DOTALL)
_COPY = re.compile(rb"\s*COPY\s.*\sFROM\s+stdin\s*", re.DOTALL | re.IGNORECASE)
# What pg_dump has written around every plain dump since August 2025: a bare word as argument.
# psql runs backquoted text in an argument (CVE-2026-18408), so nothing else passes.
_HARMLESS_COMMAND = re.compile(rb"\\(?:restrict|unrestrict) [A-Za-z0-9]+\s*")
# Then quotes end elsewhere than this reader thinks.
_BACKSLASH_ESCAPES = re.compile(rb"standard_conforming_strings\s*(?:=|TO)\s*'?off", re.IGNORECASE)
# What servers before 17 don't know (see newer_client).
_NEWER_SETTING = b"SET transaction_timeout = 0;"
_LONGEST_STATEMENT = 64 * 1024 * 1024
_KEPT_DEFINITION = 1024 * 1024


@dataclass(slots=True)
class PlainScan:
    """What a plain dump holds: its entries, rows per data entry (by dump id), its completeness.

    ``starts`` are the entries' first bytes, counted in plain bytes; ``settings`` the lines that
    set what servers before 17 don't know. ``statements`` counts those of a few kinds: COPY,
    INSERT, CREATE TABLE, CREATE ROLE.
    """

    entries: list[TocEntry] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)
    complete: bool = False
    commands: list[str] = field(default_factory=list)
    bytes: int = 0
    statements: Counter[str] = field(default_factory=Counter)
    settings: list[range] = field(default_factory=list)

    def ranges_of(self, entries: Collection[TocEntry], *, settings: bool = False) -> list[range]:
        """Return the ranges of plain bytes that these entries take, in ascending order.

        With ``settings``, the lines that an older server does not know, too.
        """
        ids = {entry.dump_id for entry in entries}
        ends = [*self.starts[1:], self.bytes][: len(self.starts)]
        ranges = [
            range(start, end)
            for entry, start, end in zip(self.entries, self.starts, ends, strict=True)
            if entry.dump_id in ids
        ]
        if settings:
            lines = (line for line in self.settings if not any(line.start in r for r in ranges))
            ranges = sorted([*ranges, *lines], key=lambda one: one.start)
        return ranges


def read_plain_to_the_end(path: Path) -> None:
    """Decompress a plain dump to its end; PointDamaged if it is damaged, torn or incomplete."""
    last: deque[bytes] = deque(maxlen=_TRAILER_LINES)
    rest = b""
    try:
        with open_plain(path) as stream:
            while block := stream.read(BLOCK):
                tail = rest + block
                lines = tail[-64 * 1024 :].split(b"\n")
                rest = lines.pop()[-64 * 1024 :]
                last.extend(lines)
    except (CompressedDataDamaged, OSError) as error:
        raise _damaged(path, str(error)) from error
    if not _has_trailer([*last, rest]):
        raise _torn(path)


def ends_as_whole(tail: bytes) -> bool:
    """Whether the last bytes of a plain dump are those of one that was written to its end."""
    return _has_trailer(tail.splitlines())


def scan_plain(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> PlainScan:
    """Read a plain dump as psql would and return what it holds.

    ``on_bytes`` gets the number of plain bytes read so far. Raises PointDamaged when the
    compressed data is damaged.
    """
    try:
        with open_plain(path) as stream:
            return scan_stream(stream, on_bytes=on_bytes)
    except (CompressedDataDamaged, OSError) as error:
        raise _damaged(path, str(error)) from error


def scan_stream(stream: ByteStream, *, on_bytes: Callable[[int], None] | None = None) -> PlainScan:
    """Read SQL text from a stream to its end and return what it holds."""
    scanner = PlainScanner()
    while block := stream.read(BLOCK):
        scanner.feed(block)
        if on_bytes is not None:
            on_bytes(scanner.scan.bytes)
    return scanner.finish()


def main() -> int:
    """Print the rows per data entry of the SQL text on standard input, as JSON lines."""
    scan = scan_stream(sys.stdin.buffer)
    for entry in scan.entries:
        if entry.dump_id in scan.rows:
            row = [entry.kind, entry.schema, entry.name, scan.rows[entry.dump_id]]
            sys.stdout.write(json.dumps(row) + "\n")
    return 0 if scan.complete else 1


def check_harmless(path: Path, scan: PlainScan) -> None:
    """Refuse a dump that psql must not be given: PointDamaged when torn, else SafetyRefusal."""
    if scan.commands:
        raise SafetyRefusal(
            f"DUMP REFUSED: {path.name} holds commands for psql itself.",
            why=f"Outside the rows it says {scan.commands[0]!r}; such a command can run programs.",
            fix="If you trust the file, look at those lines and restore it by hand with psql.",
        )
    if not scan.complete:
        raise _torn(path)


class PlainScanner:
    """The states of psql's lexer as far as they matter: what is text, what is rows."""

    def __init__(self) -> None:
        self.scan = PlainScan()
        self._rest = b""
        self._in_rows = False
        self._quote: bytes = b""
        self._depth = 0
        self._statement = bytearray()
        self._definition: list[bytes] = []
        self._definition_bytes = 0
        self._rows = 0
        self._line_start = 0
        self._last: deque[bytes] = deque(maxlen=_TRAILER_LINES)

    def feed(self, block: bytes) -> None:
        """Read the next bytes of the text."""
        base = self.scan.bytes - len(self._rest)
        self.scan.bytes += len(block)
        text = self._rest + block
        position = 0
        while True:
            if self._in_rows:
                position, more = self._skip_rows(text, position)
                if not more:
                    break
                continue
            end = text.find(b"\n", position)
            if end < 0:
                break
            self._line_start = base + position
            self._line(text[position:end])
            position = end + 1
        self._rest = text[position:]

    def _skip_rows(self, text: bytes, position: int) -> tuple[int, bool]:
        """Pass over rows; returns the new position and whether their end was found."""
        if text.startswith(b"\\.\n", position):
            self._end_of_rows()
            return position + 3, True
        end = text.find(b"\n\\.\n", position)
        if end < 0:
            # The last line may be the beginning of the end: it stays for the next block.
            keep = text.rfind(b"\n", position)
            if keep < 0:
                return position, False
            keep = keep + 1
            self._rows += text.count(b"\n", position, keep)
            return keep, False
        self._rows += text.count(b"\n", position, end + 1)
        self._end_of_rows()
        return end + 4, True

    def _end_of_rows(self) -> None:
        self._in_rows = False
        if self.scan.entries:
            dump_id = self.scan.entries[-1].dump_id
            self.scan.rows[dump_id] = self.scan.rows.get(dump_id, 0) + self._rows
        self._rows = 0

    def finish(self) -> PlainScan:
        """Return what the text held; nothing may be fed behind it."""
        if self._rest and not self._in_rows:
            self._line_start = self.scan.bytes - len(self._rest)
            self._line(self._rest)
        self._close_definition()
        self.scan.complete = not self._in_rows and not self._quote and _has_trailer(self._last)
        return self.scan

    def _line(self, line: bytes) -> None:
        self._last.append(line)
        if not self._quote and not self._depth:
            header = _HEADER.fullmatch(line) if line.startswith(b"-- ") else None
            if header is not None:
                self._new_entry(header)
                return
            if line == _NEWER_SETTING and not self._statement.strip():
                self.scan.settings.append(range(self._line_start, self._line_start + len(line) + 1))
        if self._definition_bytes < _KEPT_DEFINITION and not line.startswith(b"--"):
            self._definition.append(line)
            self._definition_bytes += len(line)
        position = 0
        while position < len(line) or position == 0:
            if self._quote or self._depth:
                position = self._leave(line, position)
                if position < 0:
                    break
                continue
            position = self._enter(line, position)
            if position < 0:
                break
        if not self._in_rows:
            self._statement += b"\n"

    def _enter(self, line: bytes, position: int) -> int:
        """Read on outside quotes; returns the next position, -1 at the end of the line."""
        match = _TOKEN.search(line, position)
        if match is None:
            self._add(line[position:])
            return -1
        self._add(line[position : match.start()])
        kind = match.lastgroup
        if kind == "comment":
            return -1
        if kind == "back":
            if not _HARMLESS_COMMAND.fullmatch(line):
                self.scan.commands.append(line.decode("utf-8", "replace").strip()[:200])
            return -1
        if kind == "end":
            verb = _VERB.match(self._statement)
            if verb is not None:
                words = b" ".join(word for word in verb.groups() if word)
                self.scan.statements[words.decode().upper()] += 1
            if _COPY.fullmatch(self._statement):
                self._in_rows = True
            elif _BACKSLASH_ESCAPES.search(self._statement):
                self.scan.commands.append("SET standard_conforming_strings = off")
            self._statement.clear()
            return match.end() if match.end() < len(line) else -1
        self._add(match[0])
        if kind == "block":
            self._depth = 1
        else:
            self._quote = b"E'" if kind == "escape" else match[0]
        return match.end() if match.end() < len(line) else -1

    def _leave(self, line: bytes, position: int) -> int:
        """Read on within quotes or a comment; returns the position behind, -1 at the line's end."""
        if self._depth:
            for match in _IN_BLOCK.finditer(line, position):
                self._depth += 1 if match[0] == b"/*" else -1
                if self._depth == 0:
                    return match.end() if match.end() < len(line) else -1
            return -1
        if self._quote == b"E'":
            for match in _IN_ESCAPE.finditer(line, position):
                if match[0] == b"'":
                    self._quote = b""
                    return match.end() if match.end() < len(line) else -1
            return -1
        end = line.find(self._quote, position)
        if end < 0:
            self._add(line[position:])
            return -1
        behind = end + len(self._quote)
        self._add(line[position:behind])
        self._quote = b""
        return behind if behind < len(line) else -1

    def _add(self, text: bytes) -> None:
        if len(self._statement) < _LONGEST_STATEMENT:
            self._statement += text

    def _new_entry(self, header: re.Match[bytes]) -> None:
        self._close_definition()
        schema, name, owner, kind = (
            header[part].decode("utf-8", "surrogateescape")
            for part in ("schema", "name", "owner", "kind")
        )
        number = len(self.scan.entries) + 1
        self.scan.starts.append(self._line_start)
        self.scan.entries.append(
            TocEntry(
                number, 0, 0, kind, None if schema == "-" else schema, name,
                "" if owner == "-" else owner,
            )
        )  # fmt: skip

    def _close_definition(self) -> None:
        if self.scan.entries and self._definition:
            entry = self.scan.entries[-1]
            text = b"\n".join(self._definition).strip().decode("utf-8", "surrogateescape")
            self.scan.entries[-1] = TocEntry(
                entry.dump_id, 0, 0, entry.kind, entry.schema, entry.name, entry.owner,
                definition=text,
            )  # fmt: skip
        self._definition = []
        self._definition_bytes = 0


def _has_trailer(lines: deque[bytes] | list[bytes]) -> bool:
    last = [line.rstrip() for line in list(lines)[-_TRAILER_LINES:]]
    if any(line in _TRAILERS for line in last):
        return True
    written = [line for line in last if line]
    return bool(written) and written[-1] == _SUPABASE_TRAILER


def _damaged(path: Path, why: str) -> PointDamaged:
    return PointDamaged(
        f"DUMP NOT READABLE: {path.name} can't be read to its end.",
        why=why,
        fix="Use another point, or a replica's copy of this one; back up again soon.",
    )


def _torn(path: Path) -> PointDamaged:
    return PointDamaged(
        f"DUMP INCOMPLETE: {path.name} does not end as a whole dump ends.",
        why="Its last lines lack '-- PostgreSQL database dump complete'; pg_dump was cut off.",
        fix="Use another point, or a replica's copy of this one; back up again soon.",
    )


if __name__ == "__main__":
    sys.exit(main())
