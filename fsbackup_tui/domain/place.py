"""What stands at the paths of a source at one moment: whose they are, on which disk, who is there.

The look before a change of files, configuration or code, as ``domain/standing.py`` is of a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fsbackup_tui.domain.tree import LeftTree, Touching

SourceKind = Literal["postgres", "files", "config", "code"]
PlaceKind = Literal["files", "config", "code"]


@dataclass(frozen=True, slots=True)
class PathIdentity:
    """Which directory or file a path leads to; both None where nothing is there.

    Device and inode say whether it is the same one as before, whatever happened to its name.
    """

    path: str
    device: int | None = None
    inode: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is at the path."""
        return self.inode is not None


@dataclass(frozen=True, slots=True)
class PlaceStanding:
    """One look at the paths of a source; the first is the one that is told of.

    ``configured`` is how the configuration writes it, where that is a link.
    Sizes are bytes, None: not known. ``unmounted`` is the mount point that /etc/fstab has at or
    above the path and where nothing is mounted: what is written there lands on another file
    system. ``writable``: we may write there. ``beside`` are trees that recoveries left.
    """

    at: datetime
    source: str
    kind: PlaceKind
    host: str
    role: str
    paths: tuple[PathIdentity, ...]
    configured: str = ""
    owner: str = ""
    mode: str = ""
    file_system: str = ""
    free_bytes: int | None = None
    total_bytes: int | None = None
    writable: bool = True
    unmounted: str = ""
    environment: str = ""
    environment_from: str = ""
    touching: tuple[Touching, ...] = ()
    beside: tuple[LeftTree, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path that it is about."""
        return self.paths[0].path if self.paths else ""

    @property
    def here(self) -> PathIdentity:
        """What stands at that path."""
        return self.paths[0] if self.paths else PathIdentity("")


def touch_key(touching: Touching) -> str:
    """Return by what something that is at work there is asked to be stopped; empty: by hand."""
    if touching.kind == "process":
        return f"process {touching.where}"
    return f"timer {touching.what}" if touching.kind == "timer" else ""


def is_another(first: Mapping[str, object], now: PathIdentity) -> bool:
    """Whether another directory is at the path than the one that was first seen there.

    ``first`` has its device and inode. One that was not there may have come since.
    """
    known = (first.get("device"), first.get("inode"))
    if first.get("path") != now.path or known[1] is None or not now.is_there:
        return False
    return known != (now.device, now.inode)
