"""How it went with each replica: what is told of it, and when a run of it has failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import Problem, ReplicaError
from fsbackup_tui.operations.replica_check import ReadBack


@dataclass
class Outcome:
    """How it went with one replica."""

    name: str
    sent: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    whole: int = 0
    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    refused: list[dict[str, str]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    read: ReadBack = field(default_factory=ReadBack)
    lock: str | None = None
    notes: list[str] = field(default_factory=list)
    problem: Problem | None = None

    @property
    def ok(self) -> bool:
        """Whether all that should be there is there, as far as it was looked at."""
        unmended = set(self.read.wrong) - set(self.mended)
        return self.problem is None and not self.refused and not unmended

    def document(self) -> dict[str, object]:
        """Return it as JSON holds it."""
        return {
            "ok": self.ok,
            "sent": self.sent,
            "mended": self.mended,
            "whole": self.whole,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "refused": self.refused,
            "skipped": self.skipped,
            "read_back": self.read.document(),
            "object_lock": self.lock,
            "notes": self.notes,
            "problem": None if self.problem is None else self.problem.document(),
        }


def replicate_document(outcomes: Sequence[Outcome], *, check: bool) -> dict[str, object]:
    """Return the document of ``fsbackup replicate --json``."""
    return {
        "ok": all(outcome.ok for outcome in outcomes),
        "check": check,
        "replicas": {outcome.name: outcome.document() for outcome in outcomes},
    }


def failure_of(outcomes: Sequence[Outcome]) -> ReplicaError | None:
    """Return the error of a run of which a replica is not up to date; None where all are."""
    bad = [outcome for outcome in outcomes if not outcome.ok]
    if not bad:
        return None
    lines = []
    for outcome in bad:
        told = [outcome.problem.what] if outcome.problem else []
        told += [str(one.get("what") or one["why"]) for one in outcome.refused]
        lines.append(f"{outcome.name}: {told[0] if told else 'something there is wrong'}")
    names = " ".join(outcome.name for outcome in bad)
    return ReplicaError(
        f"NOT COPIED to {', '.join(outcome.name for outcome in bad)}.",
        why="\n".join(lines),
        fix=f"The point stays as it is. When that is mended: fsbackup replicate {names}",
    )
