"""A site made for one test: a configuration, a repository, and the real command line on it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.repository.layout import create_repository
from tests.support.prefork import PROJECT, base_environment, can_fork, forked

__all__ = ["PROJECT", "CommandResult", "Site", "demand_signatures", "make_site"]

COMMAND = [sys.executable, "-m", "fsbackup_tui"]


@dataclass
class CommandResult:
    """What one run of the command line gave."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> dict[str, str]:
        """The ``error`` object of a failure's document."""
        error = self.document["error"]
        assert isinstance(error, dict)
        return error


@dataclass
class Site:
    """A site in a directory of its own; ``run`` is ``fsbackup`` as a user would call it."""

    directory: Path
    url: str
    source: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "fsbackup.yaml"

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def write_config(self) -> None:
        """Write the configuration; JSON is YAML, so values need no quoting of ours."""
        document = {
            "site": "face-swap",
            "timezone": "UTC",
            "repository": str(self.repository),
            "state": str(self.state),
            "sources": {"db": {"kind": "postgres", "url": "${DATABASE_URL}", **self.source}},
            "plans": {"daily": {"sources": ["db"]}},
            **self.settings,
        }
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(document, indent=1))

    def environ(self) -> dict[str, str]:
        """The environment of a command: the machine's, with the site's URL."""
        return {**base_environment(), "DATABASE_URL": self.url, **self.environment}

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``fsbackup`` with the site's configuration."""
        return [*COMMAND, "--config", str(self.config), *arguments]

    def run(self, *arguments: str, timeout: float = 120.0) -> CommandResult:
        """Run one command to its end."""
        environ = self.environ()
        words = self.command(*arguments)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            if words[:3] == COMMAND and can_fork(environ):
                streams = (out, err)
                code = forked().run(words[3:], environ, self.directory, streams, timeout)
            else:
                code = subprocess.run(
                    words,
                    env=environ,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=timeout,
                    check=False,
                ).returncode
            for file in (out, err):
                file.seek(0)
            return CommandResult(code, out.read().decode(), err.read().decode())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one command and return at once."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environ(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def points(self) -> list[dict[str, Any]]:
        """The points that ``list --json`` shows."""
        listed = self.run("list", "--json")
        assert listed.exit_code == 0, listed.stderr + listed.stdout
        points = listed.document["points"]
        assert isinstance(points, list)
        return points

    def partial_remains(self) -> list[Path]:
        """Whatever a run left unfinished in the repository."""
        return list(self.repository.rglob(".partial-*"))


def make_site(
    directory: Path,
    url: str,
    *,
    source: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Site:
    """Return a site with an empty repository in ``directory`` (made, 0700)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    site = Site(directory, url, source or {}, settings or {})
    site.write_config()
    create_repository(site.repository, "face-swap", datetime.now(UTC))
    return site


def demand_signatures(site: Site) -> None:
    """Let the configuration demand a signature from now on: the points there are have none."""
    allowed = site.directory / "allowed_signers"
    allowed.touch(mode=0o600)
    signing = {"method": "ssh", "allowed_signers": str(allowed), "required": True}
    site.settings = {**site.settings, "signing": signing}
    site.write_config()
