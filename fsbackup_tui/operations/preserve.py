"""Keeping what is there now before anything touches it: the ladder of reference/ops.md i.

Every rung is tried by itself: one that fails, or can't be done here, says why and blocks no
other. Nothing is repaired on the way, and nothing of the live database is changed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DiskFull, FsbackupError, ServerUnreachable
from fsbackup_tui.domain.events import Log, Progress, Warned, format_time
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.preserve import Preserved, Rung, RungName, TableVerdict
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import free_bytes, local_data_directory
from fsbackup_tui.engines.postgres.kept import kept_comment, kept_name
from fsbackup_tui.engines.postgres.preserve import (
    FileCopy,
    copy_files,
    copy_inside,
    files_of_database,
    files_of_server,
    is_stopped,
    may_copy_inside,
    reason_of,
    unreadable_file,
)
from fsbackup_tui.engines.postgres.replay import CreatedDatabase
from fsbackup_tui.engines.postgres.side import (
    find_database,
    name_unfinished,
    newborn_name,
    restore_lock,
    sweep_newborn,
)
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.engines.postgres.trial_space import floor_bytes, tree_bytes, watch_floor
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.live_server import confirm_target, reading_address
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.preserve_tables import TableKeeper
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import PreserveRequest
from fsbackup_tui.operations.status import job_liveness, site_repository_or_none
from fsbackup_tui.operations.target import admin_address, postgres_source, source_address
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.repository.evidence import new_evidence
from fsbackup_tui.repository.layout import site_state

_RUNNING_COPY = (
    "The server went on writing meanwhile: good for looking at damaged pages and for reading rows "
    "out of them with tools, not for starting a server on it."
)
_STOPPED_COPY = "Whole: a server of the same version starts on a copy of it."


@dataclass
class _Ladder:
    """One database while it is kept; ``server`` is None where it could not be reached."""

    request: PreserveRequest
    context: JobContext
    live: DatabaseAddress
    admin: DatabaseAddress
    server: _Server | None = None
    rungs: list[Rung] = field(default_factory=list)
    tables: tuple[TableVerdict, ...] = ()
    unreached: str = ""
    _place: Path | None = None

    def place(self) -> Path:
        """Return the job's directory for evidence; made when it is first asked for."""
        if self._place is None:
            self._place = new_evidence(
                site_state(
                    self.context.loaded,
                    os.environ,
                    site_repository_or_none(self.context.loaded, os.environ),
                ),
                self.context.incident,
                self.context.loaded.config.recovery.evidence,
                job=self.context.job,
                database=self.live.database,
                now=self.context.now(),
            )
        return self._place

    @property
    def directory(self) -> str:
        """Where the evidence is; empty where nothing was kept on this machine."""
        return "" if self._place is None else str(self._place)

    def wants(self, name: RungName) -> bool:
        """Whether this rung is asked for."""
        return not self.request.rungs or name in self.request.rungs


@dataclass
class _Server:
    """The server as it was found."""

    admin: Connection
    identity: ServerIdentity
    database: Database
    size_bytes: int | None
    data_directory: Path | None


async def run(request: PreserveRequest, context: JobContext) -> dict[str, object]:
    """Climb the ladder as far as it can be climbed here; returns ``Preserved``.

    Raises:
        IdentityMismatch: the server is not the one that was seen; nothing was done.
        SafetyRefusal: the configuration only looks.
    """
    refuse_if_read_only(context.loaded, "keeps no evidence")
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    admin = await admin_address(loaded, environment, redactor, request.part)
    ladder = _Ladder(request, context, live, admin)
    context.stage("look")
    try:
        connection = await connect(admin, application_name=context.application_name)
    except ServerUnreachable as error:
        ladder.unreached = error.what
        context.report(Warned(f"{error.what} What needs the server can't be done."))
        await _climb(ladder)
        return _document(ladder)
    async with connection:
        with plain_errors(admin):
            ladder.server = await _look(ladder, connection)
        await _climb(ladder)
    return _document(ladder)


async def _look(ladder: _Ladder, admin: Connection) -> _Server:
    identity = await confirm_target(admin, ladder.admin, ladder.request.target, ladder.context)
    database, size = await find_database(admin, ladder.live.database)
    return _Server(
        admin,
        identity,
        database,
        size,
        await local_data_directory(admin, identity.system_identifier),
    )


async def _climb(ladder: _Ladder) -> None:
    await _rung(ladder, "keep by renaming", _by_renaming)
    ladder.context.stage("files")
    await _rung(ladder, "file copy", _by_files)
    await _rung(ladder, "copy inside the server", _inside)
    keeper = await _keeper(ladder)
    ladder.context.stage("tables")
    await _rung(ladder, "tables", lambda own: _by_tables(own, keeper))
    ladder.context.stage("salvage")
    await _rung(ladder, "salvage", lambda own: _by_salvage(own, keeper))
    ladder.tables = keeper.verdicts()
    if keeper.tried:
        keeper.write_how_to_use()


async def _keeper(ladder: _Ladder) -> TableKeeper:
    """Return what keeps the tables. Only now: a session in live keeps it from being copied."""
    request, context, live = ladder.request, ladder.context, ladder.live
    if ladder.server is not None and (ladder.wants("tables") or ladder.wants("salvage")):
        live = await reading_address(context, request.part, request.database)
    return TableKeeper(context, live, ladder.place, frozenset(request.damaged))


async def _rung(
    ladder: _Ladder, name: RungName, climb: Callable[[_Ladder], Awaitable[Rung]]
) -> None:
    """Climb one rung; whatever keeps it from being reached is its ``why``."""
    if not ladder.wants(name):
        return
    started = time.monotonic()
    try:
        with plain_errors(ladder.live):
            rung = await climb(ladder)
    except FsbackupError as error:
        rung = Rung(name, possible=True, why=reason_of(error))
    if rung.seconds is None and rung.reached:
        rung = replace(rung, seconds=round(time.monotonic() - started, 3))
    ladder.rungs.append(rung)
    word = "reached" if rung.reached else "possible" if rung.possible else "not possible here"
    ladder.context.report(Log(f"{name}: {word}{f'; {rung.why}' if rung.why else ''}"))


async def _by_renaming(ladder: _Ladder) -> Rung:
    server = ladder.server
    if server is None:
        return Rung("keep by renaming", possible=False, why=ladder.unreached)
    why = await may_copy_inside(server.admin, server.database)
    where = kept_name(server.database.name, "before", "…")
    return Rung(
        "keep by renaming",
        possible=not why,
        where=where,
        bytes=server.size_bytes,
        why=why or "The swap itself does it: the damaged database stays under that name.",
    )


async def _by_files(ladder: _Ladder) -> Rung:
    files, why = await asyncio.to_thread(_files, ladder)
    if files is None:
        return Rung("file copy", possible=False, why=why)
    needed = await asyncio.to_thread(lambda: sum(_bytes(path) for path, _name in files.paths))
    target = ladder.place() / "files"
    _require_space(target.parent, needed, "a copy of the files")

    async def tell() -> None:
        while True:
            await asyncio.sleep(1)
            done = await asyncio.to_thread(tree_bytes, target)
            ladder.context.report(Progress(float(done), float(needed), "bytes", "copying files"))

    problems = await guarded(
        copy_files(files, target, report=ladder.context.report, redactor=ladder.context.redactor),
        tell(),
        watch_floor(target.parent, floor_bytes(target.parent), what="the copy of the files"),
    )
    good_for = _STOPPED_COPY if files.whole else _RUNNING_COPY
    left_out = f" {len(problems)} files were not copied: {problems[0]}" if problems else ""
    return Rung(
        "file copy",
        possible=True,
        reached=True,
        where=str(target),
        bytes=await asyncio.to_thread(tree_bytes, target),
        why=good_for + left_out,
    )


def _bytes(path: Path) -> int:
    return tree_bytes(path) if path.is_dir() else path.lstat().st_blocks * 512


def _files(ladder: _Ladder) -> tuple[FileCopy | None, str]:
    """Return what can be copied here, or why nothing can."""
    server = ladder.server
    configured = postgres_source(ladder.context.loaded, ladder.request.part).data_directory
    if server is None and configured is None:
        return None, (
            f"{ladder.unreached} Where its files lie is not known: data_directory of the source "
            "in the config"
        )
    if server is None and configured is not None:
        if not is_stopped(configured):
            return None, f"a server runs on {configured}, and does not answer: stop it first"
        files = files_of_server(configured)
    elif server is not None and server.data_directory is not None:
        files = files_of_database(server.data_directory, server.database.oid)
    else:
        return None, (
            "the server's files are not on this machine, or this user may not read them. Where "
            "they are, as their owner or root: cp -a --reflink=auto DATA_DIRECTORY/base/"
            f"{server.database.oid if server is not None else 'OID'} ELSEWHERE"
        )
    closed = unreadable_file(files)
    if closed is not None:
        return None, f"this user may not read {closed}. As its owner or root it can be copied"
    if not files.paths:
        return None, "none of its files is there"
    return files, ""


def _require_space(directory: Path, needed: int, what: str) -> None:
    room = free_bytes(directory) - floor_bytes(directory)
    if room < needed:
        raise DiskFull(
            f"NOT ENOUGH SPACE for {what}.",
            why=f"{what} takes about {size_text(needed)}; {size_text(max(0, room))} may be used "
            f"in {directory}",
            fix="Name a roomier place under recovery: evidence in the config.",
        )


async def _inside(ladder: _Ladder) -> Rung:
    name: RungName = "copy inside the server"
    server, context = ladder.server, ladder.context
    if server is None:
        return Rung(name, possible=False, why=ladder.unreached)
    why = await may_copy_inside(server.admin, server.database)
    if not why and server.identity.standby:
        why = "it is a standby: nothing can be made on it"
    if why:
        return Rung(name, possible=False, why=why)
    if server.data_directory is not None:
        _require_space(server.data_directory, server.size_bytes or 0, "a copy in the server")
    kept = kept_name(server.database.name, "evidence", context.job.rpartition("-")[2])
    comment = kept_comment(
        "evidence", server.database.name, format_time(context.now()), context.job
    )
    async with restore_lock(server.admin, server.identity, context.application_name):
        await sweep_newborn(
            server.admin,
            job_liveness(
                context.loaded, os.environ, site_repository_or_none(context.loaded, os.environ)
            ),
        )
        newborn = newborn_name(context.job)
        try:
            oid, why = await copy_inside(server.admin, server.database, newborn, comment=comment)
            if oid:
                made = CreatedDatabase(newborn, oid, ())
                await name_unfinished(server.admin, made, kept)
        except BaseException:
            if not server.admin.closed:
                await undisturbed(_take_back(server.admin, context.job))
            raise
        if why:
            await _take_back(server.admin, context.job)
            return Rung(name, possible=False, why=why)
    return Rung(
        name,
        possible=True,
        reached=True,
        where=kept,
        bytes=server.size_bytes,
        why="Nobody can connect to it, so that nothing prunes it: ALTER DATABASE … "
        "ALLOW_CONNECTIONS true when it is looked at.",
    )


async def _take_back(admin: Connection, job: str) -> None:
    """Drop the copy that was not finished."""
    await sweep_newborn(admin, lambda other: other != job)


async def _by_tables(ladder: _Ladder, keeper: TableKeeper) -> Rung:
    if ladder.server is None:
        return Rung("tables", possible=False, why=ladder.unreached)
    await keeper.dump_tables(ladder.server.identity, ladder.server.size_bytes)
    failed = sum(verdict.verdict == "unreadable" for verdict in keeper.dumped)
    return Rung(
        "tables",
        possible=True,
        reached=not keeper.stopped and failed < len(keeper.dumped),
        where=str(keeper.directory),
        bytes=await asyncio.to_thread(tree_bytes, keeper.directory),
        why=keeper.stopped
        or (f"{failed} of {len(keeper.dumped)} tables could not be dumped" if failed else ""),
    )


async def _by_salvage(ladder: _Ladder, keeper: TableKeeper) -> Rung:
    if ladder.server is None:
        return Rung("salvage", possible=False, why=ladder.unreached)
    if keeper.tried and not keeper.failed:
        return Rung(
            "salvage", possible=True, why="Every table could be dumped: nothing to salvage."
        )
    await keeper.salvage_tables()
    rows = sum(verdict.rows or 0 for verdict in keeper.salvaged)
    return Rung(
        "salvage",
        possible=True,
        reached=True,
        where=str(keeper.directory),
        why=f"{rows} rows of {len(keeper.salvaged)} tables were read around what is damaged.",
    )


def _document(ladder: _Ladder) -> dict[str, object]:
    result = Preserved(tuple(ladder.rungs), ladder.tables, ladder.directory)
    return {"ok": True, **plain(result)}
