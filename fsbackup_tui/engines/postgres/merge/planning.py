"""The read-only half of a merge: what differs, which rows are meant, how they look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Progress, Report, TableDone
from fsbackup_tui.domain.foreign_key_graph import related
from fsbackup_tui.domain.merge import MergePlan, TableDifference
from fsbackup_tui.domain.sql_expression import why_not_expression
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Schema, read_schema
from fsbackup_tui.engines.postgres.merge.definitions import read_definitions
from fsbackup_tui.engines.postgres.merge.differences import Difference
from fsbackup_tui.engines.postgres.merge.drift import find_drift
from fsbackup_tui.engines.postgres.merge.links import compare_links
from fsbackup_tui.engines.postgres.merge.lost import stage_lost
from fsbackup_tui.engines.postgres.merge.pairs import Pair, pair_tables
from fsbackup_tui.engines.postgres.merge.staging import (
    StagedTable,
    Staging,
    add_set,
    drop_relations,
    read_set,
    read_sets,
)
from fsbackup_tui.engines.postgres.merge.switches import find_triggers
from fsbackup_tui.engines.postgres.merge.transfer import stream
from fsbackup_tui.engines.postgres.merge.work import (
    COMMA,
    key_operators,
    match,
    names,
    numbered,
    rows_of,
    staged_of,
)
from fsbackup_tui.engines.postgres.search_path import set_search_path

COPY_SET = 0


async def plan_merge(
    copy: Connection,
    live: Connection,
    staging: Staging,
    *,
    tables: Iterable[TableName] = (),
    note: str = "",
    report: Report,
) -> MergePlan:
    """Compare the copy with live by key, and stage what differs; live's own rows are only read.

    ``tables`` narrows it to these and to what a loss in them can have reached; without any, all
    are compared. Both are open in autocommit; the copy may lie on another server. ``note`` is kept
    with what is staged.

    Raises:
        SafetyRefusal: the two can't be compared, or this was done already.
        UsageError: neither has such a table.
        PostgresError: a table changed its definition, or rows were lost on the way.
    """
    theirs, mine = await read_schema(copy), await read_schema(live)
    _check_comparable(theirs, mine)
    keys = tuple(link.key for link in mine.links)
    named = set(tables)
    for name in sorted(named - mine.tables.keys() - theirs.tables.keys()):
        raise UsageError(
            f"NO SUCH TABLE: neither live nor the copy has {name[0]}.{name[1]}.",
            why="It has another name, or is a partition of another one.",
            fix="Name a table, a partitioned one by its root.",
        )
    both = (*keys, *(link.key for link in theirs.links))
    wanted = related(named, both) if named else theirs.tables.keys() | mine.tables.keys()
    await live.execute("SET default_transaction_read_only TO off")
    await copy.execute("SET default_transaction_read_only TO off")
    await _begin_anew(live, staging)
    looking = _Looking(copy, live, staging, theirs, mine, report)
    found = await looking.compare(wanted)
    drift = await stage_lost(
        copy, live, staging, (theirs, mine), find_drift(theirs, mine, wanted), wanted
    )
    async with live.transaction():
        await add_set(live, staging, COPY_SET, found.staged, note=note)
    by_name = {table.full_name: table for table in found.staged}
    links = await compare_links(live, mine, staging, by_name)
    notes: tuple[str, ...] = () if staging.crash_safe else (_NOT_CRASH_SAFE,)
    notes += tuple(_keyless_note(t) for t in found.tables if t.whole_rows and not t.equal)
    return MergePlan(
        tuple(found.tables),
        links,
        drift,
        found.refused,
        keys,
        notes,
    )


async def _begin_anew(live: Connection, staging: Staging) -> None:
    """Drop what a comparison left that did not come to its end."""
    if await read_sets(live, staging):
        raise SafetyRefusal(
            f"ALREADY STAGED: {staging.schema} has the rows of a comparison.",
            fix="Go on with these, or drop the schema by its name and compare again.",
        )
    await drop_relations(live, staging, "s0_")
    await drop_relations(live, staging, "column_")
    await live.execute(sql.SQL("TRUNCATE {}").format(staging.relation("lost")))


def _keyless_note(table: TableDifference) -> str:
    return (
        f"{table.table[0]}.{table.table[1]} has no key: {table.missing} whole rows of the copy are "
        f"not in live, {table.only_in_live} of live not in the copy; one that was changed counts "
        "in both. They are put back only if you choose so"
    )


_NOT_CRASH_SAFE = (
    "a publication takes all tables, so what undoes the merge is kept unlogged: a crash of the "
    "server empties it"
)


def _check_comparable(copy: Schema, live: Schema) -> None:
    if copy.encoding != live.encoding:
        raise SafetyRefusal(
            "NOT COMPARABLE: the copy and live have different encodings.",
            why=f"The copy has {copy.encoding}, live {live.encoding}: equal text has other bytes.",
            fix=f"Restore the copy into a database with ENCODING {live.encoding}.",
        )


@dataclass(frozen=True, slots=True)
class _Found:
    tables: list[TableDifference]
    staged: list[StagedTable]
    refused: dict[TableName, str]


class _Looking:
    """The comparison of one table after the other."""

    def __init__(
        self,
        copy: Connection,
        live: Connection,
        staging: Staging,
        theirs: Schema,
        mine: Schema,
        report: Report,
    ) -> None:
        self._copy = copy
        self._live = live
        self._staging = staging
        self._theirs = theirs
        self._mine = mine
        self._report = report

    async def compare(self, wanted: Iterable[TableName]) -> _Found:
        """Return what differs, and why some tables could not be compared."""
        found = _Found([], [], {})
        pairs: list[Pair] = []
        for name in sorted(wanted):
            theirs, mine = self._theirs.tables.get(name), self._mine.tables.get(name)
            if theirs is None or mine is None:
                found.refused[name] = f"{'live' if mine is None else 'the copy'} has no such table"
                continue
            pair = pair_tables(theirs, mine)
            if isinstance(pair, str):
                found.refused[name] = pair
            else:
                pairs.append(pair)
        for done, pair in enumerate(pairs):
            self._report(Progress(done, len(pairs), "tables", f"comparing {pair.label}"))
            await self._compare_one(pair, found)
        return found

    async def _compare_one(self, pair: Pair, found: _Found) -> None:
        number = len(found.staged) + 1
        looking = Difference(self._copy, self._live, self._staging, pair)
        try:
            difference, staged = await looking.find(number)
        except psycopg.DataError as error:
            why = str(error).strip().splitlines()[0]
            found.refused[pair.live.full_name] = f"the copy's values don't fit live: {why}"
            for kind in ("rows", "content"):
                await drop_relations(self._live, self._staging, f"s0_{kind}_{number}")
            return
        triggers = await find_triggers(self._live, [pair.live.oid])
        labels = tuple(trigger.label for trigger in triggers)
        found.tables.append(replace(difference, triggers=labels))
        if staged is not None:
            found.staged.append(staged)
        self._report(TableDone(pair.label, difference.rows_in_live, None, None))


async def find_tables(
    copy: Connection, live: Connection, given: Iterable[str]
) -> tuple[TableName, ...]:
    """Return the tables, and views, that a person named: ``schema.name``, or the name alone.

    Raises:
        UsageError: neither database has one of that name, or several schemas do.
    """
    known: set[TableName] = set()
    for connection in (copy, live):
        known |= (await read_schema(connection)).tables.keys()
        known |= {key[1] for key in await read_definitions(connection) if key[0] == "view"}
    return tuple(_find_table(known, text) for text in given)


def _find_table(known: Iterable[TableName], text: str) -> TableName:
    whole = [name for name in known if f"{name[0]}.{name[1]}" == text]
    found = whole or sorted(name for name in known if name[1] == text)
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"NO SUCH TABLE: {text}" if not found else f"WHICH TABLE: {text} is in several schemas.",
        why="Neither live nor the copy has it, or it is a partition of another one."
        if not found
        else ", ".join(f"{schema}.{name}" for schema, name in found),
        fix="Name it as schema.table, a partitioned one by its root.",
    )


async def narrow(
    copy: Connection, live: Connection, staging: Staging, table: TableName, where: str | None
) -> int:
    """Leave of a table's missing and changed rows only those that meet a condition; count them.

    ``where`` is SQL about the copy's row, e.g. ``created_at > '2026-11-20'``; it runs in the copy,
    in a transaction that may only read, under the database's own search_path. None: all again.

    Raises:
        UsageError: the copy does not understand the condition, or nothing of the table is staged.
    """
    if where is not None and (problem := why_not_expression(where)):
        raise _not_understood(where, table, problem)
    staged = staged_of(await read_set(live, staging, COPY_SET), table)
    rows = staging.relation(staged.rows)
    if where is None:
        await live.execute(sql.SQL("UPDATE {} SET wanted = true").format(rows))
        return staged.missing + staged.changed
    theirs = (await read_schema(copy)).tables[table]
    mine = (await read_schema(live)).tables[table]
    keys = numbered("k", len(staged.key))
    await live.execute("SET default_transaction_read_only TO off")
    matching = sql.Identifier("pg_temp", "fsbackup_matching")
    await live.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(matching))
    await live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
            matching, COMMA.join(names(keys)), rows
        )
    )
    # A line break, as the condition may end in a comment.
    query = sql.SQL("SELECT {} FROM {} WHERE ({}\n)").format(
        COMMA.join(names(staged.key, theirs.name)),
        rows_of(
            theirs,
            theirs.name,
            staged.key,
            staged.columns,
            whole_rows=staged.whole_rows,
        ),
        sql.SQL(where),
    )
    try:
        async with copy.transaction():
            await copy.execute("SET TRANSACTION READ ONLY")
            await _own_search_path(copy)
            # Alone as a prepared statement first: that takes one command and no more.
            await copy.execute(sql.SQL("{} LIMIT 0").format(query), prepare=True)
            await stream(copy, query, live, matching, binary=False, what="keys of the filter")
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError) as error:
        raise _not_understood(where, table, str(error).strip().splitlines()[0]) from error
    operators = key_operators(mine, staged.key, whole_rows=staged.whole_rows)
    same = match(operators, names(keys, "f"), names(keys, "d"))
    await live.execute(
        sql.SQL("UPDATE {} AS d SET wanted = EXISTS (SELECT FROM {} AS f WHERE {})").format(
            rows, matching, same
        )
    )
    await live.execute(sql.SQL("DROP TABLE {}").format(matching))
    cursor = await live.execute(
        sql.SQL("SELECT pg_catalog.count(*) FROM {} WHERE wanted AND class <> 'o'").format(rows)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _not_understood(where: str, table: TableName, why: str) -> UsageError:
    return UsageError(
        f"FILTER NOT UNDERSTOOD: {where}",
        why=why,
        fix=f"Write what stands after WHERE in a query of {table[0]}.{table[1]}.",
    )


async def _own_search_path(copy: Connection) -> None:
    cursor = await copy.execute(
        "SELECT substr(s, 13) FROM pg_db_role_setting AS r, unnest(r.setconfig) AS s"
        " WHERE r.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND r.setrole = 0 AND s LIKE 'search_path=%'"
    )
    row = await cursor.fetchone()
    await set_search_path(copy, row[0] if row else '"$user", public')
