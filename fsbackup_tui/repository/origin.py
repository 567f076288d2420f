"""From where somebody acts: host, terminal, the address behind SSH, what runs us by the clock."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_MOST_ANCESTORS = 30
# Programs that start others by the clock, by the kernel's name of them.
_CLOCKS = {"cron": "cron", "crond": "cron", "anacron": "cron", "atd": "at", "fcron": "cron"}
_told: list[tuple[str, Mapping[str, str]]] = []


@dataclass(frozen=True, slots=True)
class _Ancestor:
    pid: int
    name: str


def act_from(operator: str, origin: Mapping[str, str]) -> None:
    """Have this process act for somebody elsewhere: a worker does, for whoever asked."""
    _told[:] = [(operator, dict(origin))]


def acting_operator() -> str:
    """Return who acts: the user behind sudo where there is one, else the process's user."""
    if _told:
        return _told[0][0]
    user = user_name()
    behind_sudo = os.environ.get("SUDO_USER", "")
    return behind_sudo if behind_sudo and user == "root" else user


def acting_origin() -> dict[str, str]:
    """Return from where this process acts; what can't be known is left out.

    ``user`` is who the process runs as, ``sudo`` who stands behind it, ``tty`` the terminal,
    ``address`` the SSH client's, ``via`` cron, systemd or the program that called us.
    """
    if _told:
        return dict(_told[0][1])
    return dict(_origin_of(os.getpid(), os.getuid()))


@cache
def _origin_of(_pid: int, _uid: int) -> Mapping[str, str]:
    found = {"host": socket.gethostname(), "user": user_name()}
    ancestors = list(_ancestors())
    sudo = os.environ.get("SUDO_USER", "")
    tty = _tty()
    connection = os.environ.get("SSH_CONNECTION", "") or _connection_of(ancestors)
    clock = next((_CLOCKS[each.name] for each in ancestors if each.name in _CLOCKS), "")
    if not clock and not tty and os.environ.get("INVOCATION_ID"):
        clock = "systemd"
    via = clock or (f"{ancestors[0].name} {ancestors[0].pid}" if ancestors else "")
    address = connection.split(" ")[0]
    more = {"sudo": sudo, "tty": tty, "address": address, "via": via}
    return {**found, **{name: text for name, text in more.items() if text}}


def user_name() -> str:
    """Return the name of the user that this process runs as, or the number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _tty() -> str:
    for descriptor in (0, 2, 1):
        with suppress(OSError):
            return os.ttyname(descriptor).removeprefix("/dev/")
    return ""


def _ancestors() -> Iterator[_Ancestor]:
    """Yield the processes that this one descends from, the nearest first; none without /proc."""
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        if pid <= 1:
            return
        try:
            text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        head, _, rest = text.rpartition(")")
        yield _Ancestor(pid, head.partition("(")[2])
        pid = int(rest.split()[1])


def _connection_of(ancestors: list[_Ancestor]) -> str:
    """Return the SSH connection that sudo or tmux hides, where /proc lets us see it."""
    for ancestor in ancestors:
        with suppress(OSError):
            raw = (_PROC / str(ancestor.pid) / "environ").read_bytes()
            for item in raw.split(b"\0"):
                if item.startswith(b"SSH_CONNECTION="):
                    return item.partition(b"=")[2].decode("utf-8", "replace")
    return ""
