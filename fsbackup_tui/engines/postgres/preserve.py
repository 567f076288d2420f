"""Keeping a database as it is, damage and all: its files, a copy inside the server, its tables.

None of it changes the database, and none of it mends: what repairs also destroys what could
still be learned from the damage (reference/ops.md f, i).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import FsbackupError, ToolError
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.archive import archive_rows, list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import words_of
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema import DUMP_ENVIRONMENT
from fsbackup_tui.engines.postgres.swap import Database, find_obstacles
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import Command, ToolDiskFull, ToolFailed, failure, run

_PID_FILE = "postmaster.pid"
_LOCK_WAIT_MILLISECONDS = 30_000


@dataclass(frozen=True, slots=True)
class FileCopy:
    """Files to copy: where each lies, and its name (with ``/``) below the target.

    ``whole``: it is all of a stopped server, on which one can be started again.
    """

    paths: tuple[tuple[Path, str], ...]
    whole: bool


def is_stopped(data_directory: Path) -> bool:
    """Whether no server runs on this data directory; one that died counts as stopped."""
    try:
        pid = int((data_directory / _PID_FILE).read_text().splitlines()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (OSError, ValueError, IndexError):
        return False
    return False


def files_of_server(data_directory: Path) -> FileCopy:
    """Return all files of a stopped server, those behind links of tablespaces and WAL, too."""
    paths = [(data_directory, "data")]
    paths += [
        (link.resolve(), f"tablespaces/{link.name}")
        for link in _children(data_directory / "pg_tblspc")
    ]
    wal = data_directory / "pg_wal"
    if wal.is_symlink():
        paths.append((wal.resolve(), "pg_wal"))
    return FileCopy(tuple(paths), whole=True)


def files_of_database(data_directory: Path, oid: int) -> FileCopy:
    """Return the files of one database, and those that tell which of its rows were committed."""
    names = ["PG_VERSION", f"base/{oid}", "pg_xact", "pg_multixact", "global/pg_control"]
    names += [
        place.relative_to(data_directory).as_posix()
        for tablespace in _children(data_directory / "pg_tblspc")
        for version in _children(tablespace)
        if (place := version / str(oid)).is_dir()
    ]
    found = [(data_directory / name, name) for name in names if (data_directory / name).exists()]
    return FileCopy(tuple(found), whole=False)


def _children(directory: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(directory.iterdir())
    return []


def unreadable_file(files: FileCopy) -> Path | None:
    """Return a file or directory that this process may not read; None where it may read all."""
    for path, _name in files.paths:
        if not os.access(path, os.R_OK):
            return path
        for directory, names, members in os.walk(path):
            for name in (*names, *members):
                inside = Path(directory, name)
                if not inside.is_symlink() and not os.access(inside, os.R_OK) and inside.exists():
                    return inside
    return None


async def copy_files(
    files: FileCopy,
    target: Path,
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> tuple[str, ...]:
    """Copy the files below ``target``, which is made; returns what could not be copied.

    Where the file system can share blocks (reflink) nothing is written twice. Of a running
    server files vanish meanwhile; that is told, and is no failure.

    Raises:
        ToolError, ToolDiskFull: nothing could be copied, or no space was left.
    """
    sharing = ("--reflink=auto",) if sys.platform == "linux" else ()
    problems: list[str] = []
    copied = 0
    for path, name in files.paths:
        place = target / name
        await asyncio.to_thread(_make_private, target, place.parent)
        completed = await run(
            Command(("cp", "-a", *sharing, "--", str(path), str(place))),
            report=report,
            redactor=redactor,
            check=False,
        )
        copied += place.exists()
        if completed.exit_status != 0:
            problems += [line.strip() for line in completed.stderr.splitlines() if line.strip()]
            if isinstance(error := failure(completed), ToolDiskFull):
                raise error
    if not copied:
        raise ToolError("NOTHING COPIED.", why="\n".join(problems[:3]))
    return tuple(problems)


def _make_private(target: Path, place: Path) -> None:
    missing = [place, *place.parents]
    for directory in reversed(missing[: missing.index(target) + 1]):
        directory.mkdir(mode=0o700, exist_ok=True)


async def copy_inside(
    admin: Connection, live: Database, name: str, *, comment: str
) -> tuple[int, str]:
    """Copy a database file by file inside its server; returns the copy's OID, and "" or why not.

    Only this way takes a damaged page along as it is: the other one (wal_log, the default since
    15) reads pages, and ends at the first bad one. Nobody may be in the database meanwhile. The
    copy lets nobody in, so that nothing prunes what is to be looked at.
    """
    found = await find_obstacles(admin, live)
    if found.sessions or found.prepared:
        who = f"{found.sessions} sessions are in it" if found.sessions else found.prepared[0]
        return 0, (
            f"nobody may be in {live.name} while it is copied: {who}. Keep everyone out first, "
            "if the application may stop"
        )
    strategy = "STRATEGY file_copy" if admin.info.server_version >= 150000 else ""
    try:
        await admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} {} ALLOW_CONNECTIONS false").format(
                sql.Identifier(name),
                sql.Identifier(live.name),
                sql.SQL(strategy),
            )
        )
        await admin.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name), sql.Literal(comment)
            )
        )
    except psycopg.Error as error:
        if admin.broken:
            raise
        return 0, words_of(error)
    rows = await fetch_all(
        admin, "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = %s", [name]
    )
    return (int(rows[0][0]), "") if rows else (0, f"{name} is not there")


async def may_copy_inside(admin: Connection, live: Database) -> str:
    """Return "" if the role may copy that database inside the server and rename it, or why not."""
    rows = await fetch_all(
        admin,
        "SELECT r.rolsuper OR r.rolcreatedb AND pg_catalog.pg_has_role(d.datdba, 'USAGE'),"
        " r.rolname::text FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d"
        " WHERE r.rolname = current_user AND d.oid::int8 = %s",
        [live.oid],
    )
    if not rows:
        return f"{live.name} is not there any more"
    if rows[0][0]:
        return ""
    return f"{rows[0][1]} is neither a superuser, nor the owner of {live.name} with CREATEDB"


async def export_snapshot(holder: Connection) -> str:
    """Return the exported snapshot of the transaction at hand."""
    return str((await fetch_all(holder, "SELECT pg_catalog.pg_export_snapshot()"))[0][0])


async def dump_schema(
    client: ClientTools,
    environment: Mapping[str, str],
    target: Path,
    *,
    archive: bool = False,
    snapshot: str = "",
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> None:
    """Write the definitions alone, as SQL or as an archive.

    Raises:
        FsbackupError: pg_dump failed; nothing is left of the file.
    """
    options = ["--schema-only", f"--format={'custom' if archive else 'plain'}"]
    await _pg_dump(client, environment, target, options, snapshot, report, redactor)


async def dump_table(
    client: ClientTools,
    environment: Mapping[str, str],
    table: tuple[str, str],
    target: Path,
    *,
    work: Path,
    snapshot: str = "",
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> int | None:
    """Write one table into an archive of its own, read it again, and return the rows in it.

    Raises:
        FsbackupError: it could not be dumped; nothing is left of the file.
    """
    pattern = ".".join('"{}"'.format(name.replace('"', '""')) for name in table)
    options = ["--format=custom", f"--table={pattern}"]
    options.append("--compress=zstd:1" if client.zstd else "--compress=1")
    await _pg_dump(client, environment, target, options, snapshot, report, redactor)
    _text, entries = await list_archive(client, target)
    own = work / f"rows-{target.stem}"
    own.mkdir(mode=0o700)
    rows = await archive_rows(client, target, entries, own)
    return sum(rows.values()) if rows else None


async def _pg_dump(
    client: ClientTools,
    environment: Mapping[str, str],
    target: Path,
    options: Sequence[str],
    snapshot: str,
    report: Report | None,
    redactor: Redactor | None,
) -> None:
    argv = (
        client.tool("pg_dump"),
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
        *((f"--snapshot={snapshot}",) if snapshot else ()),
        f"--file={target}",
        *options,
    )
    log = ToolLog("pg_dump", redactor)
    try:
        await run(
            Command(argv, env={**client.env, **environment, **DUMP_ENVIRONMENT}),
            report=report,
            redactor=redactor,
            on_stderr_line=log.add,
        )
    except BaseException as error:
        _remove(target)
        if isinstance(error, ToolFailed):
            raise explain_failure(error, log, what="NOT DUMPED") from error
        raise


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def reason_of(error: FsbackupError) -> str:
    """Return why something could not be done, in one line."""
    return " ".join((error.why or error.what).split())
