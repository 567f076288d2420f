"""Which file system a path lies on, and whether the one is mounted that /etc/fstab has for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
FSTAB = Path("/etc/fstab")
_NO_PLACE = ("none", "swap", "-")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, of which type, from what."""

    point: str
    type: str
    source: str

    @property
    def words(self) -> str:
        """It in words: ``ext4 on /dev/sda1, mounted at /srv``."""
        return f"{self.type} on {self.source}, mounted at {self.point}"


def mount_of(path: Path, *, mounts: Path = MOUNTS) -> Mount | None:
    """Return what a path lies on; None where nobody tells (no Linux)."""
    real = Path(os.path.realpath(path))
    found = [mount for mount in _mounts(mounts) if _holds(mount.point, real)]
    # Of two at one point, the later one covers the earlier.
    return max(enumerate(found), key=lambda at: (len(at[1].point), at[0]), default=(0, None))[1]


def unmounted_above(path: Path, *, mounts: Path = MOUNTS, fstab: Path = FSTAB) -> str:
    """Return the mount point at or above a path that /etc/fstab has and where nothing is mounted.

    Empty where there is none. What is only mounted on request (``noauto``) is left out.
    """
    mounted = {mount.point for mount in _mounts(mounts)}
    if not mounted:
        return ""
    missing = [
        point
        for point in _wanted(fstab)
        if point != "/" and point not in mounted and _holds(point, path)
    ]
    return max(missing, key=len, default="")


def _holds(point: str, path: Path) -> bool:
    return path.is_relative_to(point)


def _mounts(file: Path) -> Iterator[Mount]:
    """Yield the mounts in proc(5)'s form: optional fields end at a lone ``-``."""
    with suppress(OSError):
        for line in os.fsdecode(file.read_bytes()).splitlines():
            fields, _, after = line.partition(" - ")
            words, kinds = fields.split(" "), after.split(" ")
            if len(words) > 4 and len(kinds) > 1:
                yield Mount(_plain(words[4]), kinds[0], _plain(kinds[1]))


def _wanted(file: Path) -> Iterator[str]:
    with suppress(OSError):
        for line in os.fsdecode(file.read_bytes()).splitlines():
            words = line.partition("#")[0].split()
            if len(words) < 3 or words[1] in _NO_PLACE or words[2] == "swap":
                continue
            options = words[3].split(",") if len(words) > 3 else []
            if "noauto" not in options:
                yield os.path.normpath(_plain(words[1]))


def _plain(text: str) -> str:
    """Return a field with its octal escapes (``\\040`` for a blank) resolved."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
