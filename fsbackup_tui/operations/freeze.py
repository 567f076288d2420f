"""Stop the bleeding: keeping writes off live, graded, with who is writing all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import (
    FsbackupError,
    SafetyRefusal,
    ServerUnreachable,
    UsageError,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.incident import Freeze
from fsbackup_tui.domain.standing import ClientSession
from fsbackup_tui.engines.postgres.client_sessions import (
    EndedClients,
    end_clients,
    read_clients,
    writers_of,
)
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.freeze import Measure, plan_everyone_out, plan_role_out
from fsbackup_tui.engines.postgres.freeze_tables import (
    find_table,
    most_changed,
    plan_table_read_only,
    plan_vacuum_off,
    relations_of,
)
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import FreezeJournal, refreshed, take, undo
from fsbackup_tui.operations.live_server import (
    LiveServer,
    database_oid,
    find_live_server,
    live_missing,
)
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import FreezeRequest


@dataclass
class _Freezing:
    """One freeze while it is made; ``relations`` (OIDs) and ``roles`` are whom it concerns."""

    request: FreezeRequest
    context: JobContext
    server: LiveServer
    journal: FreezeJournal
    oid: int
    relations: list[int] = field(default_factory=list)
    roles: tuple[str, ...] = ()
    missed: list[dict[str, str]] = field(default_factory=list)
    frozen: list[Freeze] = field(default_factory=list)

    def freeze(self, measure: Measure) -> Freeze:
        """Return a measure as the incident remembers it."""
        return Freeze(
            measure.what,
            self.context.now(),
            measure.undo,
            measure.grade,
            measure.cost,
            measure.place,
            self.server.live_name,
            self.oid,
        )

    def miss(self, name: str, error: FsbackupError) -> FsbackupError:
        """Remember what could not be frozen; the others still can."""
        self.missed.append({"name": name, **error.problem().document()})
        self.context.report(Warned(f"Not frozen: {name}. {error.what}"))
        return error


async def run(request: FreezeRequest, context: JobContext) -> dict[str, object]:
    """Freeze what is asked for, and tell who writes all the same; done already is done, too.

    ``end_sessions`` ends whom it concerns: of a table those who are writing to it, of roles all
    of theirs, of everybody all. The document has ``missed`` (tables that are not there),
    ``ended`` and ``not_ended`` besides what the request promises.

    Raises:
        SafetyRefusal: there is no incident, or what is asked would keep nobody out.
        UsageError: no table is named.
        StaleLeader: somebody else leads by now.
        RightsMissing, PostgresError: the server refuses; what it refused is not frozen.
    """
    refuse_if_read_only(context.loaded, "freezes nothing")
    journal = FreezeJournal(context)
    context.stage("freeze")
    server = await find_live_server(request, context)
    ended = EndedClients((), ())
    async with server.in_maintenance() as admin:
        oid = await database_oid(admin, server.live_name)
        if oid is None:
            raise live_missing(server.live_name)
        freezing = _Freezing(request, context, server, journal, oid)
        for measure in await _planned(freezing, admin):
            await _freeze(freezing, measure)
        if request.end_sessions and request.grade != "vacuum":
            concerned = await _concerned(freezing, admin)
            ended = await end_clients(admin, oid, [session.pid for session in concerned])
        writing = await _concerned(freezing, admin)
    context.report(Log(_who_writes(writing)))
    return {
        "ok": True,
        "measures": [_document(freeze) for freeze in freezing.frozen],
        "still_writing": plain(writing),
        "missed": freezing.missed,
        "ended": plain(ended.ended),
        "not_ended": plain(ended.left),
    }


def _document(freeze: Freeze) -> dict[str, object]:
    names = ("grade", "what", "cost", "place", "undo", "database")
    return {name: plain(getattr(freeze, name)) for name in names}


def _who_writes(writing: Sequence[ClientSession]) -> str:
    if not writing:
        return "Nobody whom it concerns is connected."
    names = ", ".join(sorted({session.role or "-" for session in writing}))
    return f"Connected still, of those whom it concerns: {len(writing)} sessions of {names}."


async def _planned(freezing: _Freezing, admin: Connection) -> list[Measure]:
    request, server = freezing.request, freezing.server
    if request.grade in ("vacuum", "table"):
        return await _planned_for_tables(freezing)
    if request.grade == "everyone":
        return [await plan_everyone_out(admin, server.live_name, app_role=_app_role(server))]
    freezing.roles = request.names or (server.app_role(),)
    ours = str((await fetch_all(admin, "SELECT current_user::text"))[0][0])
    if ours in freezing.roles:
        raise SafetyRefusal(
            f"NOT KEPT OUT: {ours} is whom fsbackup itself connects as.",
            why="It would shut itself out of what it is to repair.",
            fix="Stop the application, then end its sessions. Give it, or admin: url in the "
            "config, a role of its own one day.",
        )
    # Backups go on where their role is another one than the application's.
    keep = [ours, *([server.source.user] if server.source.user else [])]
    return [await plan_role_out(admin, server.live_name, freezing.roles, keep=keep)]


def _app_role(server: LiveServer) -> str | None:
    try:
        return server.app_role()
    except UsageError:
        return None


async def _planned_for_tables(freezing: _Freezing) -> list[Measure]:
    """Plan each table by itself: one that is gone keeps no other from being saved."""
    request = freezing.request
    measures: list[Measure] = []
    failed: FsbackupError | None = None
    async with freezing.server.in_live(oid=freezing.oid) as live:
        if not request.names:
            raise _no_table_named(await most_changed(live))
        for text in request.names:
            try:
                measures.append(await _planned_for_table(freezing, live, text))
            except FsbackupError as error:
                failed = freezing.miss(text, error)
    if failed is not None and not measures:
        raise failed
    return measures


async def _planned_for_table(freezing: _Freezing, live: Connection, text: str) -> Measure:
    schema, name = await find_table(live, text)
    relations = await relations_of(live, schema, name)
    if freezing.request.grade == "vacuum":
        measure = await plan_vacuum_off(live, schema, name)
    else:
        try:
            measure = await plan_table_read_only(live, schema, name)
        except SafetyRefusal:
            # Where it is frozen already nobody has a right that could be taken away.
            measure = Measure("table", f"writing to {text}", "", "live", (), ())
            if freezing.journal.known(freezing.freeze(measure)) is None:
                raise
    freezing.relations += relations
    return measure


def _no_table_named(candidates: Sequence[str]) -> UsageError:
    known = "Since its statistics began, most rows were deleted or changed in:\n"
    return UsageError(
        "NO TABLE NAMED: nothing was frozen.",
        why=known + "\n".join(candidates) if candidates else "",
        fix="Name the damaged tables, each as schema.name. Don't read them first: that prunes "
        "what could still be found in them.",
    )


async def _freeze(freezing: _Freezing, measure: Measure) -> None:
    """Write the measure down, then take it; where that fails, write that it is not frozen."""
    planned = freezing.freeze(measure)
    known = freezing.journal.known(planned)
    freeze = planned if known is None else refreshed(known, planned)
    if freeze != known:
        freezing.journal.frozen(freeze)
    try:
        await take(freezing.server, planned, measure)
    except (ServerUnreachable, asyncio.CancelledError) as error:
        if known is None:
            await _take_back(freezing, freeze, error)
        raise
    except FsbackupError as error:
        if known is None:  # the server refused it: nothing was changed
            freezing.journal.thawed(freeze, why=error.what)
        raise
    freezing.frozen.append(freeze)
    freezing.context.report(Log(f"Frozen: {freeze.what}. {freeze.cost}"))


async def _take_back(freezing: _Freezing, freeze: Freeze, error: BaseException) -> None:
    """Undo what was perhaps done; where that can't be, the incident knows of it."""
    told = error.what if isinstance(error, FsbackupError) else "it was cancelled"
    try:
        await undo(freezing.server, freeze, freeze.database)
        freezing.journal.thawed(freeze, why=told)
    except FsbackupError as left:
        freezing.context.report(
            Warned(f"It may be frozen: {freeze.what}. Undo it by thaw. {left.what}")
        )


async def _concerned(freezing: _Freezing, admin: Connection) -> tuple[ClientSession, ...]:
    """Return who is connected of those whom the freeze is to keep from writing."""
    grade = freezing.request.grade
    sessions = await read_clients(admin, freezing.oid, roles=freezing.roles or None)
    if grade == "vacuum":
        return tuple(session for session in sessions if session.writes)
    if grade == "table":
        async with freezing.server.in_live(oid=freezing.oid) as live:
            pids = await writers_of(live, freezing.relations)
        return tuple(session for session in sessions if session.pid in pids)
    return sessions
