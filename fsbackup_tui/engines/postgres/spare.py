"""A spare on the server: fenced off, told apart by OID and mark, seen to be as it was proven."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import LONGEST_NAME_BYTES, replay_properties
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze

STATISTICS_LOST = "the server's statistics were reset since (a crash does that)"
"""Why it can't be told whether anybody was in a spare, which is not to say that somebody was."""

_MARK = "fsbackup: spare of "
_BETWEEN = "fsbackup-between"  # seen by nobody: it is gone again in the same transaction
_STILL_SECONDS = 60.0
_LATE_SECONDS = 15.0
_POLL_SECONDS = 0.4
_STILL_READINGS = 4  # PostgreSQL 14 writes its statistics only every half second
_COUNTERS = """
SELECT d.datallowconn, s.tup_inserted::int8, s.tup_updated::int8, s.tup_deleted::int8,
  s.sessions::int8, coalesce(s.stats_reset::text, ''),
  (SELECT count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.datid = d.oid)
FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_stat_database AS s ON s.datid = d.oid
WHERE d.oid = %s
"""
_WITHOUT_SESSIONS = _COUNTERS.replace("s.sessions::int8", "0::int8")
_CATALOGUE = """
SELECT c.relname::text FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r'
  AND NOT c.relisshared
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Counters:
    """What tells whether anything was written into a database since, or anybody was in it.

    ``stats_reset`` is the server's text, empty for never; ``sessions`` is 0 before 14, which
    does not count them. A crash sets all of it back.
    """

    inserted: int
    updated: int
    deleted: int
    sessions: int
    stats_reset: str

    def document(self) -> dict[str, object]:
        """Return the counters as plain values for a record."""
        return asdict(self)


def parse_counters(document: Mapping[str, object]) -> Counters:
    """Return what ``document`` wrote; KeyError, ValueError, TypeError for anything else."""
    return Counters(
        inserted=int(str(document["inserted"])),
        updated=int(str(document["updated"])),
        deleted=int(str(document["deleted"])),
        sessions=int(str(document["sessions"])),
        stats_reset=str(document["stats_reset"]),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A database that bears a spare's mark: its name now, OID, comment, and whether it is open."""

    name: str
    oid: int
    comment: str
    open: bool = False


def spare_name(database: str, tag: str) -> str:
    """Return a spare's name; the database's is shortened to fit into 63 bytes, the rest never."""
    suffix = f"__spare_{tag}"
    room = LONGEST_NAME_BYTES - len(suffix.encode())
    return database.encode()[:room].decode("utf-8", "ignore") + suffix


def spare_comment(point: str, part: str, proven_at: str, repository: str) -> str:
    """Return the comment by which a spare is known to be fsbackup's, this repository's."""
    return f"{_MARK}{point}, part {part}, proven at {proven_at}, repository {repository}"


def bears_mark(comment: str) -> bool:
    """Whether a comment says that its database is a spare, whosever."""
    return comment.startswith(_MARK)


async def make_ready(
    open_connection: Callable[[], Awaitable[Connection]],
    *,
    jobs: int,
    report: Report | None = None,
) -> tuple[str, ...]:
    """Vacuum, freeze and analyse a whole copy, its catalogue last; returns what failed.

    ANALYZE itself writes into the catalogue, which would be autovacuum's reason to come.
    """
    problems = list(await vacuum_analyze(open_connection, jobs=jobs, report=report, freeze=True))
    connection = await open_connection()
    async with connection:
        for (name,) in await fetch_all(connection, _CATALOGUE):
            try:
                await connection.execute(
                    sql.SQL("VACUUM (FREEZE) {}").format(sql.Identifier("pg_catalog", name))
                )
            except psycopg.errors.InsufficientPrivilege:
                continue
            except psycopg.Error as error:
                problems.append(f"pg_catalog.{name}: {str(error).strip().splitlines()[0]}")
    return tuple(problems)


async def close_off(admin: Connection, name: str, *, closed: bool = True) -> None:
    """Let nobody connect to a database any more, superusers included; or let them again."""
    allowed = sql.SQL("false" if closed else "true")
    await admin.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), allowed)
    )


async def settled_counters(
    admin: Connection, oid: int, *, limit_seconds: float = _STILL_SECONDS
) -> Counters:
    """Return a database's counters once all sessions in it have ended and they stand still.

    Raises:
        PostgresError: they did not come to rest, or the database is gone.
    """
    deadline = time.monotonic() + limit_seconds
    before: Counters | None = None
    same = 0
    while time.monotonic() < deadline:
        row = await _read(admin, oid)
        if row is None:
            break
        counters, sessions = row[1], row[2]
        same = same + 1 if counters == before and not sessions else 0
        if same >= _STILL_READINGS - 1:
            return counters
        before = counters
        await asyncio.sleep(_POLL_SECONDS)
    raise PostgresError(
        "COPY NOT AT REST: its tuple counters could not be read, or did not stand still.",
        why=f"Somebody was in it for more than {limit_seconds:.0f} s, or it is gone.",
        fix="See who: SELECT * FROM pg_stat_activity; then verify again with --keep-spare.",
    )


Written = tuple[int, int, int, int]
"""Tables of all kinds, and rows that were inserted, updated and deleted in them."""

_WRITTEN = """
SELECT count(*), coalesce(sum(n_tup_ins), 0)::int8, coalesce(sum(n_tup_upd), 0)::int8,
       coalesce(sum(n_tup_del), 0)::int8
  FROM pg_catalog.pg_stat_all_tables
 WHERE relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_toast_2619', 'pg_toast_3429')
"""


async def read_written(copy: Connection) -> Written:
    """Return what was written in the session's database, by whomever but autovacuum.

    Autovacuum and ANALYZE write planner statistics alone; what they note in pg_class is written
    in place and not counted (vac_update_relstats).
    """
    return (await fetch_all(copy, _WRITTEN))[0]


async def _read(admin: Connection, oid: int) -> tuple[bool, Counters, int] | None:
    counted = admin.info.server_version >= 140000
    rows = await fetch_all(admin, _COUNTERS if counted else _WITHOUT_SESSIONS, [oid])
    if not rows:
        return None
    allows, inserted, updated, deleted, sessions, reset, present = rows[0]
    return bool(allows), Counters(inserted, updated, deleted, sessions, reset), int(present)


async def changed_since(admin: Connection, oid: int, comment: str, proven: Counters) -> str:
    """Return why the database is not the spare that was proven; empty where it is."""
    if not await find_standing(admin, [(oid, comment)]):
        return "it is gone, or does not bear its mark any more"
    row = await _read(admin, oid)
    if row is None:
        return "the server has no statistics about it"
    allows, now, present = row
    if allows:
        return "it is not fenced off: anybody may have been in it"
    if present and await _is_visited(admin, oid):
        return "somebody is in it: what they write is not counted yet"
    if admin.info.server_version < 150000:
        # There a process of its own collects the statistics, and writes them down later.
        now = await settled_counters(admin, oid, limit_seconds=_LATE_SECONDS)
    # No session was in it: what was updated all the same is autovacuum's, planner statistics.
    counted = admin.info.server_version >= 140000
    if now == (replace(proven, updated=now.updated) if counted else proven):
        return ""
    if now.stats_reset != proven.stats_reset or now.sessions < proven.sessions:
        return STATISTICS_LOST
    rows = [
        f"{name} {then} to {since}"
        for name, then, since in (
            ("inserted", proven.inserted, now.inserted),
            ("updated", proven.updated, now.updated),
            ("deleted", proven.deleted, now.deleted),
            ("sessions", proven.sessions, now.sessions),
        )
        if then != since
    ]
    return f"it was used since it was proven ({', '.join(rows)})"


async def _is_visited(admin: Connection, oid: int) -> bool:
    """Whether a session is in the database; autovacuum comes through a fence, and is none."""
    rows = await fetch_all(
        admin,
        "SELECT 1 FROM pg_catalog.pg_stat_activity AS a"
        " WHERE a.datid = %s AND a.backend_type IS DISTINCT FROM 'autovacuum worker'",
        [oid],
    )
    return bool(rows)


async def find_standing(
    admin: Connection, spares: Sequence[tuple[int, str]]
) -> tuple[Standing, ...]:
    """Return the databases whose OID and comment are both those of one of the spares."""
    rows = await fetch_all(
        admin,
        "SELECT d.datname::text, d.oid::int8,"
        " coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''), d.datallowconn"
        " FROM pg_catalog.pg_database AS d WHERE d.oid::int8 = ANY(%s)",
        [[oid for oid, _comment in spares]],
    )
    found = [Standing(*row) for row in rows]
    return tuple(here for here in found if (here.oid, here.comment) in set(spares))


async def fence(
    admin: Connection,
    copy: str,
    name: str,
    facts: PostgresFacts,
    *,
    comment: str,
    displaced: tuple[str, str] | None = None,
) -> tuple[str, ...]:
    """Make a copy the spare ``name`` in one transaction; returns what could not be replayed.

    It gets the captured settings, grants and limit, as a finished restore does, is closed to
    everybody and bears the mark. ``displaced``: the former holder of the name, and the name it
    gets instead.

    Raises:
        SafetyRefusal: the name belongs to another database.
        PostgresError: the server refuses; nothing was changed.
    """
    try:
        async with admin.transaction():
            await admin.execute("SET LOCAL synchronous_commit TO on")
            problems = await replay_properties(admin, copy, facts)
            await close_off(admin, copy)
            await admin.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(copy), sql.Literal(comment)
                )
            )
            if displaced is None:
                await _rename(admin, [(copy, name)])
            else:
                # The copy's own name is what the former one may be swept by, once it is free.
                await _rename(admin, [(copy, _BETWEEN), displaced, (_BETWEEN, name)])
    except psycopg.errors.DuplicateDatabase as error:
        raise SafetyRefusal(
            f"NAME TAKEN: a database {name} exists, which is not this point's spare.",
            why="A spare never replaces what fsbackup did not put there.",
            fix=f'Look at it, then rename it: ALTER DATABASE "{name}" RENAME TO …',
        ) from error
    except psycopg.Error as error:
        raise _refused(f"SPARE NOT KEPT: {copy} could not become {name}.", error) from error
    return tuple(problems)


async def unfence(
    admin: Connection,
    spare: Standing,
    name: str,
    *,
    comment: str | None,
    before: Sequence[tuple[str, str]] = (),
) -> None:
    """Open a spare as the database ``name`` in one transaction, for a recovery.

    ``before`` are renames (from, to) that come first, such as live's to its kept name; in all of
    them nobody may be connected. ``comment`` is the database's own.

    Raises:
        SafetyRefusal: a name is taken, or the spare is not that database any more.
        PostgresError: the server refuses; nothing was changed.
    """
    try:
        async with admin.transaction():
            await admin.execute("SET LOCAL synchronous_commit TO on")
            if spare not in await find_standing(admin, [(spare.oid, spare.comment)]):
                raise SafetyRefusal(
                    f"SPARE NOT USED: {spare.name} is not the database it was.",
                    fix="Look again: fsbackup show POINT",
                )
            await _rename(admin, [*before, (spare.name, name)])
            await close_off(admin, name, closed=False)
            await admin.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(comment)
                )
            )
    except psycopg.errors.DuplicateDatabase as error:
        raise SafetyRefusal(
            f"NAME TAKEN: {name}. Nothing was changed.",
            why=str(error).strip().splitlines()[0],
            fix="Rename that database first.",
        ) from error
    except psycopg.Error as error:
        raise _refused(f"SPARE NOT USED: {spare.name} could not become {name}.", error) from error


async def _rename(admin: Connection, renames: Sequence[tuple[str, str]]) -> None:
    for old, new in renames:
        if old == new:
            continue
        await admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(old), sql.Identifier(new)
            )
        )


def _refused(what: str, error: psycopg.Error) -> PostgresError:
    return PostgresError(
        what,
        why=str(error).strip().splitlines()[0],
        fix="Mend what the server names, then try again.",
    )


async def maximum_wal_bytes(admin: Connection) -> int:
    """Return how much WAL the server lets lie before it writes a checkpoint for it."""
    rows = await fetch_all(
        admin, "SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size'))"
    )
    return int(rows[0][0])
