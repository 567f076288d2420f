"""The typed arguments of retention: what leaves, what comes back, what is freed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fsbackup_tui.operations.request import Request


@dataclass(frozen=True, slots=True)
class RetainRequest(Request):
    """Move the points that no rule keeps to the trash, and free what is past its grace there.

    ``points`` are those that a person saw leaving: no other goes; None takes what leaves by then.
    ``confirmed``: the site's name was typed, since many leave at once, or the clock jumped.
    """

    operation: ClassVar[str] = "retain"
    runner: ClassVar[str] = "fsbackup_tui.operations.retain:run"
    stages: ClassVar[tuple[str, ...]] = ("settle", "decide", "remove", "free")
    points: tuple[str, ...] | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class TakeBackRequest(Request):
    """Bring a point back out of the trash, pinned so that it does not leave again at once."""

    operation: ClassVar[str] = "take-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.retain:run_take_back"
    stages: ClassVar[tuple[str, ...]] = ("settle", "take back")
    point: str


@dataclass(frozen=True, slots=True)
class EmptyTrashRequest(Request):
    """Free what has lain in the trash for longer than the grace."""

    operation: ClassVar[str] = "empty-trash"
    runner: ClassVar[str] = "fsbackup_tui.operations.retain:run_empty"
    stages: ClassVar[tuple[str, ...]] = ("settle", "free")


@dataclass(frozen=True, slots=True)
class RetainReplicaRequest(Request):
    """Mark what the replica's own rules keep no more, and remove what was marked long enough.

    ``points`` and ``confirmed`` are as with ``RetainRequest``.
    """

    operation: ClassVar[str] = "retain-replica"
    runner: ClassVar[str] = "fsbackup_tui.operations.replica_retain:run"
    stages: ClassVar[tuple[str, ...]] = ("look", "finish", "mark", "remove")
    replica: str
    points: tuple[str, ...] | None = None
    confirmed: bool = False


RETAIN_REQUESTS: tuple[type[Request], ...] = (
    RetainRequest,
    TakeBackRequest,
    EmptyTrashRequest,
    RetainReplicaRequest,
)
