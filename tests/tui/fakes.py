"""The site in memory: everything the screens ask for, without a disk or a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from fsbackup_tui.config.edit import ConfigEdit
from fsbackup_tui.config.retention import Retention
from fsbackup_tui.domain.errors import FsbackupError, PassphraseNeeded, Problem, UsageError
from fsbackup_tui.domain.glance import Glance, incident_answer
from fsbackup_tui.domain.health import Answer
from fsbackup_tui.domain.key_question import KeyQuestion, Verdict
from fsbackup_tui.domain.point import (
    PointSummary,
)
from fsbackup_tui.domain.retention import Keep, decide
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.jobs.supervisor import find_job
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, VerifyRequest
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.reading import OpenIncidents, glance_at
from fsbackup_tui.tui.app import FsbackupApp, Start
from fsbackup_tui.tui.buckets import Picture, end_of, fill_buckets, usual_spacing, usual_unit
from fsbackup_tui.tui.data import (
    Alert,
    JobRow,
    JobView,
    JobWatch,
    Overview,
    PointDetails,
    PointProof,
    PointQuery,
    SiteData,
    StageView,
    TableView,
)
from fsbackup_tui.tui.job_data import LiveWatch
from fsbackup_tui.tui.last_seen import LastSeen
from fsbackup_tui.tui.retention_data import RetentionView
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.site_data import NoConfigFound
from fsbackup_tui.tui.theme import Palette, builtin_directory, load_theme
from tests.tui.made import AGAINST, NOW, TABLE_NAMES, ZONE, make_manifest, some_points

OVERVIEW = Overview(
    site="face-swap",
    environment="production",
    answer=Answer(
        "no-proven-point",
        "warn",
        "PROD face-swap",
        ("NO PROVEN POINT", ". Best: 02:00 CET readable"),
    ),
    zone=ZONE,
    config="/etc/fsbackup/config.yaml",
    repository="/var/backups/face-swap",
    plans=("daily", "weekly-schema"),
    revision=1,
)


def make_job(tag: str, **changes: object) -> JobRow:
    """Return a running backup, changed as given."""
    row = JobRow(
        id=f"20261122T015900Z-backup-{tag}",
        operation="backup",
        subject="daily",
        state="running",
        started=NOW - timedelta(seconds=100),
        stage="backup",
        done=744e6,
        total=1200e6,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


FAILED = Problem(
    "server-unreachable",
    "SERVER NOT REACHED: db1:5432 refused the connection.",
    "Nothing listens there; the server is stopped or the port is wrong.",
    "fsbackup doctor",
)


def some_jobs() -> list[JobRow]:
    """Return a running backup and past jobs of every outcome."""
    hour = timedelta(hours=1)
    ended = {"stage": "", "done": None, "total": None}
    return [
        make_job("k3f9"),
        make_job("b2c3", state="ok", started=NOW - hour, finished=NOW - hour * 0.9, **ended),
        make_job(
            "d4e5",
            state="failed",
            started=NOW - 20 * hour,
            finished=NOW - 19.99 * hour,
            what=FAILED.what,
            problem=FAILED,
            **ended,
        ),
        make_job("f6g7", state="cancelled", started=NOW - 30 * hour, finished=NOW, **ended),
        make_job("h8j9", state="lost", started=NOW - 200 * hour, what="JOB LOST: h8j9.", **ended),
    ]


def view_of(row: JobRow) -> JobView:
    """Return a job as its screen shows it."""
    running = row.state == "running"
    return JobView(
        row=row,
        stages=(StageView("backup", "running" if running else "failed", 100.0),),
        detail="data public.events",
        active=("public.events", "public.[bold]videos[/bold]\x1b[31m") if running else (),
        rate=112e6 if running else None,
        eta_seconds=245.0 if running else None,
        tables=tuple(
            TableView(f"public.{name}", 1000 * (i + 1), 5_000_000 * (i + 1), 1.5 + i)
            for i, name in enumerate(TABLE_NAMES)
        ),
        log=tuple(f"pg_dump: dumping contents of table {number}" for number in range(40)),
        log_skipped=1200,
        warnings=("events: locked by pid 812 for 12 s",),
        commands=("pg_dump -Fd -j4 -Z zstd:1 -f db/database.dump service=fsbackup",),
        problem=FAILED if row.state == "failed" else None,
        output_log=f"/var/lib/fsbackup/jobs/{row.id}/output.log",
    )


@dataclass
class FakeWatch:
    """Gives the job's view as the site has it now."""

    site: FakeSite
    job: str

    def read(self) -> JobView:
        """Return the view."""
        return self.site.views[self.job]


@dataclass
class FakeSite:
    """A site whose answers the tests set; notes what was started and cancelled.

    With a ``question`` jobs need a passphrase: ``passphrase`` is right, where there is one.
    """

    state: Overview = OVERVIEW
    stored: Sequence[PointSummary] = field(default_factory=some_points)
    rows: list[JobRow] = field(default_factory=some_jobs)
    views: dict[str, JobView] = field(default_factory=dict)
    proofs: dict[str, PointProof] = field(default_factory=dict)
    started: list[Request] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    pages_read: int = 0
    trouble: FsbackupError | None = None
    gate: threading.Event | None = None
    closed: bool = False
    tables: int = 5
    recovery: Desk | None = None
    incidents: OpenIncidents = field(default_factory=OpenIncidents)
    question: KeyQuestion | None = None
    passphrase: str = ""
    kept: list[Secret | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for row in self.rows:
            self.views.setdefault(row.id, view_of(row))

    def overview(self) -> Overview:
        """Return the overview, or raise the trouble; waits at the gate where there is one."""
        if self.gate is not None and not self.gate.wait(20):
            raise TimeoutError
        if self.trouble is not None:
            raise self.trouble
        running = tuple(row.label for row in self.rows if row.state == "running")
        glance, answer = self.glance(), self.state.answer
        if glance is not None and not glance.is_drill and self.recovery is not None:
            answer = incident_answer(glance, "face-swap", "production", self.recovery.now())
        return replace(self.state, running=running, incident=glance, answer=answer)

    def _matching(self, query: PointQuery) -> Sequence[PointSummary]:
        found: Sequence[PointSummary] = self.stored
        if query.text:
            text = query.text.lower()
            found = [p for p in found if text in f"{p.id} {p.plan} {p.reason}".lower()]
        if query.order == "oldest":
            found = found[::-1]
        elif query.order == "largest":
            found = sorted(found, key=lambda point: -point.bytes)
        elif query.order == "least trusted":
            found = sorted(found, key=lambda point: point.trust)
        return found

    def count(self, query: PointQuery) -> int:
        """Count what matches."""
        return len(self._matching(query))

    def points(self, query: PointQuery, offset: int, limit: int) -> Sequence[PointSummary]:
        """Return a page of what matches."""
        self.pages_read += 1
        return self._matching(query)[offset : offset + limit]

    def details(self, point: str) -> PointDetails:
        """Return the details of a point."""
        summary = next(item for item in self.stored if item.id == point)
        path = f"/var/backups/face-swap/points/{point}"
        if summary.trust is Trust.INCOMPLETE:
            problem = Problem("point-damaged", f"NO MANIFEST: {point}.", "It was never finished.")
            return PointDetails(summary, None, path, (), problem)
        command = f"fsbackup restore {point} --part db --beside NAME"
        manifest = make_manifest(summary, self.tables)
        against = AGAINST if summary.suspect else ()
        return PointDetails(summary, manifest, path, (command,), against=against)

    def proof(self, point: str) -> PointProof:
        """Return what was shown of a point."""
        found = self.proofs.get(point)
        summary = next(item for item in self.stored if item.id == point)
        return PointProof(summary) if found is None else replace(found, summary=summary)

    def picture(self, plan: str, unit: timedelta | None, columns: int) -> Picture:
        """Return a plan's points by time."""
        points = [point for point in self.stored if point.plan == plan]
        oldest = min((point.created for point in points), default=None)
        spacing = usual_spacing(points)
        length = unit or usual_unit(oldest, NOW, columns, spacing)
        until = end_of(NOW, length, ZONE)
        buckets = fill_buckets(points, until, length, columns)
        return Picture(plan, length, until, buckets, oldest, spacing)

    def jobs(self) -> Sequence[JobRow]:
        """Return the jobs."""
        return list(self.rows)

    def watch(self, job: str) -> JobWatch:
        """Follow a job."""
        if job not in self.views and self.recovery is not None:
            return LiveWatch(find_job(self.recovery.state, job))
        return FakeWatch(self, job)

    def start(self, request: Request) -> JobRow:
        """Note the request and add a running job."""
        self.require(request)
        self.started.append(request)
        subject = request.plan if isinstance(request, BackupRequest) else ""
        if isinstance(request, VerifyRequest):
            subject = request.point
        row = make_job(
            f"n{len(self.started):03}", operation=type(request).operation, subject=subject
        )
        self.rows.insert(0, row)
        self.views[row.id] = view_of(row)
        return row

    def require(self, _: Request) -> None:
        """Raise PassphraseNeeded until one was kept."""
        if self.question is not None and not self.kept:
            raise PassphraseNeeded(
                self.question, place="config.yaml:4", variable="FSBACKUP_PASSPHRASE"
            )

    def check_passphrase(self, question: KeyQuestion, typed: Secret) -> Verdict:
        """Return whether it is the one; waits at the gate where there is one."""
        assert question == self.question
        if self.gate is not None and not self.gate.wait(20):
            raise TimeoutError
        if not self.passphrase:
            return "new"
        return "right" if typed.reveal() == self.passphrase else "wrong"

    def keep_passphrase(self, question: KeyQuestion, typed: Secret | None) -> None:
        """Keep it."""
        assert question == self.question
        self.kept.append(typed)

    def retention(self) -> RetentionView:
        """Return retention without a point."""
        guard = Guard()
        return RetentionView((), {}, guard, decide((), {}, guard, NOW, ZONE), NOW, ZONE)

    def draft(self, plan: str, keep: Keep, settings: Retention) -> ConfigEdit:
        """Refuse: no test of these screens changes rules."""
        raise UsageError(f"NO DRAFT: {plan} {keep} {settings}")

    def write(self, edit: ConfigEdit) -> str:
        """Refuse, as for a draft."""
        raise UsageError(f"NOT WRITTEN: {edit.path}")

    def pin(self, point: str, reason: str | None) -> None:
        """Refuse, as for a draft."""
        raise UsageError(f"NOT PINNED: {point} {reason}")

    def desk(self) -> Desk:
        """Return the desk, where the test gave one."""
        if self.recovery is None:
            raise UsageError("NO DESK: this test has none.")
        return self.recovery

    def glance(self) -> Glance | None:
        """Return the open incident at a glance."""
        if self.recovery is None:
            return None
        journal = self.incidents.newest(self.recovery.state)
        return None if journal is None else glance_at(self.recovery, journal)

    def cancel(self, job: str) -> None:
        """Note the job and mark it as cancelled."""
        self.cancelled.append(job)
        self.rows = [
            replace(row, state="cancelled", finished=NOW) if row.id == job else row
            for row in self.rows
        ]

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass
class Clock:
    """A monotonic clock that the tests move; it begins late enough for no guard to matter."""

    seconds: float = 1000.0
    step: float = 1.0

    def __call__(self) -> float:
        """Return the time; every look moves it on by ``step``."""
        self.seconds += self.step
        return self.seconds


def look(name: str = "dark") -> Palette:
    """Return one of the program's own themes."""
    return load_theme(builtin_directory() / f"{name}.yaml")


def make_app(
    site: FakeSite | None = None,
    *,
    theme: str = "dark",
    seen: LastSeen | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    open_site: Callable[[], SiteData] | None = None,
    clock: Callable[[], float] | None = None,
    message: str = "",
    now: Callable[[], datetime] = lambda: NOW,
) -> FsbackupApp:
    """Return the application on a site in memory, with the time standing still."""
    data = site or FakeSite()
    return FsbackupApp(
        Start(
            look=look(theme),
            open_site=open_site or (lambda: data),
            environ=environ or {"HOME": str(Path("/nonexistent"))},
            settings=settings or Settings(),
            seen=seen,
            now=now,
            clock=clock or Clock(),
            message=message,
        )
    )


def without_config() -> FakeSite:
    """Open a site where no configuration is, as the real one does."""
    raise NoConfigFound("NO CONFIGURATION FOUND.", why="Looked at: ./fsbackup.yaml")


ALERTS = (
    Alert("NO BACKUP FOR 26 h: plan daily.", "fsbackup backup daily"),
    Alert("SUSPECT: Fri 02:00, videos 5340 to 40.", "fsbackup show latest", severe=False),
)
