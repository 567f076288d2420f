"""The server, the generated database and the configuration that the benchmarks run on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.demo.sample_site import APPLICATION_ROLE, DATABASE, seed_database
from fsbackup_tui.demo.server import embedded_binaries
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.repository.layout import create_repository

BIN_VARIABLE = "FSBACKUP_BENCH_BIN"
_SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
# A server as one would run it: safe on a power cut, with the memory of a small machine.
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
}
_CONFIG = """\
site: face-swap
environment: benchmark
repository: {repository}
state: {state}
clients: [{binaries}]
sources:
  counts: {{kind: postgres, url: "{url}", admin: {{url: "{admin}"}}, fingerprints: counts}}
  content: {{kind: postgres, url: "{url}", admin: {{url: "{admin}"}}, fingerprints: content}}
plans:
  counts: {{sources: [counts]}}
  content: {{sources: [content]}}
"""


@dataclass(frozen=True, slots=True)
class BenchSite:
    """A running server with the generated database, and a configuration that protects it."""

    directory: Path
    binaries: Path
    server: ScratchServer
    config: Path
    state: Path

    @property
    def url(self) -> str:
        """The application's address of the generated database."""
        return self.server.url(DATABASE, user=APPLICATION_ROLE)

    def tool(self, name: str) -> str:
        """Return the path of one of the server's own client programs."""
        return str(self.binaries / name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as superuser and return what it prints."""
        command = [self.tool("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"]
        return subprocess.run(
            [*command, "-d", self.server.url(database), "-c", statement],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def fsbackup(self, *arguments: str) -> list[str]:
        """Return the command line of fsbackup on this site."""
        script = Path(sys.executable).with_name("fsbackup")
        program = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "fsbackup_tui"]
        return [*program, "--config", str(self.config), *arguments]


def default_binaries() -> Path:
    """Return the server to measure on: $FSBACKUP_BENCH_BIN, PostgreSQL 15, else the embedded."""
    named = os.environ.get(BIN_VARIABLE)
    if named:
        return Path(named)
    return _SYSTEM_15 if (_SYSTEM_15 / "initdb").exists() else embedded_binaries()


@contextmanager
def bench_site(directory: Path, *, binaries: Path, size_bytes: int) -> Iterator[BenchSite]:
    """Start a server, generate the database, write the configuration; stop the server after."""
    server = start_scratch_server(directory / "server", bin_directory=binaries, settings=_SETTINGS)
    try:
        url = server.url(DATABASE, user=APPLICATION_ROLE)
        asyncio.run(
            seed_database(
                size_bytes,
                psql=str(binaries / "psql"),
                superuser_url=server.url(),
                application_url=url,
                env={},
            )
        )
        repository, state = directory / "repository", directory / "state"
        create_repository(repository, "face-swap", datetime.now(UTC))
        config = directory / "fsbackup.yaml"
        config.touch(mode=0o600)
        config.write_text(
            _CONFIG.format(
                repository=repository,
                state=state,
                binaries=binaries,
                url=url,
                admin=server.url(),
            )
        )
        yield BenchSite(directory, binaries, server, config, state)
    finally:
        server.stop()
