"""The schema of a site's configuration file; secrets are only described here, never read."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

_DURATION_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
COMPRESSION_PATTERN = r"^(auto|none|gzip(:[1-9])?|zstd(:([1-9]|1[0-9]|2[0-2]))?)$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"


def parse_duration(value: object) -> object:
    """Return the timedelta that ``30s``, ``90m``, ``2h``, ``7d`` or ``1h 30m`` means."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError("a duration looks like 30s, 15m, 2h or 7d")
    return timedelta(seconds=sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def parse_size(value: object) -> object:
    """Return the bytes that ``500MB`` or ``1.5 GB`` means (decimal units)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size looks like 500MB or 1.5GB")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def parse_share(value: object) -> object:
    """Return the fraction that ``30 %`` means; a bare number between 0 and 1 is taken as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _SHARE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a share looks like 30 % or 0.3")
    return float(match[1]) / 100


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a whole number is needed here")
    return value


def _known_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "such as Europe/Berlin or UTC"
        raise ValueError(f"name a time zone as the tz database does, {hint}") from None
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(parse_share)]
Jobs = Annotated[int, Field(ge=1, le=64), BeforeValidator(_no_truth_value)]
Zone = Annotated[str, AfterValidator(_known_zone)]


class Settings(BaseModel):
    """The base of all sections: unknown keys are errors, values don't change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretText(Settings):
    """A text that may name variables, ``${NAME}`` or ``${NAME:-default}``; read when used."""

    text: str = Field(repr=False)


class SecretVariable(Settings):
    """A secret that lies in one environment variable."""

    env: str


class SecretFile(Settings):
    """A secret that lies in a file; a trailing newline is not part of it."""

    file: Path


class SecretCommand(Settings):
    """A secret that a command prints; it is run without a shell."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]


DESCRIPTION_FORMS = (
    'write a text such as "${DATABASE_URL}", or {env: NAME}, {file: /path} '
    "or {command: [program, argument]}"
)


def _secret_description(value: object) -> object:
    """Return the description in one of its four forms; ValueError names them.

    Done by hand, since a union's own errors tell of every form that does not fit.
    """
    if isinstance(value, str) and value.strip():
        return SecretText(text=value)
    if isinstance(value, Settings):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        (form, content), *_ = value.items()
        if isinstance(content, str) and content.strip():
            match form:
                case "text":
                    return SecretText(text=content)
                case "env" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", content):
                    return SecretVariable(env=content)
                case "file":
                    return SecretFile(file=Path(content))
        is_argv = isinstance(content, list | tuple) and content
        if form == "command" and is_argv and all(isinstance(word, str) for word in content):
            return SecretCommand(command=tuple(content))
    raise ValueError(DESCRIPTION_FORMS)


SecretDescription = Annotated[
    SecretText | SecretVariable | SecretFile | SecretCommand,
    BeforeValidator(_secret_description),
]


class Admin(Settings):
    """Who may create and rename databases and end sessions; defaults to the source's own URL."""

    url: SecretDescription | None = None
    maintenance_database: str = "postgres"


def _telling(value: str) -> str:
    if not value.strip():
        raise ValueError("write words that tell something")
    return " ".join(value.split())


class AcceptedBlocker(Settings):
    """What can't be tried here and need not be: a part of the blocker's words, and why."""

    what: Annotated[str, AfterValidator(_telling)]
    reason: Annotated[str, AfterValidator(_telling)]


class PostgresSource(Settings):
    """A PostgreSQL database to capture.

    ``data_directory`` is where its server's files lie on this machine, for when it is stopped.
    """

    kind: Literal["postgres"]
    url: SecretDescription
    admin: Admin = Admin()
    scope: Literal["full", "schema", "data"] = "full"
    format: Literal["auto", "custom", "directory", "plain"] = "auto"
    compression: Annotated[str, Field(pattern=COMPRESSION_PATTERN)] = "auto"
    jobs: Literal["auto"] | Jobs = "auto"
    fingerprints: Literal["content", "counts"] = "content"
    exclude_schemas: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    also: tuple[Path, ...] = ()
    lock_timeout: Duration = timedelta(seconds=30)
    yield_after: Duration = timedelta(seconds=30)
    max_rate: Size | None = None
    suspect_fall: Share = 0.3
    poolers: tuple[SecretDescription, ...] = ()
    standbys: tuple[SecretDescription, ...] = ()
    data_directory: Path | None = None
    accept_blocked: tuple[AcceptedBlocker, ...] = ()


Source = PostgresSource


VerifyLevel = Literal["sealed", "readable", "restored", "proven"]


class Plan(Settings):
    """What is captured together, as one recovery point, and how far each is shown good.

    ``verify`` is the level every new point is taken to, in the same job; ``verify_every`` is how
    old the newest proof of a point may become before ``verify --due`` takes it up again.
    """

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    verify: VerifyLevel = "sealed"
    verify_every: Duration | None = None
    keep_spare: bool = False


class Scratch(Settings):
    """Where trial restores run: ``auto`` takes the server named here, else one of its own.

    ``live`` is a side database on the live server. ``directory`` takes the data of an own
    server; ``memory`` and ``disk`` are what it may use.
    """

    on: Literal["auto", "own", "server", "live"] = "auto"
    url: SecretDescription | None = None
    directory: Path | None = None
    memory: Size = 512_000_000
    disk: Size | None = None
    jobs: Jobs | None = None


class Expectation(Settings):
    """What an integrity query must answer, in its first row's first column."""

    kind: Literal["no rows", "same as at capture", "value", "range"]
    value: str | None = None
    minimum: float | None = None
    maximum: float | None = None


EXPECTATION_FORMS = (
    "write 'no rows', 'same as at capture', {value: 42}, {min: 1} or {min: 1, max: 100}"
)


def _expectation(value: object) -> object:
    """Return the expectation in one of its forms; ValueError names them."""
    if isinstance(value, Expectation):
        return value
    if value in ("no rows", "same as at capture"):
        return Expectation.model_validate({"kind": value})
    if isinstance(value, Mapping):
        if set(value) == {"value"} and isinstance(value["value"], str | int | float):
            return Expectation(kind="value", value=_as_answered(value["value"]))
        bounds = [value.get("min"), value.get("max")]
        numbers = all(
            bound is None or (isinstance(bound, int | float) and not isinstance(bound, bool))
            for bound in bounds
        )
        if value and set(value) <= {"min", "max"} and numbers and bounds != [None, None]:
            return Expectation(kind="range", minimum=value.get("min"), maximum=value.get("max"))
    raise ValueError(EXPECTATION_FORMS)


def _as_answered(value: str | float) -> str:
    """Return a value as PostgreSQL writes it as text."""
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


class IntegrityQuery(Settings):
    """A question of the site's own that a good copy answers as expected; it only reads."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    sql: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    expect: Annotated[Expectation, BeforeValidator(_expectation)]
    source: str | None = None


Argv = Annotated[tuple[str, ...], Field(min_length=1)]


Statement = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Commands(Settings):
    """The site's own programs, run without a shell.

    ``notify_people`` gets the message on its standard input; ``pause_jobs`` stops cron, workers
    and whatever else writes or deletes by the clock.
    """

    verify_integrity: Argv | None = None
    stop_app: Argv | None = None
    start_app: Argv | None = None
    pause_jobs: Argv | None = None
    resume_jobs: Argv | None = None
    regenerate_client: Argv | None = None
    migration_status: Argv | None = None
    smoke_test: Argv | None = None
    notify_people: Argv | None = None


class AddedStep(Settings):
    """A step of the site's own in one of the runbooks: a command, or words to confirm.

    ``after`` is the id of the step it follows; without it, it is the phase's last.
    """

    runbook: Annotated[str, Field(pattern=NAME_PATTERN)]
    phase: Literal["stop", "preserve", "assess", "recover", "resume"]
    id: Annotated[str, Field(pattern=NAME_PATTERN)]
    title: Annotated[str, Field(min_length=3, max_length=60)]
    why: Annotated[str, Field(min_length=10, max_length=400)]
    after: str | None = None
    command: Argv | None = None
    undo: Annotated[str, Field(max_length=200)] = ""


class Recovery(Settings):
    """How this site is recovered.

    ``app_role`` is whom the application connects as (default: the user of the source's URL);
    ``runbooks`` replaces shipped ones, or adds more, by file; ``affected_users`` is SQL that
    tells, in a copy, whom a loss concerns; ``watch`` is how long one looks on after the start.
    ``evidence`` is where copies of what is damaged go (default: the incident's own directory).
    """

    app_role: str | None = None
    runbooks: dict[str, Path] = Field(default_factory=dict)
    steps: tuple[AddedStep, ...] = ()
    affected_users: Statement | None = None
    evidence: Path | None = None
    watch: Duration = timedelta(minutes=15)


class Limits(Settings):
    """Manners on a production server; they hold for backups, not while recovering."""

    nice: Annotated[int, Field(ge=0, le=19), BeforeValidator(_no_truth_value)] = 0
    ionice: Literal["none", "best-effort", "idle"] = "none"
    jobs: Jobs | None = None
    snapshot_age: Duration | None = None
    replication_lag: Duration | None = None


class SiteConfig(Settings):
    """One site: the whole configuration file.

    Without ``sources`` or ``plans`` it only watches the backups in ``adopt``: there must be some.
    """

    site: Annotated[str, Field(pattern=NAME_PATTERN)]
    environment: str = "production"
    timezone: Zone | None = None
    env_file: Path | None = None
    repository: Path
    state: Path | None = None
    group: str | None = None
    sources: dict[str, Source] = Field(default_factory=dict)
    plans: dict[str, Plan] = Field(default_factory=dict)
    scratch: Scratch = Scratch()
    integrity: tuple[IntegrityQuery, ...] = ()
    commands: Commands = Commands()
    recovery: Recovery = Recovery()
    adopt: tuple[Path, ...] = ()
    adopt_passphrase: SecretDescription | None = None
    clients: tuple[Path, ...] = ()
    limits: Limits = Limits()
    stall_after: Duration = timedelta(minutes=2)
    read_only: bool = False

    @field_validator("integrity")
    @classmethod
    def _names_differ(cls, value: tuple[IntegrityQuery, ...]) -> tuple[IntegrityQuery, ...]:
        # An answer at capture is found again by its query's name.
        for number, query in enumerate(value):
            for other in value[:number]:
                meet = None in (query.source, other.source) or query.source == other.source
                if meet and query.name == other.name:
                    raise ValueError(f"two are called '{query.name}'; give each its own name")
        return value

    @field_validator("sources", "plans")
    @classmethod
    def _names_are_plain(cls, value: dict[str, object]) -> dict[str, object]:
        for name in value:
            if not re.match(NAME_PATTERN, name):
                raise ValueError(f"'{name}' is no name: letters, digits, - and _ (at most 40)")
        return value
