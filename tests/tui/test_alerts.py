"""The alert list: what needs a person, since when, why, and what mends it; and a way to copy it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rich.cells import cell_len

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.tui.alerts import Findings, alerts_of
from fsbackup_tui.tui.data import Alert
from tests.support.checking import healthy
from tests.tui.fakes import OVERVIEW, FakeSite, make_app
from tests.tui.made import NOW
from tests.tui.screens import press, screen_text, text_lines, until_text

LONG = "What was written since would be lost, and nobody was told of it for more than three days."
ALERTS = (
    Alert(
        "BACKUP OVERDUE: daily was due Sun 02:00 UTC (02:00) and has no good point.",
        "fsbackup backup daily",
        why=LONG,
        since=NOW - timedelta(days=3),
    ),
    Alert("DISK FULL IN 9 d: 22.7 GB free.", "fsbackup retain", severe=False, why="Then it fails."),
)


async def test_at_80_by_24_it_lists_all_of_them_with_what_mends_each() -> None:
    app = make_app(FakeSite(state=replace(OVERVIEW, alerts=ALERTS)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "2 alerts (a)")
        await press(pilot, "a")
        await until_text(pilot, "BACKUP OVERDUE")
        lines = text_lines(app)
        assert all(cell_len(line) <= 80 for line in lines)
        shown = "\n".join(lines)
        assert ", 3 d" in next(line for line in lines if line.strip().startswith("Since"))
        assert "Why" in shown
        assert "fsbackup backup daily" in shown
        assert "DISK FULL IN 9 d" in shown
        assert "y copy" in lines[-1]
        await press(pilot, "Y")
        await until_text(pilot, "Select with the mouse")
        assert "fsbackup backup daily" in screen_text(app)
        await press(pilot, "escape", "y")
        await until_text(pilot, "Copied ")
        await press(pilot, "a")
        await until_text(pilot, "1/8")


def finding(severity: str, what: str) -> Finding:
    return Finding("x", severity, NOW, what, "why", "fix")  # type: ignore[arg-type]


def test_what_the_session_knows_comes_first_then_the_worst_and_nothing_twice() -> None:
    problem = Problem("config", "CONFIG WRONG.", "", "", 2)
    same = Problem("x", "GONE.", "", "", 1)
    found = [finding("unknown", "NOT KNOWN."), finding("critical", "GONE."),
             finding("critical", "BAD.")]  # fmt: skip
    alerts = list(alerts_of((None, problem, same), found))
    assert [alert.what for alert in alerts] == ["CONFIG WRONG.", "GONE.", "BAD.", "NOT KNOWN."]
    assert [alert.severe for alert in alerts] == [True, True, True, False]
    assert alerts[2].since == NOW


def test_servers_are_asked_beside_and_not_at_every_look(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    moments = [0.0]
    begun: list[Callable[[], None]] = []
    findings = Findings(lambda: moments[0], begun.append)

    def look() -> list[str]:
        return [one.id for one in findings.look(site.loaded, site.environ, site.now)]

    assert look() == []
    assert len(begun) == 1
    assert look() == []
    begun.pop()()
    assert look() == ["database:db"]
    assert begun == []
    moments[0] += 301
    assert look() == ["database:db"]
    assert len(begun) == 1
    site.configure(more="# changed\n")
    assert look() == ["restore-rights"]
