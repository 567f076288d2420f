"""The schema of a site's configuration file; secrets are only described here, never read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

from fsbackup_tui.config.notify import Notify
from fsbackup_tui.config.objectives import Objectives
from fsbackup_tui.config.protection import Encryption, Link, Signing
from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.config.retention import KeepSettings, Retention
from fsbackup_tui.config.schedules import At, CheckTimes, DrillTimes, VerifyDueTimes
from fsbackup_tui.config.sources import PostgresSource, Source
from fsbackup_tui.config.values import (
    NAME_PATTERN,
    Argv,
    Duration,
    Jobs,
    SecretDescription,
    Settings,
    Size,
    Zone,
    no_truth_value,
)

VerifyLevel = Literal["sealed", "readable", "restored", "proven"]


class Plan(Settings):
    """What is captured together, as one recovery point, and how far each is shown good.

    ``verify`` is the level every new point is taken to, in the same job; ``verify_every`` is how
    old the newest proof of a point may become before ``verify --due`` takes it up again.
    ``link_unchanged`` lets a part whose tree has not changed share its stored file with the last
    point's, by a hard link. ``keep`` is which points stay; without it all of them do.
    ``replicas`` are the copies elsewhere that its points go to. ``at`` is when it runs by itself,
    once ``schedule install`` was run.
    """

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    at: At | None = None
    verify: VerifyLevel = "sealed"
    verify_every: Duration | None = None
    keep_spare: bool = False
    link_unchanged: bool = False
    keep: KeepSettings | None = None
    replicas: tuple[str, ...] = ()


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

    nice: Annotated[int, Field(ge=0, le=19), BeforeValidator(no_truth_value)] = 0
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
    drills: dict[str, DrillTimes] = Field(default_factory=dict)
    check: CheckTimes | None = None
    verify_due: VerifyDueTimes | None = None
    notify: Notify = Notify()
    scratch: Scratch = Scratch()
    links: tuple[Link, ...] = ()
    integrity: tuple[IntegrityQuery, ...] = ()
    objectives: Objectives = Objectives()
    encryption: Encryption | None = None
    signing: Signing | None = None
    commands: Commands = Commands()
    recovery: Recovery = Recovery()
    replicas: dict[str, Replica] = Field(default_factory=dict)
    adopt: tuple[Path, ...] = ()
    adopt_passphrase: SecretDescription | None = None
    clients: tuple[Path, ...] = ()
    limits: Limits = Limits()
    retention: Retention = Retention()
    stall_after: Duration = timedelta(minutes=2)
    read_only: bool = False

    @property
    def databases(self) -> dict[str, PostgresSource]:
        """The sources that are PostgreSQL databases, by name, in the file's order."""
        return {
            name: source
            for name, source in self.sources.items()
            if isinstance(source, PostgresSource)
        }

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

    @field_validator("sources", "plans", "drills", "replicas")
    @classmethod
    def _names_are_plain(cls, value: dict[str, object]) -> dict[str, object]:
        for name in value:
            if not re.match(NAME_PATTERN, name):
                raise ValueError(f"'{name}' is no name: letters, digits, - and _ (at most 40)")
        return value
