"""How live's rows fit the files that they name, and what of it a point has."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsbackup_tui.domain.site_parts import Names


@dataclass(frozen=True, slots=True)
class LiveFit:
    """How live's rows of one link fit: ``rows`` name a file, ``missing`` one that live has not.

    Of the missing, ``in_point`` can be put back, ``in_point_bytes`` of files, and ``nowhere`` is in
    neither. ``note`` says why nothing is known; ``rows`` is None then.
    """

    table: str
    column: str
    rows: int | None
    missing: Names = field(default_factory=Names)
    in_point: Names = field(default_factory=Names)
    in_point_bytes: int = 0
    nowhere: Names = field(default_factory=Names)
    note: str = ""


@dataclass(frozen=True, slots=True)
class MissingInLive:
    """What live's rows name and live has not, against one point.

    ``needed_bytes`` is what putting back what the point has of it takes, ``free_bytes`` what the
    file system of the root still takes.
    """

    files: str
    point: str
    links: tuple[LiveFit, ...] = ()
    needed_bytes: int = 0
    free_bytes: int = 0

    @property
    def fits_on_disk(self) -> bool:
        """Whether there is room for it."""
        return self.needed_bytes <= self.free_bytes
