"""Letting a restored copy take the live database's place, and letting the former one back.

The same operation both ways: what is live is kept under another name, whole, and marked. What
was frozen stays frozen: rights to connect are copied from live as they are, and undone by name.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from fsbackup_tui.config.values import SecretDescription
from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import FsbackupError, PostgresError, RightsMissing, SafetyRefusal
from fsbackup_tui.domain.events import Log, Warned, format_time
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.dress import dress_like
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.kept import KeptKind, kept_comment
from fsbackup_tui.engines.postgres.pooler import paused, pooled_databases
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.slots import (
    LogicalSlot,
    find_slots,
    follow_up,
    subscription_follow_up,
)
from fsbackup_tui.engines.postgres.standbys import StandbyEnded, end_sessions_on_standby
from fsbackup_tui.engines.postgres.swap import (
    Database,
    Obstacles,
    Swap,
    Swapped,
    find_obstacles,
    not_what_it_was,
    standing,
    swap_databases,
)
from fsbackup_tui.engines.postgres.table_counters import TableCounters
from fsbackup_tui.engines.secrets import read_secret
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import say_frozen_again, say_left_behind
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import SwapRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.swap_counters import counters_after, counters_before, counters_of_spare
from fsbackup_tui.operations.swap_numbers import MARGIN, move_numbers
from fsbackup_tui.operations.swap_spare import (
    captured_comment,
    record_swapped_in,
    refuse_used,
    spare_of,
)
from fsbackup_tui.operations.target import admin_address, postgres_source, source_address
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.spares import Spare

_PAUSE_SECONDS = 10.0
_STANDBY_SECONDS = 15.0
_OUR_MARK = "fsbackup: "


@dataclass
class _Swapping:
    """One swap while it goes on; ``repository`` is None where there is none to be had."""

    request: SwapRequest
    context: JobContext
    admin: DatabaseAddress
    live: str
    repository: Repository | None
    notes: list[str] = field(default_factory=list)
    paused: tuple[str, ...] = ()
    standbys: list[dict[str, object]] = field(default_factory=list)
    counters: TableCounters | None = None
    numbered: bool = False

    async def open_admin(self) -> Connection:
        """Open a session in the maintenance database."""
        return await connect(self.admin, application_name=self.context.application_name)

    def warn(self, text: str) -> None:
        """Keep a remark for the result, and tell it now."""
        self.notes.append(text)
        self.context.report(Warned(text))


async def run(request: SwapRequest, context: JobContext) -> dict[str, object]:
    """Swap, and return which database has which name now; done already is done, too.

    The result's ``counters`` are for WrittenSinceRequest; ``slots`` are logical slots that stayed
    with the kept database, ``follow_up`` what to run for them, line by line.

    Raises:
        IdentityMismatch: the server, or one of the databases, is not the one that was seen.
        SafetyRefusal: something would keep the swap waiting, or somebody used the spare; nothing
            was changed.
        RightsMissing, PostgresError: the server refuses; nothing was changed.
    """
    refuse_if_read_only(context.loaded, "swaps nothing")
    context.stage("check")
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    address = await admin_address(loaded, environment, redactor, request.part)
    swapping = _Swapping(request, context, address, live.database, _repository(context))
    with plain_errors(address):
        admin = await swapping.open_admin()
        async with admin:
            identity = await confirm_target(admin, address, request.target, context)
            # The same lock as every restore into this server: neither meets the other half-way.
            async with restore_lock(admin, identity, context.application_name):
                return await _swap_or_find_done(swapping, admin, identity)


def _repository(context: JobContext) -> Repository | None:
    """Return the site's repository; a swap goes on without one, it only knows of no spare."""
    try:
        return open_site_repository(context.loaded, os.environ)
    except FsbackupError as error:
        context.report(Warned(f"Whether the copy is a spare is not known: {error.what}"))
        return None


async def _swap_or_find_done(
    swapping: _Swapping, admin: Connection, identity: ServerIdentity
) -> dict[str, object]:
    request, context = swapping.request, swapping.context
    leaving = Database(swapping.live, request.live_oid)
    coming = Database(request.copy, request.copy_oid)
    swap = Swap(leaving, coming, request.kept_as, None, None)
    swapped: Swapped | None = None
    stands = await standing(admin, swap)
    if stands == "neither":
        raise await not_what_it_was(admin, swap)
    if stands == "after":
        context.report(Log("It is done already: the databases have their new names."))
    else:
        swap, swapped = await _swap(swapping, admin, leaving, coming)
    context.stage("settle")
    await _settle(swapping, swap, identity)
    return await _document(swapping, swap, swapped, admin)


async def _swap(
    swapping: _Swapping, admin: Connection, leaving: Database, coming: Database
) -> tuple[Swap, Swapped]:
    context, repository = swapping.context, swapping.repository
    await _refuse_obstacles(admin, leaving, coming)
    spare = None
    if repository is not None:
        spare = await spare_of(admin, repository, swapping.request.part, coming)
    if spare is not None and (remark := await refuse_used(admin, spare, context)):
        swapping.notes.append(remark)
    context.stage("prepare")
    swap = await _planned(swapping, admin, leaving, coming, spare)
    if swap.replaces:
        for problem in await dress_like(admin, coming.name, leaving.name):
            swapping.warn(f"{coming.name} is not like {leaving.name}: {problem}")
    poolers = await _poolers_that_answer(swapping, leaving.name)
    swapping.counters = (
        await counters_before(context, admin, swapping.admin, coming)
        if spare is None
        else counters_of_spare(context, spare)
    )
    if spare is None and swap.replaces:
        # Not in a spare: a session in it makes it one that was used, should the swap fail.
        await _move_numbers(swapping, of=coming, beyond=leaving, margin=MARGIN)
    context.stage("swap")
    # Killed in between, the incident knows of more than is frozen, never of less.
    say_frozen_again(context, swap.coming.oid)
    try:
        async with paused(poolers, leaving.name, limit_seconds=_PAUSE_SECONDS) as names:
            swapping.paused = names
            swapped = await swap_databases(swapping.open_admin, swap)
    except (SafetyRefusal, RightsMissing):
        say_left_behind(context, swap.coming.oid, swap.leaving.oid, swap.coming.name)
        raise
    former = f" The former one is {swap.kept_as}." if swap.replaces else ""
    context.report(
        Log(
            f"{leaving.name} is the copy now; closed for {swapped.closed_seconds:.2f} s, "
            f"{swapped.sessions_ended} sessions ended.{former}"
        )
    )
    kept_as = swap.kept_as if swap.replaces else ""
    say_left_behind(context, swap.leaving.oid, swap.coming.oid, kept_as)
    return swap, swapped


async def _move_numbers(
    swapping: _Swapping, *, of: Database, beyond: Database, margin: int = 0
) -> None:
    why = await move_numbers(swapping.context, swapping.admin, of=of, beyond=beyond, margin=margin)
    swapping.numbered = not why
    if why:
        swapping.warn(why)


async def _refuse_obstacles(admin: Connection, leaving: Database, coming: Database) -> None:
    for database in (leaving, coming):
        found = await find_obstacles(admin, database)
        if found.forbids:
            raise _would_wait(leaving.name, database.name, found)


def _would_wait(live: str, name: str, found: Obstacles) -> SafetyRefusal:
    what = f"NOT SWAPPED. Nothing changed: {live} is as it was."
    if found.prepared:
        return SafetyRefusal(
            what,
            why=f"prepared transaction {found.prepared[0]} holds {name} open.",
            fix="Ask its owner: COMMIT PREPARED or ROLLBACK PREPARED; then swap again.",
        )
    return SafetyRefusal(
        what,
        why=f"This role may not end {'; '.join(found.closed_sessions[:3])}, in {name}.",
        fix="End them as their owner or a superuser, then swap again.",
    )


async def _planned(
    swapping: _Swapping,
    admin: Connection,
    leaving: Database,
    coming: Database,
    spare: Spare | None,
) -> Swap:
    """Return the swap with what both databases are to bear afterwards, from what is live now."""
    request, context = swapping.request, swapping.context
    comment, is_open = await _comment(admin, coming.name), True
    if leaving.oid:
        comment = await _comment(admin, leaving.name)
        is_open = await _is_open(admin, leaving.name)
    elif spare is not None and swapping.repository is not None:
        comment = captured_comment(swapping.repository, spare.point, spare.part)
    elif comment is not None and comment.startswith(_OUR_MARK):
        comment = None
        if request.point and swapping.repository is not None:
            comment = captured_comment(swapping.repository, request.point, request.part)
    kind: KeptKind = "after" if request.back else "before"
    at = format_time(context.now())
    return Swap(
        leaving,
        coming,
        request.kept_as,
        leaving_comment=kept_comment(kind, leaving.name, at, context.job),
        coming_comment=comment,
        opened=is_open,
    )


async def _comment(admin: Connection, name: str) -> str | None:
    rows = await fetch_all(
        admin,
        "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database"
        " WHERE datname = %s",
        [name],
    )
    return None if not rows or rows[0][0] is None else str(rows[0][0])


async def _is_open(admin: Connection, name: str) -> bool:
    rows = await fetch_all(
        admin, "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [name]
    )
    return bool(rows[0][0])


async def _poolers_that_answer(swapping: _Swapping, database: str) -> list[DatabaseAddress]:
    """Return the poolers to pause; one that is down lets nobody through, and keeps nobody."""
    answering = []
    for text, address in await _addresses(swapping, "poolers"):
        try:
            await pooled_databases(address, database)
        except PostgresError as error:
            swapping.warn(f"The pooler {text} is not paused: {error.what}")
        else:
            answering.append(address)
    return answering


async def _addresses(swapping: _Swapping, what: str) -> list[tuple[str, DatabaseAddress]]:
    """Return the source's poolers or standbys; one that can't be read is told and left out."""
    source = postgres_source(swapping.context.loaded, swapping.request.part)
    described = source.poolers if what == "poolers" else source.standbys
    found = []
    for number, description in enumerate(described):
        try:
            address = await _address(swapping, what, number, description)
        except FsbackupError as error:
            swapping.warn(f"One of the {what} is left alone: {error.what}")
            continue
        found.append((address.display(), address))
    return found


async def _address(
    swapping: _Swapping, what: str, number: int, description: SecretDescription
) -> DatabaseAddress:
    context = swapping.context
    secret = await read_secret(
        description,
        context.environment,
        context.redactor,
        what="pooler's address" if what == "poolers" else "standby's address",
        where=context.loaded.place("sources", swapping.request.part, what, number),
    )
    address = parse_database_url(secret.reveal())
    if address.password is not None:
        context.redactor.add(address.password)
    return address


async def _settle(swapping: _Swapping, swap: Swap, identity: ServerIdentity) -> None:
    """Do what remains once the names are swapped; nothing of it undoes the swap."""
    context, part = swapping.context, swapping.request.part
    if swapping.repository is not None:
        record_swapped_in(
            context, swapping.repository, part, swap.coming.oid, identity.system_identifier
        )
    if swapping.counters is None:
        live = Database(swap.leaving.name, swap.coming.oid)
        swapping.counters = await counters_after(context, swapping.admin, live, swapping.notes)
    if swap.replaces:
        kept = Database(swap.kept_as, swap.leaving.oid)
        if not swapping.numbered:
            live = Database(swap.leaving.name, swap.coming.oid)
            await _move_numbers(swapping, of=live, beyond=kept)
        maintenance = postgres_source(context.loaded, part).admin.maintenance_database
        standbys = await _addresses(swapping, "standbys")
        ended = await asyncio.gather(
            *(
                _end_on_standby(swapping, address.with_database(maintenance), kept, identity)
                for _text, address in standbys
            )
        )
        for (text, _address), outcome in zip(standbys, ended, strict=True):
            swapping.standbys.append({"standby": text, **plain(outcome)})
            if outcome.note:
                swapping.warn(f"Standby {text}: {outcome.note}")


async def _end_on_standby(
    swapping: _Swapping, address: DatabaseAddress, kept: Database, primary: ServerIdentity
) -> StandbyEnded:
    try:
        with plain_errors(address):
            connection = await connect(address, application_name=swapping.context.application_name)
            async with connection:
                found = await read_identity(connection, address)
                if found.system_identifier != primary.system_identifier:
                    note = "it belongs to another server: nobody was ended there"
                    return StandbyEnded(0, 0, False, note)
                return await end_sessions_on_standby(
                    connection, kept, limit_seconds=_STANDBY_SECONDS
                )
    except FsbackupError as error:
        return StandbyEnded(0, 0, False, f"{error.what} Its sessions may still read {kept.name}.")


async def _document(
    swapping: _Swapping, swap: Swap, swapped: Swapped | None, admin: Connection
) -> dict[str, object]:
    name, kept = swap.leaving.name, swap.kept_as
    slots: tuple[LogicalSlot, ...] = ()
    subscriptions: tuple[str, ...] = ()
    if swap.replaces:
        slots = await find_slots(admin, kept)
        subscriptions = (
            await find_obstacles(admin, Database(kept, swap.leaving.oid))
        ).subscriptions
    lines = [line for slot in slots for line in follow_up(slot, name, kept)]
    moving = {each: list(subscription_follow_up(each, name, kept)) for each in subscriptions}
    for slot in slots:
        held = (
            "an unknown amount" if slot.retained_bytes is None else f"{slot.retained_bytes} bytes"
        )
        swapping.context.report(
            Warned(f"Slot {slot.name} stays with {kept} and holds {held} of WAL")
        )
    return {
        "ok": True,
        "database": name,
        "database_oid": swap.coming.oid,
        "kept_as": kept if swap.replaces else "",
        "kept_oid": swap.leaving.oid,
        "open": await _is_open(admin, name),
        "closed_seconds": None if swapped is None else round(swapped.closed_seconds, 3),
        "sessions_ended": None if swapped is None else swapped.sessions_ended,
        "paused": list(swapping.paused),
        "standbys": swapping.standbys,
        "slots": plain(slots),
        "subscriptions": list(subscriptions),
        "follow_up": [*lines, *(line for each in moving.values() for line in each)],
        "subscription_follow_up": moving,
        "counters": "" if swapping.counters is None else swapping.counters.text(),
        "notes": list(swapping.notes),
    }
