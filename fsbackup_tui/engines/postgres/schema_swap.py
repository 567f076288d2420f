"""Schemas change places under one name, in one transaction, where no database can be renamed.

``ALTER SCHEMA … RENAME`` takes no lock on what is in the schema (commands/schemacmds.c,
RenameSchema): a transaction under way would go on writing into the old tables and lose that at
its commit. So every table that leaves is locked ACCESS EXCLUSIVE first. Whoever waits for that
lock looks the name up again when it is granted (catalog/namespace.c, RangeVarGetRelidExtended),
and prepared statements are planned anew when a schema was renamed (utils/cache/plancache.c,
InitPlanCache registers NAMESPACEOID), so that sessions live on and write into the new tables.
Each attempt waits for a moment only, lets everybody through, and tries again. A killed swap is
undone by the server: it is wholly the old or wholly the new.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal, TableLocked
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import check_name
from fsbackup_tui.engines.postgres.schema_exchange import exchange, first_line
from fsbackup_tui.engines.postgres.schema_marks import (
    Mark,
    check_different,
    parse_mark,
    schema_comment,
)
from fsbackup_tui.engines.postgres.schema_pairs import (
    SchemaSwap,
    SchemaSwapped,
    Standing,
    standing,
)
from fsbackup_tui.engines.postgres.schema_ties import Ties, find_ties
from fsbackup_tui.engines.postgres.schema_waiting import (
    Blocking,
    prepared_transactions,
    watching,
)

_PAUSE_SECONDS = 0.2
# Below deadlock_timeout (1 s): who would wait for us and we for them, we give way first.
_LOCK_MILLISECONDS = 400
# An autovacuum gives way to those alone who wait for longer than deadlock_timeout.
_PATIENT_MILLISECONDS = 2500
_LISTED = 5


async def swap_schemas(
    open_session: Callable[[], Awaitable[Connection]],
    swap: SchemaSwap,
    *,
    patience_seconds: float = 30.0,
    end_blockers: bool = False,
    notify: Sequence[tuple[str, str]] = (),
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> SchemaSwapped:
    """Let the schemas change places; returns when that is durable on the server.

    ``open_session`` opens a session in their database; two are used. Who holds a lock on a table
    that leaves is waited for, for ``patience_seconds`` in all, or ended if ``end_blockers``.
    ``notify`` (channel, payload) is sent with the commit. ``on_ready`` is awaited last, when only
    the commit is left. Constraints of ``to_check`` hold for new rows; ``check_constraints``.

    Raises:
        UsageError: a name is none, or two are one.
        SafetyRefusal: they are not what they were, or something can't be re-pointed.
        TableLocked: somebody held a lock all the time; says who.
        RightsMissing, PostgresError: the server refuses; nothing was changed.
    """
    for pair in swap.pairs:
        check_name(pair.kept_as)
    check_different([pair.kept_as for pair in swap.pairs])
    mover, watcher = await open_session(), await open_session()
    async with mover, watcher:
        try:
            return await _until_done(
                mover, watcher, swap, patience_seconds, end_blockers, notify, on_ready
            )
        except psycopg.Error as error:
            raise _refused(swap, error) from error


async def _until_done(
    mover: Connection,
    watcher: Connection,
    swap: SchemaSwap,
    patience_seconds: float,
    end_blockers: bool,
    notify: Sequence[tuple[str, str]],
    on_ready: Callable[[], Awaitable[None]] | None,
) -> SchemaSwapped:
    started = time.monotonic()
    blocking = Blocking()
    for attempt in range(1, 1_000_000):
        patient = blocking.has_background or attempt % 10 == 0
        try:
            async with watching(watcher, mover.info.backend_pid, blocking, end=end_blockers):
                done = await _attempt(
                    mover,
                    swap,
                    _PATIENT_MILLISECONDS if patient else _LOCK_MILLISECONDS,
                    notify,
                    on_ready,
                )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() - started >= patience_seconds:
                raise _locked(swap, blocking, await prepared_transactions(watcher)) from error
            # Those who queued behind us go first.
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        done.attempts = attempt
        done.sessions_ended = len(blocking.ended)
        return done
    raise _locked(swap, blocking, await prepared_transactions(watcher))


async def _attempt(
    mover: Connection,
    swap: SchemaSwap,
    lock_milliseconds: int,
    notify: Sequence[tuple[str, str]],
    on_ready: Callable[[], Awaitable[None]] | None,
) -> SchemaSwapped:
    done = SchemaSwapped()
    async with mover.transaction():
        # The commit is what a rollback and a recovery rely on.
        await mover.execute("SET LOCAL synchronous_commit TO on")
        await mover.execute(
            sql.SQL("SET LOCAL lock_timeout TO {}").format(sql.Literal(f"{lock_milliseconds}ms"))
        )
        await _check_standing(mover, swap, "before", "is not what it was")
        started = time.monotonic()
        await _lock_tables(mover, swap)
        ties = await find_ties(mover, [pair.leaving_oid for pair in swap.leaving])
        if ties.blockers:
            raise in_the_way(ties)
        coming = await _coming_marks(mover, swap)
        await exchange(mover, swap, ties, coming, done)
        await _check_standing(mover, swap, "after", "was renamed by somebody else meanwhile")
        for channel, payload in notify:
            await mover.execute("SELECT pg_catalog.pg_notify(%s, %s)", [channel, payload])
        if on_ready is not None:
            await on_ready()
    done.closed_seconds = time.monotonic() - started
    return done


async def _lock_tables(mover: Connection, swap: SchemaSwap) -> None:
    rows = await fetch_all(
        mover,
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.oid::int8 = ANY (%s)"
        # Of an extension's tables the rows stay where they are.
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.deptype = 'e'"
        " AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid)"
        " ORDER BY 1, 2",
        [[pair.leaving_oid for pair in swap.leaving]],
    )
    if rows:
        names = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier(schema, name)) for schema, name in rows
        )
        await mover.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))


async def _coming_marks(mover: Connection, swap: SchemaSwap) -> dict[str, Mark]:
    """Return what the schemas that come remember; SafetyRefusal where one is not fsbackup's."""
    marks: dict[str, Mark] = {}
    for pair in swap.pairs:
        mark = parse_mark(await schema_comment(mover, pair.coming_oid))
        if mark is None or mark.schema != pair.schema or mark.kind == "unfinished":
            raise SafetyRefusal(
                f"NOT SWAPPED: {pair.coming} is no finished copy of {pair.schema}.",
                why="Its comment does not say so; fsbackup writes it when the copy is proven.",
                fix="Make the copy again, or look at it: \\dn+ in psql.",
            )
        marks[pair.schema] = mark
    return marks


async def _check_standing(
    mover: Connection, swap: SchemaSwap, wanted: Standing, otherwise: str
) -> None:
    if await standing(mover, swap) != wanted:
        names = ", ".join(pair.schema for pair in swap.pairs)
        raise SafetyRefusal(
            f"NOT SWAPPED: a schema of {names} {otherwise}.",
            why="One of them, or of their copies, was renamed, dropped or made anew.",
            fix="Look at the database's schemas (\\dn in psql), then start again.",
        )


def in_the_way(ties: Ties) -> SafetyRefusal:
    """Return the refusal that names what can't be re-pointed."""
    shown = list(ties.blockers[:_LISTED])
    more = len(ties.blockers) - len(shown)
    return SafetyRefusal(
        "NOT SWAPPED. Nothing changed: what other schemas have can't go over to the copy.",
        why="\n".join([*shown, *([f"and {more} more"] if more > 0 else [])]),
        fix="Name that schema too, so that both go together; or drop what is named, swap, and "
        "make it anew.",
    )


def _locked(swap: SchemaSwap, blocking: Blocking, prepared: Sequence[str]) -> TableLocked:
    names = ", ".join(pair.schema for pair in swap.pairs)
    who = [*blocking.seen.values(), *prepared][:_LISTED]
    return TableLocked(
        f"NOT SWAPPED. Nothing changed: {names} is as it was.",
        why="Its tables are held by " + ("; ".join(who) if who else "somebody who has ended since"),
        fix="Let them finish, or let the swap end their sessions; a prepared transaction by its "
        "name: COMMIT PREPARED or ROLLBACK PREPARED.",
    )


def _refused(swap: SchemaSwap, error: psycopg.Error) -> Exception:
    names = ", ".join(pair.schema for pair in swap.pairs)
    what = f"NOT SWAPPED. Nothing changed: {names} is as it was."
    why = first_line(error)
    if isinstance(error, psycopg.errors.DuplicateSchema):
        return SafetyRefusal(
            what, why=why, fix="Rename that schema, or choose another tag for the old one."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsMissing(
            what,
            why=why,
            fix="Swap as the schema's owner, who may also CREATE in the database: "
            "'admin: url' in the config.",
        )
    if isinstance(error, psycopg.OperationalError):
        return PostgresError(
            f"SWAP UNSURE: the server was lost while {names} was swapped.",
            why=why,
            fix="Nothing is half done: look which schema has the name (\\dn+ in psql).",
        )
    return PostgresError(what, why=why, fix="Mend what the server names, then swap again.")
