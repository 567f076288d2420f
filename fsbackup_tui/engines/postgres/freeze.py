"""Keeping a database from getting worse: what is switched off, and the words that undo it.

Graded (design §7): autovacuum of one table, writing to one table, one role, everybody. Every
measure is planned first, so that its undo, as stock SQL, is in the journal before it is taken:
a crash in between leaves nothing that nobody knows of. What each stops was tried
(reference/ops.md n): none of them ends a session that is there already.

No measure keeps fsbackup's own administrator out. ``ALLOW_CONNECTIONS false`` would: it stops
superusers, too, and with them the damage report and a merge while writes are frozen. So everybody
is kept out by ``CONNECTION LIMIT 0``, which superusers pass, or, where the administrator is none,
by taking the right to connect from all but it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from fsbackup_tui.domain.errors import (
    PostgresError,
    RightsMissing,
    SafetyRefusal,
    ServerUnreachable,
)
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

Grade = Literal["vacuum", "table", "role", "everyone"]
Place = Literal["live", "maintenance"]

_WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
# REVOKE and GRANT by somebody without the right to grant do nothing, and only warn.
_NOTHING_DONE = ("01006", "01007")
# No word from the server, a lost connection, or a session that was ended (sqlstate's beginning).
_LOST = ("08", "57P")
_GONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InvalidCatalogName,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is switched off: where its SQL runs, what it does, and what undoes it.

    ``what`` names it for people; ``cost`` says who will notice; ``maintenance`` SQL runs in
    another database than the one it is about. ``shut_out`` are roles that must not be able to
    connect to ``database`` afterwards, whatever else lets them in.
    """

    grade: Grade
    what: str
    cost: str
    place: Place
    apply: tuple[str, ...]
    undo: tuple[str, ...]
    shut_out: tuple[str, ...] = ()
    database: str = ""


@dataclass(frozen=True, slots=True)
class _Grant:
    """The right to connect to a database: whose ("" is PUBLIC), to be passed on, from the owner."""

    grantee: str
    grantable: bool
    by_owner: bool


async def run_measure(
    connection: Connection, measure: Measure, *, lock_timeout_seconds: float = 5.0
) -> None:
    """Take a measure, in one transaction, and make sure that it works.

    Raises:
        RightsMissing: the role may not; nothing was changed.
        PostgresError: the server refuses, a lock was not to be had, or a role gets in all the
            same; nothing was changed.
        ServerUnreachable: the server was lost, and nobody knows whether it was taken.
    """
    try:
        async with connection.transaction():
            await _run(connection, measure.apply, lock_timeout_seconds)
            await _check_shut_out(connection, measure)
    except psycopg.Error as error:
        raise _refused(error) from error


async def undo_measure(
    connection: Connection, statements: Iterable[str], *, lock_timeout_seconds: float = 5.0
) -> list[str]:
    """Undo a measure by its stock SQL, in one transaction; undone already is undone, too.

    Returns the statements for which there is nothing any more: their table or role is gone.

    Raises:
        RightsMissing: the role may not; nothing was changed.
        PostgresError: the server refuses, or a lock was not to be had; nothing was changed.
        ServerUnreachable: the server was lost, and nobody knows whether it is undone.
    """
    try:
        async with connection.transaction():
            return await _run(connection, statements, lock_timeout_seconds, skip_gone=True)
    except psycopg.Error as error:
        raise _refused(error) from error


async def _run(
    connection: Connection,
    statements: Iterable[str],
    lock_timeout_seconds: float,
    *,
    skip_gone: bool = False,
) -> list[str]:
    gone: list[str] = []
    warned: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        if notice.sqlstate in _NOTHING_DONE:
            warned.append(notice.message_primary or "the right to grant is missing")

    await connection.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, true)",
        [f"{round(lock_timeout_seconds * 1000)}ms"],
    )
    connection.add_notice_handler(hear)
    try:
        for statement in statements:
            if statement.startswith("--"):
                continue
            try:
                async with connection.transaction():
                    await connection.execute(statement.encode())
            except _GONE:
                if not skip_gone:
                    raise
                gone.append(statement)
    finally:
        connection.remove_notice_handler(hear)
    if warned:
        raise InsufficientPrivilege(warned[0])
    return gone


async def _check_shut_out(connection: Connection, measure: Measure) -> None:
    rows = await fetch_all(
        connection,
        "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY(%s)"
        " AND pg_catalog.has_database_privilege(r.oid, %s, 'CONNECT') ORDER BY 1",
        [list(measure.shut_out), measure.database],
    )
    if rows:
        raise PostgresError(
            f"NOT KEPT OUT: {rows[0][0]}. Nothing was changed.",
            why="It keeps the right to connect: somebody else than the owner gave it.",
            fix=f"See who: \\l {measure.database} in psql. Or freeze everybody.",
        )


def _refused(error: psycopg.Error) -> PostgresError:
    why = str(error).strip().splitlines()[0]
    if isinstance(error, InsufficientPrivilege):
        return RightsMissing(
            "NOT CHANGED: this role may not.",
            why=why,
            fix="Give 'admin: url' in the config the owner of the table or database.",
        )
    if error.sqlstate is None or error.sqlstate.startswith(_LOST):
        return ServerUnreachable(
            "PERHAPS CHANGED: the server was lost in the middle of it.",
            why=why,
            fix="Do it again once the server is back: done twice is done once.",
        )
    return PostgresError(
        "NOT CHANGED: the server refuses.", why=why, fix="Mend what it names, then try again."
    )


async def plan_role_out(
    admin: Connection, database: str, roles: Sequence[str], *, keep: Sequence[str] = ()
) -> Measure:
    """Plan to let the roles into a database no more; who is in is ended apart.

    ``keep`` are roles that get in as before: they are given the right by name if they have it as
    everybody has.

    Raises:
        SafetyRefusal: one of them is a superuser, or gets in as a member of another role.
        PostgresError: one of them, or the database, does not exist.
    """
    grants = await _database_grants(admin, database)
    staying = [name for name in dict.fromkeys(keep) if name not in roles]
    await _refuse_those_who_get_in(admin, roles, [*(grant.grantee for grant in grants), *staying])
    quoted = _identifier(admin, database)
    losing = ["PUBLIC", *(_role(admin, role) for role in roles)]
    apply, undo = await _keep_in(admin, database, staying, grants)
    apply.append(f"REVOKE CONNECT ON DATABASE {quoted} FROM {', '.join(losing)} CASCADE;")
    # What one of them had passed on goes with CASCADE, and comes back as the owner's gift.
    lost = [
        grant
        for grant in grants
        if not grant.grantee or grant.grantee in roles or not grant.by_owner
    ]
    undo = [*_grant_again(admin, quoted, lost), *undo]
    return Measure(
        "role",
        f"{', '.join(roles)} in {database}",
        "The application can't connect: it neither reads nor writes. The same goes for all who "
        "have no right of their own to connect; owner and superusers get in.",
        "maintenance",
        tuple(apply),
        tuple(undo) or (f"-- {', '.join(roles)} had no right to connect before",),
        shut_out=tuple(roles),
        database=database,
    )


async def _keep_in(
    admin: Connection, database: str, staying: Sequence[str], grants: Sequence[_Grant]
) -> tuple[list[str], list[str]]:
    """Return what gives those who get in as PUBLIC does a right of their own, and its undo."""
    rows = await fetch_all(
        admin,
        "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY(%s) AND NOT rolsuper"
        " AND rolname <> ALL(%s) ORDER BY 1",
        [list(staying), [grant.grantee for grant in grants]],
    )
    quoted = _identifier(admin, database)
    names = [_role(admin, name) for (name,) in rows]
    return (
        [f"GRANT CONNECT ON DATABASE {quoted} TO {name};" for name in names],
        [f"REVOKE CONNECT ON DATABASE {quoted} FROM {name};" for name in names],
    )


def _grant_again(admin: Connection, quoted: str, grants: Iterable[_Grant]) -> list[str]:
    return [
        f"GRANT CONNECT ON DATABASE {quoted} TO {_role(admin, grant.grantee)}"
        f"{' WITH GRANT OPTION' if grant.grantable else ''};"
        for grant in grants
    ]


async def _refuse_those_who_get_in(
    admin: Connection, roles: Sequence[str], grantees: Sequence[str]
) -> None:
    rows = await fetch_all(
        admin,
        "SELECT r.rolname::text, r.rolsuper, array(SELECT g.rolname::text FROM pg_catalog.pg_roles"
        " AS g WHERE g.rolname = ANY(%s) AND g.rolname <> ALL(%s)"
        " AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE'))"
        " FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY(%s) ORDER BY 1",
        [list(grantees), list(roles), list(roles)],
    )
    missing = [role for role in roles if role not in {name for name, _, _ in rows}]
    if missing:
        raise PostgresError(
            f"ROLE MISSING: {missing[0]} is not on this server.",
            why="Nobody can connect under that name.",
            fix="Name whom the application connects as: recovery: app_role in the config.",
        )
    for role, is_superuser, through in rows:
        if is_superuser:
            raise SafetyRefusal(
                f"NOT KEPT OUT: {role} is a superuser.",
                why="No right that is taken away keeps a superuser out.",
                fix="Stop the application, then end its sessions.",
            )
        if through:
            raise SafetyRefusal(
                f"NOT KEPT OUT: {role}.",
                why=f"It gets in as a member of {', '.join(through)}.",
                fix="Freeze everybody, or stop the application.",
            )


async def plan_everyone_out(
    admin: Connection, database: str, *, app_role: str | None = None
) -> Measure:
    """Plan to let nobody into a database but our own administrator, who is ``admin``'s role.

    Where that is a superuser all of these get in; who is in is ended apart. ``app_role`` is whom
    the application connects as: it must be among those who don't.

    Raises:
        SafetyRefusal: the application gets in all the same: as a superuser, or as our own role.
    """
    rows = await fetch_all(
        admin,
        "SELECT d.datconnlimit, me.rolname::text, me.rolsuper, coalesce(app.rolsuper, false),"
        " coalesce(pg_catalog.pg_has_role(app.oid, me.oid, 'USAGE'), false)"
        " FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_roles AS me"
        " ON me.rolname = current_user"
        " LEFT JOIN pg_catalog.pg_roles AS app ON app.rolname = %s WHERE d.datname = %s",
        [app_role, database],
    )
    if not rows:
        raise _database_missing(database)
    limit, me, is_superuser, app_is_superuser, app_is_me = rows[0]
    if app_is_superuser or (app_is_me and not is_superuser):
        raise SafetyRefusal(
            f"NOT KEPT OUT: the application's role {app_role}.",
            why=f"It is a superuser, as whom fsbackup itself must get in to repair {database}."
            if app_is_superuser
            else f"It has the rights of {me}, as whom fsbackup itself gets in.",
            fix="Stop the application, then end its sessions. Give it a role of its own one day.",
        )
    quoted = _identifier(admin, database)
    if is_superuser:
        return Measure(
            "everyone",
            f"everybody in {database}",
            "Nobody but superusers can connect; backups can't either, unless their role is one.",
            "maintenance",
            (f"ALTER DATABASE {quoted} CONNECTION LIMIT 0;",),
            (f"ALTER DATABASE {quoted} CONNECTION LIMIT {limit};",),
            database=database,
        )
    grants = await _database_grants(admin, database)
    keeping, stopping = await _keep_in(admin, database, [me], grants)
    lost = [grant for grant in grants if grant.grantee != me]
    losing = ", ".join(_role(admin, name) for name in dict.fromkeys(g.grantee for g in lost))
    apply = [f"REVOKE CONNECT ON DATABASE {quoted} FROM {losing} CASCADE;"] if losing else []
    return Measure(
        "everyone",
        f"everybody in {database}",
        f"Nobody but {me}, its members and superusers can connect; backups can't either, unless "
        "their role is one of these.",
        "maintenance",
        (*keeping, *apply),
        (*_grant_again(admin, quoted, lost), *stopping) or ("-- nobody else could connect before",),
        shut_out=(app_role,) if app_role else (),
        database=database,
    )


async def _database_grants(admin: Connection, database: str) -> list[_Grant]:
    """Return who may connect, who got it from the owner first."""
    rows = await fetch_all(
        admin,
        "SELECT CASE WHEN a.grantee = 0 THEN ''"
        " ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END,"
        " pg_catalog.bool_or(a.is_grantable AND a.grantee <> d.datdba),"
        " pg_catalog.bool_or(a.grantor = d.datdba)"
        " FROM pg_catalog.pg_database AS d CROSS JOIN pg_catalog.aclexplode("
        "coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a"
        " WHERE d.datname = %s AND a.privilege_type = 'CONNECT' GROUP BY 1 ORDER BY 3 DESC, 1",
        [database],
    )
    if not rows and not await fetch_all(
        admin, "SELECT FROM pg_catalog.pg_database WHERE datname = %s", [database]
    ):
        raise _database_missing(database)
    return [_Grant(*row) for row in rows]


def _database_missing(database: str) -> PostgresError:
    return PostgresError(f"DATABASE MISSING: {database}.", fix="psql -l shows what there is.")


def _identifier(connection: Connection, *names: str) -> str:
    return sql.Identifier(*names).as_string(connection)


def _role(connection: Connection, name: str) -> str:
    return _identifier(connection, name) if name else "PUBLIC"
