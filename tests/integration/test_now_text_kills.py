"""NOW.txt by hand at every step, and after program and worker were killed in mid-work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.repository.incidents import NOW
from tests.support.by_hand import by_hand
from tests.support.dying_worker import MET, Moment
from tests.support.killing import Emergency, Point, production, shut, unfinished
from tests.support.servers import execute, query
from tests.support.shop import open_shop
from tests.support.waiting import wait_until
from tests.support.walking import undo
from tests.sweeps.kills import WAYS, Way, open_emergency

pytestmark = pytest.mark.timeout(600)


@contextmanager
def emergency_of(way: Way, server: ScratchServer, directory: Path) -> Iterator[Emergency]:
    with open_shop(directory, server) as shop, open_emergency(shop, way) as emergency:
        emergency.answers = {**emergency.answers, "freeze": "role"}
        yield emergency


def found(emergency: Emergency) -> str:
    """What whoever finds the incident's directory reads, the leading process being gone."""
    emergency.session.leave()
    text = (emergency.session.journal.directory / NOW).read_text()
    assert f"fsbackup recover --resume {emergency.session.journal.id}" in text
    return text


def may_write(emergency: Emergency) -> bool:
    """Whether the application's role writes; nothing of it is left."""
    with psycopg.connect(emergency.shop.url(user=emergency.shop.role)) as connection:
        connection.execute("INSERT INTO videos (user_id, title) SELECT id, 'x' FROM users LIMIT 1")
        connection.rollback()
    return True


def open_by_hand(emergency: Emergency, text: str) -> None:
    """Follow what the text says of what is shut, see it open, and shut it again."""
    live, server = emergency.shop.live, emergency.server
    where = f"WHERE datname = '{live}'"
    ((rights,),) = query(server.url(), f"SELECT datacl::text FROM pg_database {where}")
    was_shut = shut(emergency.shop)
    assert was_shut
    by_hand(text, "FROZEN")
    assert not shut(emergency.shop)
    assert may_write(emergency)
    # As it was, for the next step: the catalogue itself, as what the text undid is not known here.
    value = "NULL" if rights is None else f"'{rights}'"
    execute(server.url(), f"UPDATE pg_database SET datacl = {value}::aclitem[] {where}")
    if any("autovacuum" in what for what in was_shut):
        execute(server.url(live), "ALTER TABLE users SET (autovacuum_enabled = off)")


def die(emergency: Emergency, step: str, moment: Moment, *, undoing: bool = False) -> str:
    """Kill worker and program within a step; return the text that is left."""
    point = Point(step, "worker", moment, undoing=undoing)
    emergency._make_ready(point)
    emergency.starter.moment = moment
    emergency._begin(point, emergency._answer(point))
    directory = emergency.starter.job
    assert directory is not None
    wait_until(lambda: not load_job(directory).running, timeout=120)
    assert (directory / MET).exists(), f"{step}: {moment} did not come"
    text = found(emergency)
    assert "BEGUN, AND NOBODY WROTE HOW IT ENDED." in text
    return text


def go_on(emergency: Emergency, step: str) -> None:
    """Lead on: what was done by hand is found, and the step comes to its end."""
    emergency._leader_dies()
    emergency._settle(step)
    emergency.check_settled()


def killed_inside_freeze(emergency: Emergency) -> None:
    for moment, undoing in ((Moment("after", "REVOKE CONNECT"), False),
                            (Moment("after", "COMMIT", past="REVOKE CONNECT"), False),
                            (Moment("after", "GRANT CONNECT"), True)):  # fmt: skip
        text = die(emergency, "freeze", moment, undoing=undoing)
        by_hand(text, "FROZEN")
        assert not shut(emergency.shop)
        assert may_write(emergency)
        go_on(emergency, "freeze")
    if emergency.status("freeze") == "done":  # as nobody told it of what was done by hand
        undo(emergency.session, "freeze")


def killed_inside_restore(emergency: Emergency) -> None:
    for moment in (
        Moment("after", "CREATE DATABASE"),
        Moment("before", "COMMIT", past="stage finish$"),
    ):
        text = die(emergency, "restore", moment)
        assert unfinished(emergency.shop)
        by_hand(text, "To drop what it left unfinished")
        assert not unfinished(emergency.shop)
        assert production(emergency.shop) == emergency.old
        go_on(emergency, "restore")


def killed_inside_merge(emergency: Emergency) -> None:
    for when, undoing in (("before", False), ("after", False), ("after", True)):
        moment = Moment("after" if when == "after" else "before", "COMMIT", past="SET CONSTRAINTS")
        text = die(emergency, "merge", moment, undoing=undoing)
        merged = (when == "after") is not undoing
        assert production(emergency.shop) == (emergency.new if merged else emergency.old)
        assert ("(1 row)" in by_hand(text, "It is one transaction")) is merged
        if merged:
            by_hand(text, "To take the rows out again by hand")
            assert production(emergency.shop) == emergency.old
            assert "(0 rows)" in by_hand(text, "It is one transaction")
        go_on(emergency, "merge")


INSIDE: Mapping[tuple[Way, str], Callable[[Emergency], None]] = {
    ("swap", "freeze"): killed_inside_freeze,
    ("swap", "restore"): killed_inside_restore,
    ("merge", "merge"): killed_inside_merge,
}


@pytest.mark.parametrize("way", WAYS)
def test_at_every_step_and_killed_inside_it_opens_what_is_shut_and_undoes_what_is_half_done(
    way: Way, server: ScratchServer, tmp_path: Path
) -> None:
    opened: set[str] = set()
    with emergency_of(way, server, tmp_path) as emergency:
        while (current := emergency.session.read().flow.current()) is not None:
            step, frozen = current.step.id, emergency.incident.freezes
            text = found(emergency)
            assert ("FROZEN    nothing" in text) is not bool(frozen)
            before = production(emergency.shop)
            assert before in (emergency.old, emergency.new)
            if any(freeze.grade == "role" for freeze in frozen):
                open_by_hand(emergency, text)
                opened.add(step)
            assert production(emergency.shop) == before
            emergency._leader_dies()
            if (inside := INSIDE.get((way, step))) is not None:
                inside(emergency)
            if emergency.status(step) != "done":
                emergency._do(step)
        text = found(emergency)
        assert production(emergency.shop) == emergency.new
        assert "FROZEN    nothing" in text
        assert not shut(emergency.shop)
        assert {"stop-app", "damage", "restore", "check-copy", way} <= opened
        by_hand(text, "To take the rows out" if way == "merge" else "To go back by hand")
        assert production(emergency.shop) == emergency.old
