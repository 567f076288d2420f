"""The words in which ``verify`` and ``drill`` tell their results."""

from __future__ import annotations

from typing import Any

from fsbackup_tui.cli.drill import summary as drill_summary
from fsbackup_tui.cli.verify import summary

LACK = {"part": "db", "what": "pg_cron is missing there", "fix": "Install postgresql-17-cron."}


def rung(ok: bool | None) -> dict[str, object]:
    return {"ok": ok, "at": "2026-11-22T02:00:00Z", "seconds": 0.5}


def result(**changes: Any) -> dict[str, Any]:
    return {
        "ok": False,
        "point": "20261122T020000Z-daily-k3f9",
        "wanted": "proven",
        "trust": "proven",
        "levels": {"sealed": rung(True), "readable": rung(True), "restored": rung(None)},
        "problems": [],
        "blocked": [LACK],
        "proofs": {},
        "spares": {},
        "notes": [],
        **changes,
    }


def test_what_was_blocked_says_what_to_do_and_takes_no_credit_for_an_older_proof() -> None:
    lines = summary(result())
    assert lines[0] == (
        "20261122T020000Z-daily-k3f9: PROVEN before; this time restored could not be tried"
    )
    assert "  blocked: db: pg_cron is missing there" in lines
    assert lines[-1] == "Next  Install postgresql-17-cron."


def test_a_proof_of_now_is_said_plainly() -> None:
    levels = dict.fromkeys(("sealed", "readable", "restored", "proven"), rung(True))
    assert summary(result(ok=True, levels=levels, blocked=[]))[0].endswith(": PROVEN")


def test_what_was_reached_now_is_now_whatever_could_not_be_tried_below_it() -> None:
    """A file of another script has no checksum to be sealed by."""
    levels = {"sealed": rung(None), "readable": rung(True), "restored": rung(True)}
    lines = summary(result(wanted="restored", trust="restored", levels=levels))
    assert lines[0].endswith(": RESTORED")


def test_hundreds_of_problems_are_cut() -> None:
    problem = {
        "part": "db",
        "artifact": None,
        "what": "3 rows restored, 4 captured",
        "fix": "Look.",
    }
    found = [{**problem, "table": f"public.t{number}"} for number in range(300)]
    lines = summary(result(trust="restored", problems=found, blocked=[]))
    assert len(lines) < 60
    assert "  db/public.t0: 3 rows restored, 4 captured" in lines
    assert "  and 260 more: --json has them all" in lines
    assert lines.count("Next  Look.") == 1


def test_a_blocked_drill_does_not_say_that_it_showed_the_trust() -> None:
    outcome = result(
        outcome="blocked",
        place=None,
        copy=None,
        phases={"sealed": 0.5},
        suspect=[],
        seconds=1.5,
        rows=None,
        database_bytes=None,
    )
    (head, *_rest) = drill_summary(outcome)
    assert head == "Drill BLOCKED: 20261122T020000Z-daily-k3f9 stays PROVEN, in 1.5 s"


def test_what_is_wrong_with_the_whole_point_is_told_once() -> None:
    """Each of its parts has it."""
    broken = {"what": "SIGNATURE BROKEN: it is empty", "fix": "Find out who wrote it."}
    problems = [{**broken, "part": ""}, {**broken, "part": ""}]
    lines = summary(result(problems=problems, blocked=[]))
    assert [line for line in lines if "BROKEN" in line] == ["  SIGNATURE BROKEN: it is empty"]
    absent = {"state": "absent", "text": "not signed"}
    demanded = {"part": "", "what": "not signed; config.yaml:8 demands it", "fix": ""}
    lines = summary(result(problems=[demanded], blocked=[], signature=absent))
    assert [line for line in lines if "not signed" in line] == [f"  {demanded['what']}"]
    assert "  not signed" in summary(result(blocked=[], signature=absent))
