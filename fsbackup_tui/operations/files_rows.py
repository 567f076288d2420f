"""Which files live rows name and live has not: what is put back where links tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.tree import Found, RowFit
from fsbackup_tui.operations.files_ground import Ground
from fsbackup_tui.operations.files_point import FilesPoint


@dataclass(frozen=True)
class LiveRows:
    """How live rows fit live's files and the point's."""

    wanted: frozenset[bytes]
    fits: tuple[RowFit, ...]
    nowhere: Found = field(default_factory=Found)

    def names(self, path: bytes) -> bool:
        """Whether a live row misses this file."""
        return path in self.wanted

    def write_nowhere(self, directory: Path) -> str:
        """Write the rows whose file is nowhere as CSV; returns where, empty for none."""
        return ""


async def live_rows(ground: Ground, point: FilesPoint) -> LiveRows | None:
    """Return what live rows say; None where the configuration links none to these files."""
    return None
