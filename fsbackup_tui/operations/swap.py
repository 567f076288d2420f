"""Letting a restored copy take the live database's place, and letting the former one back.

The same operation both ways: what is live is kept under another name, whole, and marked. What
was frozen stays frozen: rights to connect are copied from live as they are, and undone by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import FsbackupError, IdentityMismatch, SafetyRefusal
from fsbackup_tui.domain.events import Log, Warned, format_time
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import (
    fetch_all,
    read_properties,
    read_settings,
)
from fsbackup_tui.engines.postgres.kept import KeptKind, kept_comment
from fsbackup_tui.engines.postgres.pooler import paused
from fsbackup_tui.engines.postgres.replay import Properties, replay_properties
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.swap import (
    Database,
    Obstacles,
    Swap,
    Swapped,
    find_obstacles,
    standing,
    swap_databases,
)
from fsbackup_tui.engines.secrets import read_secret
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import say_frozen_again
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import SwapRequest
from fsbackup_tui.operations.target import (
    admin_address,
    check_target,
    postgres_source,
    source_address,
    target_text,
)

_PAUSE_SECONDS = 10.0


@dataclass
class _Swapping:
    """One swap while it goes on."""

    request: SwapRequest
    context: JobContext
    admin: DatabaseAddress
    live: str
    notes: list[str] = field(default_factory=list)
    paused: tuple[str, ...] = ()

    async def open_admin(self) -> Connection:
        """Open a session in the maintenance database."""
        return await connect(self.admin, application_name=self.context.application_name)


async def run(request: SwapRequest, context: JobContext) -> dict[str, object]:
    """Swap, and return which database has which name now; done already is done, too.

    Raises:
        IdentityMismatch: the server, or one of the databases, is not the one that was seen.
        SafetyRefusal: something would keep the swap waiting; nothing was changed.
        RightsMissing, PostgresError: the server refuses; nothing was changed.
    """
    refuse_if_read_only(context.loaded, "swaps nothing")
    context.stage("check")
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await source_address(loaded, environment, redactor, request.part)
    address = await admin_address(loaded, environment, redactor, request.part)
    swapping = _Swapping(request, context, address, live.database)
    with plain_errors(address):
        admin = await swapping.open_admin()
        async with admin:
            identity = await read_identity(admin, address)
            check_target(request.target, identity)
            context.report(Log(f"Target: {target_text(identity)}"))
            swap = await _planned(swapping, admin)
            # The same lock as every restore into this server: neither meets the other half-way.
            async with restore_lock(admin, identity, context.application_name):
                if await standing(admin, swap) == "after":
                    context.report(Log("It is done already: the databases have their new names."))
                    return _document(
                        swapping, swap, None, await find_obstacles(admin, swap.leaving)
                    )
                return await _swap(swapping, swap, admin)


async def _planned(swapping: _Swapping, admin: Connection) -> Swap:
    """Return the swap that is asked for, from what is live now."""
    request, context = swapping.request, swapping.context
    live = Database(swapping.live, request.live_oid)
    coming = Database(request.copy, request.copy_oid)
    properties = await _properties_by_oid(admin, live)
    at = format_time(context.now())
    kind: KeptKind = "after" if request.back else "before"
    return Swap(
        leaving=live,
        coming=coming,
        kept_as=request.kept_as,
        leaving_comment=kept_comment(kind, live.name, at, context.job),
        coming_comment=None if properties is None else properties[0].comment,
        opened=True if properties is None else properties[1],
    )


async def _properties_by_oid(admin: Connection, live: Database) -> tuple[Properties, bool] | None:
    """Return what live has of its own, and whether it lets sessions in; None where it moved."""
    rows = await fetch_all(
        admin,
        "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s AND oid::int8 = %s",
        [live.name, live.oid],
    )
    if not rows:
        return None
    found = await read_properties(admin, live.name)
    settings = await read_settings(admin, live.name)
    properties = Properties(
        found.owner, found.comment, found.connection_limit, settings, found.grants
    )
    return properties, bool(rows[0][0])


async def _swap(swapping: _Swapping, swap: Swap, admin: Connection) -> dict[str, object]:
    context = swapping.context
    if await standing(admin, swap) == "neither":
        raise IdentityMismatch(
            f"NOT SWAPPED: {swap.leaving.name} or {swap.coming.name} is not what it was.",
            why="One of them was renamed, dropped or made anew since it was looked at.",
            fix="Look at the server's databases (psql -l), then start again.",
        )
    found = await find_obstacles(admin, swap.leaving)
    if found.forbids:
        raise _would_wait(swap, found)
    context.stage("prepare")
    await _dress_as_live(swapping, swap, admin)
    poolers = await _poolers(swapping)
    context.stage("swap")
    async with paused(poolers, swap.leaving.name, limit_seconds=_PAUSE_SECONDS) as names:
        swapping.paused = names
        swapped = await swap_databases(swapping.open_admin, swap)
    context.report(
        Log(
            f"{swap.leaving.name} is the copy now; closed for {swapped.closed_seconds:.2f} s, "
            f"{swapped.sessions_ended} sessions ended. The former one is {swap.kept_as}."
        )
    )
    context.stage("settle")
    say_frozen_again(context, swap.coming.oid)
    return _document(swapping, swap, swapped, found)


def _would_wait(swap: Swap, found: Obstacles) -> SafetyRefusal:
    name = swap.leaving.name
    if found.prepared:
        return SafetyRefusal(
            f"NOT SWAPPED. Nothing changed: {name} is as it was.",
            why=f"prepared transaction {found.prepared[0]} holds it open.",
            fix="Ask its owner: COMMIT PREPARED or ROLLBACK PREPARED; then swap again.",
        )
    return SafetyRefusal(
        f"NOT SWAPPED. Nothing changed: {name} is as it was.",
        why=f"This role may not end {'; '.join(found.closed_sessions[:3])}.",
        fix="End them as their owner or a superuser, then swap again.",
    )


async def _dress_as_live(swapping: _Swapping, swap: Swap, admin: Connection) -> None:
    """Give the copy live's settings, grants and limit, so that the application finds its own."""
    found = await _properties_by_oid(admin, swap.leaving)
    if found is None:
        return
    async with admin.transaction():
        problems = await replay_properties(admin, swap.coming.name, found[0])
    for problem in problems:
        text = f"{swap.coming.name} is not like {swap.leaving.name}: {problem}"
        swapping.notes.append(text)
        swapping.context.report(Warned(text))


async def _poolers(swapping: _Swapping) -> list[DatabaseAddress]:
    context = swapping.context
    source = postgres_source(context.loaded, swapping.request.part)
    addresses: list[DatabaseAddress] = []
    for number, description in enumerate(source.poolers):
        where = context.loaded.place("sources", swapping.request.part, "poolers", number)
        try:
            secret = await read_secret(
                description,
                context.environment,
                context.redactor,
                what="pooler's address",
                where=where,
            )
            address = parse_database_url(secret.reveal())
        except FsbackupError as error:
            text = f"A pooler is not paused: {error.what}"
            swapping.notes.append(text)
            context.report(Warned(text))
            continue
        if address.password is not None:
            context.redactor.add(address.password)
        addresses.append(address)
    return addresses


def _document(
    swapping: _Swapping, swap: Swap, swapped: Swapped | None, found: Obstacles
) -> dict[str, object]:
    return {
        "ok": True,
        "database": swap.leaving.name,
        "database_oid": swap.coming.oid,
        "kept_as": swap.kept_as,
        "kept_oid": swap.leaving.oid,
        "open": swap.opened,
        "closed_seconds": None if swapped is None else round(swapped.closed_seconds, 3),
        "sessions_ended": None if swapped is None else swapped.sessions_ended,
        "paused": list(swapping.paused),
        "slots": list(found.slots),
        "subscriptions": list(found.subscriptions),
        "notes": list(swapping.notes),
    }
