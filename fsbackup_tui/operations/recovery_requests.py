"""The typed arguments of what a recovery asks for; each names the value its result holds.

``part`` is the source. ``database`` names the database that stands for live: empty for the
source's own, else the copy that a drill plays on. ``target`` is the server that the person saw,
looked at through the maintenance database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.operations.request import Request

Grade = Literal["vacuum", "table", "role", "everyone"]
SiteCommand = Literal[
    "stop_app",
    "start_app",
    "regenerate_client",
    "migration_status",
    "smoke_test",
    "notify_people",
    "pause_jobs",
    "resume_jobs",
]


@dataclass(frozen=True, slots=True)
class RecoveryRequest(Request):
    """The base: about the live database of one source, or of the drill's copy in its place."""

    part: str
    database: str = ""
    target: ServerIdentity | None = None


@dataclass(frozen=True, slots=True)
class LookRequest(RecoveryRequest):
    """See which databases exist under which names, who is connected, and who would be hurt.

    Returns ``domain/standing.py:Standing``. Reads catalogues alone; with ``staging`` that schema
    of the live database, too, for what was merged from it.
    """

    operation: ClassVar[str] = "look"
    runner: ClassVar[str] = "fsbackup_tui.operations.look:run"
    stages: ClassVar[tuple[str, ...]] = ("look",)
    staging: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class DamageRequest(RecoveryRequest):
    """Compare live, by reading alone, with a point's manifest.

    Returns ``domain/damage.py:DamageReport``. ``last_right`` as ISO text, empty: unknown.
    ``spare_tables`` (schema.name) are estimated and not read, so that no evidence is pruned.
    ``copy`` is a restored copy of the point: the definitions are compared with its own then.
    """

    operation: ClassVar[str] = "damage"
    runner: ClassVar[str] = "fsbackup_tui.operations.damage:run"
    stages: ClassVar[tuple[str, ...]] = ("tables", "schema", "candidates")
    point: str = ""
    last_right: str = ""
    spare_tables: tuple[str, ...] = ()
    copy: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class FreezeRequest(RecoveryRequest):
    """Keep writes off, graded; each measure and its undo is in the incident before it is taken.

    Returns ``{"measures": [{"grade", "what", "cost", "place", "undo", "database"}],
    "still_writing": [ClientSession], "missed": [{"name", "what", "why", "fix"}],
    "ended": [ClientSession], "not_ended": [{"pid", "why"}]}``.
    ``names`` are the tables (schema.name) or the roles it is about.
    """

    operation: ClassVar[str] = "freeze"
    runner: ClassVar[str] = "fsbackup_tui.operations.freeze:run"
    stages: ClassVar[tuple[str, ...]] = ("freeze",)
    grade: Grade = "vacuum"
    names: tuple[str, ...] = ()
    end_sessions: bool = False


@dataclass(frozen=True, slots=True)
class ThawRequest(RecoveryRequest):
    """Undo what is frozen, all or what is named; ``{"thawed": [...], "left": [...]}``.

    ``thawed`` are names, ``left`` ``{"what", "why", "fix"}``; ``notes`` tells what stays as it is
    in a database that a swap put aside.
    """

    operation: ClassVar[str] = "thaw"
    runner: ClassVar[str] = "fsbackup_tui.operations.thaw:run"
    stages: ClassVar[tuple[str, ...]] = ("thaw",)
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndSessionsRequest(RecoveryRequest):
    """End client sessions in the database: those named, or all; ``{"ended": [], "left": []}``."""

    operation: ClassVar[str] = "end-sessions"
    runner: ClassVar[str] = "fsbackup_tui.operations.end_sessions:run"
    stages: ClassVar[tuple[str, ...]] = ("end",)
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandRequest(RecoveryRequest):
    """Run one of the site's own commands; ``{"exit_status", "seconds", "printed"}``.

    ``message`` is given to ``notify_people`` on its standard input. ``command`` is a SiteCommand,
    or the id of a step that the site added. ``skipped`` tells why it was not run: a drill.
    """

    operation: ClassVar[str] = "command"
    runner: ClassVar[str] = "fsbackup_tui.operations.command:run"
    stages: ClassVar[tuple[str, ...]] = ("run",)
    command: SiteCommand | str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class MigrationRequest(RecoveryRequest):
    """Read which of Prisma's migrations the database has; nothing is changed.

    Returns ``{"table", "head", "applied", "failed", "expected", "pending", "unknown",
    "commands": [{"command", "when"}]}``: names, oldest first. ``expected`` is the newest in the
    worktree, empty where that is not known; ``pending`` are there and not in the database,
    ``unknown`` the other way round. ``code`` are sentences on the code: live's, and that of
    ``point`` with how the database fits it.
    """

    operation: ClassVar[str] = "migration"
    runner: ClassVar[str] = "fsbackup_tui.operations.migration:run"
    stages: ClassVar[tuple[str, ...]] = ("look",)
    point: str = ""


@dataclass(frozen=True, slots=True)
class PreserveRequest(RecoveryRequest):
    """Keep what is there now, rung by rung of ops.md i; a failing rung never blocks the next.

    Returns ``domain/preserve.py:Preserved``. ``rungs`` empty: all that can be done here. They are
    climbed in the ladder's order, byte copies before anything is read; of the tables those that
    are ``damaged`` (schema.name) come last.
    """

    operation: ClassVar[str] = "preserve"
    runner: ClassVar[str] = "fsbackup_tui.operations.preserve:run"
    stages: ClassVar[tuple[str, ...]] = ("look", "files", "tables", "salvage")
    rungs: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SalvageRequest(RecoveryRequest):
    """Copy what can still be read of a corrupt database into a new one beside it.

    Returns ``domain/preserve.py:Salvaged``.
    """

    operation: ClassVar[str] = "salvage"
    runner: ClassVar[str] = "fsbackup_tui.operations.salvage:run"
    stages: ClassVar[tuple[str, ...]] = ("schema", "rows", "finish")
    beside: str = ""


@dataclass(frozen=True, slots=True)
class CheckCopyRequest(RecoveryRequest):
    """Prove a restored copy against its point, by the site's checks, and as the app's role.

    Returns ``domain/copy_check.py:CopyCheck``. ``schema_point`` is what a point of rows alone was
    loaded into.
    """

    operation: ClassVar[str] = "check-copy"
    runner: ClassVar[str] = "fsbackup_tui.operations.check_copy:run"
    stages: ClassVar[tuple[str, ...]] = ("compare", "integrity", "as the application")
    point: str = ""
    copy: str = ""
    copy_oid: int = 0
    schema_point: str | None = None


@dataclass(frozen=True, slots=True)
class SwapRequest(Request):
    """Give the live database's name to a restored copy; the live one is kept as ``kept_as``.

    Both are told by name and OID; ``target`` is the server that the person saw. ``back`` says that
    it undoes an earlier swap: what is live now was restored, and what comes was live before.
    ``live_oid`` 0: there is no live database, and the copy is only renamed; it gets the comment
    that was captured in ``point``.
    """

    operation: ClassVar[str] = "swap"
    runner: ClassVar[str] = "fsbackup_tui.operations.swap:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "prepare", "swap", "settle")
    part: str
    live_oid: int
    copy: str
    copy_oid: int
    kept_as: str
    target: ServerIdentity | None = None
    back: bool = False
    database: str = ""
    point: str = ""


@dataclass(frozen=True, slots=True)
class WrittenSinceRequest(RecoveryRequest):
    """Count what was written to the live database since it was swapped in.

    ``counters`` is what the swap's result told; only ``schemas`` count, if any are named.
    Returns ``domain/written.py:WrittenSince``.
    """

    operation: ClassVar[str] = "written-since"
    runner: ClassVar[str] = "fsbackup_tui.operations.written_since:run"
    stages: ClassVar[tuple[str, ...]] = ("count",)
    live_oid: int = 0
    counters: str = ""
    schemas: tuple[str, ...] = ()

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class AffectedRequest(RecoveryRequest):
    """Ask the site's own SQL whom it concerns, in a copy; ``{"columns", "rows", "more"}``."""

    operation: ClassVar[str] = "affected"
    runner: ClassVar[str] = "fsbackup_tui.operations.affected:run"
    stages: ClassVar[tuple[str, ...]] = ("ask",)
    copy: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class LeftoversRequest(RecoveryRequest):
    """List what recoveries left on the server; ``domain/leftovers.py:Leftovers``."""

    operation: ClassVar[str] = "leftovers"
    runner: ClassVar[str] = "fsbackup_tui.operations.leftovers:run"
    stages: ClassVar[tuple[str, ...]] = ("look",)

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class DropLeftoverRequest(RecoveryRequest):
    """Drop one of them, told by name and OID (0 for a staging schema); ``{"dropped"}``."""

    operation: ClassVar[str] = "drop-leftover"
    runner: ClassVar[str] = "fsbackup_tui.operations.leftovers:run_drop"
    stages: ClassVar[tuple[str, ...]] = ("check", "drop")
    name: str = ""
    oid: int = 0


@dataclass(frozen=True, slots=True)
class RehearsalRequest(RecoveryRequest):
    """Make the database that a drill plays on out of a point, damaged in the scenario's way.

    Returns ``{"database", "oid", "damage": "what was done to it"}``.
    """

    operation: ClassVar[str] = "rehearsal"
    runner: ClassVar[str] = "fsbackup_tui.operations.rehearsal:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "create", "restore", "finish", "damage")
    point: str = ""
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class SchemaCopyRequest(RecoveryRequest):
    """Bring schemas of the restored side database beside the live ones, proven, not yet used.

    ``point`` is what they are proven against; without it, what the copy holds. ``schemas`` empty:
    all of the application's. Returns ``{"tag", "schemas": [{"schema", "beside", "oid",
    "live_oid"}], "entries", "tables", "repoints": [...], "notes": [...]}``.
    """

    operation: ClassVar[str] = "schema-copy"
    runner: ClassVar[str] = "fsbackup_tui.operations.schema_copy:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "dump", "restore", "prove", "settle")
    copy: str = ""
    copy_oid: int = 0
    schemas: tuple[str, ...] = ()
    tag: str = ""
    point: str = ""
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class SchemaSwapRequest(RecoveryRequest):
    """Give live schemas' names to the copies beside them; ``SCHEMA__before_TAG`` is kept.

    ``live_oids`` and ``copy_oids`` are those of ``schemas``, in their order (0: there is no live
    one). ``back`` undoes it: what was kept comes back, and ``SCHEMA__after_TAG`` is kept then;
    ``live_oids`` are what is live now, ``copy_oids`` what comes. ``again`` swaps what that kept in
    once more. ``end_sessions`` afterwards; None:
    only where columns have types of the schema's own, which statements prepared before refuse to
    return until their session ends. ``preview`` changes nothing.
    Returns ``{"schemas": [{"schema", "oid", "kept_as", "kept_oid"}], "closed_seconds",
    "attempts", "sessions_ended", "repointed", "unchecked", "grants", "counters", "notified",
    "notes"}``.
    """

    operation: ClassVar[str] = "schema-swap"
    runner: ClassVar[str] = "fsbackup_tui.operations.schema_swap:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "swap", "settle")
    schemas: tuple[str, ...] = ()
    live_oids: tuple[int, ...] = ()
    copy_oids: tuple[int, ...] = ()
    tag: str = ""
    back: bool = False
    again: bool = False
    end_blockers: bool = False
    end_sessions: bool | None = None
    patience_seconds: float = 30.0
    preview: bool = False


@dataclass(frozen=True, slots=True)
class RearmRequest(RecoveryRequest):
    """Arm in the live database, which was swapped in, what no copy may have.

    ``subscriptions`` are moved there from the kept database, ``cron``: pg_cron and its jobs come
    from the point's archive. ``back`` undoes it. ``then_resume_jobs`` runs the site's command
    afterwards. Returns ``{"armed": [{"what", "detail"}], "by_hand": [{"what", "why", "lines"}]}``
    and what CommandRequest returns.
    """

    operation: ClassVar[str] = "rearm"
    runner: ClassVar[str] = "fsbackup_tui.operations.rearm:run"
    stages: ClassVar[tuple[str, ...]] = ("arm", "run")
    point: str = ""
    live_oid: int = 0
    kept_as: str = ""
    kept_oid: int = 0
    subscriptions: tuple[str, ...] = ()
    cron: bool = False
    back: bool = False
    then_resume_jobs: bool = False
    schema_point: str | None = None
    reason_unsigned: str = ""


RECOVERY_REQUESTS: tuple[type[Request], ...] = (
    LookRequest,
    DamageRequest,
    FreezeRequest,
    ThawRequest,
    EndSessionsRequest,
    CommandRequest,
    MigrationRequest,
    PreserveRequest,
    SalvageRequest,
    CheckCopyRequest,
    SwapRequest,
    WrittenSinceRequest,
    AffectedRequest,
    LeftoversRequest,
    DropLeftoverRequest,
    RehearsalRequest,
    SchemaCopyRequest,
    SchemaSwapRequest,
    RearmRequest,
)
