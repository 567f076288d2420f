"""Which replicas hold a point, as its records tell."""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.domain.point import Copy
from fsbackup_tui.repository.records import Record

COPIED = "copied"
UNCOPIED = "uncopied"


def copies_of(records: Sequence[Record]) -> tuple[Copy, ...]:
    """Return the copies of a point by the replica's name, from its records, oldest first."""
    found: dict[str, Copy] = {}
    for record in records:
        name = record.document.get("replica")
        if not record.counts or record.kind not in (COPIED, UNCOPIED) or not isinstance(name, str):
            continue
        if record.kind == UNCOPIED:
            why = str(record.document.get("why") or "")
            gone = record.document.get("removed") is True
            found[name] = Copy(name, record.at, None, "removed" if gone else "wrong", why)
            continue
        known = found.get(name)
        whole = known if known is not None and known.state == "whole" else Copy(name, record.at)
        read = record.at if record.document.get("read_back") is True else whole.checked_at
        found[name] = Copy(name, whole.at, read)
    return tuple(found[name] for name in sorted(found))
