"""What ``fsbackup backup`` prints when it is done."""

from __future__ import annotations

from fsbackup_tui.cli.backup import summary
from fsbackup_tui.domain.errors import Problem

RESULT = {
    "point": "20261122T020000Z-daily-k3f9",
    "path": "/r/points/20261122T020000Z-daily-k3f9",
    "bytes": 7000,
    "seconds": 1.5,
    "trust": "restored",
    "stages": {"backup": {"ok": True, "seconds": 1.0, "problem": None}},
}


def test_a_stage_that_failed_says_why() -> None:
    problem = Problem("not-proven", "NOT PROVEN: it is restored.", "db: a\ndb: b", "Look at it")
    failed = {"ok": False, "seconds": 0.5, "problem": problem.document()}
    lines = summary({**RESULT, "stages": {**RESULT["stages"], "verify": failed}})  # type: ignore[dict-item]
    assert lines[-4:] == [
        "verify: NOT PROVEN: it is restored.",
        "  db: a",
        "  db: b",
        "Next  Look at it",
    ]
    assert len(summary(RESULT)) == 3


def test_what_is_accepted_is_named() -> None:
    accepted = [{"part": "db", "what": "extension geo is missing", "reason": "so be it"}]
    lines = summary({**RESULT, "accepted": accepted})
    assert lines[-1] == "  blocked: db: extension geo is missing (accepted: so be it)"
