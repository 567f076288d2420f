"""Pins: a person's word that a point stays, never written while that point is being moved."""

from __future__ import annotations

from datetime import datetime

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import write_lock
from fsbackup_tui.repository.records import trash_parts, write_record


def write_pin(
    repository: Repository,
    point: str,
    reason: str | None,
    *,
    was: str = "",
    now: datetime,
    job: str,
    operator: str,
) -> None:
    """Record that a point is pinned and why, or (None) that it is no more what it ``was``.

    Raises:
        SafetyRefusal: it went to the trash meanwhile.
        DiskFull, RepositoryUnwritable, LockHeld.
    """
    kind = "unpinned" if reason is None else "pinned"
    document = ({"was": was} if was else {}) if reason is None else {"reason": reason}
    with write_lock(repository, job, operator):
        there, _ = trash_parts(repository, point)
        if there.exists() and not repository.point_directory(point).exists():
            raise SafetyRefusal(
                f"NOT PINNED: {point} went to the trash a moment ago.",
                fix=f"Take it back, which pins it, too: fsbackup retain --take-back {point}",
            )
        write_record(repository, point, kind, document, now=now, job=job, operator=operator)
