"""The roles that a trial restore needs, made on a scratch server before anything is restored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.globals import (
    GlobalRole,
    Globals,
    Membership,
    parse_globals,
)

_FIRST_WITH_GRANT_OPTIONS = 160000
_FIRST_WITH_TABLESPACES_IN_PLACE = 150000
_NAMES_TOLD = 10


def read_globals(path: Path) -> Globals:
    """Return what a ``globals.sql`` tells; OSError where it can't be read."""
    return parse_globals(path.read_text(encoding="utf-8", errors="surrogateescape"))


async def make_roles(
    admin: Connection, names: Collection[str], told: Globals, *, own: bool
) -> tuple[list[str], list[str]]:
    """Make the roles that are missing; returns their names, and a note for each failure.

    On an ``own`` server these are all that are named or told, with every attribute. On another
    they are the named ones alone, and none may log in; no role that was there before is changed,
    by attribute or by membership.
    """
    notes: list[str] = []
    there = await _role_names(admin)
    attributes = {role.name: role for role in told.roles}
    wanted = dict.fromkeys((*names, *(attributes if own else ())))
    made: list[str] = []
    for name in wanted:
        if name in there:
            continue
        role = attributes.get(name, GlobalRole(name))
        note = await _try(admin, f"role {name}", _create(role, own=own))
        if note is not None:
            notes.append(note)
            # Without its attributes it still can own what the archive gives it.
            note = await _try(admin, f"role {name}", _create(GlobalRole(name), own=own))
        if note is None:
            made.append(name)
    notes += await _join(admin, told.memberships, made, there | set(made))
    return made, [*notes, *await _take_over(admin, made)]


async def _take_over(admin: Connection, made: Iterable[str]) -> list[str]:
    """Let the connecting role give objects to the roles that it made; a superuser may anyway."""
    cursor = await admin.execute(
        "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper"
    )
    if await cursor.fetchone() is not None:
        return []
    notes = []
    for name in made:
        statement = sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(name))
        if (note := await _try(admin, f"right to use role {name}", statement)) is not None:
            notes.append(note)
    return notes


async def _join(
    admin: Connection, memberships: Iterable[Membership], made: list[str], known: set[str]
) -> list[str]:
    notes: list[str] = []
    for membership in memberships:
        if membership.member in made and membership.role in known:
            statement = _grant(membership, admin.info.server_version)
            what = f"membership of {membership.member} in {membership.role}"
            if (note := await _try(admin, what, statement)) is not None:
                notes.append(note)
    return notes


def _create(role: GlobalRole, *, own: bool) -> sql.Composed:
    words: list[sql.Composable] = [sql.SQL("CREATE ROLE {} WITH").format(sql.Identifier(role.name))]
    for flag, is_set in role.flags.items():
        if own or flag != "LOGIN":
            words.append(sql.SQL(("" if is_set else "NO") + flag))
    if role.connection_limit is not None:
        words.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role.connection_limit)))
    if role.valid_until is not None:
        words.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(role.valid_until)))
    words.append(sql.SQL("PASSWORD NULL"))
    return sql.SQL(" ").join(words)


def _grant(membership: Membership, server_version: int) -> sql.Composed:
    statement = sql.SQL("GRANT {} TO {}").format(
        sql.Identifier(membership.role), sql.Identifier(membership.member)
    )
    if server_version >= _FIRST_WITH_GRANT_OPTIONS and membership.options:
        options = sql.SQL(", ").join(
            sql.SQL(f"{name} {'TRUE' if value else 'FALSE'}")
            for name, value in membership.options.items()
        )
        return sql.SQL("{} WITH {}").format(statement, options)
    if membership.options.get("ADMIN"):
        return sql.SQL("{} WITH ADMIN OPTION").format(statement)
    return statement


async def make_tablespaces(admin: Connection, told: Globals) -> list[str]:
    """Make the tablespaces on an own server, inside its own data; returns a note per failure.

    Their captured places are never touched. Servers before 15 have no such tablespaces.
    """
    if not told.tablespaces or admin.info.server_version < _FIRST_WITH_TABLESPACES_IN_PLACE:
        return []
    notes: list[str] = []
    await admin.execute("SET allow_in_place_tablespaces = on")
    for name in told.tablespaces:
        statement = sql.SQL("CREATE TABLESPACE {} LOCATION ''").format(sql.Identifier(name))
        if (note := await _try(admin, f"tablespace {name}", statement)) is not None:
            notes.append(note)
    return notes


def names_text(names: Collection[str]) -> str:
    """Return the names in one line, the first few where they are many."""
    first = ", ".join(list(names)[:_NAMES_TOLD])
    return first if len(names) <= _NAMES_TOLD else f"{first} and {len(names) - _NAMES_TOLD} more"


async def _role_names(admin: Connection) -> set[str]:
    cursor = await admin.execute("SELECT rolname::text FROM pg_catalog.pg_roles")
    return {row[0] for row in await cursor.fetchall()}


async def _try(admin: Connection, what: str, statement: sql.Composed) -> str | None:
    """Run a statement by itself; returns None, or in one line why it did not work."""
    try:
        await admin.execute(statement)
    except psycopg.OperationalError:
        raise
    except (psycopg.Error, UnicodeEncodeError) as error:
        return f"{what} could not be made: {str(error).strip().splitlines()[0]}"
    return None
