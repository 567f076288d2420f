"""What the screens show, as values, and the facade they get it from.

The screens know this module alone: ``site_data.py`` fills it from the repository, the
catalogue and the jobs; the tests fill it from memory. Every method may block, so the screens
call them in thread workers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal, Protocol

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.glance import Glance
from fsbackup_tui.domain.health import Answer
from fsbackup_tui.domain.key_question import KeyQuestion, Verdict
from fsbackup_tui.domain.point import Manifest, PointSummary, SpareSummary
from fsbackup_tui.domain.proof import Proof
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.against import Against
from fsbackup_tui.operations.request import Request
from fsbackup_tui.tui.buckets import Picture

if TYPE_CHECKING:
    from fsbackup_tui.config.edit import ConfigEdit
    from fsbackup_tui.config.retention import Retention
    from fsbackup_tui.domain.retention import Keep
    from fsbackup_tui.operations.part_changes import PartChanges
    from fsbackup_tui.recovery.desk import Desk
    from fsbackup_tui.tui.retention_data import RetentionView

Order = Literal["newest", "oldest", "largest", "least trusted"]
ORDERS: tuple[Order, ...] = ("newest", "oldest", "largest", "least trusted")
StageState = Literal["waiting", "running", "ok", "failed", "cancelled", "lost"]
JobState = Literal["running", "ok", "failed", "cancelled", "lost"]


CHECKING = Answer("checking", "checking", "", ("checking…",))


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that needs a person: what, since when, why it matters, and what mends it."""

    what: str
    fix: str = ""
    severe: bool = True
    why: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How far a plan wants its points verified, and how old that may become (None: any age)."""

    level: Trust = Trust.SEALED
    every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of the site: the replicas that points go to.

    ``read_back`` is within what time all of a replica is to be read back; ``elsewhere`` names,
    for points that are not wholly here, where the rest of them lies.
    """

    replicas: tuple[str, ...] = ()
    read_back: Mapping[str, timedelta] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


NO_COPIES = Copies()


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the site as the frame of every screen shows it.

    ``answer`` is the answer line; ``blocked`` says, by action (``backup``, ``verify``,
    ``verify-file``, ``inventory``), why it can't be done now; ``revision`` is another
    whenever the points may be others. ``running`` and ``failed`` name jobs by their label;
    ``failed`` has those that were lost, too. ``wanted`` is, by plan, how far points are to be
    verified; ``trial`` says in words where trial restores run. ``incident`` is the one that is
    open. ``has_files``: files are among what the site protects. ``copies`` are those on
    replicas. ``read_only``: it is only looked at.
    """

    site: str = ""
    environment: str = ""
    answer: Answer = CHECKING
    zone: tzinfo = UTC
    config: str = ""
    repository: str = ""
    plans: tuple[str, ...] = ()
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    trial: str = ""
    alerts: tuple[Alert, ...] = ()
    running: tuple[str, ...] = ()
    failed: Mapping[str, Problem | None] = field(default_factory=dict)
    revision: int = 0
    blocked: Mapping[str, Problem] = field(default_factory=dict)
    incident: Glance | None = None
    has_files: bool = False
    copies: Copies = NO_COPIES
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class PointQuery:
    """Which points the inventory shows, and in which order."""

    text: str = ""
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class PointDetails:
    """One point with its manifest; ``manifest`` is None where it is missing or damaged.

    ``commands`` are fsbackup's own restore commands, ready to be pasted. ``against`` compares a
    suspect point's rows with the last good one's before it, ``changes`` each configuration and
    code with the last good one's, by source. ``signature`` tells who signed it; None: nobody did,
    and nobody has to.
    """

    summary: PointSummary
    manifest: Manifest | None
    path: str
    commands: tuple[str, ...] = ()
    problem: Problem | None = None
    against: tuple[Against, ...] = ()
    changes: Mapping[str, PartChanges] = field(default_factory=dict)
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class PartProof:
    """A part's newest trial restore, the record that tells of it, and the spare it left."""

    source: str
    level: str
    at: datetime
    job: str
    record: str
    proof: Proof
    spare: SpareSummary | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One rung as it was tried once; ``ok`` None: it was blocked. ``problems`` say why not."""

    level: str
    ok: bool | None
    at: datetime
    job: str
    seconds: float
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PointProof:
    """What was shown of a point: its parts' newest proofs, and every check, the newest first.

    ``worthless`` says which records count for nothing, and why. ``manifest`` None: it can't be
    read. ``signature`` is as in ``PointDetails``.
    """

    summary: PointSummary
    parts: tuple[PartProof, ...] = ()
    history: tuple[Checked, ...] = ()
    worthless: tuple[str, ...] = ()
    manifest: Manifest | None = None
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as the list shows it; ``subject`` is its plan or point, in words."""

    id: str
    operation: str
    subject: str
    state: JobState
    started: datetime | None
    finished: datetime | None = None
    stage: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = "bytes"
    what: str = ""
    problem: Problem | None = None

    @property
    def label(self) -> str:
        """How messages call the job: ``backup k3f9``."""
        return f"{self.operation} {self.short}"

    @property
    def verifies(self) -> bool:
        """Whether ``subject`` is the point that the job verifies."""
        return self.operation == "verify"

    @property
    def short(self) -> str:
        """The end of the id, which commands take as well."""
        return self.id.rpartition("-")[2] or self.id


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage of a job: ``state`` is waiting, running or how it ended."""

    name: str
    state: StageState
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TableView:
    """One finished table of a job."""

    name: str
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """One job, live or past, as its own screen shows it.

    ``log_skipped`` counts log lines that are not among ``log`` any more, ``tables_skipped``
    the same for tables; ``output_log`` is the path of what the worker itself printed.
    """

    row: JobRow
    stages: tuple[StageView, ...] = ()
    detail: str = ""
    active: tuple[str, ...] = ()
    rate: float | None = None
    eta_seconds: float | None = None
    eta_range: tuple[float, float] | None = None
    tables: tuple[TableView, ...] = ()
    tables_skipped: int = 0
    log: tuple[str, ...] = ()
    log_skipped: int = 0
    warnings: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    result: Mapping[str, object] = field(default_factory=dict)
    problem: Problem | None = None
    output_log: str = ""


class JobWatch(Protocol):
    """Follows one job."""

    def read(self) -> JobView:
        """Read what is new in the journal and return the job as it is now."""
        ...


class SiteData(Protocol):
    """Everything the screens ask for; FsbackupError where it can't be given."""

    def overview(self) -> Overview:
        """Look at the site again and return its state."""
        ...

    def count(self, query: PointQuery) -> int:
        """Return how many points the query matches."""
        ...

    def points(self, query: PointQuery, offset: int, limit: int) -> Sequence[PointSummary]:
        """Return one page of the points that the query matches."""
        ...

    def details(self, point: str) -> PointDetails:
        """Return one point with its manifest."""
        ...

    def proof(self, point: str) -> PointProof:
        """Return what was shown of a point by restoring it, as its records tell."""
        ...

    def picture(self, plan: str, unit: timedelta | None, columns: int) -> Picture:
        """Return a plan's points by stretches of time of one unit; None: the one that suits."""
        ...

    def jobs(self) -> Sequence[JobRow]:
        """Return the jobs, running ones first, then the newest first."""
        ...

    def watch(self, job: str) -> JobWatch:
        """Begin to follow a job."""
        ...

    def start(self, request: Request) -> JobRow:
        """Start a job and return it once its worker runs; PassphraseNeeded before."""
        ...

    def check_passphrase(self, question: KeyQuestion, typed: Secret) -> Verdict:
        """Return whether what was typed is what was asked for."""
        ...

    def keep_passphrase(self, question: KeyQuestion, typed: Secret | None) -> None:
        """Keep it in memory for the jobs to come; None: do without where that can be."""
        ...

    def cancel(self, job: str) -> None:
        """Ask a running job to stop and clean up."""
        ...

    def retention(self) -> RetentionView:
        """Return what stays and what leaves, as retention sees it now."""
        ...

    def draft(self, plan: str, keep: Keep, settings: Retention) -> ConfigEdit:
        """Return what writing these rules would make of the configuration; nothing is written."""
        ...

    def write(self, edit: ConfigEdit) -> str:
        """Write it into the configuration; returns what was done, in words."""
        ...

    def pin(self, point: str, reason: str | None) -> None:
        """Keep a point whatever the rules say, with a reason; None: let the rules decide again."""
        ...

    def desk(self) -> Desk:
        """Return where recoveries are led from."""
        ...

    def glance(self) -> Glance | None:
        """Return the open incident at a glance, as it is at this moment."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
