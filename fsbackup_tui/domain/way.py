"""PLACEHOLDER until branch look."""

from __future__ import annotations

from dataclasses import dataclass

from fsbackup_tui.domain.damage import DamageReport, Way
from fsbackup_tui.domain.incident import Seen


@dataclass(frozen=True, slots=True)
class WayEstimate:
    way: Way
    point: str
    loss_rows: int | None
    loss_minutes: float | None
    downtime: str
    duration_seconds: tuple[float, float] | None
    way_back: str
    possible: bool
    why: str
    recommended: bool


def propose_runbook(seen: Seen, report: DamageReport) -> tuple[str, tuple[str, ...]]:
    return "data-loss", ("it is",)


def weigh_ways(
    report: DamageReport, *, point: str, seen: Seen, can_rename: bool
) -> tuple[WayEstimate, ...]:
    return (
        WayEstimate("merge", point, 0, 0, "none", None, "undo", True, "", True),
        WayEstimate("swap", point, 0, 0, "moments", None, "rollback", True, "", False),
    )
