"""Blockers that a person accepts with a reason: they stay named and ring no alarm (design §2).

An accepted blocker never makes a rung hold: trust knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fsbackup_tui.domain.point import AcceptedBlock, PointSummary


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What of a source need not be tried here: ``what`` is a part of the blocker's words."""

    source: str
    what: str
    reason: str

    def covers(self, source: str, words: str) -> bool:
        """Whether a blocker of the source is meant, whatever the case of its words."""
        return source == self.source and self.what.casefold() in words.casefold()


def reason_to_accept(acceptances: Sequence[Acceptance], source: str, words: str) -> str | None:
    """Return why a blocker is accepted, by the first acceptance that means it; None: it is not."""
    return next((one.reason for one in acceptances if one.covers(source, words)), None)


def with_acceptances(point: PointSummary, acceptances: Sequence[Acceptance]) -> PointSummary:
    """Return the point with its accepted blockers apart from those that nobody accepted."""
    if not point.blocked or not acceptances:
        return point
    blocked: list[str] = []
    accepted: list[AcceptedBlock] = []
    for text in point.blocked:
        source, _, words = text.partition(": ")
        reason = reason_to_accept(acceptances, source, words)
        if reason is None:
            blocked.append(text)
        else:
            accepted.append(AcceptedBlock(text, reason))
    return replace(point, blocked=tuple(blocked), accepted=tuple(accepted))
