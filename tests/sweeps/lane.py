"""What one lane of a sweep works with: a server to back up, and one for trial restores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from tests.support.servers import PACKAGES, package_binaries


@dataclass(frozen=True)
class Lane:
    """Two servers of one major, and a directory."""

    directory: Path
    live: ScratchServer
    scratch: ScratchServer


@contextmanager
def open_lane(directory: Path, major: int = 17) -> Iterator[Lane]:
    """Start a lane's servers for the block (17's clients read and write all compressions)."""
    binaries = package_binaries(PACKAGES[major])
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    servers: list[ScratchServer] = []
    try:
        for name in ("live", "scratch"):
            settings = {"max_prepared_transactions": "0", "autovacuum": "off"}
            servers.append(
                start_scratch_server(directory / name, bin_directory=binaries, settings=settings)
            )
        yield Lane(directory, *servers)
    finally:
        for server in servers:
            server.remove()
