"""The typed arguments of every operation, and the registry that faces and workers share.

A request holds no secret: the worker inherits the environment and reads secrets at use.
Faces import this module alone of the operations; what runs a request is imported by the
worker through ``runner``, a ``module:function`` name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.operations.host_requests import HOST_REQUESTS
from fsbackup_tui.operations.merge_requests import MERGE_REQUESTS
from fsbackup_tui.operations.place_requests import PLACE_REQUESTS
from fsbackup_tui.operations.recovery_requests import RECOVERY_REQUESTS
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.retain_requests import RETAIN_REQUESTS
from fsbackup_tui.operations.site_requests import SITE_REQUESTS

VerifyLevel = Literal["sealed", "readable", "restored", "proven"]
DrillChoice = Literal["newest", "random", "named"]


@dataclass(frozen=True, slots=True)
class BackupRequest(Request):
    """Run a plan now; ``sources`` narrows it.

    ``wait_seconds`` is for the plan's lock, and for a restore that runs on the server: 0 waits
    for no other run, and an hour for a restore.
    """

    operation: ClassVar[str] = "backup"
    runner: ClassVar[str] = "fsbackup_tui.operations.run_plan:run"
    stages: ClassVar[tuple[str, ...]] = ("backup",)
    plan: str
    sources: tuple[str, ...] | None = None
    reason: str | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class VerifyRequest(Request):
    """Climb the trust ladder for one point, up to and including ``level``.

    ``keep_spare`` leaves the proven copy on the live server, ready to be swapped in; with
    ``reason_unsigned`` that of a point which lacks the signature that is demanded, too.
    ``replica`` takes the bytes from there; what they show is not recorded as the point's own.
    """

    operation: ClassVar[str] = "verify"
    runner: ClassVar[str] = "fsbackup_tui.operations.verify:run"
    stages: ClassVar[tuple[str, ...]] = ("sealed", "readable", "restored", "proven")
    point: str
    level: VerifyLevel = "readable"
    keep_spare: bool = False
    reason_unsigned: str = ""
    replica: str = ""

    def planned(self) -> tuple[str, ...]:
        """Return the rungs up to the one asked for."""
        return self.stages[: self.stages.index(self.level) + 1]

    def is_allowed_read_only(self) -> bool:
        """Looking is; what was found is not recorded then, and no spare kept."""
        return not self.keep_spare


@dataclass(frozen=True, slots=True)
class VerifyDueRequest(Request):
    """Verify what its plan's ``verify_every`` calls stale, a stage for each point.

    ``budget_seconds``: no further point is begun that would not be done by then; None: no limit.
    """

    operation: ClassVar[str] = "verify-due"
    runner: ClassVar[str] = "fsbackup_tui.operations.verify_due:run"
    stages: ClassVar[tuple[str, ...]] = ()
    budget_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DrillRequest(Request):
    """Prove a point from its bytes up, timed; the worker picks one where none is named.

    ``copy`` is the directory of a copy of the repository, whose bytes are taken instead.
    ``drill`` is the name in the configuration, where that asks for it. ``replica`` is one of the
    configuration, of which the point is named.
    """

    operation: ClassVar[str] = "drill"
    runner: ClassVar[str] = "fsbackup_tui.operations.drill:run"
    stages: ClassVar[tuple[str, ...]] = ("sealed", "readable", "restored", "proven")
    point: str = ""
    choice: DrillChoice = "newest"
    copy: str = ""
    reason_unsigned: str = ""
    drill: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class LiveHealthRequest(Request):
    """Look for damage in a source's live database; nothing is changed.

    ``database`` names the copy that a drill plays on in its place.
    """

    operation: ClassVar[str] = "verify-live"
    runner: ClassVar[str] = "fsbackup_tui.operations.live_health:run"
    stages: ClassVar[tuple[str, ...]] = (
        "checksums",
        "amcheck",
        "tables",
        "foreign keys",
        "integrity",
        "last point",
    )
    source: str
    database: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class RestoreBesideRequest(Request):
    """Restore one postgres part into a new database ``beside`` on the live server.

    ``target`` is what the person saw before starting; the worker looks again and refuses when
    it differs. ``schema_point`` names the schema point that a data point is loaded into.
    ``copy_of`` is the live database in whose recovery it is made: the copy is marked as
    fsbackup's, so that ``leftovers`` lists it. What a person restores beside is that person's.
    ``reason_unsigned`` says why a point is trusted that lacks the signature which is demanded.
    ``replica`` takes the point from there.
    """

    operation: ClassVar[str] = "restore"
    runner: ClassVar[str] = "fsbackup_tui.operations.restore:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "create", "restore", "finish")
    point: str
    part: str
    beside: str
    target: ServerIdentity | None = None
    jobs: int | None = None
    schema_point: str | None = None
    copy_of: str = ""
    reason_unsigned: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class AdoptRequest(Request):
    """Make a point of the backup that another script left at ``path``.

    ``source`` is the part's name; None takes the site's only database, or ``files``.
    """

    operation: ClassVar[str] = "adopt"
    runner: ClassVar[str] = "fsbackup_tui.operations.adopt:run"
    stages: ClassVar[tuple[str, ...]] = ("read", "copy", "seal")
    path: str
    source: str | None = None
    plan: str = "adopted"


@dataclass(frozen=True, slots=True)
class RekeyRequest(Request):
    """Re-encrypt points to the configuration's present key; none named means all."""

    operation: ClassVar[str] = "rekey"
    runner: ClassVar[str] = "fsbackup_tui.operations.rekey:run"
    stages: ClassVar[tuple[str, ...]] = ("key", "points")
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicateRequest(Request):
    """Send what the replicas lack, a stage for each; all of them where none is named.

    ``point`` narrows it to one; ``check`` sends nothing and reads back all that should be there.
    """

    operation: ClassVar[str] = "replicate"
    runner: ClassVar[str] = "fsbackup_tui.operations.replicate:run"
    stages: ClassVar[tuple[str, ...]] = ()
    replicas: tuple[str, ...] = ()
    point: str = ""
    check: bool = False


@dataclass(frozen=True, slots=True)
class FetchRequest(Request):
    """Bring a point that is lost or damaged here back whole from a replica."""

    operation: ClassVar[str] = "fetch"
    runner: ClassVar[str] = "fsbackup_tui.operations.fetch_point:run"
    stages: ClassVar[tuple[str, ...]] = ("fetch", "verify")
    point: str
    replica: str


_EVERY: tuple[type[Request], ...] = (
    BackupRequest,
    VerifyRequest,
    VerifyDueRequest,
    DrillRequest,
    LiveHealthRequest,
    RestoreBesideRequest,
    AdoptRequest,
    RekeyRequest,
    ReplicateRequest,
    FetchRequest,
    *RECOVERY_REQUESTS,
    *MERGE_REQUESTS,
    *PLACE_REQUESTS,
    *SITE_REQUESTS,
    *RETAIN_REQUESTS,
    *HOST_REQUESTS,
)
REQUEST_TYPES: Mapping[str, type[Request]] = {
    request_type.operation: request_type for request_type in _EVERY
}


def request_document(request: Request) -> dict[str, object]:
    """Return the request as plain values for ``request.json``."""
    return {"operation": request.operation, "arguments": dataclasses.asdict(request)}


def parse_request(document: Mapping[str, object]) -> Request:
    """Return the request that ``request_document`` wrote; UsageError for any other."""
    request_type = REQUEST_TYPES.get(str(document.get("operation")))
    arguments = document.get("arguments")
    if request_type is None or not isinstance(arguments, Mapping):
        raise UsageError(f"UNKNOWN OPERATION: {document.get('operation')!r}.")
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }
    target = values.get("target")
    if isinstance(target, Mapping):
        values["target"] = ServerIdentity(**target)
    return request_type(**values)
