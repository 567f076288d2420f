"""Whether repository, catalogue, state and clock are such that a backup can be kept."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Iterator
from datetime import datetime, timedelta

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.text import duration_text
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.retain_state import read_retain_state
from fsbackup_tui.operations.watch_only import takes_no_backups
from fsbackup_tui.repository.files import owner_name

_CLOCK_SLACK = timedelta(minutes=5)
_TIME_ERROR = 5
_TIMEX_BYTES = 512
_READ_ONLY_FLAG = getattr(os, "ST_RDONLY", 1)


def repository(ground: Ground) -> Iterator[Finding]:
    """Yield why the repository can't be read or written."""
    problem = ground.problem
    if problem is not None and not (
        takes_no_backups(ground.loaded) and ground.where == "never-created"
    ):
        yield Finding(
            "repository",
            "critical",
            None,
            problem.what,
            problem.why or "Nothing can be backed up, and nothing restored from it.",
            problem.fix,
            subject=str(ground.loaded.config.repository),
        )
    if ground.repository is None or ground.loaded.config.read_only:
        return
    for directory in (ground.repository.points, ground.repository.records):
        why = ""
        if os.statvfs(directory).f_flag & _READ_ONLY_FLAG:
            why = "Its file system is mounted read-only."
        elif not os.access(directory, os.W_OK | os.X_OK):
            why = f"It belongs to {owner_name(directory)}, and this user may not write there."
        if why:
            yield Finding(
                "repository-write",
                "critical",
                None,
                f"REPOSITORY NOT WRITABLE: {directory}.",
                f"{why} Backups fail.",
                "Let this user write there (it should own the repository), or mount it read-write.",
                subject=str(directory),
            )
            return


def catalogue(ground: Ground) -> Iterator[Finding]:
    """Yield that the catalogue or the state can't be kept, or that not all backups are seen."""
    if ground.catalogue.in_memory:
        yield Finding(
            "catalogue",
            "warning",
            None,
            "CATALOGUE IN MEMORY: the state directory can't be written.",
            "The start is slower, and no job can be begun.",
            "fsbackup doctor",
            subject=str(ground.state),
        )
    for text in ground.catalogue.foreign_problems:
        yield Finding(
            "adopt",
            "warning",
            None,
            f"NOT ALL SEEN: {text}.",
            "Backups of other scripts that can't be read are not watched.",
            "adopt: in the configuration names it",
        )


def clock(ground: Ground) -> Iterator[Finding]:
    """Yield that the clock is behind the newest point; tell whether anything sets it."""
    newest = max((point.created for point in ground.points()), default=None)
    if newest is not None and newest - ground.now > _CLOCK_SLACK and not _is_past(newest, ground):
        behind = duration_text((newest - ground.now).total_seconds())
        yield Finding(
            "clock",
            "critical",
            None,
            f"CLOCK BEHIND: the newest point is {behind} ahead of this machine's clock.",
            "Ages, schedules and retention go by it; retention removes nothing meanwhile.",
            "timedatectl   tells it; set it right and let NTP keep it\n"
            "If it is right, and that point is wrong: fsbackup retain --apply --confirm "
            f"{ground.loaded.config.site}, and a backup",
        )
    synchronised = _is_synchronised()
    if synchronised is not None:
        ground.number("fsbackup_clock_synchronised", float(synchronised))
        if not synchronised:
            ground.notes.append("The kernel does not know of anything that keeps its clock right.")


def _is_past(ahead: datetime, ground: Ground) -> bool:
    """Whether a person said that the clock was wrong then, and a backup was taken since."""
    accepted = read_retain_state(ground.state).accepted
    last = max(ground.points(), key=lambda point: point.sequence)
    return accepted is not None and ahead <= accepted and last.created - ground.now <= _CLOCK_SLACK


def _is_synchronised() -> bool | None:
    """Whether the kernel says that its clock is kept right; None where that can't be asked."""
    try:
        adjust = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    # All zero: nothing is changed. The structure is smaller everywhere.
    answer = int(adjust(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if answer < 0 else answer != _TIME_ERROR
