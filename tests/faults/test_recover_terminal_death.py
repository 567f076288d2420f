"""The screen of a recovery is killed in mid-step: a new one stands at the same step and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.recovery.declare import attach
from tests.support.faults import jobs_of
from tests.support.shop import Shop, open_shop
from tests.support.waiting import wait_until
from tests.support.walking import declare_at, walk
from tests.support.walkthrough import Walkthrough
from tests.tui.terminal import Terminal


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_shop(tmp_path, server) as made:
        yield made


@contextmanager
def screen(shop: Shop) -> Iterator[Walkthrough]:
    """Open fsbackup as a user does; what is left of it at the end is killed."""
    environ = {**shop.site.environ(), "TERM": "xterm"}
    with closing(Terminal(environ, command=shop.site.command())) as terminal:
        yield Walkthrough(terminal)


def kill(shown: Walkthrough) -> None:
    shown.terminal.signal(signal.SIGKILL)
    assert shown.terminal.wait() == -signal.SIGKILL


def stands_at(shown: Walkthrough, number: str) -> str:
    return shown.settle(lambda: shown.step.startswith(number))


def held(shop: Shop, operation: str, begin: Callable[[], None]) -> Job:
    """Begin a job, and stop its worker as soon as it is there; returns it."""
    found: list[Job] = []

    def stopped() -> bool:
        for job in jobs_of(shop.site):
            if job.operation == operation and job.running and job.pid is not None:
                os.kill(job.pid, signal.SIGSTOP)
                found.append(job)
        return bool(found)

    begin()
    wait_until(stopped, what=f"a {operation} runs")
    return found[0]


def go_on(job: Job) -> None:
    assert job.pid is not None
    assert load_job(job.directory).running
    os.kill(job.pid, signal.SIGCONT)


def test_killed_in_the_restore_at_the_typed_name_and_in_the_swap(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("DROP TABLE likes, videos")
    session = declare_at(shop.site, "unknown")
    walk(session, {"freeze": "role", "choose-way": "swap"}, until="restore")
    session.leave()

    with screen(shop) as shown:
        stands_at(shown, "4.1")
        restore = held(shop, "restore", lambda: shown.press("Enter"))
        kill(shown)
    with screen(shop) as shown:
        shown.terminal.until_text("under way")
        text = shown.terminal.text()
        assert "4.1 Restore beside" in text
        assert "WRITES FROZEN" in text.splitlines()[0]
        assert "FROZEN" in text.splitlines()[2]
        go_on(restore)
        stands_at(shown, "4.2")
        shown.press("Enter")
        stands_at(shown, "4.5")
        shown.press("Enter")
        shown.terminal.until_text(f"Type {shop.live} to run")
        shown.terminal.type(shop.live)
        shown.terminal.until_text(f" > {shop.live}")
        kill(shown)

    with screen(shop) as shown:
        text = stands_at(shown, "4.5")
        assert f"Type {shop.live}" not in text
        assert f" > {shop.live}" not in text
        shown.press("Enter")
        shown.settle(f"Type {shop.live} to run")
        shown.terminal.type(shop.live)
        shown.settle(f" > {shop.live}")
        swap = held(shop, "swap", lambda: shown.press("Enter"))
        kill(shown)
    with screen(shop) as shown:
        shown.terminal.until_text("under way")
        assert "4.5 Swap it in" in shown.terminal.text()
        go_on(swap)
        text = stands_at(shown, "4.6")
        assert "WRITES FROZEN" in text.splitlines()[0]
        shown.press("q")
        assert shown.terminal.wait() == 0
        assert "WRITES STAY FROZEN" in shown.terminal.text()

    session = attach(session.desk, session.journal)
    assert session.leads
    walk(session, until="fresh-backup")
    incident = session.read().incident
    assert incident.freezes == ()
    assert {step: state.job for step, state in incident.steps.items()}["restore"] == restore.id
    assert incident.steps["swap"].job == swap.id
    assert [job.operation for job in jobs_of(shop.site)].count("restore") == 1
    assert [job.operation for job in jobs_of(shop.site)].count("swap") == 1
    assert shop.content() == before
    assert shop.works_for_the_application()
    session.close("recovered")
