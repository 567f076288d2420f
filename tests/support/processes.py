"""Looking at processes from outside, through /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def state(pid: int) -> str:
    """Return the process's state as the kernel writes it (R, S, D, T: stopped, Z: zombie) or ""."""
    return "".join(_stat(pid)[:1])


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def processes_in_group(group: int) -> list[int]:
    """Return the living processes of a process group."""
    return [pid for pid in _pids() if is_running(pid) and _stat(pid)[2:3] == [str(group)]]


def processes_with_argument(text: str) -> list[int]:
    """Return the living processes, but this one, that have the text among their arguments."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if pid != os.getpid() and is_running(pid)]
