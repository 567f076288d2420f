"""Another Unix user of this machine, for tests that run as root: no account is made for it.

What it must reach may lie below directories that are closed to everybody but root (a home, a
test's own): in a mount namespace of its own those are other ones, open, with nothing else in them.
"""

from __future__ import annotations

import grp
import pwd
import shlex
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.sites import PROJECT

_STASH = Path("/mnt")


@dataclass(frozen=True, slots=True)
class OtherUser:
    """An existing account's numbers, and the groups it is put into."""

    name: str
    groups: tuple[str, ...] = ()

    def command(self, argv: Sequence[str], *places: Path) -> list[str]:
        """Return the command that runs another as this user, who sees ``places``."""
        account = pwd.getpwnam(self.name)
        numbers = [str(grp.getgrnam(group).gr_gid) for group in self.groups]
        groups = f"--groups={','.join(numbers)}" if numbers else "--clear-groups"
        needed = [Path(sys.prefix), Path(sys.base_prefix), PROJECT, *places]
        become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", groups]
        script = " && ".join([*_opened(needed), f"exec {shlex.join([*become, *argv])}"])
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


def _opened(places: Iterable[Path]) -> Iterable[str]:
    closed: dict[Path, list[Path]] = {}
    for place in places:
        found = next((each for each in reversed(place.parents) if not _lets_in(each)), None)
        if found is not None:
            closed.setdefault(found, []).append(place)
    yield f"mount -t tmpfs tmpfs {_STASH}"
    for number, (directory, inside) in enumerate(closed.items()):
        kept, name = _STASH / str(number), shlex.quote(str(directory))
        yield f"mkdir {kept} && mount --bind {name} {kept}"
        yield f"mount -t tmpfs -o mode=755 tmpfs {name}"
        for place in inside:
            within = shlex.quote(str(kept / place.relative_to(directory)))
            there = shlex.quote(str(place))
            yield f"mkdir -p {there} && mount --bind {within} {there}"


def _lets_in(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_IXOTH)
