"""What of an archive reads from other servers when it is restored: a trial leaves it alone."""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.engines.postgres.restore import deferred_entries
from fsbackup_tui.engines.postgres.toc import TocEntry

_CONNECTING_EXTENSIONS = frozenset({"dblink"})


def trial_deferred_entries(entries: Sequence[TocEntry]) -> list[TocEntry]:
    """Return what must not come to life in a trial's copy.

    That is what must not in any copy, and the filling of materialised views from other servers.
    """
    ids = {entry.dump_id for entry in (*deferred_entries(entries), *outside_entries(entries))}
    return [entry for entry in entries if entry.dump_id in ids]


def outside_entries(entries: Sequence[TocEntry]) -> list[TocEntry]:
    """Return the entries that fill a materialised view from another server.

    They are told by the archive's own dependencies, so that what a function does inside is not
    seen, and a plain dump, which has none, tells nothing.
    """
    by_id = {entry.dump_id: entry for entry in entries}
    return [
        entry
        for entry in entries
        if entry.kind == "MATERIALIZED VIEW DATA" and _reaches_outside(entry, by_id)
    ]


def _reaches_outside(entry: TocEntry, by_id: dict[int, TocEntry]) -> bool:
    pending, seen = list(entry.dependencies), set[int]()
    while pending:
        number = pending.pop()
        if number in seen or number not in by_id:
            continue
        seen.add(number)
        found = by_id[number]
        if found.kind == "FOREIGN TABLE":
            return True
        if found.kind == "EXTENSION" and found.name in _CONNECTING_EXTENSIONS:
            return True
        if found.kind != "TABLE":  # a table's own dependencies fill no view
            pending.extend(found.dependencies)
    return False
