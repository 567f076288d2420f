"""Two databases change places under one name, in one transaction (reference/ops.md n).

The gate-free way: both renames wait in one transaction, which keeps newcomers out, while a second
session ends those who are in. Nothing persistent is switched, so that a killed swap leaves
nothing to switch back: the server undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import (
    IdentityMismatch,
    PostgresError,
    RightsMissing,
    SafetyRefusal,
)
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import check_name

Standing = Literal["before", "after", "neither"]

MAY_END = (
    # pg_signal_backend may end everybody but superusers; without it, the own roles' alone.
    "me.rolsuper OR coalesce(pg_catalog.pg_has_role(a.usesysid, 'MEMBER'), false) AND NOT"
    " them.rolsuper OR pg_catalog.pg_has_role('pg_signal_backend', 'MEMBER')"
    " AND NOT coalesce(them.rolsuper, true)"
)
"""Whether the role ``me`` may end the session ``a`` of the role ``them``, as a condition."""

ROLES_OF_SESSIONS = (
    " JOIN pg_catalog.pg_roles AS me ON me.rolname = current_user"
    " LEFT JOIN pg_catalog.pg_roles AS them ON them.oid = a.usesysid"
)

_SESSIONS = (
    "SELECT a.pid, coalesce(a.usename::text, a.backend_type),"  # noqa: S608 - fixed texts
    f" coalesce(nullif(a.application_name, ''), '-'), {MAY_END}"
    f" FROM pg_catalog.pg_stat_activity AS a{ROLES_OF_SESSIONS}"
    # RENAME itself ends autovacuum's workers (CountOtherDBBackends).
    " WHERE a.datid::int8 = %s AND a.backend_type IS DISTINCT FROM 'autovacuum worker'"
    " ORDER BY a.pid"
)
_END_EVERY_SECONDS = 0.03
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Database:
    """A database as it can be told from any other: its name for now, and its OID."""

    name: str
    oid: int


@dataclass(frozen=True, slots=True)
class Swap:
    """``leaving`` gives its name to ``coming`` and is called ``kept_as`` from then on.

    Where ``leaving`` has OID 0, there is no database of its name: ``coming`` is only renamed.
    The comments are what the two bear afterwards. The coming one is ``opened`` to sessions, or
    stays closed to everybody: a freeze is in force until it is undone.
    """

    leaving: Database
    coming: Database
    kept_as: str
    leaving_comment: str | None
    coming_comment: str | None
    opened: bool = True

    @property
    def replaces(self) -> bool:
        """Whether there is a database that gives its name away."""
        return self.leaving.oid != 0

    def back(self, kept_as: str, *, comment: str | None, kept_comment: str | None) -> Swap:
        """Return the swap that undoes this one; what is live until then is called ``kept_as``."""
        return Swap(
            leaving=Database(self.leaving.name, self.coming.oid),
            coming=Database(self.kept_as, self.leaving.oid),
            kept_as=kept_as,
            leaving_comment=kept_comment,
            coming_comment=comment,
            opened=self.opened,
        )


@dataclass(frozen=True, slots=True)
class Swapped:
    """How a swap went: sessions that were ended, and seconds in which nobody could get in."""

    sessions_ended: int
    closed_seconds: float


async def standing(admin: Connection, swap: Swap) -> Standing:
    """Return on which side of the swap the server is, by names and OIDs; never assumed."""
    found = await _concerned(admin, swap)
    if found == {swap.coming} | ({swap.leaving} if swap.replaces else set()):
        return "before"
    name = swap.leaving.name
    kept = {Database(swap.kept_as, swap.leaving.oid)} if swap.replaces else set()
    if found == {Database(name, swap.coming.oid)} | kept:
        return "after"
    return "neither"


async def _concerned(admin: Connection, swap: Swap) -> set[Database]:
    """Return what of the two is there, and whatever has the name that is swapped."""
    rows = await fetch_all(
        admin,
        "SELECT datname::text, oid::int8 FROM pg_catalog.pg_database"
        " WHERE oid::int8 = ANY(%s) OR datname = %s",
        [[swap.leaving.oid, swap.coming.oid], swap.leaving.name],
    )
    return {Database(name, oid) for name, oid in rows}


async def moved_reasons(admin: Connection, swap: Swap) -> tuple[str, ...]:
    """Return what of a swap is not where it was: dropped, renamed, or another of the name."""
    found = await _concerned(admin, swap)
    names = {database.oid: database.name for database in found}
    reasons = []
    for database in (swap.leaving, swap.coming) if swap.replaces else (swap.coming,):
        now = names.get(database.oid)
        if now is None:
            reasons.append(
                f"The database {database.name} (OID {database.oid}) is not on the server any more."
            )
        elif now != database.name:
            reasons.append(
                f"The database {database.name} (OID {database.oid}) is called {now} now."
            )
    known = (swap.leaving.oid, swap.coming.oid)
    reasons += [
        f"Another database is called {database.name} now (OID {database.oid})."
        for database in found
        if database.name == swap.leaving.name and database.oid not in known
    ]
    return tuple(reasons)


async def not_what_it_was(admin: Connection, swap: Swap) -> IdentityMismatch:
    """Return the refusal of a swap whose databases are not those that were looked at."""
    reasons = await moved_reasons(admin, swap)
    name = swap.leaving.name
    return IdentityMismatch(
        f"NOT SWAPPED. Nothing changed: {name} or {swap.coming.name} is not what it was.",
        why="\n".join(reasons)
        or "One of them was renamed, dropped or made anew since it was looked at.",
        fix="Look at the server's databases (psql -l). One that was renamed gets its name back "
        "with\nALTER DATABASE … RENAME TO …; one that was dropped is gone: go on without it.",
    )


async def swap_databases(
    open_admin: Callable[[], Awaitable[Connection]],
    swap: Swap,
    *,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> Swapped:
    """Let the two databases change places; returns when that is durable on the server.

    ``open_admin`` opens a session in another database than these two; two are used. ``on_ready``
    is awaited last, when both renames are done and only the commit is left. A cancel before the
    commit undoes everything.

    Raises:
        UsageError: ``kept_as`` is no name.
        SafetyRefusal: they are not the databases they were, or ``kept_as`` is taken.
        RightsMissing: the role may not rename them, or not end a session that is in one.
        PostgresError: the server refuses; nothing was changed.
    """
    check_name(swap.kept_as if swap.replaces else swap.leaving.name)
    mover, ender = await open_admin(), await open_admin()
    async with mover, ender:
        try:
            return await _swap(mover, ender, swap, on_ready)
        except psycopg.errors.ObjectInUse as error:
            raise await _in_use(ender, swap, error) from error
        except psycopg.Error as error:
            raise _refused(swap, error) from error


async def _swap(
    mover: Connection,
    ender: Connection,
    swap: Swap,
    on_ready: Callable[[], Awaitable[None]] | None,
) -> Swapped:
    started = time.monotonic()
    async with mover.transaction():
        # The commit is what a rollback and a recovery rely on.
        await mover.execute("SET LOCAL synchronous_commit TO on")
        await _check_still_those(mover, swap)
        # Both names are held from here on: who is ended can't come back before the commit.
        async with _ending_sessions(ender, swap) as ended:
            if swap.replaces:
                await _rename(mover, swap.leaving.name, swap.kept_as)
            await _rename(mover, swap.coming.name, swap.leaving.name)
        await _check_moved(mover, swap)
        await _dress(mover, swap)
        if on_ready is not None:
            await on_ready()
    return Swapped(len(ended), time.monotonic() - started)


@asynccontextmanager
async def _ending_sessions(ender: Connection, swap: Swap) -> AsyncIterator[set[int]]:
    """End, all through the block, who is in either database; gives the pids of those ended."""
    ended: set[int] = set()
    task = asyncio.create_task(_end_sessions(ender, swap, ended))
    try:
        yield ended
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, psycopg.Error):
            await task


async def _end_sessions(ender: Connection, swap: Swap, ended: set[int]) -> None:
    while True:
        rows = await fetch_all(
            ender,
            "SELECT pid FROM pg_catalog.pg_stat_activity WHERE datid::int8 = ANY(%s)"
            " AND pid <> pg_catalog.pg_backend_pid()",
            [[swap.leaving.oid, swap.coming.oid]],
        )
        for (pid,) in rows:
            # One that may not be ended must not keep the others in.
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                await ender.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
                ended.add(pid)
        await asyncio.sleep(_END_EVERY_SECONDS)


async def _check_still_those(mover: Connection, swap: Swap) -> None:
    if await standing(mover, swap) != "before":
        raise await not_what_it_was(mover, swap)


async def _check_moved(mover: Connection, swap: Swap) -> None:
    """Make sure that no rename met another database that got the name in between."""
    if await standing(mover, swap) != "after":
        raise SafetyRefusal(
            f"NOT SWAPPED: {swap.leaving.name} was renamed by somebody else meanwhile.",
            fix="Look at the server's databases (psql -l), then start again.",
        )


async def _rename(mover: Connection, name: str, new_name: str) -> None:
    await mover.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            sql.Identifier(name), sql.Identifier(new_name)
        )
    )


async def _dress(mover: Connection, swap: Swap) -> None:
    """Give both their comments, and let sessions into the one that is live now, or nobody."""
    comments = {swap.leaving.name: swap.coming_comment}
    if swap.replaces:
        comments[swap.kept_as] = swap.leaving_comment
    for name, comment in comments.items():
        await mover.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name), sql.Literal(comment)
            )
        )
    await mover.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(swap.leaving.name), sql.Literal(swap.opened)
        )
    )


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What keeps a database from being renamed, or is lost sight of with its old name.

    ``prepared``: prepared transactions, which no session holds and nobody can end but by name;
    ``closed_sessions``: those this role may not end; ``slots``: logical replication slots, which
    stay with the old database and hold WAL; ``subscriptions`` stay with it, too.
    """

    prepared: tuple[str, ...]
    closed_sessions: tuple[str, ...]
    slots: tuple[str, ...]
    subscriptions: tuple[str, ...]
    sessions: int

    @property
    def forbids(self) -> bool:
        """Whether a swap would wait in vain, which is an outage of its own."""
        return bool(self.prepared or self.closed_sessions)


async def find_obstacles(admin: Connection, database: Database) -> Obstacles:
    """Return what stands in the way of renaming a database now."""
    prepared = await fetch_all(
        admin,
        "SELECT gid, owner::text, prepared::text FROM pg_catalog.pg_prepared_xacts"
        " WHERE database = %s ORDER BY prepared",
        [database.name],
    )
    sessions = await fetch_all(
        admin,
        _SESSIONS,
        [database.oid],
    )
    slots = await fetch_all(
        admin,
        "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = %s"
        " ORDER BY 1",
        [database.name],
    )
    subscriptions = await fetch_all(
        admin,
        "SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid::int8 = %s ORDER BY 1",
        [database.oid],
    )
    return Obstacles(
        prepared=tuple(f"'{gid}' of {owner}, since {since}" for gid, owner, since in prepared),
        closed_sessions=tuple(
            f"{name} of {user}, pid {pid}" for pid, user, name, may in sessions if not may
        ),
        slots=tuple(str(name) for (name,) in slots),
        subscriptions=tuple(str(name) for (name,) in subscriptions),
        sessions=len(sessions),
    )


async def _in_use(admin: Connection, swap: Swap, error: psycopg.Error) -> PostgresError:
    live = swap.leaving
    left = await find_obstacles(admin, live)
    why = str(error).strip().splitlines()[0]
    if left.prepared:
        why = f"Prepared transactions hold {live.name} open: {_some(left.prepared)}."
        fix = "Ask their owner: COMMIT PREPARED or ROLLBACK PREPARED, then swap again."
    elif left.closed_sessions:
        why = f"This role may not end {_some(left.closed_sessions)}."
        fix = "End them as their owner or a superuser, then swap again."
    else:
        fix = "See who is in: SELECT * FROM pg_stat_activity; then swap again."
    return PostgresError(
        f"NOT SWAPPED. Nothing changed: {live.name} is as it was.", why=why, fix=fix
    )


def _some(names: tuple[str, ...]) -> str:
    shown = "; ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown}; and {more} more" if more > 0 else shown


def _refused(swap: Swap, error: psycopg.Error) -> Exception:
    what = f"NOT SWAPPED. Nothing changed: {swap.leaving.name} is as it was."
    why = str(error).strip().splitlines()[0]
    if isinstance(error, psycopg.errors.DuplicateDatabase):
        return SafetyRefusal(
            what, why=why, fix="Rename that database, or choose another name for the old one."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsMissing(
            what,
            why=why,
            fix="Give 'admin: url' in the config the owner of both with CREATEDB, or a superuser.",
        )
    if isinstance(error, psycopg.OperationalError):
        return PostgresError(
            f"SWAP UNSURE: the server was lost while {swap.leaving.name} was swapped.",
            why=why,
            fix="Nothing is half done: look which database has the name, once it is back.",
        )
    return PostgresError(what, why=why, fix="Mend what the server names, then swap again.")
