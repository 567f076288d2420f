"""A schema swap within an incident: counted, rolled back exactly, kept, swapped in once more."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import NOW
from tests.support.dying_worker import Moment
from tests.support.killing import Starter
from tests.support.schemas import Shop, make_shop
from tests.support.servers import MakeDatabase, execute, query
from tests.support.waiting import wait_until
from tests.support.walking import declare_at, do, look, undo, walk

_numbers = itertools.count(1)
# What is asked of live while somebody is killed: rows and sequences, and every definition.
State = tuple[dict[str, object], str]


@pytest.fixture
def shop(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Iterator[Shop]:
    # A name with "test" in it would say that it is no production.
    name = f"emporium_{os.getpid()}_{next(_numbers)}"
    make_database(server, name)
    # As on a managed host: the one database that can be connected to, which can't be renamed.
    source = {"admin": {"maintenance_database": name}}
    made = make_shop(server, name, tmp_path, source=source, restored=False)
    yield made
    for other in beside(made):
        execute(server.url(), f'DROP DATABASE "{other}" WITH (FORCE)')


def beside(shop: Shop) -> list[str]:
    """The databases that were made beside live."""
    rows = query(shop.server.url(), "SELECT datname::text FROM pg_database")
    return [str(name) for (name,) in rows if str(name).startswith(f"{shop.name}__")]


def state(shop: Shop) -> State:
    return shop.content(), shop.definitions()


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


PLACES = {
    "before its first rename": (Moment("before", "ALTER SCHEMA .* RENAME TO"), "old"),
    "between its renames": (Moment("after", "ALTER SCHEMA .* RENAME TO", 2), "old"),
    "when only the commit is left": (Moment("before", "COMMIT", 2), "old"),
    "right after its commit": (Moment("after", "COMMIT", 2), "new"),
    "when it settles": (Moment("after", "stage settle$"), "new"),
}


def test_whoever_is_killed_within_it_it_is_wholly_the_old_or_wholly_the_new(shop: Shop) -> None:
    damage(shop)
    old = state(shop)
    session = lead_to_the_swap(shop)
    do(session, "swap")
    new = state(shop)
    for back in (True, False):
        states = {"old": new, "new": old} if back else {"old": old, "new": new}
        for number, (place, (moment, wanted)) in enumerate(PLACES.items()):
            session = strike(shop, session, moment, back=back, leader=bool(number % 2))
            assert state(shop) == states[wanted], (place, back)
            # Gone on with, it comes to its end all the same; then as it was, for the next.
            finish(session, back=back)
            assert state(shop) == states["new"], (place, back)
            if place != list(PLACES)[-1]:
                finish(session, back=not back)
                assert state(shop) == states["old"]
    session.close("practised")


def strike(
    shop: Shop, session: RecoverySession, moment: Moment, *, back: bool, leader: bool
) -> RecoverySession:
    """Kill the worker at a moment of the swap or its undoing, and its leader, too, if asked."""
    starter = Starter()
    object.__setattr__(session.desk, "start", starter)
    look(session)
    typed = shop.name
    starter.moment = moment
    if back:
        session.undo("swap", Answer(typed=typed))
    else:
        session.begin("swap", Answer(typed=typed))
    directory = starter.job
    assert directory is not None
    wait_until(lambda: (directory / "met").exists(), timeout=60, what=str(moment))
    if leader:
        session.leave()
        session = attach(session.desk, session.journal)
    return session


def finish(session: RecoverySession, *, back: bool) -> None:
    """Settle what is not known, then do it, or take it back, if it is not done."""

    def known() -> bool:
        session.poll()
        status = session.read().incident.steps["swap"].status
        if session.watch is None and status == "unknown":
            session.settle("swap")
        return status != "unknown" and not session.look.is_under_way

    wait_until(known, timeout=60)
    status = session.read().incident.steps["swap"].status
    if back and status == "done":
        undo(session, "swap")
    elif not back and status != "done":
        do(session, "swap")
