"""The lines of mode 4: at every width no wider than the window, and with what matters in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.glance import Glance, frozen_words, incident_answer, minutes_text
from fsbackup_tui.domain.incident import Freeze, TakeOver
from fsbackup_tui.domain.written import TableWritten, WrittenSince
from fsbackup_tui.operations.plain import plain as plain_values
from fsbackup_tui.recovery.card import Card
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.question import Option, Question
from fsbackup_tui.recovery.session import Reading
from fsbackup_tui.tui.lines import Line, plain
from fsbackup_tui.tui.modes.recover_card import card_lines, written_lines
from fsbackup_tui.tui.modes.recover_lines import (
    ahead_line,
    closing_lines,
    header_line,
    listed_line,
    past_lines,
    request_line,
    running_lines,
    short_id,
    step_line,
    step_rows,
    strip_line,
)
from fsbackup_tui.tui.recover_data import Listed, Running, Seat, View, incidents_of
from tests.support.recovering import NOW, ZONE, make_desk
from tests.tui.recoveries import lead

WIDTHS = (40, 60, 78, 80, 99, 100, 132, 200)
RUNNING = Running(
    step="restore",
    job="restore r7",
    operation="restore",
    stage="restore",
    done=744e6,
    total=1200e6,
    unit="bytes",
    detail="data public.events",
    rate=112e6,
    eta_seconds=240.0,
    eta_range=(180.0, 360.0),
    log=("one", "two [bold]three[/bold]\x1b[31m"),
)


def view_at(directory: Path, step: str) -> View:
    """Return the view of an incident that was led to a step."""
    desk = make_desk(directory)
    session = lead(desk, step)
    seat = Seat(desk, session)
    seat.view()
    view = seat.view(anew=True)
    seat.leave()
    return view


def with_incident(view: View, **changes: object) -> View:
    incident = replace(view.reading.incident, **changes)  # type: ignore[arg-type]
    return replace(view, reading=replace(view.reading, incident=incident))


def later(view: View, **span: float) -> View:
    reading = replace(view.reading, now=view.reading.now + timedelta(**span))
    return replace(view, reading=reading)


def lines_of(view: View, width: int) -> Iterator[Line]:
    """Yield all that is painted of a view."""
    yield header_line(view.reading, width)
    yield strip_line(view, width)
    yield request_line(view)
    yield ahead_line(view)
    for row in step_rows(view.reading):
        yield step_line(view.reading, row, "swap", width, marked=False)
    if view.card is not None:
        yield from card_lines(view, view.card, ("table",), width, ZONE)
    else:
        yield from closing_lines(view, width, ZONE)
    yield from past_lines(view.reading, width, now=view.reading.now, zone=ZONE)


@pytest.mark.parametrize("step", ["keep-evidence", "freeze", "choose-way", "swap", ""])
def test_nothing_is_wider_than_the_window(tmp_path: Path, step: str) -> None:
    view = replace(view_at(tmp_path, step), running=RUNNING)
    problem = Problem("x", "DISK FULL: " + "/very/long" * 20, "Why " * 40, "Next " * 40)
    troubled = view
    if view.card is not None:
        card = replace(view.card, status="FAILED", stopped="point a\ntarget b", waits=("1.1 x",))
        troubled = replace(view, card=card, failure=problem, look_problem=problem)
    for width in WIDTHS:
        for shown in (view, troubled):
            # The frame cuts what is fixed; what is wrapped must fit by itself.
            fixed = {plain(request_line(shown)), plain(ahead_line(shown))}
            for row in lines_of(shown, width):
                if plain(row) not in fixed:
                    assert cell_len(plain(row)) <= width, plain(row)


def test_the_header_tells_clock_loss_and_frozen(tmp_path: Path) -> None:
    view = later(view_at(tmp_path, "choose-point"), minutes=12, seconds=43)
    since = view.reading.now - timedelta(minutes=9, seconds=5)
    view = with_incident(view, freezes=(Freeze("role app", since),))
    text = plain(header_line(view.reading, 80))
    assert text.startswith(" INCIDENT 1122-01 data-loss  T+00:12:43   lost: 5 300 videos")
    assert text.endswith("FROZEN 9 m ")
    assert cell_len(text) == 80
    drill = with_incident(view, is_drill=True)
    assert plain(header_line(drill.reading, 80)).startswith(" DRILL 1122-01")
    assert short_id("20261122-01") == "1122-01"
    assert short_id("other") == "other"


def test_the_strip_tells_phases_and_who_leads(tmp_path: Path) -> None:
    view = view_at(tmp_path, "choose-way")
    text = plain(strip_line(view, 80))
    assert text.startswith(" 1 done  2 done  3 Assess 3/4  4 -  5 -")
    assert text.endswith("ana leads ")
    assert plain(strip_line(replace(view, leads=False), 80)).endswith("ana leads; you watch ")
    watched = replace(view, watchers=("bob",))
    assert plain(strip_line(watched, 80)).endswith("ana leads, bob watches ")


def test_who_asks_for_the_lead_is_told_to_both(tmp_path: Path) -> None:
    view = view_at(tmp_path, "damage")
    assert request_line(view) == ()
    asked = with_incident(view, take_over=TakeOver("bob", "db2", NOW))
    assert "bob on db2 asks for the lead: R refuses" in plain(request_line(asked))
    bob = replace(asked, leads=False, me="bob")
    assert "ana was asked, and has 20 s" in plain(request_line(bob))
    assert "T takes it" in plain(request_line(replace(bob, may_take=True)))
    refused = with_incident(bob, take_over=TakeOver("bob", "db2", NOW, "not now"))
    assert "ana keeps the lead: not now" in plain(request_line(refused))
    eve = replace(asked, leads=False, me="eve")
    assert request_line(eve) == ()


def test_a_running_job_is_told_with_its_range_and_foreign_words_are_safe() -> None:
    rows = [plain(row) for row in running_lines(RUNNING, 80, logged=3)]
    assert rows[0].startswith(" run     [##############..........]  62 %  data public.events")
    assert rows[0].endswith("ETA 4 m (3 to 6) ")
    assert rows[1].strip() == "restore r7: 744 MB of 1.2 GB, 112 MB/s"
    assert "two [bold]three[/bold]\ufffd[31m" in rows[3]
    unknown = replace(RUNNING, done=None, total=None, rate=None, eta_seconds=None, eta_range=None)
    rows = [plain(row) for row in running_lines(unknown, 80, logged=0)]
    assert rows[0].rstrip().endswith("ETA -")
    assert rows[1].strip() == "restore r7: -"


def test_what_can_hurt_tells_target_and_loss_before_how_it_is_done(tmp_path: Path) -> None:
    view = view_at(tmp_path, "swap")
    assert view.card is not None
    text = "\n".join(plain(row) for row in card_lines(view, view.card, (), 80, ZONE))
    places = [
        text.index(words)
        for words in (
            "shop on db1:5432  1.6 GB  PRODUCTION",
            "public.users  1 000 -> 1 031 rows  (+31)",
            "Why",
            'ALTER DATABASE "shop" RENAME TO "shop__before_20261122_01";',
        )
    ]
    assert places == sorted(places)
    assert "can hurt" in plain(ahead_line(view))
    watched = replace(view, watchers=("bob",))
    text = "\n".join(plain(row) for row in card_lines(watched, view.card, (), 80, ZONE))
    assert "bob watches and has not said go (G) yet." in text


def test_a_rollback_tells_what_it_sets_aside(tmp_path: Path) -> None:
    view = view_at(tmp_path, "migrations")
    text = "\n".join(plain(row) for row in written_lines(view, 80))
    assert text.strip() == "Written since the swap: not known (not counted)"
    since = view.reading.now - timedelta(minutes=9)
    tables = tuple(TableWritten(f"public.t{n}\x1b[31m", n, None, 0) for n in range(1, 6))
    written = plain_values(WrittenSince(since, view.reading.now, tables, "statistics were reset"))
    known = {**view.reading.incident.parameters, "written": written}
    view = with_incident(view, parameters=known)
    facts = IncidentFacts(view.reading.incident)
    view = replace(view, reading=replace(view.reading, facts=facts))
    rows = [plain(row) for row in written_lines(view, 80)]
    assert rows[0] == " Written since the swap, 9 m ago: 15 rows are set aside"
    assert rows[1] == "   public.t1\ufffd[31m: 1 inserted"
    assert rows[4] == "   and 2 more tables"
    assert rows[5] == "   statistics were reset"


def test_options_show_what_is_chosen_doubtful_and_impossible(tmp_path: Path) -> None:
    view = view_at(tmp_path, "freeze")
    assert view.card is not None
    options = (
        Option("a", "first", ("costs nothing",), recommended=True),
        Option("b", "second", doubt="taken after the damage"),
        Option("c", "third", impossible="no table was named"),
    )
    text = shown(view, view.card, Question("Which?", options, default="a"), ("a",))
    assert "  >  1 first  (recommended)" in text
    assert "     2 second  (needs a reason)" in text
    assert "taken after the damage" in text
    assert "     3 third  (NOT POSSIBLE)" in text
    text = shown(view, view.card, Question("Which?", options, several=True), ("a", "b"))
    assert " [x] 1 first" in text
    assert " [x] 2 second" in text
    assert " [ ] 3 third" in text


def test_more_answers_than_digits_are_marked_nine_at_a_time(tmp_path: Path) -> None:
    view = view_at(tmp_path, "freeze")
    assert view.card is not None
    options = tuple(Option(f"t{number}", f"table {number}") for number in range(1, 13))
    card = replace(view.card, question=Question("Which?", options, several=True))
    first = "\n".join(plain(row) for row in card_lines(view, card, (), 80, ZONE))
    assert "12 answers; 1 to 9 mark those from the 1. to the 9., 0 goes to the next." in first
    assert " [ ] 9 table 9\n" in first
    assert " [ ]   table 10" in first
    rows = card_lines(view, card, ("t12",), 80, ZONE, first_digit=9)
    second = "\n".join(plain(row) for row in rows)
    assert "12 answers; 1 to 3 mark those from the 10. to the 12., 0 goes to the next." in second
    assert " [ ]   table 9\n" in second
    assert " [x] 3 table 12" in second


def shown(view: View, card: Card, question: Question, chosen: tuple[str, ...]) -> str:
    card = replace(card, question=question)
    return "\n".join(plain(row) for row in card_lines(view, card, chosen, 80, ZONE))


def test_the_closing_card_tells_what_is_left(tmp_path: Path) -> None:
    view = view_at(tmp_path, "")
    assert view.card is None
    text = closing(view)
    assert "All steps are behind." in text
    assert "Look on until today 04:20 CET (15 m)" in text
    assert "shop__before_20261122_01 is the database as it was" in text
    assert "fsbackup leftovers" in text
    after = later(view, minutes=20)
    assert "It ran for 20 m since the last step." in closing(after)
    freeze = Freeze("role app", after.reading.now - timedelta(minutes=9), ("GRANT CONNECT;",))
    text = closing(with_incident(after, freezes=(freeze,)))
    assert "STILL FROZEN 9 m: role app" in text
    assert "GRANT CONNECT;" in text


def closing(view: View) -> str:
    return "\n".join(plain(row) for row in closing_lines(view, 80, ZONE))


def test_past_incidents_are_listed_open_ones_first(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead(desk, "damage")
    session.close("false alarm")
    session.leave()
    lead(desk, "pause-jobs").leave()
    listed = incidents_of(desk)
    assert [each.open for each in listed] == [True, False]
    texts = [plain(listed_line(each, 77, now=NOW, zone=ZONE)) for each in listed]
    assert texts[0].startswith("1122-02  today 04:05 CET")
    assert texts[0].endswith("ana OPEN ")
    assert texts[1].endswith("ana closed, 0 m ")
    assert isinstance(listed[0], Listed)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 m"), (59, "0 m"), (60, "1 m"), (7199, "119 m"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages_change_once_a_minute(seconds: float, text: str) -> None:
    assert minutes_text(seconds) == text


def test_the_answer_line_of_an_incident() -> None:
    opened = NOW - timedelta(minutes=12)
    glance = Glance("20261122-01", opened, "ana", "3.2", NOW - timedelta(minutes=9))
    answer = incident_answer(glance, "face-swap", "production", NOW)
    words = "PROD face-swap  INCIDENT 12 m, ana leads, step 3.2 · WRITES FROZEN 9 m"
    assert answer.line(80) == words
    assert frozen_words(glance, NOW) == "WRITES FROZEN 9 m"
    done = replace(glance, step="", frozen_since=None)
    answer = incident_answer(done, "face-swap", "production", NOW)
    assert answer.line(80) == "PROD face-swap  INCIDENT 12 m, ana leads, to be closed"
    assert frozen_words(None, NOW) == ""
    forgotten = replace(done, opened=NOW - timedelta(days=3), last_entry=NOW - timedelta(hours=25))
    answer = incident_answer(forgotten, "face-swap", "production", NOW)
    words = "INCIDENT 3 d, CRITICAL, nothing done for 25 h, ana leads, to be closed"
    assert answer.line(90) == f"PROD face-swap  {words}"


def test_an_incident_that_another_version_wrote_is_still_shown(tmp_path: Path) -> None:
    view = view_at(tmp_path, "damage")
    reading = view.reading
    assert isinstance(reading, Reading)
    empty = with_incident(view, steps={}, parameters={}, leader=None)
    assert plain(strip_line(empty, 80)).endswith("nobody leads ")
    assert list(past_lines(empty.reading, 80, now=NOW, zone=ZONE))
