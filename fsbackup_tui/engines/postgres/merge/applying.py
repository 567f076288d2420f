"""A merge's one transaction on live: locks, the undo, the changes, the proofs, the commit.

What undoes it lies in the staging schema as a set of changes of its own, so that undoing is a
merge like any other, and so is undoing that.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.merge import Merged, MergePreview, TableEffect
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Schema
from fsbackup_tui.engines.postgres.merge.changing import begin_change
from fsbackup_tui.engines.postgres.merge.judging import Judgement
from fsbackup_tui.engines.postgres.merge.proofs import Touched, check_content, check_parents
from fsbackup_tui.engines.postgres.merge.recreating import (
    NOTHING,
    Recreating,
    Source,
    recreate,
    take_away,
)
from fsbackup_tui.engines.postgres.merge.refusals import refused
from fsbackup_tui.engines.postgres.merge.sequences import move_sequences
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, Staging, add_set
from fsbackup_tui.engines.postgres.merge.stale import stale_views
from fsbackup_tui.engines.postgres.merge.switches import find_triggers, switch_off, switch_on
from fsbackup_tui.engines.postgres.merge.work import (
    CHANGED,
    COMMA,
    MISSING,
    ONLY_IN_LIVE,
    Work,
    hash_of,
    names,
    numbered,
    whole_row_key,
)

_LISTED = 5


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: the works, the set they come from, and what was foretold of them.

    ``including_moved``: rows that changed since they were staged are overwritten or deleted all
    the same; only an undo may ask for that. ``recreating`` is made again after the rows, from the
    ``source``; ``removal`` is taken away before them. ``note`` returns what is kept with the undo.
    """

    staging: Staging
    schema: Schema
    set_number: int
    next_number: int
    works: tuple[Work, ...]
    expected: MergePreview
    including_moved: bool = False
    recreating: Recreating = NOTHING
    removal: Recreating = NOTHING
    source: Source | None = None
    note: Callable[[Merged], str] | None = None


async def carry_out(
    live: Connection, order: Order, *, on_ready: Callable[[], Awaitable[None]] | None = None
) -> Merged:
    """Do what was foretold, and prove it, in one transaction; or nothing at all.

    ``on_ready`` is awaited last, when only the commit is left.

    Raises:
        LockHeld: another merge into this database is under way.
        TableLocked: somebody held one of the tables for longer than a few seconds.
        SafetyRefusal: it would not do what was foretold any more.
        PostgresError, RightsMissing: the server refuses, or a proof failed.
    """
    try:
        async with live.transaction():
            merged = await _Merge(live, order).run()
            if on_ready is not None:
                await on_ready()
        return merged
    except psycopg.Error as error:
        raise refused(error, order.staging.schema) from error


class _Merge:
    """One merge inside its transaction."""

    def __init__(self, live: Connection, order: Order) -> None:
        self._live = live
        self._order = order
        self._judgement = Judgement(
            live, order.schema, order.works, including_moved=order.including_moved
        )
        self._works = self._judgement.works
        self._oids = [work.table.oid for work in self._works]

    async def run(self) -> Merged:
        await begin_change(self._live)
        started = time.monotonic()
        order = self._order
        await self._lock()
        removed = await take_away(self._live, order.staging, order.removal)
        preview = await self._judgement.judge()
        self._check_foretold(preview)
        touched = await Touched.begin(self._live, self._order.staging)
        triggers = await find_triggers(self._live, self._oids)
        await switch_off(self._live, triggers)
        undo = [await self._keep_former(work) for work in self._works]
        done = await self._change()
        await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        sequences = await move_sequences(self._live, self._works)
        for work, staged in zip(self._works, undo, strict=True):
            await self._keep_keys(work, staged)
        await check_content(self._live, self._works)
        await check_parents(self._live, self._order.schema, self._works)
        await switch_on(self._live, triggers, self._oids)
        await touched.check(self._works, preview.effects)
        recreated = await recreate(self._live, order.staging, order.recreating, order.source)
        merged = Merged(
            order.next_number,
            preview.effects,
            preview.left_out,
            sequences,
            tuple(trigger.label for trigger in triggers),
            await stale_views(self._live, self._oids),
            time.monotonic() - started,
            recreated,
            removed,
        )
        await add_set(
            self._live,
            order.staging,
            order.next_number,
            [_counted(staged, effect) for staged, effect in zip(undo, done, strict=True)],
            undoes=order.set_number,
            recreated=order.recreating.document(),
            note="" if order.note is None else order.note(merged),
        )
        return merged

    async def _lock(self) -> None:
        """Keep writers out of the tables that change, and of those whose rows would follow.

        Readers, too, of tables that get or lose a column; and whoever would drop the staging.
        """
        await self._live.execute(
            sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(
                self._order.staging.relation("sets")
            )
        )
        for name in sorted(self._order.recreating.altered | self._order.removal.altered):
            await self._live.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(*name))
            )
        wanted = set(self._oids)
        for work in self._works:
            for link in self._order.schema.links_to(work.table.full_name):
                altered = CHANGED in work.classes and set(work.overwritten) & set(
                    link.key.parent_columns
                )
                if altered or ONLY_IN_LIVE in work.classes:
                    wanted.add(self._order.schema.tables[link.key.table].oid)
        tables = [table for table in self._order.schema.tables.values() if table.oid in wanted]
        tables.sort(key=lambda table: table.oid)
        if tables:
            listed = COMMA.join(
                sql.SQL("{}{}").format(
                    sql.SQL("" if table.partitioned else "ONLY "),
                    sql.Identifier(table.schema, table.name),
                )
                for table in tables
            )
            await self._live.execute(
                sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(listed)
            )

    def _check_foretold(self, preview: MergePreview) -> None:
        differing = preview.differs_from(self._order.expected)
        if differing:
            raise SafetyRefusal(
                "NOT MERGED: live changed since it was looked at. Nothing was done.",
                why="\n".join(differing[:_LISTED]),
                fix="Look at the preview again, then merge.",
            )

    async def _keep_former(self, work: Work) -> StagedTable:
        """Write what rows that are overwritten or deleted hold now, before they change."""
        staged = self._undo_of(work)
        content = self._order.staging.relation(staged.content)
        columns = COMMA.join(
            sql.SQL("{} AS {}").format(sql.Identifier("r", column), sql.Identifier(name))
            for column, name in zip(staged.columns, numbered("c", len(staged.columns)), strict=True)
        )
        await self._live.execute(
            sql.SQL(
                "CREATE {} TABLE {} AS SELECT d.id, {} FROM {} AS d JOIN {} ON {} WHERE {}"
            ).format(
                self._kept,
                content,
                columns,
                work.rows,
                work.live("r"),
                work.same_key(),
                work.chosen(CHANGED, ONLY_IN_LIVE),
            )
        )
        await self._live.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (id)").format(content))
        return staged

    def _undo_of(self, work: Work) -> StagedTable:
        """Return what a table's undo is staged as: all that a row holds, not what was compared."""
        staged, stored = work.staged, work.table.stored
        return replace(
            staged,
            set_number=self._order.next_number,
            # Without a key, what the rows are told apart by must stay as it is.
            columns=staged.columns if staged.whole_rows else tuple(c.name for c in stored),
            raw=staged.raw if staged.whole_rows else tuple(c.name for c in stored if c.raw),
            missing=0,
            changed=0,
            only_in_live=0,
        )

    @property
    def _kept(self) -> sql.SQL:
        return sql.SQL("" if self._order.staging.crash_safe else "UNLOGGED")

    async def _keep_keys(self, work: Work, staged: StagedTable) -> None:
        """Write the keys of all rows that changed, with the hash that tells if they do again."""
        rows = self._order.staging.relation(staged.rows)
        await self._live.execute(
            sql.SQL(
                "CREATE {kept} TABLE {rows} AS SELECT d.id, CASE d.class WHEN 'm' THEN 'o'"
                " WHEN 'o' THEN 'm' ELSE 'c' END AS class, {hash} AS live_hash, true AS wanted,"
                " NULL::text AS reason, {keys} FROM {done} AS d LEFT JOIN {live} ON {same}"
                " AND d.class <> 'o' WHERE {chosen}"
            ).format(
                kept=self._kept,
                rows=rows,
                hash=hash_of(staged.columns, staged.raw),
                keys=COMMA.join(work.staged_key()),
                done=work.rows,
                live=work.live("r"),
                same=work.same_key(),
                chosen=work.chosen(),
            )
        )
        keys = COMMA.join(names(numbered("k", len(staged.key))))
        await self._live.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (id)").format(rows))
        await self._live.execute(sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(rows, keys))
        await self._live.execute(
            sql.SQL("ANALYZE {}, {}").format(rows, self._order.staging.relation(staged.content))
        )

    async def _change(self) -> list[TableEffect]:
        """Delete, overwrite and insert in all tables as one statement; return what was done.

        Foreign keys are checked at its end, whatever refers to what, in cycles as well; and what
        they do of themselves finds no row that was not meant to change. Deletes come first, to
        give unique keys free.
        """
        steps = [
            (work, name)
            for name in (ONLY_IN_LIVE, CHANGED, MISSING)
            for work in self._works
            if name in work.classes
        ]
        done: dict[tuple[int, str], int] = {}
        if steps:
            counts = await self._together([_CHANGES[name](work) for work, name in steps])
            for (work, name), count in zip(steps, counts, strict=True):
                done[id(work), name] = count
        effects = [
            TableEffect(
                work.table.full_name,
                done.get((id(work), MISSING), 0),
                done.get((id(work), CHANGED), 0),
                done.get((id(work), ONLY_IN_LIVE), 0),
            )
            for work in self._works
        ]
        self._check_foretold(MergePreview(tuple(effects), ()))
        return effects

    async def _together(self, changes: Sequence[sql.Composable]) -> list[int]:
        parts = [f"w{number}" for number in range(len(changes))]
        statement = sql.SQL("WITH {} SELECT {}").format(
            COMMA.join(
                sql.SQL("{} AS ({} RETURNING 1)").format(sql.Identifier(part), change)
                for part, change in zip(parts, changes, strict=True)
            ),
            COMMA.join(
                sql.SQL("(SELECT pg_catalog.count(*) FROM {})").format(sql.Identifier(part))
                for part in parts
            ),
        )
        row = await (await self._live.execute(statement)).fetchone()
        return [int(count) for count in row or ()]


def _delete(work: Work) -> sql.Composable:
    if work.staged.whole_rows:
        return _delete_whole_rows(work)
    return sql.SQL("DELETE FROM {} USING {} AS d WHERE {} AND {}").format(
        work.table.from_clause("r"), work.rows, work.chosen(ONLY_IN_LIVE), work.same_key()
    )


def _delete_whole_rows(work: Work) -> sql.Composable:
    """Return the deletion by place: nothing else tells equal rows apart."""
    key = [
        sql.SQL("{} AS {}").format(value, sql.SQL(name))
        for value, name in zip(whole_row_key(work.staged.columns), numbered("k", 3), strict=True)
    ]
    return sql.SQL(
        "DELETE FROM {live} WHERE (r.tableoid, r.ctid) IN (SELECT x.t, x.c FROM"
        " (SELECT r.tableoid AS t, r.ctid AS c, {key} FROM {live}) AS x JOIN {rows} AS d"
        " ON d.k1 = x.k1 AND d.k2 = x.k2 AND d.k3 = x.k3 WHERE {chosen})"
    ).format(
        live=work.table.from_clause("r"),
        key=COMMA.join(key),
        rows=work.rows,
        chosen=work.chosen(ONLY_IN_LIVE),
    )


def _update(work: Work) -> sql.Composable:
    values = COMMA.join(
        sql.SQL("{} = {}").format(sql.Identifier(name), work.staged_value(name))
        for name in work.overwritten
    )
    return sql.SQL(
        "UPDATE {} SET {} FROM {} AS d JOIN {} AS s ON s.id = d.id WHERE {} AND {}"
    ).format(
        work.table.from_clause("r"),
        values,
        work.rows,
        work.content,
        work.chosen(CHANGED),
        work.same_key(),
    )


def _insert(work: Work) -> sql.Composable:
    columns = work.inserted_columns
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS i").format(
        sql.Identifier(work.table.schema, work.table.name),
        COMMA.join(names(columns)),
        COMMA.join(names(columns, "i")),
        work.image(MISSING),
    )


_CHANGES: Mapping[str, Callable[[Work], sql.Composable]] = {
    ONLY_IN_LIVE: _delete,
    CHANGED: _update,
    MISSING: _insert,
}


def _counted(staged: StagedTable, effect: TableEffect) -> StagedTable:
    return replace(
        staged,
        missing=effect.deleted,
        changed=effect.overwritten,
        only_in_live=effect.inserted,
    )
