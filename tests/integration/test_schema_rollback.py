"""A schema swap within an incident: counted, rolled back exactly, kept, swapped in once more."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.supervisor import start_job
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import NOW
from tests.support.dying_worker import GO_ON, MET, Moment
from tests.support.killing import Starter, kill_server
from tests.support.schemas import Shop, make_shop
from tests.support.servers import FreshServer, execute, query
from tests.support.waiting import wait_until
from tests.support.walking import declare_at, do, look, undo, walk

_SEQUENCES = ('"public"."numbers"', '"public"."users_id_seq"', '"public"."orders_id_seq"')
_numbers = itertools.count(1)
# What is asked of live while somebody is killed: rows and sequences, and every definition.
State = tuple[dict[str, object], str]


@contextmanager
def shop_on(server: ScratchServer, directory: Path) -> Iterator[Shop]:
    # A name with "test" in it would say that it is no production.
    name = f"emporium_{os.getpid()}_{next(_numbers)}"
    execute(server.url(), f"CREATE DATABASE {name} TEMPLATE template0")
    # As on a managed host: the one database that can be connected to, which can't be renamed.
    source = {"admin": {"maintenance_database": name}}
    made = make_shop(server, name, directory, source=source, restored=False)
    yield made
    for other in (*beside(made), name):
        execute(server.url(), f'DROP DATABASE "{other}" WITH (FORCE)')


@pytest.fixture
def shop(server: ScratchServer, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(server, tmp_path) as made:
        yield made


def beside(shop: Shop) -> list[str]:
    """The databases that were made beside live."""
    rows = query(shop.server.url(), "SELECT datname::text FROM pg_database")
    return [str(name) for (name,) in rows if str(name).startswith(f"{shop.name}__")]


def state(shop: Shop) -> State:
    return shop.content(), shop.definitions()


def lasting(shop: Shop) -> State:
    """The state without sequences: a crash of the server lets each jump ahead by itself."""
    content, definitions = state(shop)
    rows = {name: value for name, value in content.items() if name not in _SEQUENCES}
    return rows, definitions


def lead_to_the_swap(shop: Shop) -> RecoverySession:
    session = declare_at(shop.site, "rows", runbook="data-loss")
    reason = "databases are not ours to rename"
    answers: dict[str, Answer | str] = {
        "choose-point": Answer(shop.site.points()[0]["id"], reason),
        "choose-way": Answer("schema swap", reason),
    }
    walk(session, answers, until="swap")
    return session


def damage(shop: Shop) -> None:
    execute(
        shop.url,
        "DELETE FROM public.users WHERE id > 20",
        "INSERT INTO public.users (name) VALUES ('late')",
    )


def count_written(session: RecoverySession) -> dict[str, tuple[int | None, ...]]:
    session.count_written()

    def counted() -> bool:
        session.poll()
        return not session.count.is_under_way

    wait_until(counted, timeout=60)
    assert session.count.problem is None, session.count.problem
    written = session.read().facts.written
    assert written is not None
    return {each.table: (each.inserted, each.updated, each.deleted) for each in written.tables}


def test_there_and_back_exactly_and_what_was_written_is_counted_and_kept(shop: Shop) -> None:
    whole = state(shop)
    damage(shop)
    damaged = state(shop)
    session = lead_to_the_swap(shop)
    assert state(shop) == damaged
    do(session, "swap")
    assert shop.content()['"public"."users"'] == whole[0]['"public"."users"']
    execute(
        shop.url,
        "INSERT INTO public.users (name) SELECT 'new' FROM generate_series(1, 12)",
        "UPDATE public.orders SET state = 'new' WHERE id <= 5",
        "DELETE FROM public.orders WHERE id > 597",
        "CREATE TABLE public.born (id int)",
        "INSERT INTO public.born VALUES (1), (2)",
    )
    newer = state(shop)
    written = count_written(session)
    assert written == {
        "public.born": (2, 0, 0),
        "public.orders": (0, 5, 3),
        "public.users": (12, 0, 0),
    }
    look(session)
    assert session.card("swap").undo_typed == shop.name

    undo(session, "swap")
    assert state(shop) == damaged
    kept = session.read().facts.document("rolled_back")["schemas"]
    names = {each["schema"]: each["kept_as"] for each in kept}
    assert shop.ask(f'SELECT count(*) FROM "{names["public"]}".users') == 212
    # And once more: what was kept, with all that was written to it.
    do(session, "swap")
    assert state(shop) == newer
    assert count_written(session) == {}
    text = (session.journal.directory / NOW).read_text()
    assert "SWAPPED   schemas: crm, public, reports" in text


@dataclass(frozen=True)
class Strike:
    """Who dies when, in which direction; ``done``: it had happened by then."""

    back: bool
    victim: Literal["worker", "server"]
    moment: Moment
    done: bool


_RENAME = "ALTER SCHEMA .* RENAME TO"
STRIKES = (
    Strike(False, "worker", Moment("after", _RENAME, 2), done=False),
    Strike(True, "worker", Moment("before", "COMMIT", past=_RENAME), done=False),
    Strike(False, "server", Moment("before", "COMMIT", holds=True, past=_RENAME), done=False),
    Strike(True, "server", Moment("after", "stage settle$", holds=True), done=True),
    Strike(False, "worker", Moment("after", "COMMIT", past=_RENAME), done=True),
    Strike(True, "server", Moment("after", _RENAME, holds=True), done=False),
)


def test_whoever_is_killed_within_it_it_is_wholly_the_old_or_wholly_the_new(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    server = fresh_server(settings={"synchronous_commit": "on"})
    with shop_on(server, tmp_path) as shop:
        damage(shop)
        old = lasting(shop)
        session = lead_to_the_swap(shop)
        new: State | None = None
        for strike in STRIKES:
            session = kill(shop, session, strike)
            before, after = (new, old) if strike.back else (old, new)
            assert lasting(shop) == (after if strike.done and after is not None else before), strike
            finish(session, strike)
            after = after or lasting(shop)
            new = new or after
            assert lasting(shop) == after, strike
        assert old != new
        session.close("practised")


def kill(shop: Shop, session: RecoverySession, strike: Strike) -> RecoverySession:
    """Kill the worker, or the server, within the swap or its undoing; its leader is gone, too."""
    starter = Starter()
    session.desk = replace(session.desk, start=starter)
    look(session)
    starter.moment = strike.moment
    if strike.back:
        session.undo("swap", Answer(typed=shop.name))
    else:
        session.begin("swap", Answer(typed=shop.name))
    directory = starter.job
    assert directory is not None
    wait_until(lambda: (directory / MET).exists(), timeout=60, what=str(strike))
    if strike.victim == "server":
        kill_server(shop.server)
        shop.server.start()
        (directory / GO_ON).touch()
    wait_until(lambda: not load_job(directory).running, timeout=60)
    session.leave()
    return attach(replace(session.desk, start=start_job), session.journal)


def finish(session: RecoverySession, strike: Strike) -> None:
    """Settle what is not known, then do it, or take it back, if it is not done."""

    def known() -> bool:
        session.poll()
        status = session.read().incident.steps["swap"].status
        if session.watch is None and status == "unknown":
            session.settle("swap")
        return status != "unknown" and not session.look.is_under_way

    wait_until(known, timeout=60)
    status = session.read().incident.steps["swap"].status
    if strike.back and status == "done":
        undo(session, "swap")
    elif not strike.back and status != "done":
        do(session, "swap")
