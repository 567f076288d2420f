"""Keeping a database from getting worse: what is switched off, and the words that undo it.

Graded (design §7): autovacuum of one table, writing to one table, one role, everybody. Every
measure is planned first, so that its undo, as stock SQL, is in the journal before it is taken:
a crash in between leaves nothing that nobody knows of. What each stops was tried
(reference/ops.md n): none of them ends a session that is there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.replay import parse_database_grant

Grade = Literal["vacuum", "table", "role", "everyone"]
Place = Literal["live", "maintenance"]

_WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is switched off: where its SQL runs, what it does, and what undoes it.

    ``what`` names it for people; ``cost`` says who will notice; ``maintenance`` SQL runs in
    another database than the one it is about.
    """

    grade: Grade
    what: str
    cost: str
    place: Place
    apply: tuple[str, ...]
    undo: tuple[str, ...]


async def plan_vacuum_off(live: Connection, schema: str, table: str) -> Measure:
    """Plan to leave a table's dead rows where they are: autovacuum off for it and its TOAST.

    It reads the catalogue alone: one look at the table itself prunes the evidence.
    """
    reloptions, has_toast, toast_options = await _table(live, schema, table)
    name = _identifier(live, schema, table)
    settings = [("autovacuum_enabled", reloptions)]
    if has_toast:
        settings.append(("toast.autovacuum_enabled", toast_options))
    off = ", ".join(f"{setting} = off" for setting, _options in settings)
    undo = []
    for setting, options in settings:
        former = _option(options, "autovacuum_enabled")
        undo.append(
            f"ALTER TABLE {name} RESET ({setting});"
            if former is None
            else f"ALTER TABLE {name} SET ({setting} = {_text(live, former)});"
        )
    return Measure(
        "vacuum",
        f"autovacuum of {schema}.{table}",
        "Nobody notices; the table grows until it is undone.",
        "live",
        (f"ALTER TABLE {name} SET ({off});",),
        tuple(undo),
    )


async def plan_table_read_only(live: Connection, schema: str, table: str) -> Measure:
    """Plan to let nobody but superusers write to a table; reading goes on.

    Raises:
        SafetyRefusal: nobody could be kept out: only superusers have the right to write.
    """
    await _table(live, schema, table)
    rows = await fetch_all(
        live,
        "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text"
        " END, a.privilege_type, a.is_grantable, a.grantee = c.relowner"
        " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " CROSS JOIN pg_catalog.aclexplode(coalesce(c.relacl,"
        " pg_catalog.acldefault('r', c.relowner))) AS a"
        " WHERE n.nspname = %s AND c.relname = %s AND a.privilege_type = ANY(%s)"
        " ORDER BY 4 DESC, 1, 2",
        [schema, table, list(_WRITES)],
    )
    if not rows:
        raise SafetyRefusal(
            f"NOTHING TO FREEZE: nobody has the right to write to {schema}.{table}.",
            why="Only superusers write to it, and they can't be kept out of a table.",
            fix="Freeze everybody, or stop the application.",
        )
    name = _identifier(live, schema, table)
    grantees = dict.fromkeys(grantee for grantee, _privilege, _option, _own in rows)
    apply = [
        f"REVOKE {', '.join(_WRITES)} ON {name} FROM {_role(live, grantee)} CASCADE;"
        for grantee in grantees
    ]
    undo = [
        f"GRANT {privilege} ON {name} TO {_role(live, grantee)}"
        f"{' WITH GRANT OPTION' if grantable and not own else ''};"
        for grantee, privilege, grantable, own in rows
    ]
    return Measure(
        "table",
        f"writing to {schema}.{table}",
        "The application gets 'permission denied' when it writes to this table; it can read.",
        "live",
        tuple(apply),
        tuple(undo),
    )


async def plan_role_out(admin: Connection, database: str, roles: Sequence[str]) -> Measure:
    """Plan to let the roles into a database no more; who is in is ended apart.

    Raises:
        SafetyRefusal: one of them is a superuser, or gets in as a member of another role.
    """
    grants = await _database_grants(admin, database)
    await _refuse_those_who_get_in(admin, roles, [grantee for grantee, _ in grants])
    quoted = _identifier(admin, database)
    losing = ["PUBLIC", *(_role(admin, role) for role in roles)]
    undo = [
        f"GRANT CONNECT ON DATABASE {quoted} TO {_role(admin, grantee)}"
        f"{' WITH GRANT OPTION' if grantable else ''};"
        for grantee, grantable in grants
        if not grantee or grantee in roles
    ]
    return Measure(
        "role",
        f"{', '.join(roles)} in {database}",
        "The application can't connect: it neither reads nor writes. The same goes for all who "
        "have no right of their own to connect; owner and superusers get in.",
        "maintenance",
        (f"REVOKE CONNECT ON DATABASE {quoted} FROM {', '.join(losing)} CASCADE;",),
        tuple(undo) or (f"-- {', '.join(roles)} had no right to connect before",),
    )


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
    for role, is_superuser, through in rows:
        if not is_superuser and not through:
            continue
        raise SafetyRefusal(
            f"NOT KEPT OUT: {role}."
            if through and not is_superuser
            else f"NOT KEPT OUT: {role} is a superuser.",
            why=f"It gets in as a member of {', '.join(through)}."
            if through and not is_superuser
            else "No right that is taken away keeps a superuser out.",
            fix="Freeze everybody, or stop the application.",
        )


async def plan_everyone_out(admin: Connection, database: str) -> Measure:
    """Plan to let nobody into a database, superusers included; who is in is ended apart."""
    quoted = _identifier(admin, database)
    return Measure(
        "everyone",
        f"everybody in {database}",
        "Nobody can connect, superusers included, fsbackup's backups too.",
        "maintenance",
        (f"ALTER DATABASE {quoted} ALLOW_CONNECTIONS false;",),
        (f"ALTER DATABASE {quoted} ALLOW_CONNECTIONS true;",),
    )


async def run_measure(
    connection: Connection, statements: Iterable[str], *, lock_timeout_seconds: float = 5.0
) -> None:
    """Run a measure's SQL, or what undoes it, in one transaction.

    Raises:
        RightsMissing: the role may not; nothing was changed.
        PostgresError: the server refuses, or a lock was not to be had; nothing was changed.
    """
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_catalog.set_config('lock_timeout', %s, true)",
                [f"{round(lock_timeout_seconds * 1000)}ms"],
            )
            for statement in statements:
                if not statement.startswith("--"):
                    await connection.execute(statement.encode())
    except psycopg.Error as error:
        why = str(error).strip().splitlines()[0]
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise RightsMissing(
                "NOT CHANGED: this role may not.",
                why=why,
                fix="Give 'admin: url' in the config the owner of the table or database.",
            ) from error
        raise PostgresError(
            "NOT CHANGED: the server refuses.", why=why, fix="Mend what it names, then try again."
        ) from error


async def _table(live: Connection, schema: str, table: str) -> tuple[list[str], bool, list[str]]:
    """Return the table's own settings, whether it has a TOAST table, and that one's settings."""
    rows = await fetch_all(
        live,
        "SELECT coalesce(c.reloptions, '{}'), t.oid IS NOT NULL,"
        " coalesce(t.reloptions, '{}')"
        " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'm', 'p')",
        [schema, table],
    )
    if not rows:
        raise PostgresError(
            f"TABLE MISSING: {schema}.{table} is not in the live database.",
            why="It may be what was lost.",
            fix="Go on without it: there is nothing of it to protect.",
        )
    options, has_toast, toast_options = rows[0]
    return list(options), bool(has_toast), list(toast_options)


async def _database_grants(admin: Connection, database: str) -> list[tuple[str, bool]]:
    """Return who may connect ("" is PUBLIC), and whether they may pass it on."""
    rows = await fetch_all(
        admin,
        "SELECT item::text FROM pg_catalog.pg_database AS d"
        " CROSS JOIN unnest(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS item"
        " WHERE d.datname = %s",
        [database],
    )
    if not rows:
        raise PostgresError(f"DATABASE MISSING: {database}.", fix="psql -l shows what there is.")
    found = [parse_database_grant(item) for (item,) in rows]
    return [
        (grant[0], grant[1]["CONNECT"])
        for grant in found
        if grant is not None and "CONNECT" in grant[1]
    ]


def _option(options: Iterable[str], name: str) -> str | None:
    return next(
        (text.partition("=")[2] for text in options if text.partition("=")[0] == name), None
    )


def _identifier(connection: Connection, *names: str) -> str:
    return sql.Identifier(*names).as_string(connection)


def _text(connection: Connection, value: str) -> str:
    return sql.Literal(value).as_string(connection)


def _role(connection: Connection, name: str | None) -> str:
    return "PUBLIC" if not name else _identifier(connection, name)
