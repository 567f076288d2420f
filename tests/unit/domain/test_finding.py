"""What findings mean together, and what monitoring reads of one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fsbackup_tui.domain.finding import EXIT_CODES, Finding, Severity, state_of, worst_first


def finding(severity: Severity, name: str = "x") -> Finding:
    return Finding(name, severity, None, "WHAT.", "why", "fix")


@pytest.mark.parametrize(
    ("severities", "state", "code"),
    [
        ([], "OK", 0),
        (["warning"], "WARNING", 1),
        (["critical"], "CRITICAL", 2),
        (["unknown"], "UNKNOWN", 3),
        (["unknown", "warning"], "WARNING", 1),
        (["warning", "unknown", "critical"], "CRITICAL", 2),
    ],
)
def test_critical_before_warning_before_unknown_before_ok(
    severities: list[Severity], state: str, code: int
) -> None:
    found = state_of(finding(severity) for severity in severities)
    assert found == state
    assert EXIT_CODES[found] == code


def test_the_worst_come_first_and_those_alike_keep_their_order() -> None:
    mixed = [finding("warning", "a"), finding("unknown", "b"), finding("critical", "c"),
             finding("warning", "d")]  # fmt: skip
    assert [one.id for one in worst_first(mixed)] == ["c", "a", "d", "b"]


def test_its_document_has_what_design_says() -> None:
    since = datetime(2026, 11, 22, 2, tzinfo=UTC)
    document = Finding("backup-age:daily", "critical", since, "W", "y", "f", "daily").document()
    assert document == {
        "id": "backup-age:daily",
        "severity": "critical",
        "since": "2026-11-22T02:00:00.000Z",
        "what": "W",
        "why": "y",
        "fix": "f",
        "subject": "daily",
    }
