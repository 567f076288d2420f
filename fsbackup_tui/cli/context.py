"""What every command gets: the environment, the streams, and the site on demand."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fsbackup_tui.cli.output import Pasteable, wrap_problem, wrap_text
from fsbackup_tui.cli.streams import json_text, write_output

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.asked_passphrase import AskedPassphrase
    from fsbackup_tui.repository.layout import Repository


@dataclass
class CliContext:
    """One invocation; the configuration and the repository are opened when first asked for.

    ``audited_job``: a job was begun that writes into the audit log how it ended.
    """

    config_path: Path | None = None
    site: str | None = None
    json: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    audited_job: bool = False
    _loaded: LoadedConfig | None = None
    _asked: AskedPassphrase | None = None

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> CliContext:
        """Return the context that the options common to all commands describe."""
        context = cls(
            config_path=getattr(arguments, "config", None),
            site=getattr(arguments, "site", None),
            json=bool(getattr(arguments, "json", False)),
        )
        if getattr(arguments, "read_only", False):
            context.environ = {**context.environ, "FSBACKUP_READ_ONLY": "1"}
        return context

    @property
    def asked_read_only(self) -> bool:
        """Whether the caller asked that nothing be changed."""
        return bool(self.environ.get("FSBACKUP_READ_ONLY"))

    @property
    def pasteable(self) -> Pasteable:
        """What puts the caller's --config or --site into the commands that are told."""
        return Pasteable(self.config_path, self.site)

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def config_file(self) -> Path:
        """Return the configuration file in use (design §9); UsageError where there is none."""
        from fsbackup_tui.config.load import find_config

        return find_config(
            explicit=self.config_path, site=self.site, environ=self.environ, cwd=Path.cwd()
        )

    def load(self) -> LoadedConfig:
        """Return the site's configuration, read once; ConfigError with every problem in it."""
        if self._loaded is None:
            from fsbackup_tui.config.load import load_config

            self._loaded = load_config(self.config_file(), self.environ)
        return self._loaded

    @property
    def loaded(self) -> LoadedConfig | None:
        """The site's configuration where it was read already."""
        return self._loaded

    def follow_config(self, path: Path | None) -> None:
        """Take the configuration that was just written for the one in use, where none was named."""
        if self._loaded is None and path is not None:
            self.config_path, self.site = path, None

    def asked(self) -> AskedPassphrase:
        """Return what was asked of the site's passphrase in this run."""
        if self._asked is None:
            from fsbackup_tui.operations.asked_passphrase import AskedPassphrase

            self._asked = AskedPassphrase(self.environ, self.now)
        return self._asked

    def repository(self) -> Repository:
        """Open the site's repository; RepositoryError where it can't be."""
        from fsbackup_tui.operations.status import open_site_repository

        return open_site_repository(self.load(), self.environ)

    def state(self) -> Path:
        """Return the site's state directory, made if need be; works without the repository."""
        from fsbackup_tui.domain.errors import RepositoryError
        from fsbackup_tui.repository.layout import site_state

        try:
            repository = self.repository()
        except RepositoryError:
            repository = None
        return site_state(self.load(), self.environ, repository)

    def emit(self, document: Mapping[str, object], human: Callable[[], None]) -> None:
        """Print the document as JSON under ``--json``, else let ``human`` print."""
        if self.json:
            write_output(self.stdout, json_text(document, self.stdout))
        else:
            human()

    def say(self, text: str = "") -> None:
        """Print one line of the result to standard output."""
        write_output(self.stdout, text + "\n")

    def say_text(self, text: str, *, first: str = "", later: str | None = None) -> None:
        """Print a sentence of the result in lines of 80 columns (``wrap_text``).

        Commands in it are those of the site at hand (``Pasteable``).
        """
        for line in wrap_text(self.pasteable.text(text), first=first, later=later):
            self.say(line)

    def tell(self, text: str, *, first: str = "") -> None:
        """Print a message beside the result, to standard error, in lines of 80 columns."""
        lines = wrap_text(self.pasteable.text(text), first=first)
        self.stderr.write("".join(f"{line}\n" for line in lines))

    def tell_problem(self, error: FsbackupError) -> None:
        """Print an error that does not end the command, to standard error."""
        self.stderr.write(wrap_problem(self.pasteable.problem(error.problem())) + "\n")
