"""What other scripts' backups are to the catalogue: compared, read where new, as rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from fsbackup_tui.repository.catalog_rows import to_row
from fsbackup_tui.repository.foreign import (
    ADOPTED_FROM,
    ForeignPlaces,
    ForeignReader,
    Found,
    adopted_identifier,
    memory_stamp,
    walk,
)

Stamp = tuple[int, int, int]
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The backups whose rows are missing or old, the ids that are gone, and what went wrong.

    ``unread`` have a row, but were not read to their end: that goes on while there is time.
    """

    places: ForeignPlaces | None
    changed: tuple[tuple[Found, Stamp], ...] = ()
    unread: tuple[tuple[Found, Stamp], ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def batches(self, size: int) -> Iterator[list[Row]]:
        """Read what changed and yield its rows, some at a time."""
        rows = self._rows()
        while batch := list(islice(rows, size)):
            yield batch

    def _rows(self) -> Iterator[Row]:
        if self.places is None:
            return
        reader = ForeignReader(self.places)
        for index, (found, stamp) in enumerate((*self.changed, *self.unread)):
            if index >= len(self.changed) and not reader.has_time:
                return
            point, settled = reader.summary(found)
            # A stamp of 0 is looked at again at the next refresh.
            yield (*to_row(point), *(stamp if settled else (0, *stamp[1:])))


def compare_foreign(connection: sqlite3.Connection, places: ForeignPlaces | None) -> Compared:
    """Compare the rows with the directories; what was adopted is left to the point made of it."""
    statement = (
        "SELECT id, manifest_mtime, manifest_size, records_mtime FROM points WHERE origin <> ''"
    )
    known = {str(row[0]): (row[1], row[2], row[3]) for row in connection.execute(statement)}
    if places is None or not places.directories:
        return Compared(None, gone=tuple(sorted(known)))
    adopted = _adopted(connection)
    looked = walk(places.directories)
    changed: list[tuple[Found, Stamp]] = []
    unread: list[tuple[Found, Stamp]] = []
    present: set[str] = set()
    for found in looked.found:
        if found.id in adopted:
            continue
        present.add(found.id)
        stamp = (found.modified_ns, found.size, memory_stamp(places, found.id))
        if known.get(found.id) == (0, *stamp[1:]):
            unread.append((found, stamp))
        elif known.get(found.id) != stamp:
            changed.append((found, stamp))
    gone = tuple(sorted(set(known) - present))
    return Compared(places, tuple(changed), tuple(unread), gone, looked.problems)


def _adopted(connection: sqlite3.Connection) -> set[str]:
    """Return the foreign backups that points of the repository were made of."""
    rows = connection.execute(
        "SELECT reason FROM points WHERE sequence = 0 AND reason LIKE ?", (f"{ADOPTED_FROM}%",)
    )
    return {name for (reason,) in rows if (name := adopted_identifier(reason)) is not None}
