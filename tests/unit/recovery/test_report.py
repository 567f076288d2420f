"""Report and hand-over: readable at any moment, and every figure found again in the journal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.text import cell_width, duration_text
from fsbackup_tui.operations.recovery_requests import FreezeRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.past import read_incident
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.report import handover_text, report_markdown
from fsbackup_tui.recovery.report_timeline import freezes
from fsbackup_tui.recovery.session import RecoverySession
from tests.support.figures import check_figures
from tests.support.recovering import Clock, do_step, jobs_of, make_desk, open_session, to_the_swap

STEPS = (
    *to_the_swap(),
    ("swap", Answer(typed="shop")),
    ("migrations", None),
    ("thaw", None),
    ("start-app", None),
    ("smoke-test", None),
    ("resume-jobs", None),
    ("fresh-backup", None),
    ("tell-done", None),
)


def let_jobs_freeze(session: RecoverySession) -> None:
    """Have the jobs that freeze and thaw tell of it in the incident, as real ones do."""
    undo = ['GRANT CONNECT ON DATABASE "shop" TO "app";']

    def tell(kind: str, request: Request) -> dict[str, Any]:
        if not isinstance(request, FreezeRequest) or request.grade == "role":
            body = {"what": "role app", **({"undo": undo} if kind == "frozen" else {})}
            session.journal.append(kind, body, session.desk.author, epoch=session.epoch)
        return {"ok": True}

    replies = jobs_of(session.desk).replies
    replies["freeze"] = partial(tell, "frozen")
    replies["thaw"] = partial(tell, "thawed")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def walk(session: RecoverySession, clock: Clock) -> Iterator[str]:
    """Go through a whole data loss, twenty seconds a step; yields after each."""
    let_jobs_freeze(session)
    yield "declared"
    for step, answer in STEPS:
        clock.moment += timedelta(seconds=20)
        do_step(session, step, answer)
        if step == "damage":
            session.note("ben saw 500s | from 02:50 on")
        yield step
    session.close("all is well")
    yield "closed"


def texts_of(session: RecoverySession) -> tuple[str, str]:
    reading = read_incident(session.desk, session.journal)
    return report_markdown(reading, session.journal.entries()), handover_text(reading)


def test_a_whole_report_tells_everything(tmp_path: Path, clock: Clock) -> None:
    session = open_session(make_desk(tmp_path, clock=clock), runbook="data-loss")
    for _ in walk(session, clock):
        pass
    report, handover = texts_of(session)
    sys.stdout.write(report + handover)
    incident = session.read().incident
    assert incident.closed is not None
    took = duration_text((incident.closed - incident.opened).total_seconds())
    assert f"Recovery time (RTO), declared to closed: **{took}**" in report
    right = incident.last_right
    assert right is not None
    candidate = session.read().facts.candidate
    assert candidate is not None
    lost = duration_text((right - candidate.at).total_seconds())
    assert f"last right to the point: **{lost}** of changes" in report
    for words in (
        "| `public.videos` | 5 340 | 40 | 5 300 |",
        "rows more than in the point",
        "| `public.users` | 31 |",
        "gone again, in neither: at most 7",
        "**PROVEN**, 2 tables, 6 340 rows compared",
        "58 restored, 0 benign, 0 deferred, 0 lost",
        'ALTER DATABASE "shop" RENAME TO "shop__before_20261122_01";',
        "fsbackup leftovers --drop shop__before_20261122_01",
        "ben saw 500s \\| from 02:50 on",
        "role app |",
        "**closed**: all is well",
    ):
        assert words in report, words
    assert len([line for line in report.splitlines() if "Z |" in line]) == 0
    times = [line for line in report.splitlines() if re.match(r"\| 2026-.* CET \| 2026-", line)]
    assert len(times) == incident.entries


def test_every_figure_of_a_report_is_in_the_journal_at_any_moment(
    tmp_path: Path, clock: Clock
) -> None:
    session = open_session(make_desk(tmp_path, clock=clock), runbook="data-loss")
    figures = 0
    for _ in walk(session, clock):
        reading = read_incident(session.desk, session.journal)
        report = report_markdown(reading, session.journal.entries())
        figures = check_figures(session.journal, reading, report)
    assert figures > 200


def test_the_hand_over_fits_a_screen_at_any_moment(tmp_path: Path, clock: Clock) -> None:
    session = open_session(make_desk(tmp_path, clock=clock), runbook="data-loss")
    seen = []
    for step in walk(session, clock):
        _, text = texts_of(session)
        lines = text.splitlines()
        assert len(lines) <= 24, text
        assert max(map(cell_width, lines)) <= 80, text
        command = "incidents show" if step == "closed" else "recover --resume"
        assert f"fsbackup {command} {session.journal.id}" in text
        seen.append((step, text))
    told = dict(seen)
    assert "no step yet" in told["declared"]
    assert "role app for" in told["stop-app"]
    assert "4.5 Swap it in (asks for the typed name)" in told["check-copy"]
    assert f"fsbackup rollback --incident {session.journal.id}" in told["swap"]
    assert "SWAPPED: live is the restored copy" in told["swap"]
    assert "no backup was taken since" in told["swap"]
    assert "no backup was taken since" not in told["fresh-backup"]
    assert "Next      nothing, it is closed" in told["closed"]
    assert "recover --resume" not in told["closed"]


def test_it_says_what_failed_what_nobody_saw_the_end_of_and_what_stays_frozen(
    tmp_path: Path, clock: Clock
) -> None:
    session = open_session(make_desk(tmp_path, clock=clock), runbook="data-loss")
    for step in walk(session, clock):
        if step == "tell-eta":
            break
    jobs_of(session.desk).replies["restore"] = Problem("failed", "DISK FULL: db1 has 2 GB.")
    do_step(session, "restore")
    body = {"step": "restore", "commands": ["pg_restore …"]}
    session.journal.append("intent", body, session.desk.author, epoch=session.epoch)
    report, handover = texts_of(session)
    assert "DISK FULL: db1 has 2 GB." in report
    assert "**STILL FROZEN**" in report
    assert "**STILL OPEN.**" in report
    assert "- [ ] still FROZEN: role app. Undo: GRANT CONNECT ON DATABASE" in report
    assert "nobody knows how 4.1 Restore beside ended" in report
    assert "END NOT KNOWN" in handover
    assert "4.1 Restore beside: find out how it ended" in handover
    assert [each.until for each in freezes(session.journal.entries())] == [None]


def test_entries_of_other_versions_and_foreign_text_harm_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    session = open_session(make_desk(tmp_path, clock=clock))
    author = session.desk.author
    odd: list[tuple[str, dict[str, Any]]] = [
        ("weather", {"rain": True, "text": "a | b\n# c"}),
        ("runbook", {"runbook": "of-another-version"}),
        ("done", {"step": "levitate", "title": "Levitate `it`", "facts": {"swapped": [1, 2]}}),
        ("set", {"name": "merged", "value": {"effects": "many", "left_out": [None]}}),
        ("set", {"name": "affected", "value": {"rows": [["<b>ana</b>", "a|b"]], "more": 3}}),
        ("frozen", {}),
        ("damage-time", {"last_right": "yesterday"}),
        ("go", {}),
        ("note", {"text": "\x1b[2Jgone"}),
    ]
    for kind, body in odd:
        session.journal.append(kind, body, author, epoch=session.epoch)
    report, handover = texts_of(session)
    assert "weather" in report
    assert "levitate Levitate \\`it\\`: done" in report
    assert "\\<b>ana\\</b>" in report
    assert "a\\|b" in report
    assert "\x1b" not in report + handover
    assert all(line.count("\n") == 0 for line in report.split("\n"))
    assert len(handover.splitlines()) <= 24
