"""Recoveries for tests: a desk whose jobs end at once, with the answers that a test gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fsbackup_tui.domain.damage import Candidate, DamageReport, TableDamage
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import JobFinished, JobStarted, Outcome, StageStarted, Warned
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.domain.standing import Standing, StandingDatabase
from fsbackup_tui.jobs.feed import JobFeed, JournalTail
from fsbackup_tui.jobs.job import Job, load_job, state_document
from fsbackup_tui.jobs.journal import JournalWriter
from fsbackup_tui.jobs.layout import JOURNAL, STATE, replace_json
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import Author
from tests.support.jobs import make_site
from tests.support.starting import Asked, Starts

NOW = datetime(2026, 11, 22, 3, 5, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Berlin")
POINT = "20261122T010000Z-daily-k3f9"
LATER = "20261122T025000Z-daily-m4x2"
LIVE_OID, COPY_OID = 16384, 24576
DESTRUCTIVE = frozenset({"swap", "merge", "merge-undo", "drop-leftover", "schema-swap", "in-place"})

Reply = Mapping[str, Any] | Problem | Callable[[Request], Mapping[str, Any] | Problem]


def to_the_swap(freeze: str = "role") -> tuple[tuple[str, Answer | None], ...]:
    """Return what a data loss is led by until the swap: each step, and what is answered to it."""
    return (
        ("keep-evidence", Answer("videos")),
        ("pause-jobs", None),
        ("freeze", Answer(freeze)),
        ("stop-app", None),
        ("tell-first", None),
        ("preserve", Answer("")),
        ("damage", None),
        ("choose-point", Answer("")),
        ("choose-way", Answer("swap")),
        ("tell-eta", None),
        ("restore", None),
        ("check-copy", None),
    )


class Clock:
    """A clock that a test moves."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        """Return the moment, a little later each time: no two entries are of the same one."""
        self.moment += timedelta(milliseconds=1)
        return self.moment


@dataclass
class ScriptedJobs(Starts):
    """Starts jobs that have ended when they begin; ``requests`` are all that were asked for.

    ``replies`` has for an operation its result, its problem, or what makes them of the request;
    ``stages`` those that it comes to, ``warnings`` what it warns of.
    """

    clock: Clock
    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    refuse: frozenset[str] = frozenset()
    stages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def begin(self, asked: Asked) -> Job:
        """Make the job's directory as a worker would leave it."""
        request = asked.request
        assert request.operation not in self.refuse, f"{request.operation} was started"
        self.requests.append(request)
        directory, told = asked.make_directory()
        reply = self.replies.get(request.operation, {"ok": True})
        value = reply(request) if callable(reply) else reply
        failed = isinstance(value, Problem)
        outcome: Outcome = "failed" if failed else "ok"
        writer = JournalWriter(directory, Redactor(), now=self.clock)
        writer.write(
            JobStarted(
                operation=request.operation,
                site=asked.loaded.config.site,
                pid=1,
                start_time=0.0,
                version="test",
                stages=request.planned(),
            )
        )
        for stage in self.stages.get(request.operation, ()):
            writer.write(StageStarted(stage))
        for text in self.warnings.get(request.operation, ()):
            writer.write(Warned(text))
        writer.write(
            JobFinished(
                outcome,
                {} if isinstance(value, Problem) else dict(value),
                value if isinstance(value, Problem) else None,
            )
        )
        writer.close()
        feed = JobFeed()
        feed.feed_all(JournalTail(directory / JOURNAL).read_new())
        document = state_document(told, feed, now=self.clock())
        replace_json(directory / STATE, document, sync=False)
        return load_job(directory)

    def operations(self) -> list[str]:
        """Return what was asked for, in its order."""
        return [request.operation for request in self.requests]


def make_standing(clock: Clock, *, live_oid: int = LIVE_OID, **more: Any) -> dict[str, Any]:
    """Return what a look sees: live, and the databases in ``others`` as name -> OID."""
    others: Mapping[str, int] = more.pop("others", {})
    server = ServerIdentity(
        "db1", 5432, "postgres", 5, "admin", "7301112", False, "15.18", 150018, None
    )
    standing = Standing(
        at=clock(),
        server=server,
        live_name="shop",
        live=StandingDatabase("shop", live_oid, "live", True, 1_600_000_000) if live_oid else None,
        databases=tuple(
            StandingDatabase(name, oid, "restore", True, 1_500_000_000)
            for name, oid in others.items()
        ),
        **more,
    )
    return {"ok": True, **plain(standing)}


def make_report(clock: Clock) -> dict[str, Any]:
    """Return a damage report: videos lost most of its rows, users got some."""
    report = DamageReport(
        at=clock(),
        point=POINT,
        point_at=NOW - timedelta(hours=2),
        tables=(
            TableDamage("public", "videos", 5340, 40, deleted=5300, inserted=0),
            TableDamage("public", "users", 1000, 1031, inserted=31, deleted=0),
        ),
        live_bytes=1_600_000_000,
        point_bytes=1_500_000_000,
        born_and_gone=7,
        candidates=(
            Candidate(POINT, NOW - timedelta(hours=2), "proven", 125.0, 31, 5300, False),
            Candidate(
                LATER,
                NOW - timedelta(minutes=15),
                "sealed",
                15.0,
                0,
                0,
                True,
                doubt="taken after the damage",
            ),
        ),
    )
    return {"ok": True, **plain(report)}


def make_check(clock: Clock) -> dict[str, Any]:
    """Return the proof of a side database that is all right."""
    return {
        "ok": True,
        "copy": "shop__restore_20261122_01",
        "copy_oid": COPY_OID,
        "point": POINT,
        "verdict": "proven",
        "tables": 2,
        "rows": 6340,
        "role": "app",
        "differences": [],
        "deferred": [],
        "seconds": 1.5,
    }


def make_replies(clock: Clock) -> dict[str, Reply]:
    """Return answers to all that a data loss asks for."""
    swapped: dict[str, Any] = {}

    def look(_: Request) -> Mapping[str, Any]:
        if swapped:
            live = swapped["database_oid"]
            return make_standing(clock, live_oid=live, others={swapped["kept_as"]: LIVE_OID})
        return make_standing(clock)

    def restore(request: Request) -> Mapping[str, Any]:
        beside = getattr(request, "beside", "")
        return {
            "ok": True,
            "target": beside,
            "target_oid": COPY_OID,
            "seconds": 12.0,
            "entries": {"restored": 58, "benign": 0, "deferred": 0, "lost": 0},
        }

    def swap(request: Request) -> Mapping[str, Any]:
        swapped.update(
            database="shop",
            database_oid=getattr(request, "copy_oid", 0),
            kept_as=getattr(request, "kept_as", ""),
            kept_oid=getattr(request, "live_oid", 0),
            closed_seconds=0.12,
            counters="{}",
        )
        return {"ok": True, **swapped}

    return {
        "look": look,
        "damage": lambda _: make_report(clock),
        "restore": restore,
        "check-copy": lambda _: make_check(clock),
        "swap": swap,
        "freeze": {"ok": True, "measures": [], "still_writing": []},
        "thaw": {"ok": True, "thawed": [], "left": []},
        "migration": {"ok": True, "head": "", "applied": 0, "failed": [], "expected": ""},
        "backup": {"ok": True, "point": "20261122T033000Z-daily-w7q2"},
    }


def make_desk(
    directory: Path, *, operator: str = "ana", more: str = "", clock: Clock | None = None
) -> Desk:
    """Return the desk of a small site whose jobs are scripted."""
    clock = clock or Clock()
    loaded = make_site(directory, more=more)
    state = directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    jobs = ScriptedJobs(clock, make_replies(clock))
    author = Author(operator, "db1", clock)
    return Desk(loaded, {}, state, author, ZONE, None, jobs)


def jobs_of(desk: Desk) -> ScriptedJobs:
    """Return what starts a desk's jobs."""
    assert isinstance(desk.start, ScriptedJobs)
    return desk.start


def open_session(desk: Desk, *, seen: Seen = "rows", runbook: str = "") -> RecoverySession:
    """Declare an incident of the site's database: right until 20 minutes ago."""
    last_right = desk.now() - timedelta(minutes=20)
    return declare(desk, source="db", seen=seen, last_right=last_right, runbook=runbook)


def do_step(session: RecoverySession, step: str, answer: Answer | None = None) -> None:
    """Do a step to its end, looking at the server first where that is asked for."""
    if session.card(step).needs_look:
        session.look_now()
        session.poll()
    session.begin(step, answer)
    session.poll()
