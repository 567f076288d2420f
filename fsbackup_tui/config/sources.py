"""The sources a site has: what of it is captured, and how."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fsbackup_tui.config.values import (
    COMPRESSION_PATTERN,
    Argv,
    Duration,
    Jobs,
    SecretDescription,
    Settings,
    Share,
    Size,
    Telling,
)


class Admin(Settings):
    """Who may create and rename databases and end sessions; defaults to the source's own URL."""

    url: SecretDescription | None = None
    maintenance_database: str = "postgres"


class AcceptedBlocker(Settings):
    """What can't be tried here and need not be: a part of the blocker's words, and why."""

    what: Telling
    reason: Telling


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
    plaintext: bool = False


class FilesSource(Settings):
    """A tree of files: uploads, public assets.

    ``include`` and ``exclude`` are shell patterns over the path below ``root`` (``*.tmp``,
    ``cache/``, ``face-sources/*``): nothing included means everything, what is excluded is out
    whatever includes it. ``before`` runs before the tree is read and ``after`` behind it, whatever
    happened: they may pause deletions, or make a snapshot of the file system and take it away;
    ``read_from`` is where that snapshot shows the tree. ``plaintext`` leaves the part unencrypted.
    """

    kind: Literal["files"]
    root: Path
    read_from: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    compression: Annotated[str, Field(pattern=COMPRESSION_PATTERN)] = "auto"
    one_file_system: bool = False
    before: Argv | None = None
    after: Argv | None = None
    suspect_fall: Share = 0.3
    accept_blocked: tuple[AcceptedBlocker, ...] = ()
    plaintext: bool = False


class ConfigCommand(Settings):
    """A command whose output is part of the configuration: ``crontab -l``, ``nginx -T``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")]
    command: Argv


class ConfigSource(Settings):
    """Files, variables and outputs of commands that the site is configured by.

    Always encrypted unless ``plaintext`` says otherwise; ``optional`` names files that need not
    be there.
    """

    kind: Literal["config"]
    files: tuple[Path, ...] = ()
    optional: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()
    commands: tuple[ConfigCommand, ...] = ()
    accept_blocked: tuple[AcceptedBlocker, ...] = ()
    plaintext: bool = False


class CodeSource(Settings):
    """A git work tree with what was built from it.

    ``artifacts`` are paths below the work tree that git ignores (built output) and that are
    captured nevertheless; ``deployed`` is a file that names the deployed commit, where that is
    not the work tree's HEAD.
    """

    kind: Literal["code"]
    worktree: Path
    artifacts: tuple[str, ...] = ()
    deployed: Path | None = None
    accept_blocked: tuple[AcceptedBlocker, ...] = ()
    plaintext: bool = False


Source = Annotated[
    PostgresSource | FilesSource | ConfigSource | CodeSource, Field(discriminator="kind")
]
