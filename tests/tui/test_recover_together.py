"""Two at one incident: watching, taking over, refusing, saying go; a watcher's keys say why."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.session import Reading
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.recover_data import Seat, View
from tests.support.recovering import Clock, jobs_of, make_desk
from tests.tui.recoveries import lead, recover_app, step_screen, until_step
from tests.tui.screens import press, until, until_text


def other_desk(desk: Desk, directory: Path) -> Desk:
    """Return a colleague's desk on the same state."""
    clock = desk.author.now
    assert isinstance(clock, Clock)
    return make_desk(directory, operator="bob", clock=clock)


async def watching(pilot: Pilot[int], step: str) -> None:
    await until_text(pilot, "ana leads; you watch")
    await until_step_shown(pilot, step)


async def until_step_shown(pilot: Pilot[int], step: str) -> None:
    app = pilot.app
    assert isinstance(app, FsbackupApp)

    def shown() -> bool:
        card = step_screen(app).card
        return card is not None and card.id == step

    await until(pilot, shown)


async def test_a_watchers_keys_say_why_they_do_nothing(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead(desk, "restore")
    bob = other_desk(desk, tmp_path)
    app = recover_app(bob)
    async with app.run_test(size=(80, 24)) as pilot:
        await watching(pilot, "restore")
        assert "Enter" not in app.screen.query_one("#foot").render_line(0).text
        for key in ("enter", "S", "U", "A", "W", "C", "R", "t"):
            await press(pilot, key)
            await until_text(pilot, "You watch: ana leads; T asks for the lead")
            await press(pilot, "N", "escape")
            step_screen(app).say("")
        await press(pilot, "G")
        await until_text(pilot, "Go: nothing here can hurt")
        await press(pilot, "N")
        await press(pilot, *"seen by bob", "enter")
        await until_text(pilot, "Noted.")
    assert session.leads
    assert session.read().incident.notes[-1].operator == "bob"
    assert jobs_of(bob).operations() == []
    session.leave()


async def test_the_lead_is_asked_for_refused_and_taken(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead(desk, "restore")
    bob = other_desk(desk, tmp_path)
    clock = bob.author.now
    assert isinstance(clock, Clock)
    app = recover_app(bob)
    async with app.run_test(size=(80, 24)) as pilot:
        await watching(pilot, "restore")
        await press(pilot, "T")
        await until_text(pilot, "Ask ana for the lead?")
        await press(pilot, "y")
        await until_text(pilot, "ana was asked, and has 20 s to refuse.")
        await press(pilot, "T")
        await until_text(pilot, "ana was asked, and has 20 s to refuse")
        session.refuse_take_over("not now")
        await until_text(pilot, "ana keeps the lead: not now")
        await press(pilot, "T", "y")
        await until_text(pilot, "ana was asked, and has 20 s to refuse.")
        clock.moment = clock.moment.replace(minute=clock.moment.minute + 1)
        await until_text(pilot, "The lead is free: T takes it.")
        await press(pilot, "T")
        await until_text(pilot, "Take over the lead?")
        await press(pilot, "y")
        await until_text(pilot, "bob leads")
        await until_step(pilot, "restore")
    assert not session.leads
    assert jobs_of(bob).operations() == ["look"]
    session.leave()


async def test_the_leader_is_told_and_refuses_with_a_key(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    lead(desk, "restore").leave()
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_step(pilot, "restore")
        screen = step_screen(app)
        bob = other_desk(desk, tmp_path)
        from fsbackup_tui.recovery.declare import attach
        from fsbackup_tui.repository.incidents import find_incident

        watcher = attach(bob, find_incident(bob.state, screen.incident))
        watcher.ask_take_over()
        await until_text(pilot, "bob on db1 asks for the lead: R refuses, within 20 s.")
        await until_text(pilot, "bob watches")
        await press(pilot, "R")

        def refused() -> bool:
            asked = watcher.read().incident.take_over
            return asked is not None and bool(asked.refused)

        await until(pilot, refused)
        watcher.leave()


async def test_before_what_can_hurt_who_watches_is_asked_for_go(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead(desk, "swap")
    bob = other_desk(desk, tmp_path)
    app = recover_app(bob)
    async with app.run_test(size=(80, 24)) as pilot:
        await watching(pilot, "swap")
        await until_text(pilot, "G says go, if you agree.")
        await press(pilot, "G")
        await until(pilot, lambda: session.read().incident.go.get("swap") == "bob")
        await until_text(pilot, "bob says go.")
        await press(pilot, "enter", *"shop", "enter")
    assert "swap" not in jobs_of(bob).operations()
    session.leave()


def test_what_changes_while_a_view_is_made_shows_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(tmp_path)
    session = lead(desk, "restore")
    watching = attach(other_desk(desk, tmp_path), session.journal)
    seat = Seat(watching.desk, watching)
    watching.ask_take_over()
    made = seat._made

    def leader_goes(reading: Reading, step: str | None) -> View:
        view = made(reading, step)
        session.leave()
        return view

    monkeypatch.setattr(seat, "_made", leader_goes)
    assert not seat.view(None).may_take
    monkeypatch.undo()
    assert seat.view(None).may_take
    watching.leave()
