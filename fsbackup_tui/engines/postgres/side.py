"""Side databases while they are unfinished: their mark, their lock, and their removal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import DatabaseMissing, LockHeld, PostgresError, SafetyRefusal
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import CreatedDatabase
from fsbackup_tui.engines.postgres.swap import Database

_NEWBORN = "fsbackup-"
_NEWBORN_NAME = re.compile(r"fsbackup-(?P<job>[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9_.-]+-[a-z0-9]{4})")
_MARK = re.compile(r"fsbackup: unfinished restore by job (?P<job>\S+)\.")


def unfinished_comment(job: str) -> str:
    """Return the comment that tells whose an unfinished database is."""
    return f"fsbackup: unfinished restore by job {job}. Not usable; may be dropped."


def unfinished_job(comment: str) -> str | None:
    """Return the job whose unfinished database bears that comment; None: it is no such mark."""
    mark = _MARK.match(comment)
    return None if mark is None else mark["job"]


def newborn_name(job: str) -> str:
    """Return the name under which a side database is made, until it bears its mark.

    Between CREATE DATABASE and COMMENT lies a moment in which only its name tells whose it is.
    """
    return _NEWBORN + job


async def name_unfinished(
    admin: Connection, newborn: CreatedDatabase, name: str
) -> CreatedDatabase:
    """Give a side database, which bears its mark now, its unfinished name.

    Raises:
        SafetyRefusal: the name was taken meanwhile.
    """
    try:
        await admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(newborn.name), sql.Identifier(name)
            )
        )
    except psycopg.errors.DuplicateDatabase as error:
        raise SafetyRefusal(
            f"NAME TAKEN: a database {name} came into being meanwhile.",
            why="A restore never writes into a database that is there.",
            fix="Choose another name for the copy.",
        ) from error
    return replace(newborn, name=name)


async def sweep_newborn(admin: Connection, is_alive: Callable[[str], bool]) -> list[str]:
    """Drop what jobs left that died while they made or used a side database; returns the jobs.

    ``is_alive`` knows this site's jobs alone. Another's lives as long as it has a session outside
    of that database: every job keeps one in the maintenance database. Call it under
    ``restore_lock``, so that nobody is making one meanwhile.
    """
    rows = await fetch_all(
        admin,
        "SELECT d.datname::text, d.oid::int8 FROM pg_catalog.pg_database AS d"
        " WHERE d.datname ~ '^fsbackup-[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9_.-]+-[a-z0-9]{4}$'"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a"
        " WHERE a.application_name = 'fsbackup/' || pg_catalog.substr(d.datname::text, 10)"
        " AND a.datid <> d.oid AND a.pid <> pg_catalog.pg_backend_pid())",
    )
    swept = []
    for name, oid in rows:
        job = name.removeprefix(_NEWBORN)
        if not is_alive(job):
            await drop_unfinished(admin, name, oid)
            swept.append(job)
    return swept


@asynccontextmanager
async def restore_lock(
    admin: Connection, identity: ServerIdentity, application_name: str
) -> AsyncIterator[None]:
    """Hold the advisory lock around restores into this server (design §3) inside the block.

    It is taken in the maintenance database: advisory locks are per database. LockHeld names
    the session that has it.
    """
    key = _lock_key(identity)
    rows = await fetch_all(admin, "SELECT pg_catalog.pg_try_advisory_lock(%s)", [key])
    if not rows[0][0]:
        raise await _held(admin, key, application_name)
    try:
        yield
    finally:
        # A lost session has lost its lock already; what it was lost by is told elsewhere.
        with suppress(psycopg.Error):
            await admin.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [key])


def _lock_key(identity: ServerIdentity) -> int:
    text = f"fsbackup restore {identity.system_identifier} {identity.database_oid}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


async def who_restores(
    admin: Connection, identity: ServerIdentity, application_name: str
) -> str | None:
    """Return whose restore, swap or merge into this server runs, in words; None for nobody's.

    It only looks: taking the lock, even for a moment, would refuse somebody's restore.
    """
    return await _holder(admin, _lock_key(identity), application_name)


async def _holder(admin: Connection, key: int, application_name: str) -> str | None:
    rows = await fetch_all(
        admin,
        "SELECT a.application_name, a.usename::text, a.client_addr::text, a.backend_start::text"
        " FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND a.application_name <> %s"
        " AND (l.classid::int8 << 32 | l.objid::int8) = %s",
        [application_name, key],
    )
    if not rows:
        return None
    name, role, client, since = rows[0]
    return f"{name or '-'} ({role or '-'}) from {client or 'this machine'}, since {since}"


async def _held(admin: Connection, key: int, application_name: str) -> LockHeld:
    who = await _holder(admin, key, application_name)
    return LockHeld(
        "RESTORE RUNNING: another restore into this server is under way. Nothing was done.",
        why="It has ended since." if who is None else f"{who}.",
        fix="Wait for it (fsbackup jobs), then start this one again.",
    )


async def find_database(admin: Connection, name: str) -> tuple[Database, int | None]:
    """Return the database of that name and its size in bytes, None where that may not be known.

    Raises:
        DatabaseMissing: there is none.
    """
    rows = await fetch_all(
        admin,
        "SELECT d.oid::int8, CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')"
        " OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"
        " THEN pg_catalog.pg_database_size(d.oid) END"
        " FROM pg_catalog.pg_database AS d WHERE d.datname = %s",
        [name],
    )
    if not rows:
        raise DatabaseMissing(
            f"DATABASE MISSING: the server has no database '{name}'.",
            fix="Look at the server's databases (psql -l), then start again.",
        )
    return Database(name, rows[0][0]), rows[0][1]


async def database_exists(admin: Connection, name: str) -> bool:
    """Whether the server has a database of that name."""
    rows = await fetch_all(admin, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", [name])
    return bool(rows)


async def sweep_unfinished(
    admin: Connection, name: str, is_alive: Callable[[str], bool]
) -> str | None:
    """Drop the unfinished database of that name if a dead job left it; returns that job.

    Raises:
        SafetyRefusal: it exists, and is a living job's or none of fsbackup's.
    """
    rows = await fetch_all(
        admin,
        "SELECT oid::int8, coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '')"
        " FROM pg_catalog.pg_database WHERE datname = %s",
        [name],
    )
    if not rows:
        return None
    oid, comment = rows[0]
    mark = _MARK.match(comment)
    if mark is None or is_alive(mark["job"]):
        raise SafetyRefusal(
            f"NAME TAKEN: a database {name} exists already.",
            why=f"Job {mark['job']} is filling it." if mark else "It was not made by fsbackup.",
            fix="Choose another name for the copy.",
        )
    await drop_unfinished(admin, name, oid)
    return mark["job"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A database that a job was filling, or about to: living or dead."""

    name: str
    oid: int
    job: str
    size_bytes: int | None


async def find_unfinished(admin: Connection) -> tuple[Unfinished, ...]:
    """Return the databases that bear the unfinished mark, or the name of one not marked yet."""
    rows = await fetch_all(
        admin,
        "SELECT d.datname::text, d.oid::int8,"
        " coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),"
        " CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')"
        " OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"
        " THEN pg_catalog.pg_database_size(d.oid) END"
        " FROM pg_catalog.pg_database AS d ORDER BY 1",
    )
    found = []
    for name, oid, comment, size in rows:
        mark = _MARK.match(comment) or _NEWBORN_NAME.fullmatch(name)
        if mark is not None:
            found.append(Unfinished(name, oid, mark["job"], size))
    return tuple(found)


async def drop_unfinished(admin: Connection, name: str, oid: int) -> None:
    """Drop an unfinished database, ending what sessions are in it; only if it is still that one.

    Raises:
        PostgresError: the server refuses; says what is left over.
    """
    rows = await fetch_all(
        admin, "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = %s", [name]
    )
    if not rows or rows[0][0] != oid:
        return
    try:
        await admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise PostgresError(
            f"LEFT OVER: the unfinished database {name} could not be dropped.",
            why=str(error).strip().splitlines()[0],
            fix=f'Drop it yourself: DROP DATABASE "{name}"',
        ) from error
