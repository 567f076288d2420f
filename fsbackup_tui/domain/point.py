"""Recovery points as values: what a manifest tells, and what the inventory knows of a point.

The manifest classes are plain dataclasses so that every layer can hold them; the repository
validates them when it reads a file (``repository/manifest.py``). Sizes are bytes, times are
aware datetimes in UTC, durations are seconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from fsbackup_tui.domain.estimate import MeasuredRun, Work
from fsbackup_tui.domain.site_parts import CodeFacts, ConfigFacts, FilesFacts, KeyFacts, LinkFacts
from fsbackup_tui.domain.trust import Trust, counted, least

MANIFEST_FORMAT = 1
POINT_ID = re.compile(r"(?P<time>\d{8}T\d{6}Z)-(?P<plan>[A-Za-z0-9_.-]+)-(?P<tag>[a-z0-9]{4})")
_LISTS_OF_NAMES = frozenset(
    {
        "local_preload_libraries",
        "oauth_validator_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_TAG_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"

Scope = Literal["full", "schema", "data"]
DumpFormat = Literal["custom", "directory", "plain"]
ArtifactRole = Literal[
    "dump", "schema", "globals", "list", "also", "archive", "index", "sums", "bundle", "work"
]
DATA_KINDS = ("postgres", "postgres-schema", "files")
"""Kinds of parts that hold what cannot be made again."""
CountMethod = Literal["content", "counts", "absent"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One stored file of a part; ``path`` is relative to the part's directory, with ``/``.

    ``plain_bytes`` and ``plain_sha256`` describe the content before fsbackup itself compressed
    or encrypted it; None where fsbackup did neither.
    """

    path: str
    role: ArtifactRole
    bytes: int
    sha256: str
    plain_bytes: int | None = None
    plain_sha256: str | None = None
    compression: str | None = None
    encryption: str | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of a table as one number (design §5): method name and decimal string.

    Raises:
        ValueError: ``value`` is no decimal number.
    """

    method: str
    value: str

    def __post_init__(self) -> None:
        if not (self.value.isascii() and self.value.removeprefix("-").isdecimal()):
            raise ValueError(f"the fingerprint {self.value!r} is no decimal number")


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table as captured.

    ``rows`` is exact where ``counted``, else the server's estimate or None; ``kind`` is
    PostgreSQL's relkind in words; ``note`` says why a count or fingerprint is absent;
    ``partition_root`` is the topmost partitioned table (schema, name) of a partition.
    """

    schema: str
    name: str
    kind: Literal["table", "partitioned", "materialised view", "foreign", "unlogged"]
    rows: int | None
    counted: bool
    bytes: int | None
    fingerprint: Fingerprint | None = None
    primary_key: tuple[str, ...] = ()
    data_excluded: bool = False
    note: str = ""
    partition_root: tuple[str, str] | None = None

    @property
    def qualified(self) -> str:
        """The name as people read it, ``schema.table``; not quoted for SQL."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class SequenceFacts:
    """One sequence as captured; ``last_value`` None means never called or not readable."""

    schema: str
    name: str
    last_value: int | None
    is_called: bool
    increment: int
    owned_by: str | None = None


@dataclass(frozen=True, slots=True)
class ExtensionFacts:
    """One extension installed in the database."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class DatabaseSetting:
    """One ``ALTER DATABASE … SET`` (or ``ALTER ROLE … IN DATABASE``) as pg_db_role_setting has it.

    ``value`` is the text behind ``=``, to be replayed without quoting lists again.
    """

    role: str | None
    name: str
    value: str

    @property
    def lists_names(self) -> bool:
        """Whether the value is a list of names, quoted already (GUC_LIST_QUOTE, 14 to 18)."""
        return self.name.lower() in _LISTS_OF_NAMES


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which database on which server: what is confirmed by a person and checked by the worker."""

    host: str
    port: int
    database: str
    database_oid: int
    role: str
    system_identifier: str | None
    standby: bool
    server_version: str
    server_version_num: int
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class IntegrityResult:
    """What one of the site's integrity queries answered: its rows, and the first row's value."""

    name: str
    rows: int | None
    value: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """Everything about the database that a restore and a proof need (design §5).

    ``managed_schemas`` and ``managed_tables`` are those that were left out because they belong
    to the database's ``platform`` (``supabase``; empty: it has none).
    """

    identity: ServerIdentity
    client_version: str
    scope: Scope
    format: DumpFormat
    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    icu_rules: str | None
    collation_version: str | None
    owner: str
    tablespace: str
    connection_limit: int
    comment: str | None
    settings: tuple[DatabaseSetting, ...]
    grants: tuple[str, ...]
    roles: tuple[str, ...]
    extensions: tuple[ExtensionFacts, ...]
    tables: tuple[TableFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    large_objects: int | None
    large_object_bytes: int | None
    subscriptions: tuple[str, ...]
    prepared_transactions: tuple[str, ...]
    replication_slots: tuple[str, ...]
    snapshot_at: datetime
    snapshot_lsn: str | None
    replay_at: datetime | None
    count_method: CountMethod
    count_note: str
    toc_entries: int
    schema_sha256: str | None
    excluded_schemas: tuple[str, ...] = ()
    excluded_tables: tuple[str, ...] = ()
    excluded_table_data: tuple[str, ...] = ()
    managed_schemas: tuple[str, ...] = ()
    migration_head: str | None = None
    integrity: tuple[IntegrityResult, ...] = ()
    large_object_fingerprint: Fingerprint | None = None
    platform: str = ""
    managed_tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartManifest:
    """One source's share of a point, as ``part.json`` and the manifest hold it.

    ``key`` is what every artifact of it is encrypted with; None: they lie in plain.
    """

    source: str
    kind: str
    started: datetime
    finished: datetime
    artifacts: tuple[Artifact, ...]
    restore_commands: tuple[str, ...]
    phases: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    postgres: PostgresFacts | None = None
    format: int = MANIFEST_FORMAT
    files: FilesFacts | None = None
    config: ConfigFacts | None = None
    code: CodeFacts | None = None
    key: KeyFacts | None = None

    @property
    def bytes(self) -> int:
        """Stored size of all artifacts."""
        return sum(artifact.bytes for artifact in self.artifacts)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` holds: the point, whole.

    ``in_incident`` is the incident that was open when it was taken: what it holds may be damaged.
    ``replaces`` is the point whose content it holds, encrypted with another key.
    """

    id: str
    sequence: int
    site: str
    plan: str
    reason: str | None
    host: str
    operator: str
    tool_version: str
    started: datetime
    finished: datetime
    phases: Mapping[str, float]
    parts: tuple[PartManifest, ...]
    job: str
    format: int = MANIFEST_FORMAT
    in_incident: str | None = None
    links: tuple[LinkFacts, ...] = ()
    replaces: str | None = None

    @property
    def bytes(self) -> int:
        """Stored size of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def suspect(self) -> tuple[str, ...]:
        """Why the point is suspect, every part's reasons; empty when it is not."""
        return tuple(reason for part in self.parts for reason in part.suspect)


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """One rung as last tried: whether it held, when, by which job, how long it took.

    ``ok`` is None where it was blocked: it could not be tried.
    """

    ok: bool | None
    at: datetime
    job: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What the inventory shows of one part."""

    source: str
    kind: str
    trust: Trust
    bytes: int
    rows: int | None = None
    database_bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptedBlock:
    """Something that could not be tried, and why a person finds that right."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpareSummary:
    """A part's spare as the records know it: its name, where it is, when it was proven."""

    part: str
    name: str
    server: str
    proven: datetime


@dataclass(frozen=True, slots=True)
class Copy:
    """A point's copy on a replica, as the records know it.

    ``at`` is when it was whole there for the first time since it last was not, ``checked_at``
    when every byte of it was last read back and compared. Of a ``wrong`` one something is
    missing or altered there, as ``why`` says; then ``at`` is when that was found. A ``removed``
    one went there by the replica's own retention, at that time.
    """

    replica: str
    at: datetime
    checked_at: datetime | None = None
    state: Literal["whole", "wrong", "removed"] = "whole"
    why: str = ""


@dataclass(frozen=True, slots=True)
class PointSummary:
    """What the inventory knows of a point: the catalogue's row, without its tables.

    ``whole`` means that the manifest is there and readable; ``suspect`` holds the reasons that
    still stand (a cleared point has none); ``running`` means that a living job is writing it.
    ``foreign`` is the path of a backup that another script made, which is no point of the
    repository until it is adopted; empty for all others. ``runs`` are the newest
    verifications and drills as they went. ``blocked`` is what could not be tried and nobody
    accepted, ``accepted`` what could not and somebody did. ``spares`` stand, as far as the
    records know. ``in_incident`` is the incident that was open when it was taken, until a person
    clears the point. ``after_damage`` says, while an incident is open, whether it was taken after
    the database was last right; None: no incident, or nobody knows. ``copies`` are those on
    replicas, by the replica's name. ``pinned`` is why retention may not remove it, as a person
    said; empty for most.
    """

    id: str
    sequence: int
    plan: str
    created: datetime
    whole: bool
    running: bool
    trust: Trust
    suspect: tuple[str, ...]
    bytes: int
    parts: tuple[PartSummary, ...]
    rows: int | None = None
    rows_change: float | None = None
    database_bytes: int | None = None
    seconds: float | None = None
    reason: str | None = None
    problems: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    accepted: tuple[AcceptedBlock, ...] = ()
    levels: Mapping[str, LevelCheck] = field(default_factory=dict)
    foreign: str = ""
    runs: tuple[MeasuredRun, ...] = ()
    spares: tuple[SpareSummary, ...] = ()
    in_incident: str = ""
    after_damage: bool | None = None
    files: int | None = None
    files_change: float | None = None
    pinned: str = ""
    copies: tuple[Copy, ...] = ()

    @property
    def data_trust(self) -> Trust:
        """How far database and files alone are shown good: what the answer line speaks of.

        That of the whole where it is not whole, or holds nothing else, or neither of them.
        """
        held = [counted(part.kind, part.trust) for part in self.parts if part.kind in DATA_KINDS]
        apart = self.whole and 0 < len(held) < len(self.parts)
        return least(held) if apart else self.trust

    @property
    def doubtful(self) -> bool:
        """Whether what it holds may be damaged, however well it was kept: a person must say."""
        return bool(self.suspect or self.in_incident)

    @property
    def calmly_blocked(self) -> bool:
        """Whether all that could not be tried is accepted, and there is such."""
        return bool(self.accepted) and not self.blocked

    @property
    def holds_data(self) -> bool:
        """Whether a restore of it brings rows or files back (a schema point does not)."""
        return any(part.kind != "postgres-schema" for part in self.parts)


def work_of(point: PointSummary) -> Work:
    """Return what there is to read of a point, and what a trial restore of it makes."""
    return Work(point.bytes, point.database_bytes or point.bytes)


def new_tag() -> str:
    """Return four random characters that tell things of the same second apart."""
    return "".join(secrets.choice(_TAG_ALPHABET) for _ in range(4))


def point_id(created: datetime, plan: str, tag: str) -> str:
    """Return a point's id: UTC second, plan, tag; ids sort by time."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{plan}-{tag}"


def session_name(job: str) -> str:
    """Return the application_name of a job's server sessions, by which they are found again."""
    return f"fsbackup/{job}"


def point_time(identifier: str) -> datetime | None:
    """Return the time in a point's or job's id (UTC), or None where there is none."""
    match = POINT_ID.fullmatch(identifier)
    if match is None:
        return None
    return datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
