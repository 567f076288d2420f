"""PostgreSQL's own amcheck, where it is installed and may be called: row headers and b-trees.

``bt_index_check`` with ``heapallindexed`` is used, never ``bt_index_parent_check``, which keeps
writers out. amcheck shows that a damage is there, never that none is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import sql

from fsbackup_tui.domain.live_health import HealthFinding, Unchecked
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import (
    CannotCheck,
    TableGone,
    TableToCheck,
    is_gone,
    judged,
    means_damage,
    words_of,
)
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_MOST_MESSAGES = 20

Check = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Amcheck:
    """What of amcheck this role can call in this database, and what keeps it from the rest.

    ``index_arguments`` is 0 where b-trees can't be checked, else how many arguments
    ``bt_index_check`` takes: the third, from PostgreSQL 17's version on, looks for duplicates.
    """

    schema: str
    index_arguments: int
    heap: bool
    lacks: str = ""
    remedy: str = ""


async def find_amcheck(connection: Connection) -> Amcheck:
    """Find out what of amcheck can be used here."""
    rows = await fetch_all(connection, _FUNCTIONS)
    if not rows:
        available = await fetch_all(
            connection, "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"
        )
        remedy = "As a superuser, in this database: CREATE EXTENSION amcheck;"
        if not available:
            remedy = f"Install the server's contrib package. {remedy}"
        return Amcheck("", 0, False, "The extension amcheck is not installed here.", remedy)
    schema = str(rows[0][0])
    usable = {(name, arguments) for _, name, arguments, allowed in rows if allowed}
    arguments = max((count for name, count in usable if name == "bt_index_check"), default=0)
    heap = any(name == "verify_heapam" for name, _ in usable)
    if arguments >= 2 and heap:
        return Amcheck(schema, arguments, heap)
    if not any(name == "verify_heapam" for _, name, _, _ in rows):
        lacks = "The installed version of amcheck is too old to check tables."
        remedy = "As a superuser, in this database: ALTER EXTENSION amcheck UPDATE;"
    else:
        lacks = "The role may not call amcheck's functions."
        remedy = "As a superuser: GRANT EXECUTE on bt_index_check and verify_heapam to it."
    return Amcheck(schema, arguments if arguments >= 2 else 0, heap, lacks, remedy)


_FUNCTIONS = """
SELECT n.nspname::text, p.proname::text, p.pronargs::int4,
       has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_extension AS e
JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_proc AS p ON p.oid = d.objid
JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE e.extname = 'amcheck' AND p.proname IN ('bt_index_check', 'verify_heapam')
"""


async def check_table(
    connection: Connection, amcheck: Amcheck, table: TableToCheck
) -> tuple[list[HealthFinding], list[Unchecked]]:
    """Let amcheck look at the table, its TOAST table, and the b-trees of both.

    Raises:
        TableGone, NotNow, PostgresError: as ``judged`` tells.
    """
    findings: list[HealthFinding] = []
    unchecked: list[Unchecked] = []
    known: set[str] = set()  # a damaged page of the table is met by each index's check again
    for part, check in _checks(connection, amcheck, table):
        try:
            async with judged(connection, table.oid, table.schema, table.name, while_="checking"):
                said = await _twice(check, connection)
                if said and await is_gone(connection, table.oid, table.schema, table.name):
                    raise TableGone
        except CannotCheck as cannot:
            why = f"{part}: {cannot}" if part else str(cannot)
            unchecked.append(Unchecked("amcheck", table.qualified, why))
            continue
        findings.extend(
            HealthFinding("amcheck", table.qualified, f"{part}: {text}" if part else text)
            for text in said
            if text not in known
        )
        known.update(said)
    return findings, unchecked


def _checks(
    connection: Connection, amcheck: Amcheck, table: TableToCheck
) -> Iterator[tuple[str, Check]]:
    """Give what there is to call, each with the part of the table it is about."""
    if amcheck.heap and table.heap:
        yield "", partial(_heap, connection, amcheck, table.oid)
        if table.toast:
            yield "its TOAST table", partial(_heap, connection, amcheck, table.toast)
    if amcheck.index_arguments:
        for index in table.indexes:
            yield f"its index {index.name}", partial(_index, connection, amcheck, index.oid)
        for oid in table.toast_indexes:
            yield "the index of its TOAST table", partial(_index, connection, amcheck, oid)


async def _twice(check: Check, connection: Connection) -> list[str]:
    """Return what is wrong only if it is so twice; an error that means damage is a message."""
    said: list[str] = []
    for _ in range(2):
        try:
            said = await check()
        except psycopg.Error as error:
            if connection.broken or not means_damage(error):
                raise
            said = [words_of(error)]
        if not said:
            break
    return said


async def _heap(connection: Connection, amcheck: Amcheck, oid: int) -> list[str]:
    query = sql.SQL(
        "SELECT blkno, offnum, msg FROM {}.verify_heapam(relation => %s::int8::oid::regclass,"
        " on_error_stop => false, check_toast => true) LIMIT {}"
    ).format(sql.Identifier(amcheck.schema), sql.Literal(_MOST_MESSAGES))
    rows = await (await connection.execute(query, [oid])).fetchall()
    return [f"block {block}, row {offset}: {message}" for block, offset, message in rows]


async def _index(connection: Connection, amcheck: Amcheck, oid: int) -> list[str]:
    unique = sql.SQL(", true" if amcheck.index_arguments > 2 else "")
    query = sql.SQL("SELECT {}.bt_index_check(%s::int8::oid::regclass, true{})").format(
        sql.Identifier(amcheck.schema), unique
    )
    await connection.execute(query, [oid])
    return []
