"""NOW.txt by hand at every step, and after program and worker were killed in mid-work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.repository.incidents import NOW
from tests.support.by_hand import by_hand
from tests.support.dying_worker import Moment
from tests.support.killing import Emergency, Point, production, shut, unfinished
from tests.support.servers import execute, query
from tests.support.shop import open_shop
from tests.support.waiting import wait_until
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


def sit_down_again(emergency: Emergency) -> None:
    emergency._leader_dies()


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


@pytest.mark.parametrize("way", WAYS)
def test_at_every_step_it_tells_what_is_shut_and_opens_it(
    way: Way, server: ScratchServer, tmp_path: Path
) -> None:
    opened: list[str] = []
    with emergency_of(way, server, tmp_path) as emergency:
        while (current := emergency.session.read().flow.current()) is not None:
            step, frozen = current.step.id, emergency.incident.freezes
            text = found(emergency)
            assert ("FROZEN    nothing" in text) is not bool(frozen)
            assert production(emergency.shop) in (emergency.old, emergency.new)
            if any(freeze.grade == "role" for freeze in frozen):
                before = production(emergency.shop)
                open_by_hand(emergency, text)
                assert production(emergency.shop) == before
                opened.append(step)
            sit_down_again(emergency)
            emergency._do(step)
        text = found(emergency)
        assert production(emergency.shop) == emergency.new
        assert "FROZEN    nothing" in text
        assert not shut(emergency.shop)
        wanted = {
            "stop-app",
            "damage",
            "restore",
            "check-copy",
            "merge" if way == "merge" else "swap",
        }
        assert wanted <= set(opened)
        if way == "merge":
            by_hand(text, "To take the rows out again by hand")
        else:
            by_hand(text, "To go back by hand")
        assert production(emergency.shop) == emergency.old


def die(emergency: Emergency, step: str, moment: Moment, *, undoing: bool = False) -> str:
    """Kill worker and program within a step; return the text that is left."""
    point = Point(step, "worker", moment, undoing=undoing)
    emergency._make_ready(point)
    emergency.starter.moment = moment
    emergency._begin(point, emergency._answer(point))
    directory = emergency.starter.job
    assert directory is not None
    wait_until(lambda: not load_job(directory).running, timeout=120)
    assert (directory / "met").exists(), f"{step}: {moment} did not come"
    text = found(emergency)
    assert "BEGUN, AND NOBODY WROTE HOW IT ENDED." in text
    return text


def go_on(emergency: Emergency, step: str) -> None:
    """Lead on: what was done by hand is found, and the step comes to its end."""
    sit_down_again(emergency)
    emergency._settle(step)
    emergency.check_settled()


def test_killed_inside_freeze_thaw_and_restore(server: ScratchServer, tmp_path: Path) -> None:
    with emergency_of("swap", server, tmp_path) as emergency:
        shop = emergency.shop
        for moment in (
            Moment("after", "REVOKE CONNECT"),
            Moment("after", "COMMIT", past="REVOKE CONNECT"),
        ):
            text = die(emergency, "freeze", moment)
            by_hand(text, "FROZEN")
            assert not shut(shop)
            assert may_write(emergency)
            go_on(emergency, "freeze")
        for moment in (Moment("after", "GRANT CONNECT"), Moment("before", "journal")):
            text = die(emergency, "freeze", moment, undoing=True)
            by_hand(text, "FROZEN")
            assert not shut(shop)
            go_on(emergency, "freeze")
        for moment in (
            Moment("after", "CREATE DATABASE"),
            Moment("after", "told table-done"),
            Moment("before", "COMMIT", past="stage finish$"),
        ):
            text = die(emergency, "restore", moment)
            assert unfinished(shop)
            by_hand(text, "To drop what it left unfinished")
            assert not unfinished(shop)
            assert production(shop) == emergency.old
            go_on(emergency, "restore")
        emergency.finish()


def test_killed_inside_merge_and_its_undoing(server: ScratchServer, tmp_path: Path) -> None:
    with emergency_of("merge", server, tmp_path) as emergency:
        shop = emergency.shop
        for undoing in (False, True):
            for moment in (
                Moment("before", "COMMIT", past="SET CONSTRAINTS"),
                Moment("after", "COMMIT", past="SET CONSTRAINTS"),
            ):
                text = die(emergency, "merge", moment, undoing=undoing)
                merged = (moment.when == "after") is not undoing
                assert production(shop) == (emergency.new if merged else emergency.old)
                shown = by_hand(text, "It is one transaction")
                assert ("(1 row)" in shown) is merged
                if merged and not undoing:
                    by_hand(text, "To take the rows out again by hand")
                    assert production(shop) == emergency.old
                    assert "(0 rows)" in by_hand(text, "It is one transaction")
                go_on(emergency, "merge")
        emergency.finish()
