"""Giving a database what another has of its own: settings, grants, owner, connection limit.

The comment is left alone: on a copy it may be the mark by which it is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import (
    fetch_all,
    read_properties,
    read_settings,
)
from fsbackup_tui.engines.postgres.replay import (
    Properties,
    parse_database_grant,
    replay_properties,
)


async def dress_like(admin: Connection, name: str, like: str) -> tuple[str, ...]:
    """Make the database ``name`` like the other in one transaction; returns what could not be.

    What it has and the other has not is taken away, too: who is kept out of the one is kept out
    of both.
    """
    found = await read_properties(admin, like)
    own = await read_properties(admin, name)
    settings = await read_settings(admin, like)
    problems: list[str] = []
    async with admin.transaction():
        if own.owner != found.owner:
            problems += await _try(
                admin,
                f"its owner is {own.owner}, not {found.owner}",
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(name), sql.Identifier(found.owner)
                ),
            )
        wanted = await _items(admin, like)
        properties = Properties(
            found.owner, own.comment, found.connection_limit, settings, tuple(wanted)
        )
        problems += await replay_properties(admin, name, properties)
        for what, statement in _grants_to_change(
            name, _by_grantee(wanted), _by_grantee(await _items(admin, name))
        ):
            problems += await _try(admin, what, statement)
    if own.tablespace != found.tablespace:
        problems.append(f"it lies in the tablespace {own.tablespace}, not in {found.tablespace}")
    return tuple(problems)


async def _try(admin: Connection, what: str, statement: sql.Composed) -> list[str]:
    try:
        async with admin.transaction():
            await admin.execute(statement)
    except psycopg.Error as error:
        return [f"{what}: {str(error).strip().splitlines()[0]}"]
    return []


async def _items(admin: Connection, name: str) -> list[str]:
    """Return the database's aclitems, those that hold by default where it has none."""
    rows = await fetch_all(
        admin,
        "SELECT item::text FROM pg_catalog.pg_database AS d CROSS JOIN"
        " unnest(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS item"
        " WHERE d.datname = %s",
        [name],
    )
    return [item for (item,) in rows]


def _by_grantee(items: list[str]) -> dict[str, set[str]]:
    """Return the rights by grantee ("" is PUBLIC)."""
    held: dict[str, set[str]] = {}
    for item in items:
        if (parsed := parse_database_grant(item)) is not None:
            held.setdefault(parsed[0], set()).update(parsed[1])
    return held


def _grants_to_change(
    name: str, wanted: Mapping[str, set[str]], held: Mapping[str, set[str]]
) -> list[tuple[str, sql.Composed]]:
    """Return the statements that make the rights equal, each with what it is about."""
    statements: list[tuple[str, sql.Composed]] = []
    database = sql.Identifier(name)
    for grantee in sorted(wanted.keys() | held.keys()):
        who = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
        label = grantee or "PUBLIC"
        mine, theirs = held.get(grantee, set()), wanted.get(grantee, set())
        for right in sorted(theirs - mine):
            statement = sql.SQL("GRANT {} ON DATABASE {} TO {}")
            statements.append(
                (f"grant to {label}", statement.format(sql.SQL(right), database, who))
            )
        for right in sorted(mine - theirs):
            statement = sql.SQL("REVOKE {} ON DATABASE {} FROM {} CASCADE")
            statements.append(
                (f"revoke from {label}", statement.format(sql.SQL(right), database, who))
            )
    return statements
