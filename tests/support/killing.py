"""A recovery in which somebody is killed: the worker, the leading session, the server, or all."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg

from fsbackup_tui.domain.incident import Entry, Incident
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.launch import await_first_line, launch_worker
from fsbackup_tui.jobs.leftovers import reap_lost
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import JOURNAL, NOW, Author, IncidentJournal
from tests.support.dying_worker import GO_ON, MET, MODULE, Moment
from tests.support.servers import query
from tests.support.shop import Shop
from tests.support.starting import Asked, Starts
from tests.support.waiting import wait_until
from tests.support.walking import desk_of, do, look, undo, walk

_T = TypeVar("_T")
Victim = Literal["worker", "server", "restart", "both", "session", "all"]
"""``restart``: the server is back before the worker says another word; ``both`` and ``all``: the
worker with it, and the session with them."""

_SECONDS = 120.0
_PRODUCTION = ("swap", "merge")


class Died(BaseException):
    """The leading process is dead: nothing of it may catch this."""


@dataclass(frozen=True)
class Point:
    """Who dies when in which step; ``moment`` is the worker's, ``word`` the leader's.

    ``word`` is an entry of the incident's journal: ``before intent``, ``torn done``, ``after
    started``. With both, the worker lives on until it has ended.
    """

    step: str
    victim: Victim
    moment: Moment | None = None
    word: str = ""
    undoing: bool = False

    def __str__(self) -> str:
        where = self.word
        if self.moment is not None:
            nth = f" ({self.moment.nth})" if self.moment.nth > 1 else ""
            past = f" past {self.moment.past}" if self.moment.past else ""
            where = f"{self.moment.when} {self.moment.pattern}{nth}{past}"
        back = "undo " if self.undoing else ""
        return f"{back}{self.step}, {self.victim}: {where}"


class Starter(Starts):
    """Starts jobs as the desk does; the next one with a moment to die at, once that was said."""

    def __init__(self) -> None:
        self.moment: Moment | None = None
        self.job: Path | None = None

    def begin(self, asked: Asked) -> Job:
        """Start it as the desk does, or one that dies at its moment."""
        moment, self.moment = self.moment, None
        if moment is None:
            return asked.start()
        reap_lost(asked.state)
        directory, whole = asked.make_directory()
        moment.write(directory)
        self.job = directory
        process = launch_worker(directory, asked.environ, module=MODULE)
        # One that dies before its first word, say, is waited for in vain: it has ended then.
        await_first_line(process, directory, whole)
        return load_job(directory)


@dataclass
class Emergency:
    """A recovery that is led, killed, and led on; ``old`` and ``new`` are production's rows."""

    shop: Shop
    session: RecoverySession
    old: Mapping[str, tuple[str, ...]]
    new: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, Answer | str]
    starter: Starter = field(default_factory=Starter)

    def __post_init__(self) -> None:
        self._take(self.session)

    def _take(self, session: RecoverySession) -> None:
        self.session = session
        session.desk = dataclasses.replace(session.desk, start=self.starter)

    @property
    def server(self) -> ScratchServer:
        return self.shop.server

    @property
    def incident(self) -> Incident:
        return self.session.read().incident

    def status(self, step: str) -> str:
        return self.incident.step(step, self.session.desk.now()).status

    def strike(self, point: Point) -> bool:
        """Kill at a point, sit down again, and check; False where the point did not come."""
        # What a crash emptied before is first noticed by the step: then it leads back, once.
        return self._strike(point) or (point.moment is not None and self._strike(point))

    def _strike(self, point: Point) -> bool:
        self._make_ready(point)
        answer = self._answer(point)
        self.starter.job, self.starter.moment = None, point.moment
        if point.word:
            self._kill_leader(point, answer)
            came = True
        else:
            self._begin(point, answer)
            came = self._wait_for_moment()
            if came:
                self._kill(point.victim)
        self.check_between()
        self._settle(point.step)
        self.check_settled()
        return came

    def _make_ready(self, point: Point) -> None:
        """Bring it to where the step can be begun, or taken back."""
        step, done = point.step, self.status(point.step) == "done"
        if point.undoing and not done:
            self.walk_to(step)
            self._do(step)
        elif not point.undoing and done and self.session.card(step).can_undo:
            undo(self.session, step)
        elif not point.undoing and done:
            self.session.again(step)
        if not point.undoing:
            self.walk_to(step)
        look(self.session)

    def walk_to(self, step: str) -> None:
        """Do all that comes before a step."""
        self._walk(until=step)

    def _walk(self, until: str = "") -> None:
        try:
            walk(self.session, self.answers, until=until)
        except AssertionError:
            if self.status("diff") != "open":
                raise
            # What it compared was lost with the server: the incident leads back there by itself.
            walk(self.session, self.answers, until=until)

    def _given(self, step: str) -> Answer:
        given = self.answers.get(step, Answer())
        return Answer(given) if isinstance(given, str) else given

    def _do(self, step: str) -> None:
        try:
            do(self.session, step, self._given(step))
        except AssertionError:
            if self.status("diff") != "open":
                raise
            self._walk(until=step)
            do(self.session, step, self._given(step))

    def _answer(self, point: Point) -> Answer:
        card, given = self.session.card(point.step), self._given(point.step)
        typed = card.undo_typed if point.undoing else card.typed
        return Answer(given.value, given.reason, typed)

    def _begin(self, point: Point, answer: Answer) -> None:
        if point.undoing:
            self.session.undo(point.step, answer)
        else:
            self.session.begin(point.step, answer)

    def _wait_for_moment(self) -> bool:
        directory = self.starter.job
        assert directory is not None, "no job was begun"

        def came() -> bool:
            return (directory / MET).exists() or not load_job(directory).running

        wait_until(came, timeout=_SECONDS)
        return (directory / MET).exists()

    def _kill(self, victim: Victim) -> None:
        directory = self.starter.job
        assert directory is not None
        if victim in ("both", "all"):
            pid = load_job(directory).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        if victim in ("server", "restart", "both", "all"):
            kill_server(self.server)
        if victim in ("restart", "both", "all"):
            self.server.start()
        if victim in ("session", "all"):
            self._leader_dies()
        (directory / GO_ON).touch()
        if victim != "session":
            wait_until(lambda: not load_job(directory).running, timeout=_SECONDS)
        if victim == "server":
            self.server.start()

    def _kill_leader(self, point: Point, answer: Answer) -> None:
        """Let the leading process die at its own word in the journal."""
        when, _, kind = point.word.partition(" ")
        dies_at(self.session.journal, when, kind)

        def poll() -> bool:
            self.session.poll()
            return False

        with suppress(Died):
            self._begin(point, answer)
            wait_until(poll, timeout=_SECONDS)
        self._leader_dies()

    def _leader_dies(self) -> None:
        """Leave nothing of the leading process but what is on disk."""
        directory = self.session.journal.directory
        drop_presence(directory)
        self._take(attach(desk_of(self.shop.site), IncidentJournal(directory)))
        assert self.session.leads

    def _settle(self, step: str) -> None:
        """Poll, as a face does, until it is known how the step ended."""

        def known() -> bool:
            self.session.poll()
            if self.session.watch is None and self.status(step) == "unknown":
                self.session.settle(step)
            if self.session.look.problem is not None:
                self.session.look_now()  # as a person does
            return self.status(step) != "unknown" and not self.session.look.is_under_way

        wait_until(known, timeout=_SECONDS, what=f"{step} is settled")

    def check_between(self) -> None:
        """Check what must hold at any moment, whoever was killed just now."""
        rows = production(self.shop)
        assert rows in (self.old, self.new), "production is neither the old nor the new"
        # A job may be going on: it writes down what it closes before, what it opens after.
        grades = {freeze.grade for freeze in self.incident.freezes}
        fences = shut(self.shop)
        grades |= {freeze.grade for freeze in self.incident.freezes}
        for what, sufficient in fences.items():
            assert grades & sufficient, f"unsaid: {what}; said is {sorted(grades)}"

    def check_settled(self) -> None:
        """Check that what the incident says is what the server has."""
        self.check_between()
        incident = self.incident
        text = (self.session.journal.directory / NOW).read_text()
        for freeze in incident.freezes:
            assert freeze.what in text, text
            assert all(line in text for line in freeze.undo), text
        if not incident.freezes:
            assert "FROZEN    nothing" in text, text
        done = any(self.status(step) == "done" for step in _PRODUCTION)
        rows = production(self.shop)
        assert rows == (self.new if done else self.old), f"the incident says: {done=}"
        if self.status("restore") == "done":
            assert not unfinished(self.shop), unfinished(self.shop)

    def finish(self) -> None:
        """Walk to the end, and check that all is as if nobody had been killed."""
        self._walk()
        assert production(self.shop) == self.new
        assert not self.incident.freezes
        assert not shut(self.shop)
        assert not unfinished(self.shop)
        assert self.shop.works_for_the_application()


def drop_presence(incident: Path) -> None:
    """Let go of what tells that this process is present, as its death would."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if entry.readlink().is_relative_to(incident / "present"):
                os.close(int(entry.name))


def dies_at(journal: IncidentJournal, when: str, kind: str) -> None:
    """Let whoever writes the next entry of a kind die before it, after it, or in mid-line."""
    append: Callable[..., Entry] = journal.append

    def dying(this: str, body: Mapping[str, object], author: Author, **more: Any) -> Entry:
        if this != kind or when == "after":
            entry = append(this, body, author, **more)
        if this != kind:
            return entry
        if when == "torn":
            with (journal.directory / JOURNAL).open("a") as file:
                file.write('{"seq": 99, "at": "2026-')
        raise Died

    journal.append = dying  # type: ignore[method-assign, assignment]


def kill_server(server: ScratchServer) -> None:
    """Kill the server and all its processes, as a power cut of the database's machine would."""
    pid = server.pid
    assert pid is not None
    # The postmaster first: it would take a dead child for a reason to start anew.
    for each in (pid, *_children(pid)):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    server.stop("immediate")


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def production(shop: Shop) -> Mapping[str, tuple[str, ...]]:
    """Return all rows of all tables that the live database has, in one snapshot."""
    return _of_live(shop, _all_rows)


def _all_rows(session: psycopg.Connection[tuple[Any, ...]]) -> Mapping[str, tuple[str, ...]]:
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    names = session.execute(
        "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1"
    ).fetchall()
    rows = 'SELECT t::text FROM {} AS t ORDER BY t::text COLLATE "C"'
    return {
        name: tuple(str(row) for (row,) in session.execute(rows.format(name).encode()))
        for (name,) in names
    }


def _of_live(shop: Shop, read: Callable[[psycopg.Connection[tuple[Any, ...]]], _T]) -> _T:
    """Return what is read from live; once more where it was swapped in that very moment."""
    try:
        with psycopg.connect(shop.url(), autocommit=True) as session:
            return read(session)
    except psycopg.OperationalError:
        with psycopg.connect(shop.url(), autocommit=True) as session:
            return read(session)


def shut(shop: Shop) -> Mapping[str, frozenset[str]]:
    """Return what of live is closed or off, each with the grades of freeze that explain it."""
    found: dict[str, frozenset[str]] = {}
    ((limit, is_open, may_connect),) = query(
        shop.server.url(),
        "SELECT datconnlimit, datallowconn, has_database_privilege("
        f"'{shop.role}', oid, 'CONNECT') FROM pg_database WHERE datname = '{shop.live}'",
    )
    if limit != -1 or not is_open:
        found[f"CONNECTION LIMIT {limit}, open {is_open}"] = frozenset({"everyone"})
    if not may_connect:
        found[f"{shop.role} can't connect"] = frozenset({"role", "everyone"})
    statement = (
        "SELECT c.relname::text, coalesce(c.reloptions::text, ''),"
        f" has_table_privilege('{shop.role}', c.oid, 'INSERT') FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind = 'r'"
    )
    tables = _of_live(shop, lambda session: session.execute(statement.encode()).fetchall())
    for name, options, may_write in tables:
        if options:
            found[f"{name} has {options}"] = frozenset({"vacuum"})
        if not may_write:
            found[f"{shop.role} can't write to {name}"] = frozenset({"table"})
    return found


def unfinished(shop: Shop) -> list[str]:
    """Return the databases that a restore began and did not finish."""
    rows = query(
        shop.server.url(),
        "SELECT datname::text FROM pg_database WHERE datname LIKE 'fsbackup-%'"
        " OR shobj_description(oid, 'pg_database') LIKE 'fsbackup: unfinished%'",
    )
    return [str(name) for (name,) in rows]
