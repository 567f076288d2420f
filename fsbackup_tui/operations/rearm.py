"""Arming again what a restored copy may not have, once it is live: subscriptions and pg_cron.

One that can't be armed here keeps no other from it: what is left for a person is said, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.rearming import cron_lines, subscription_lines
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.rearm import (
    cron_jobs,
    drop_cron,
    move_subscription,
    move_subscription_back,
)
from fsbackup_tui.engines.postgres.restore import deferred_entries, restore_archive
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.operations import command
from fsbackup_tui.operations.clients import client_for_restore, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import dump_name
from fsbackup_tui.operations.live_server import LiveServer, database_name, find_live_server
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import CommandRequest, RearmRequest
from fsbackup_tui.operations.restore_from import (
    RestoreSource,
    check_seals,
    in_use,
    open_source,
    opened_source,
)

_OF_SUBSCRIPTIONS = ("SUBSCRIPTION", "SUBSCRIPTION TABLE")


@dataclass
class _Rearming:
    """What is armed, what is left to a person, and with what."""

    request: RearmRequest
    context: JobContext
    server: LiveServer
    live: Connection
    kept: Connection | None = None
    armed: list[dict[str, str]] = field(default_factory=list)
    by_hand: list[dict[str, object]] = field(default_factory=list)

    def arm(self, what: str, detail: str) -> None:
        """Keep what was armed, and tell it."""
        self.armed.append({"what": what, "detail": detail})
        self.context.report(Log(f"Armed: {what}; {detail}"))

    def leave(self, what: str, why: str, lines: Sequence[str]) -> None:
        """Keep what a person has to do, and tell it."""
        self.by_hand.append({"what": what, "why": why, "lines": list(lines)})
        self.context.report(Warned("\n".join((f"NOT ARMED: {what}. {why}", *lines))))


async def run(request: RearmRequest, context: JobContext) -> dict[str, object]:
    """Arm what is asked for, then run the site's own command where that is asked for, too.

    Raises:
        IdentityMismatch: live is not the database that was swapped in.
        FsbackupError: the site's command failed; what was armed stays armed.
    """
    refuse_if_read_only(context.loaded, "arms nothing")
    context.stage("arm")
    server = await find_live_server(request, context)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(server.in_maintenance())
        identity = await read_identity(admin, server.admin)
        await stack.enter_async_context(restore_lock(admin, identity, context.application_name))
        live = await stack.enter_async_context(server.in_live(oid=request.live_oid or None))
        rearming = _Rearming(request, context, server, live)
        name = await database_name(admin, request.kept_oid) if request.kept_oid else None
        if name is not None:
            rearming.kept = await stack.enter_async_context(
                server.in_live(name, oid=request.kept_oid)
            )
        if request.back:
            await _disarm(rearming)
        else:
            await _arm(rearming, identity.server_version_num)
    result: dict[str, object] = {
        "ok": True,
        "armed": rearming.armed,
        "by_hand": rearming.by_hand,
    }
    if request.then_resume_jobs and not request.back:
        asked = CommandRequest(request.part, request.database, command="resume_jobs")
        ran = await command.run(asked, context)
        result |= {key: value for key, value in ran.items() if key != "ok"}
    return result


async def _arm(rearming: _Rearming, version_num: int) -> None:
    request, context = rearming.request, rearming.context
    source = await open_source(request, context)
    async with in_use(source, context):
        await check_seals(source, context, reason_unsigned=request.reason_unsigned)
        async with opened_source(source, context) as plain:
            await _arm_from(rearming, plain, version_num)


async def _arm_from(rearming: _Rearming, source: RestoreSource, version_num: int) -> None:
    request, context, facts = rearming.request, rearming.context, source.created_from
    client = await client_for_restore(context, rearming.server.admin, version_num, facts)
    entries: list[TocEntry] = []
    if facts.format != "plain":
        _text, entries = await list_archive(client, _dump(source))
    for name in request.subscriptions:
        await _arm_subscription(rearming, name, entries)
    if request.cron:
        await _arm_cron(rearming, source, client, entries)


def _dump(source: RestoreSource) -> Path:
    part, reader = source.schema or (source.part, source.reader)
    return reader.path_inside(part.source, dump_name(part))


async def _arm_subscription(rearming: _Rearming, name: str, entries: Sequence[TocEntry]) -> None:
    what = f"subscription {name}"
    found = [entry for entry in entries if entry.kind == "SUBSCRIPTION" and entry.name == name]
    definition = found[0].definition if found else ""
    said = [e for e in entries if e.kind == "COMMENT" and e.name == f"SUBSCRIPTION {name}"]
    comment = said[0].definition if said else ""
    live, kept = rearming.server.live_name, rearming.request.kept_as
    try:
        detail = await move_subscription(rearming.kept, rearming.live, name, definition, comment)
    except FsbackupError as error:
        rearming.leave(what, error.why, subscription_lines(name, live, kept) if kept else ())
    else:
        rearming.arm(what, detail)


async def _arm_cron(
    rearming: _Rearming, source: RestoreSource, client: ClientTools, entries: Sequence[TocEntry]
) -> None:
    what = "pg_cron"
    by_hand = cron_lines(rearming.server.live_name, rearming.request.kept_as)
    deferred = deferred_entries(entries)
    wanted = {
        entry.dump_id
        for entry in deferred
        if entry.kind not in _OF_SUBSCRIPTIONS and not entry.name.startswith("SUBSCRIPTION ")
    }
    try:
        if await cron_jobs(rearming.live) is None:
            if not wanted:
                rearming.leave(what, "the archive can't be restored in parts", by_hand)
                return
            await _restore_entries(rearming, source, client, entries, wanted)
        jobs = await cron_jobs(rearming.live)
    except FsbackupError as error:
        rearming.leave(what, error.why or error.what, by_hand)
        return
    if jobs is None:
        rearming.leave(what, "the server has not taken the extension (see the job)", by_hand)
        return
    for job in jobs:
        rearming.context.report(Log(f"cron job {job}"))
    rearming.arm(what, f"{len(jobs)} jobs, as the point has them")


async def _restore_entries(
    rearming: _Rearming,
    source: RestoreSource,
    client: ClientTools,
    entries: Sequence[TocEntry],
    wanted: set[int],
) -> None:
    """Restore these entries alone into live, by the stock tool; its errors are told."""
    context = rearming.context
    with job_environment(context, rearming.server.live()) as environment:
        ran = await restore_archive(
            client,
            environment,
            _dump(source),
            entries=entries,
            work=context.work,
            jobs=1,
            deferred=[entry for entry in entries if entry.dump_id not in wanted],
            report=context.report,
            redactor=context.redactor,
        )
    for error in ran.errors:
        context.report(Warned(error))


async def _disarm(rearming: _Rearming) -> None:
    """Undo what was armed: subscriptions go on in the kept database; pg_cron rests in live."""
    request, live, kept = rearming.request, rearming.live, rearming.kept
    for name in request.subscriptions:
        what = f"subscription {name}"
        try:
            if kept is None:
                rearming.leave(what, "the kept database is gone", ())
            else:
                rearming.arm(what, await move_subscription_back(kept, live, name))
        except FsbackupError as error:
            rearming.leave(what, error.why, ())
    if request.cron and await cron_jobs(live) is not None:
        await drop_cron(live)
        rearming.context.report(Log("pg_cron is not in the live database any more."))
