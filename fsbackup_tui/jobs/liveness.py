"""Whether a worker lives: its flock is the truth, pid and start time only aim signals.

A reused pid or a zombie can't hold a flock, so neither is taken for a living worker.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.jobs.layout import LOCK, open_private

_PROC = Path("/proc")
_HOLD_WAIT_SECONDS = 5.0
_HOLD_POLL_SECONDS = 0.02


def hold_lock(directory: Path) -> int | None:
    """Take the job's lock for the life of this process; None where another worker holds it.

    The wait is for readers that look whether it is held: they hold it shared for an instant.
    """
    descriptor = open_private(directory / LOCK, os.O_RDWR)
    deadline = time.monotonic() + _HOLD_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(_HOLD_POLL_SECONDS)
        else:
            return descriptor


def lock_is_held(directory: Path) -> bool | None:
    """Return whether a worker holds the job's lock; None where that can't be seen."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A living process as the kernel tells: its group, and its start in seconds since boot."""

    pid: int
    group: int
    start_time: float


def process_facts(pid: int) -> ProcessFacts | None:
    """Return the facts of a living process; None for none, a zombie, or where /proc is absent."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name, in parentheses, may hold anything, spaces and parentheses included.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return ProcessFacts(pid, int(fields[2]), int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def process_start_time(pid: int) -> float:
    """Return when a process started, in seconds since boot; 0 where that is not known."""
    facts = process_facts(pid)
    return 0.0 if facts is None else facts.start_time


def is_same_process(pid: int, start_time: float) -> bool:
    """Return whether the process of that start time still lives under that pid."""
    facts = process_facts(pid)
    return facts is not None and start_time > 0 and abs(facts.start_time - start_time) < 0.02


def all_processes() -> list[ProcessFacts]:
    """Return every living process of the machine; none where /proc is absent."""
    try:
        pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []
    return [facts for pid in pids if (facts := process_facts(pid)) is not None]


def process_environment(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty where it may not be read."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {name.decode("utf-8", "replace"): v.decode("utf-8", "replace") for name, _, v in pairs}


def boot_id() -> str:
    """Return what tells this run of the machine from the next one; empty where unknown."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
