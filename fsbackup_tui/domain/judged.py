"""The answer line beside what ``check`` found: never green while backups are in danger. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.health import Answer

ABOUT_BACKUPS = frozenset(
    {
        "backup-age",
        "backup-count",
        "backup-failed",
        "damaged",
        "drill-failed",
        "key",
        "proof-age",
        "proof-failed",
        "repository",
        "repository-write",
        "restore-rights",
        "rpo",
        "suspect",
    }
)
"""What findings are about, as their ids begin, that make it doubtful what can be got back."""

# Time, age and PROVEN; how long it takes comes last.
_PROVEN = 3


def judged(answer: Answer, findings: Iterable[Finding]) -> Answer:
    """Return the answer, no longer green where a critical finding is about backups.

    That the newest point is proven stays true, and stays said; what is wrong follows it.
    """
    if answer.tone != "good":
        return answer
    told = next((one for one in findings if is_about_backups(one)), None)
    if told is None:
        return answer
    words = told.what.partition(":")[0].rstrip(".")
    pieces = (*answer.pieces[:_PROVEN], f". {words}", *answer.pieces[_PROVEN:])
    return replace(answer, state="alarm", tone="warn", pieces=pieces)


def is_about_backups(finding: Finding) -> bool:
    """Whether a finding is critical, and about what can be got back."""
    return finding.severity == "critical" and finding.id.partition(":")[0] in ABOUT_BACKUPS
