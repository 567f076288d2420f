"""The comparison table by table: failed ones first, each line made when it comes into sight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import overload

from rich.cells import cell_len

from fsbackup_tui.domain.proof import TableProof, Verdict, table_difference
from fsbackup_tui.operations.wording import count_text
from fsbackup_tui.tui.data import PartProof
from fsbackup_tui.tui.lines import Line, Role, line, pad, printable, wrapped

# The worst first.
VERDICTS: Mapping[Verdict, tuple[str, Role]] = {
    "missing": ("MISSING", "bad"),
    "different": ("DIFFERENT", "bad"),
    "blocked": ("blocked", "warn"),
    "unknown": ("not known", "warn"),
    "expected": ("expected", "text"),
    "equal": ("equal", "good"),
}
ORDER: Mapping[Verdict, int] = {verdict: place for place, verdict in enumerate(VERDICTS)}
_NUMBER = 13
_CONTENT = 7
_VERDICT = 9
# Notes of so many tables are told in full; further ones in a line each.
_TOLD_IN_FULL = 200


class TableLines(Sequence[Line]):
    """The lines of the tables of several parts; made one by one, whatever their number."""

    def __init__(
        self, parts: Sequence[PartProof], width: int, head: Callable[[PartProof], list[Line]]
    ) -> None:
        self._blocks: list[_Block] = []
        self._starts: list[int] = []
        start = 0
        for part in parts:
            block = _Block(part, width, head(part))
            self._blocks.append(block)
            self._starts.append(start)
            start += len(block)
        self._length = start

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...

    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._length))]
        place = bisect_right(self._starts, index) - 1
        return self._blocks[place].at(index - self._starts[place])


class _Block:
    """One part's tables: head lines, titles, then a line per table and its note's below."""

    def __init__(self, part: PartProof, width: int, head: list[Line]) -> None:
        self._width = width
        self._tables = ordered(part.proof.tables)
        fixed = 3 + 2 * (2 + _NUMBER) + 2 + _CONTENT + 2 + _VERDICT
        longest = max((cell_len(printable(table.qualified)) for table in self._tables), default=0)
        self._name_width = max(14, min(longest, 60, width - fixed))
        self._room = max(20, width - 8)
        self._head = [*head, self._summary(), self._titles()]
        self._beside = max(0, width - fixed - self._name_width - 3)
        self._notes = {
            place: wrapped(note, self._room, self._note_role(place)) for place, note in self._told()
        }
        self._starts: list[int] = []
        start = len(self._head)
        for place, table in enumerate(self._tables):
            self._starts.append(start)
            below = len(self._notes[place]) if place in self._notes else bool(self._below(table))
            start += 1 + below
        self._length = start

    def _below(self, table: TableProof) -> str:
        """Return the note that stands below a table's line: one that does not fit beside it."""
        note = _note(table)
        return "" if cell_len(note) <= self._beside else note

    def _told(self) -> list[tuple[int, str]]:
        """Return the notes that are told in full, by the place of their table."""
        noted = (
            (place, note)
            for place, table in enumerate(self._tables)
            if (note := self._below(table))
        )
        return [found for _, found in zip(range(_TOLD_IN_FULL), noted, strict=False)]

    def __len__(self) -> int:
        return self._length

    def at(self, index: int) -> Line:
        """Return a line by its place in the block."""
        if index < len(self._head):
            return self._head[index]
        place = bisect_right(self._starts, index) - 1
        below = index - self._starts[place] - 1
        if below < 0:
            return self._row(self._tables[place])
        rows = self._notes.get(place)
        if rows is not None:
            return line("     ", *rows[below])
        return line("     ", (pad(_note(self._tables[place]), self._room), self._note_role(place)))

    def _note_role(self, place: int) -> Role:
        verdict = self._tables[place].verdict
        return VERDICTS[verdict][1] if verdict not in ("equal", "expected") else "muted"

    def _summary(self) -> Line:
        if not self._tables:
            return line("   ", ("its tables were not compared", "muted"))
        counts: dict[Verdict, int] = {}
        for table in self._tables:
            counts[table.verdict] = counts.get(table.verdict, 0) + 1
        pieces: list[tuple[str, Role]] = []
        for verdict, count in counts.items():
            word, role = VERDICTS[verdict]
            pieces.append((f"{', ' if pieces else ''}{count_text(count)} ", "text"))
            pieces.append((word, role))
        total = len(self._tables)
        return line(f"   {count_text(total)} table{'s' if total != 1 else ''}: ", *pieces)

    def _titles(self) -> Line:
        if not self._tables:
            return line()
        captured = pad("CAPTURED", _NUMBER, right=True)
        restored = pad("RESTORED", _NUMBER, right=True)
        text = f"{pad('TABLE', self._name_width)}  {captured}  {restored}  CONTENT  VERDICT"
        return line("   ", (text, "muted"))

    def _row(self, table: TableProof) -> Line:
        word, role = VERDICTS[table.verdict]
        content, content_role = _content(table)
        differs = table.failed and table.captured_rows != table.restored_rows
        restored = count_text(table.restored_rows)
        note = "" if self._below(table) else _note(table)
        gap = pad("", _VERDICT - len(word) + 2) if note else ""
        return line(
            "   ",
            pad(printable(table.qualified), self._name_width),
            "  ",
            pad(count_text(table.captured_rows), _NUMBER, right=True),
            pad("", _NUMBER - len(restored) + 2),
            (restored, "bad" if differs else "text"),
            "  ",
            (content, content_role),
            pad("", _CONTENT - len(content) + 2),
            (word, role),
            gap,
            (note, role if table.verdict not in ("equal", "expected") else "muted"),
        )


def _content(table: TableProof) -> tuple[str, Role]:
    """Return whether the fingerprints are equal; ``-`` where one of them is not known."""
    captured, restored = table.captured_fingerprint, table.restored_fingerprint
    if captured is None or restored is None:
        return "-", "muted"
    return ("equal", "text") if captured == restored else ("DIFFERS", "bad")


def _note(table: TableProof) -> str:
    return table_difference(table) if table.failed else table.note


def ordered(tables: Sequence[TableProof]) -> list[TableProof]:
    """Return the tables, the worst verdicts first, then by name."""
    return sorted(tables, key=lambda table: (ORDER[table.verdict], table.schema, table.name))
