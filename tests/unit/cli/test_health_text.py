"""The words in which ``verify --live`` tells its result."""

from __future__ import annotations

from typing import Any

from fsbackup_tui.cli.health_text import health_lines

_FIX = "Stop the server."


def result(**changes: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "source": "db",
        "target": "shop on db1:5432",
        "tables": [{"table": "public.users", "rows": 3}, {"table": "public.x", "rows": None}],
        "findings": [],
        "unchecked": [],
        "not_seen": [{"what": "a changed value", "why": "no checksums.", "fix": "Enable them."}],
        "notes": [],
        "seconds": 1.5,
        **changes,
    }


def finding(table: str | None, what: str, check: str = "read") -> dict[str, Any]:
    return {"check": check, "table": table, "what": what, "fix": _FIX}


def test_no_damage_is_said_with_what_was_not_seen() -> None:
    lines = health_lines(result())
    assert lines[0].startswith("db: NO DAMAGE FOUND; 1 of 2 tables read")
    assert lines[-2:] == [
        "Not seen by these checks, if it is there:",
        "  - a changed value: no checksums. Enable them.",
    ]


def test_findings_stand_by_table_and_each_remedy_once() -> None:
    found = [finding("a.b", "one"), finding(None, "two", "checksums"), finding("a.b", "three")]
    lines = health_lines(result(ok=False, findings=found))
    assert lines[0].startswith("db: PROBLEMS FOUND in 2 places")
    place = lines.index("  a.b")
    assert lines[place : place + 6] == [
        "  a.b",
        "    read: one",
        "    read: three",
        "  the whole database",
        "    checksums: two",
        f"Next  {_FIX}",
    ]
    assert sum(_FIX in line for line in lines) == 1


def test_hundreds_of_findings_are_cut() -> None:
    lines = health_lines(result(findings=[finding(f"t{n}", "gone") for n in range(300)]))
    assert len(lines) < 70
    assert "  and 550 lines more: --json has them all" in lines


def test_a_table_that_was_not_checked_is_no_all_clear() -> None:
    unchecked = [{"check": "read", "table": "a.b", "why": "no right", "fix": "GRANT it."}]
    lines = health_lines(result(ok=False, unchecked=unchecked))
    assert "NOT ALL CHECKED; no damage found so far" in lines[0]
    assert "  NOT CHECKED  a.b: no right. GRANT it." in lines
