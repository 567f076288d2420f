"""What a recovery of a lost machine asks for: a new server, its roles, and every part in its place.

``point`` is the point that all of it comes from. In a drill ``database`` is the name of the
database that is made for it, and ``stage`` the directory that the parts come to lie in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.operations.request import Request

HostKind = Literal["files", "config", "code"]


@dataclass(frozen=True, slots=True)
class HostRequest(Request):
    """The base: about the database source ``part``, and the server that was seen."""

    part: str
    point: str = ""
    database: str = ""
    stage: str = ""
    target: ServerIdentity | None = None
    reason_unsigned: str = ""


@dataclass(frozen=True, slots=True)
class HostServerRequest(HostRequest):
    """Look at the new server, the clients for it, and the points there are; changes nothing.

    Returns ``{"usable", "server", "live_there", "problems", "notes", "candidates": [{"point",
    "at", "trust", "doubt", "bytes", "from"}]}``. ``last_right`` as ISO text, empty: unknown.
    """

    operation: ClassVar[str] = "host-server"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_server:run"
    stages: ClassVar[tuple[str, ...]] = ("server", "points")
    last_right: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class HostRolesRequest(HostRequest):
    """Make the captured roles that the server lacks; ``{"made", "there", "login", "notes"}``."""

    operation: ClassVar[str] = "host-roles"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_server:run_roles"
    stages: ClassVar[tuple[str, ...]] = ("fetch", "roles")


@dataclass(frozen=True, slots=True)
class HostDatabaseRequest(HostRequest):
    """Restore the database under its own name, and fetch what else the point has meanwhile.

    Returns the document of a restore, and ``fetched``: the parts that came.
    """

    operation: ClassVar[str] = "host-database"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_database:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "create", "restore", "finish", "fetch")


@dataclass(frozen=True, slots=True)
class HostPlaceRequest(HostRequest):
    """Put every part of a kind where it was, if nothing is there yet.

    Returns ``{"placed": [{"part", "where", "files"}], "left": [{"part", "where", "why"}],
    "notes"}``.
    """

    operation: ClassVar[str] = "host-place"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_place:run"
    stages: ClassVar[tuple[str, ...]] = ("fetch", "place")
    kind: HostKind = "files"


@dataclass(frozen=True, slots=True)
class HostLinksRequest(HostRequest):
    """Compare the trees with the point, and with the rows that name their files.

    Returns ``{"whole", "parts": [{"part", "missing", "rows", "nowhere"}], "notes"}``.
    """

    operation: ClassVar[str] = "host-links"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_place:run_links"
    stages: ClassVar[tuple[str, ...]] = ("files",)

    def changes(self) -> bool:
        """Nothing of the site: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class HostStageRequest(HostRequest):
    """Make the directory of a drill; ``{"stage", "database"}``."""

    operation: ClassVar[str] = "host-stage"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_stage:run"
    stages: ClassVar[tuple[str, ...]] = ("make",)
    tag: str = ""


@dataclass(frozen=True, slots=True)
class HostUnstageRequest(HostRequest):
    """Drop what a drill made: its database and its directory; ``{"dropped"}``."""

    operation: ClassVar[str] = "host-unstage"
    runner: ClassVar[str] = "fsbackup_tui.operations.host_stage:run_drop"
    stages: ClassVar[tuple[str, ...]] = ("drop",)


HOST_REQUESTS: tuple[type[Request], ...] = (
    HostServerRequest,
    HostRolesRequest,
    HostDatabaseRequest,
    HostPlaceRequest,
    HostLinksRequest,
    HostStageRequest,
    HostUnstageRequest,
)
