"""The renames of a schema swap, and everything that has to go over with the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import RightsMissing, SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema_content import move_content
from fsbackup_tui.engines.postgres.schema_marks import (
    Mark,
    Memory,
    Tie,
    parse_mark,
    schema_comment,
    set_comment,
)
from fsbackup_tui.engines.postgres.schema_pairs import SchemaSwap, SchemaSwapped
from fsbackup_tui.engines.postgres.schema_ties import Ties, add_constraint, drop_constraint

_CHECK_LOCK_MILLISECONDS = 5000


async def exchange(
    mover: Connection,
    swap: SchemaSwap,
    ties: Ties,
    coming: Mapping[str, Mark],
    done: SchemaSwapped,
) -> None:
    """Rename, and make everything that means the schemas by OID mean those with the names."""
    kept_as = {pair.schema: pair.kept_as for pair in swap.leaving}
    comments = {pair.schema: await schema_comment(mover, pair.leaving_oid) for pair in swap.leaving}
    for repoint in ties.repoints:
        await _say(mover, repoint.what, repoint.before)
    for tie in ties.ties:
        await _say(mover, f"{tie.name} on {tie.schema}.{tie.table}", [_take_away(tie)])
    for pair in swap.leaving:
        await give_name(mover, pair.schema, pair.kept_as, fixed=pair.schema in ties.fixed)
    for pair in swap.pairs:
        await take_name(mover, pair.coming, pair.schema, fixed=pair.schema in ties.fixed)
    for extension in ties.extensions:
        move = sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(
            sql.Identifier(extension.name), sql.Identifier(extension.schema)
        )
        await _say(mover, f"extension {extension.name}", [move])
    for repoint in ties.repoints:
        await _say(mover, repoint.what, repoint.after)
    for item in ties.published:
        publication = sql.Identifier(item.publication)
        statements = [
            sql.SQL("ALTER PUBLICATION {} DROP TABLES IN SCHEMA {}").format(
                publication, sql.Identifier(kept_as[item.schema])
            ),
            sql.SQL("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {}").format(
                publication, sql.Identifier(item.schema)
            ),
        ]
        await _say(mover, f"publication {item.publication}", statements)
    given_back = await _give_back(mover, ties, coming, done)
    for pair in swap.leaving:
        mine = tuple(tie for tie in ties.ties if tie.schema == pair.schema)
        checked = tuple(item.check for item in ties.repoints if item.check is not None)
        memory = Memory(comments[pair.schema], mine, checked)
        mark = Mark(swap.kind, pair.schema, swap.at, swap.job, memory)
        await set_comment(mover, pair.kept_as, mark.comment())
    for schema, mark in coming.items():
        if schema not in ties.fixed:
            await set_comment(mover, schema, mark.memory.comment)
    done.repointed = (
        *(item.what for item in ties.repoints),
        *(f"extension {item.name}" for item in ties.extensions),
        *(f"publication {item.publication}" for item in ties.published),
        *given_back,
    )
    done.to_check = await _to_check(mover, ties, coming)


async def _to_check(
    mover: Connection, ties: Ties, coming: Mapping[str, Mark]
) -> tuple[tuple[str, str, str], ...]:
    """Return the constraints that are NOT VALID now, and held before, in either's time."""
    memories = [mark.memory for mark in coming.values()]
    wanted = [item.check for item in ties.repoints if item.check is not None]
    wanted += [check for memory in memories for check in memory.checked]
    wanted += [
        (tie.schema, tie.table, tie.name)
        for memory in memories
        for tie in memory.ties
        if tie.kind == "constraint" and tie.checked
    ]
    return tuple([check for check in dict.fromkeys(wanted) if await _unchecked(mover, check)])


async def left_to_check(
    connection: Connection, swap: SchemaSwap
) -> tuple[tuple[str, str, str], ...]:
    """Return what a swap that is done may not have checked yet, by what was kept of before it."""
    wanted: list[tuple[str, str, str]] = []
    for pair in swap.leaving:
        mark = parse_mark(await schema_comment(connection, pair.leaving_oid))
        if mark is not None:
            wanted += mark.memory.checked
            wanted += [
                (tie.schema, tie.table, tie.name)
                for tie in mark.memory.ties
                if tie.kind == "constraint" and tie.checked
            ]
    return tuple([check for check in dict.fromkeys(wanted) if await _unchecked(connection, check)])


async def _unchecked(mover: Connection, constraint: tuple[str, str, str]) -> bool:
    """Whether a constraint is there, and NOT VALID."""
    rows = await fetch_all(mover, _CONSTRAINT, list(constraint))
    return bool(rows) and not rows[0][0]


_CONSTRAINT = """
SELECT k.convalidated FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND k.conname = %s
"""


def _take_away(tie: Tie) -> sql.Composed:
    if tie.kind == "constraint":
        return drop_constraint(tie.schema, tie.table, tie.name)
    return sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(
        sql.Identifier(tie.name), sql.Identifier(tie.schema, tie.table)
    )


async def _give_back(
    mover: Connection, ties: Ties, coming: Mapping[str, Mark], done: SchemaSwapped
) -> list[str]:
    """Give the schemas that came their foreign keys, and their places in publications.

    Those places are live's as they are now; of a table that only the one that left has not known
    since, what it remembers.
    """
    rows = await fetch_all(
        mover,
        "SELECT n.nspname::text, c.relname::text, c.relkind = 'p' FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p')",
        [list(coming)],
    )
    tables = {(schema, name): partitioned for schema, name, partitioned in rows}
    remembered = [tie for mark in coming.values() for tie in mark.memory.ties]
    said: list[str] = []
    for tie in remembered:
        if tie.kind == "constraint":
            what = f"foreign key {tie.name} on {tie.schema}.{tie.table}"
            add = add_constraint(tie, partitioned=tables.get((tie.schema, tie.table), False))
            await _say(mover, what, [add])
            said.append(what)
    # What only waits since a swap remembers all; a restored copy, what was true at its point.
    restored = {schema for schema, mark in coming.items() if mark.kind == "restored"}
    places = {
        (tie.name, tie.schema, tie.table): tie
        for tie in (*remembered, *(tie for tie in ties.ties if tie.schema in restored))
        if tie.kind == "publication"
    }
    names = await fetch_all(mover, "SELECT pubname::text FROM pg_catalog.pg_publication")
    for tie in places.values():
        if (tie.name,) not in names or (tie.schema, tie.table) not in tables:
            gone = "the table" if (tie.name,) in names else "the publication"
            done.notes.append(f"{tie.schema}.{tie.table} in publication {tie.name}: {gone} is gone")
            continue
        what = f"publication {tie.name} of {tie.schema}.{tie.table}"
        place = sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {} {}").format(
            sql.Identifier(tie.name),
            sql.Identifier(tie.schema, tie.table),
            sql.SQL(tie.definition),
        )
        await _say(mover, what, [place])
        said.append(what)
    if places:
        done.notes.append(
            "Subscribers don't get the rows that came: let them copy the tables anew."
        )
    return said


async def _say(mover: Connection, what: str, statements: Sequence[sql.Composable]) -> None:
    """Run what re-points an object; a refusal names it."""
    for statement in statements:
        try:
            await mover.execute(sql.SQL("{}").format(statement))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise
        except psycopg.errors.InsufficientPrivilege as error:
            raise RightsMissing(
                "NOT SWAPPED. Nothing changed: something holds on to the old schema.",
                why=f"{what}: {first_line(error)}",
                fix="Swap as its owner: 'admin: url' in the config; or drop it, and make it anew "
                "afterwards.",
            ) from error
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise SafetyRefusal(
                "NOT SWAPPED. Nothing changed: something can't go over to the restored schema.",
                why=f"{what}: {first_line(error)}",
                fix="Drop it, swap, and make it anew; its definition: pg_dump -s.",
            ) from error


async def give_name(mover: Connection, schema: str, name: str, *, fixed: bool) -> None:
    """Let what is in a schema be in one of another name; a ``fixed`` one stays, emptied."""
    if not fixed:
        await _rename(mover, schema, name)
        return
    await mover.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    await move_content(mover, schema, name)


async def take_name(mover: Connection, name: str, schema: str, *, fixed: bool) -> None:
    """Undo ``give_name``, or do it for another schema: the name is free, or ``fixed`` and empty."""
    if not fixed:
        await _rename(mover, name, schema)
        return
    await move_content(mover, name, schema)
    await mover.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(name)))


async def _rename(mover: Connection, name: str, new_name: str) -> None:
    await mover.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(
            sql.Identifier(name), sql.Identifier(new_name)
        )
    )


async def check_constraints(
    connection: Connection, constraints: Sequence[tuple[str, str, str]]
) -> tuple[str, ...]:
    """Check the rows that were there when a constraint was made; returns those that don't hold.

    Readers and writers go on meanwhile.
    """
    failed: list[str] = []
    await connection.execute(
        sql.SQL("SET lock_timeout TO {}").format(sql.Literal(f"{_CHECK_LOCK_MILLISECONDS}ms"))
    )
    for constraint in constraints:
        if not await _unchecked(connection, constraint):
            continue
        schema, table, name = constraint
        statement = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
            sql.Identifier(schema, table), sql.Identifier(name)
        )
        try:
            await connection.execute(statement)
        except psycopg.Error as error:
            if connection.broken:
                raise
            detail = error.diag.message_detail or first_line(error)
            failed.append(
                f"{name} on {schema}.{table} holds for new rows only (NOT VALID): {detail}"
            )
    return tuple(failed)


def first_line(error: psycopg.Error) -> str:
    """Return what the server says of an error, in one line."""
    return error.diag.message_primary or (str(error).strip().splitlines() or ["-"])[0]
