"""What a look at the whole site found wrong, and what monitoring makes of all of it together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Literal

from fsbackup_tui.domain.events import format_time

Severity = Literal["warning", "critical", "unknown"]
CheckState = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]

EXIT_CODES: Mapping[CheckState, int] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
"""The exit codes of monitoring plugins."""
_STATES: Mapping[Severity, CheckState] = {
    "critical": "CRITICAL",
    "warning": "WARNING",
    "unknown": "UNKNOWN",
}
_RANK: Mapping[Severity, int] = {"critical": 0, "warning": 1, "unknown": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that needs a person.

    ``id`` is stable (``backup-age:daily``): the same cause has it at every look. ``since`` is
    when it began, as far as that is known; ``why`` says why it matters, ``fix`` what mends it.
    ``subject`` is what it is about: a plan, a source, a replica, a point.
    """

    id: str
    severity: Severity
    since: datetime | None
    what: str
    why: str
    fix: str
    subject: str = ""

    def document(self) -> dict[str, str | None]:
        """Return the finding as ``check --json`` has it (design §9)."""
        return {
            "id": self.id,
            "severity": self.severity,
            "since": None if self.since is None else format_time(self.since),
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "subject": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Number:
    """One measured value, as monitoring keeps it over time; seconds, bytes or a plain count."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """What a look at a site found.

    ``findings`` are the worst first; ``notes`` is what is worth telling and needs nobody;
    ``probes`` says of each probe whether it could look, by its name; ``zone`` is the site's.
    """

    site: str
    at: datetime
    findings: tuple[Finding, ...]
    numbers: tuple[Number, ...] = ()
    notes: tuple[str, ...] = ()
    probes: Mapping[str, bool] = field(default_factory=dict)
    zone: tzinfo = UTC

    @property
    def state(self) -> CheckState:
        """What all findings together mean to monitoring."""
        return state_of(self.findings)


def state_of(findings: Iterable[Finding]) -> CheckState:
    """Return what findings mean together: critical before warning before unknown before OK.

    Unknown ranks below warning because what is known to be wrong needs a person first; it is
    never OK.
    """
    worst = min((finding.severity for finding in findings), key=_RANK.__getitem__, default=None)
    return "OK" if worst is None else _STATES[worst]


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings by severity; those alike stay in the order they were found in."""
    return tuple(sorted(findings, key=lambda finding: _RANK[finding.severity]))
