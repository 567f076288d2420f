"""What a directory of PostgreSQL client programs can do, found out by calling them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.process import Command, Completed, run

TOOLS = ("pg_dump", "pg_restore", "psql", "pg_dumpall")

_VERSION = re.compile(r"\(PostgreSQL\) (?P<version>(?P<major>\d+)\S*)")
_NOBODY_THERE = "/nonexistent/fsbackup-probe"
_CONNECTING = re.compile(r"connection to server|could not connect to server")
_NO_ZSTD = "does not support compression with ZSTD"
_NO_TLS = "SSL support is not compiled in"
_NO_ARCHIVE = "input file is too short"
_WRONG_LIBRARY = ("error while loading shared libraries", "symbol lookup error")
_FIRST_WITH_ZSTD = 16
# Long: on a machine in trouble a program that works is slow to say so.
_PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ClientTools:
    """The client programs of one directory, all of which ran.

    ``zstd``: ``pg_dump --compress=zstd`` works (always false before 16: 14 takes the word for
    "uncompressed" and says nothing). ``tls``: libpq was built with it. ``embedded``: from a
    Python package, for demo and scratch servers. ``configured``: the config names it. ``env``
    is what the programs need besides the usual environment.
    """

    directory: Path
    version: str
    major: int
    zstd: bool
    tls: bool
    embedded: bool
    env: Mapping[str, str] = field(default_factory=dict)
    configured: bool = False

    def tool(self, name: str) -> str:
        """Return the full path of one of the programs."""
        return str(self.directory / name)


@dataclass(frozen=True, slots=True)
class BrokenClient:
    """A directory whose client programs can't be used, and why."""

    directory: Path
    why: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A directory that may hold client programs, and where the hint came from."""

    directory: Path
    embedded: bool = False
    configured: bool = False


class _NotUsable(Exception):
    """A program is missing or did not behave; the argument says which and how."""


async def probe(candidate: Candidate) -> ClientTools | BrokenClient:
    """Call each program for its version and for one piece of its real work.

    Damaged programs that print their version and crash at work are known from wheels. The work
    is to connect to a socket that can't be there, which also shows how they were built.
    """
    directory = candidate.directory
    missing = [tool for tool in TOOLS if not (directory / tool).is_file()]
    if missing:
        return BrokenClient(directory, f"{', '.join(missing)} missing.")
    try:
        env = await _library_path(directory)
        version, major = await _version(directory, env)
        zstd, tls, _, _ = await asyncio.gather(
            _dumps(directory, env, major),
            _connects(directory, env),
            _lists_roles(directory, env),
            _reads_archives(directory, env),
        )
    except _NotUsable as error:
        return BrokenClient(directory, str(error))
    return ClientTools(
        directory,
        version,
        major,
        zstd=zstd,
        tls=tls,
        embedded=candidate.embedded,
        env=env,
        configured=candidate.configured,
    )


async def _call(directory: Path, env: Mapping[str, str], tool: str, *arguments: str) -> Completed:
    try:
        completed = await run(
            Command((str(directory / tool), *arguments), env=env),
            check=False,
            timeout=_PROBE_SECONDS,
        )
    except ToolError as error:
        raise _NotUsable(f"{tool} does not run. {error.why}") from error
    if completed.exit_status < 0:
        raise _NotUsable(f"{tool} crashes ({completed.ended()}).")
    return completed


def _expect(completed: Completed, *, found: bool) -> None:
    if not found:
        said = completed.last_lines() or completed.ended()
        raise _NotUsable(f"{completed.program} does not work: {said}")


async def _library_path(directory: Path) -> dict[str, str]:
    """Return LD_LIBRARY_PATH if the programs find the libraries beside them only with it."""
    library = directory.parent / "lib"
    completed = await _call(directory, {}, "psql", "--version")
    if any(sign in completed.stderr for sign in _WRONG_LIBRARY) and library.is_dir():
        return {"LD_LIBRARY_PATH": str(library)}
    return {}


async def _version(directory: Path, env: Mapping[str, str]) -> tuple[str, int]:
    dump, restore = await asyncio.gather(
        _version_of(directory, env, "pg_dump"), _version_of(directory, env, "pg_restore")
    )
    if dump != restore:
        raise _NotUsable(f"pg_dump is {dump[0]}, pg_restore is {restore[0]}.")
    return dump


async def _version_of(directory: Path, env: Mapping[str, str], tool: str) -> tuple[str, int]:
    completed = await _call(directory, env, tool, "--version")
    match = _VERSION.search(completed.stdout.decode(errors="replace"))
    if match is None:
        said = completed.last_lines() or completed.ended()
        raise _NotUsable(f"{tool} does not tell its version: {said}")
    return match["version"], int(match["major"])


async def _dumps(directory: Path, env: Mapping[str, str], major: int) -> bool:
    """Whether pg_dump compresses with zstd; it names what it lacks before it connects."""
    asks_zstd = ("--compress=zstd:1",) if major >= _FIRST_WITH_ZSTD else ()
    arguments = ("--no-password", "--format=custom", *asks_zstd, f"--host={_NOBODY_THERE}")
    completed = await _call(directory, env, "pg_dump", *arguments)
    refused = _NO_ZSTD in completed.stderr
    _expect(completed, found=refused or bool(_CONNECTING.search(completed.stderr)))
    return bool(asks_zstd) and not refused


async def _connects(directory: Path, env: Mapping[str, str]) -> bool:
    """Whether libpq can do TLS; one that can't refuses the wish before it connects."""
    where = f"host={_NOBODY_THERE} sslmode=require"
    completed = await _call(
        directory, env, "psql", "--no-psqlrc", "--no-password", "--command=SELECT 1", where
    )
    refused = _NO_TLS in completed.stderr
    _expect(completed, found=refused or bool(_CONNECTING.search(completed.stderr)))
    return not refused


async def _lists_roles(directory: Path, env: Mapping[str, str]) -> None:
    completed = await _call(
        directory, env, "pg_dumpall", "--no-password", "--globals-only", f"--host={_NOBODY_THERE}"
    )
    _expect(completed, found=bool(_CONNECTING.search(completed.stderr)))


async def _reads_archives(directory: Path, env: Mapping[str, str]) -> None:
    completed = await _call(directory, env, "pg_restore", "--list", "/dev/null")
    _expect(completed, found=_NO_ARCHIVE in completed.stderr)
