"""kill -9 of the worker, or of the server, at statements of a plan, a merge and its undo.

Live is always wholly as before or wholly as after; what was begun can be done by beginning anew.
The points are drawn by a seed; FSBACKUP_KILL_POINTS draws more of them.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from fsbackup_tui.domain.merge import TableChoice
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.merge_documents import read_merged
from fsbackup_tui.operations.merge_requests import MergeUndoRequest
from fsbackup_tui.operations.request import Request
from tests.support.killing_worker import KILL, STATEMENTS
from tests.support.merge_jobs import Planned, Recovery, changed, make_recovery
from tests.support.merging import contents, public
from tests.support.servers import Databases, FreshServers
from tests.support.waiting import wait_until

SEED = 20261122
POINTS = int(os.environ.get("FSBACKUP_KILL_POINTS", "10"))
MODULE = "tests.support.killing_worker"
TABLES = ("users", "videos", "notes", "log")
SETUP = (
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,"
    " plan text NOT NULL DEFAULT 'free')",
    "CREATE TABLE videos (id serial PRIMARY KEY, user_id bigint REFERENCES users"
    " ON DELETE CASCADE, title text)",
    "CREATE TABLE notes (id int PRIMARY KEY, user_id bigint)",
    "CREATE TABLE log (what text)",
    "INSERT INTO users (name) SELECT 'u' || n FROM generate_series(1, 300) AS n",
    "INSERT INTO videos (user_id, title) SELECT 1 + n % 300, 'v' FROM generate_series(1, 900) n",
    "INSERT INTO notes SELECT n, n FROM generate_series(1, 300) AS n",
    "INSERT INTO log SELECT 'l' FROM generate_series(1, 30) AS n",
    "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'fired'; END$$",
    "CREATE TRIGGER never BEFORE INSERT ON videos FOR EACH ROW EXECUTE FUNCTION never()",
)
DAMAGE = (
    "DELETE FROM users WHERE id BETWEEN 50 AND 90",
    "UPDATE users SET name = 'bad' WHERE id > 250",
    "ALTER TABLE users DROP COLUMN plan",
    "INSERT INTO users (name) SELECT 'new' FROM generate_series(1, 20)",
    "DROP TABLE notes",
    "DELETE FROM log WHERE ctid IN (SELECT ctid FROM log LIMIT 7)",
)
SHAPE = (
    "SELECT c.relname, a.attname, a.attnotnull, t.tgname, t.tgenabled FROM pg_class AS c"
    " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 2, 4"
)


@dataclass
class Killing:
    """A damaged database, and what it holds before and after its merge."""

    server: ScratchServer
    recovery: Recovery
    before: object
    after: object = None
    statements: int = 0

    def state(self) -> object:
        """All that the application can see."""
        recovery = self.recovery
        shape = recovery.rows(SHAPE)
        tables = sorted({str(row[0]) for row in shape})
        return shape, {table: contents(recovery.live_url, table) for table in tables}

    def choices(self, found: Planned) -> tuple[TableChoice, ...]:
        chosen = changed(
            found.choices,
            public("users"),
            overwrite=("name",),
            columns=("plan",),
            values={"plan": "paid"},
        )
        chosen = changed(chosen, public("notes"), recreate=True)
        return changed(chosen, public("log"), missing=True)

    def run_killed(self, request: Request, order: str) -> int:
        """Run a job that kills; return how many statements it came to, or 0 if it died."""
        directory, process = self.recovery.start(request, module=MODULE, environ={KILL: order})
        process.wait(timeout=120)
        if self.server.pid is None:
            self.server.start()
        wait_until(self._no_sessions, what="the job's sessions have ended")
        told = directory / STATEMENTS
        return int(told.read_text()) if told.exists() else 0

    def _no_sessions(self) -> bool:
        try:
            rows = self.recovery.rows(
                "SELECT FROM pg_stat_activity WHERE application_name LIKE 'fsbackup/%'"
            )
        except psycopg.OperationalError:
            return False  # the server is coming up
        return not rows


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killing]:
    servers = FreshServers(lambda: tmp_path_factory.mktemp("killed"))
    databases = Databases()
    # A server that forgets the last commits when it is crashed would be another test.
    server = servers.start(18, settings={"synchronous_commit": "on"})
    recovery = make_recovery(server, databases.make, tmp_path_factory.mktemp("site"), *SETUP)
    recovery.damage(*DAMAGE)
    found = Killing(server, recovery, None)
    found.before = found.state()
    yield found
    servers.remove()


def clear(recovery: Recovery) -> None:
    """Drop all staging: each point begins as the first did."""
    for (name,) in recovery.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^fsbackup_'"):
        recovery.damage(f'DROP SCHEMA "{name}" CASCADE')


def stagings(recovery: Recovery) -> list[str]:
    rows = recovery.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^fsbackup_' ORDER BY 1")
    return [str(name) for (name,) in rows]


def points(statements: int, count: int, salt: int) -> list[tuple[int, str]]:
    """Return so many points, the last statement among them: beside it lies the commit."""
    every = [(number, side) for number in range(1, statements + 1) for side in ("before", "after")]
    drawn = random.Random(SEED + salt).sample(every, min(count - 1, len(every)))
    return [*drawn, (statements, "after")]


def orders(killing: Killing, statements: int, count: int, salt: int) -> Iterator[str]:
    """Give the orders to kill: by turns the worker and the server, last of all the server."""
    drawn = points(statements, count, salt)
    for turn, (number, side) in enumerate(drawn, 1):
        if turn % 3 == 0 or turn == len(drawn):
            yield f"{number} {side} {killing.server.pid} {int(signal.SIGQUIT)}"
        else:
            yield f"{number} {side} 0 {int(signal.SIGKILL)}"


def test_a_plan_that_is_killed_changes_nothing_and_is_made_anew(killing: Killing) -> None:
    recovery = killing.recovery
    request = recovery.plan_request("users", "notes", "log")
    whole = killing.run_killed(request, "")
    assert whole > 20
    clear(recovery)
    for order in orders(killing, whole, max(3, POINTS // 3), 1):
        killing.run_killed(request, order)
        assert killing.state() == killing.before, order
        found = recovery.plan("users", "notes", "log")
        # What the dead plan staged is swept, unless it had come to its end: then it is listed.
        assert found.staging in stagings(recovery), order
        assert len(stagings(recovery)) <= 2, order
        assert killing.state() == killing.before, order
        clear(recovery)


def test_a_merge_that_is_killed_is_done_wholly_or_not_at_all(killing: Killing) -> None:
    recovery = killing.recovery
    found = recovery.plan("users", "notes", "log")
    request = recovery.merge_request(found.staging, killing.choices(found))
    whole = killing.run_killed(request, "")
    killing.after = killing.state()
    assert killing.after != killing.before
    check_after(killing)
    undo = MergeUndoRequest("db", staging=found.staging, set_number=1)
    recovery.result(undo)
    assert killing.state() == killing.before
    clear(recovery)
    seen = set()
    for order in orders(killing, whole, max(4, POINTS - 2 * (POINTS // 3)), 2):
        found = recovery.plan("users", "notes", "log")
        request = recovery.merge_request(found.staging, killing.choices(found))
        killing.run_killed(request, order)
        state = killing.state()
        assert state in (killing.before, killing.after), order
        seen.add(state == killing.after)
        merge_anew(killing, request, done=state == killing.after)
        clear_and_damage(killing)
    assert seen == {True, False}


def check_after(killing: Killing) -> None:
    """The copy's rows, the rows born since, and nothing else."""
    recovery = killing.recovery
    some = "(SELECT id, name, plan FROM users WHERE id <= 300)"
    assert contents(recovery.live_url, some) == contents(recovery.copy_url, some)
    assert recovery.rows("SELECT DISTINCT name, plan FROM users WHERE id > 300") == [
        ("new", "paid")
    ]
    for table in ("videos", "notes", "log"):
        assert contents(recovery.live_url, table) == contents(recovery.copy_url, table)


def merge_anew(killing: Killing, request: Request, *, done: bool) -> None:
    """Do it again, as it was asked for, or from a plan made anew; it comes out the same."""
    recovery = killing.recovery
    ended = recovery.job(request)
    if ended.problem is not None:
        # A crash of the server empties what was staged; an undo it never does.
        assert not done
        assert ended.problem.what.startswith(("STAGED", "NOT STAGED", "NOT LOST")), ended.problem
        found = recovery.plan("users", "notes", "log")
        recovery.merge(found.staging, killing.choices(found))
    assert killing.state() == killing.after


def clear_and_damage(killing: Killing) -> None:
    """Undo what was done last, from its staging; live is as it was damaged."""
    recovery = killing.recovery
    (staging,) = stagings(recovery)
    undone = recovery.result(MergeUndoRequest("db", staging=staging, set_number=1))
    assert read_merged(undone["merged"]) is not None
    assert killing.state() == killing.before
    clear(recovery)


def test_an_undo_that_is_killed_is_done_wholly_or_not_at_all(killing: Killing) -> None:
    recovery = killing.recovery
    found = recovery.plan("users", "notes", "log")
    merging = recovery.merge_request(found.staging, killing.choices(found))
    recovery.result(merging)
    after = killing.state()
    undo = MergeUndoRequest("db", staging=found.staging, set_number=1)
    whole = killing.run_killed(undo, "")
    assert killing.state() == killing.before
    clear(recovery)
    for order in orders(killing, whole, max(3, POINTS // 3), 3):
        found = recovery.plan("users", "notes", "log")
        recovery.merge(found.staging, killing.choices(found))
        undo = MergeUndoRequest("db", staging=found.staging, set_number=1)
        killing.run_killed(undo, order)
        assert killing.state() in (killing.before, after), order
        assert recovery.job(undo).problem is None, order
        assert killing.state() == killing.before, order
        clear(recovery)
