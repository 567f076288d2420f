"""Which of the chosen rows can change without guessing, and why the others stay out.

Rows are taken out until nothing more has to be: those that moved since they were looked at, those
whose unique key another row has, those whose parent is not there, those that others refer to.
Nothing but our own staged rows is written. What the checks don't see (a leaf's own constraint, a
row that must change places with another) the server refuses, and the merge with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.foreign_key_graph import parents_first
from fsbackup_tui.domain.merge import LeftOut, MergePreview, Reason, RowClass, TableEffect
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Link, Schema, Table
from fsbackup_tui.engines.postgres.merge.clashes import Clash
from fsbackup_tui.engines.postgres.merge.differences import differs
from fsbackup_tui.engines.postgres.merge.reaching import leave_related
from fsbackup_tui.engines.postgres.merge.work import (
    AND,
    CHANGED,
    COMMA,
    MISSING,
    ONLY_IN_LIVE,
    Work,
    match,
    names,
    numbered,
)

CLASSES: Mapping[str, RowClass] = {
    MISSING: "missing",
    CHANGED: "changed",
    ONLY_IN_LIVE: "only in live",
}
_REASONS: Mapping[str, Reason] = {
    "moved": "moved",
    "clash": "clash",
    "no parent": "no parent",
    "has children": "has children",
    "unrelated": "unrelated",
}
_SAMPLE = 5


class Judgement:
    """The works of one merge, judged over one connection, in the caller's transaction."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        works: Sequence[Work],
        *,
        including_moved: bool = False,
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._including_moved = including_moved
        by_name = {work.table.full_name: work for work in works}
        order = parents_first(by_name, [link.key for link in schema.links])
        self._works: Mapping[TableName, Work] = {
            name: by_name[name] for group in order for name in group if by_name[name].classes
        }

    @property
    def works(self) -> tuple[Work, ...]:
        """Those in which anything is chosen, parents before children."""
        return tuple(self._works.values())

    async def judge(self) -> MergePreview:
        """Take out what can't change; return what is left, and what is not."""
        for work in self._works.values():
            work.check()
            await self._reset(work)
        for work in self._works.values():
            await self._take_out_moved(work)
        await leave_related(self._connection, self._schema, self._works)
        clashes_again = True
        while True:
            taken = 0
            for work in self._works.values():
                if clashes_again:
                    taken += await self._take_out_clashes(work)
                taken += await self._take_out_orphans(work)
            for work in reversed(tuple(self._works.values())):
                taken += await self._take_out_parents(work)
            if not taken:
                break
            # A row taken out may hold a key after all that it would have given free.
            clashes_again = any(
                work.choice.delete_only_in_live
                or not all(index.immediate for index in work.table.indexes)
                for work in self._works.values()
            )
        return await self._preview()

    async def _run(self, statement: sql.Composed) -> int:
        return (await self._connection.execute(statement)).rowcount

    async def _reset(self, work: Work) -> None:
        await self._run(
            sql.SQL("UPDATE {} SET reason = NULL WHERE reason IS NOT NULL").format(work.rows)
        )
        if work.choice.delete_only_in_live and await self._narrowed(work):
            raise UsageError(
                f"NOT BOTH: {work.table.schema}.{work.table.name} has a filter, and rows that are "
                "only in live shall be deleted.",
                why="The filter is about the copy's rows, so it can't spare any of these.",
                fix="Leave one of the two out.",
            )

    async def _narrowed(self, work: Work) -> bool:
        cursor = await self._connection.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE NOT wanted)").format(work.rows)
        )
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _take_out(self, work: Work, reason: Reason, name: str, ids: sql.Composable) -> int:
        """Mark the rows whose ids the query gives; return how many were in until now."""
        return await self._run(
            sql.SQL(
                "UPDATE {} AS d SET reason = {} FROM ({}) AS x (id)"
                " WHERE d.id = x.id AND d.reason IS NULL"
            ).format(work.rows, sql.Literal(f"{reason}\t{name}"), ids)
        )

    async def _take_out_moved(self, work: Work) -> None:
        live = work.live("r")
        same_hash = sql.SQL("" if self._including_moved else " AND {} = d.live_hash").format(
            work.live_hash()
        )
        there = sql.SQL("SELECT d.id FROM {} AS d JOIN {} ON {} WHERE {}").format(
            work.rows, live, work.same_key(), work.chosen(MISSING)
        )
        other = sql.SQL(
            "SELECT d.id FROM {} AS d WHERE {} AND NOT EXISTS (SELECT FROM {} WHERE {}{})"
        ).format(work.rows, work.chosen(CHANGED, ONLY_IN_LIVE), live, work.same_key(), same_hash)
        if work.staged.whole_rows:
            await self._take_out(work, "moved", "", self._counted_otherwise(work))
        if MISSING in work.classes:
            await self._take_out(work, "moved", "", there)
        if {CHANGED, ONLY_IN_LIVE} & set(work.classes):
            await self._take_out(work, "moved", "", other)

    def _counted_otherwise(self, work: Work) -> sql.Composable:
        """Return the rows without a key of which live has more or fewer than when it was looked at.

        Missing ones were numbered on from those that live had, the others up to their number.
        """
        classes = [MISSING] if self._including_moved else [MISSING, ONLY_IN_LIVE]
        return sql.SQL(
            "SELECT d.id FROM {rows} AS d JOIN (SELECT b.k1, b.k2,"
            " CASE WHEN pg_catalog.min(b.class) = 'm' THEN pg_catalog.min(b.k3) - 1"
            " ELSE pg_catalog.max(b.k3) END AS n FROM {rows} AS b GROUP BY 1, 2) AS was"
            " ON was.k1 = d.k1 AND was.k2 = d.k2 LEFT JOIN (SELECT r.{first} AS k1,"
            " r.{second} AS k2, pg_catalog.count(*) AS n FROM {live} GROUP BY 1, 2) AS now"
            " ON now.k1 = d.k1 AND now.k2 = d.k2 WHERE {chosen} AND coalesce(now.n, 0) <> was.n"
        ).format(
            rows=work.rows,
            first=sql.Identifier(work.staged.key[0]),
            second=sql.Identifier(work.staged.key[1]),
            live=work.live("r"),
            chosen=work.chosen(*classes),
        )

    async def _take_out_clashes(self, work: Work) -> int:
        taken = 0
        for index in work.table.indexes:
            if sorted(index.columns) == sorted(work.staged.key) and not index.excluding:
                continue
            # A predicate may be about any column, as an expression.
            about = index.columns if index.predicate is None else ("",)
            classes = [MISSING, CHANGED] if self._touches(work, about) else [MISSING]
            if not set(classes) & set(work.classes):
                continue
            for both_null in (False, True) if index.nulls_equal else (False,):
                clash = Clash(work, index, classes, both_null=both_null)
                taken += await self._take_out(work, "clash", index.name, clash.with_live())
                if not index.excluding:
                    taken += await self._take_out(work, "clash", index.name, clash.among())
        return taken

    def _touches(self, work: Work, columns: Sequence[str]) -> bool:
        """Whether overwriting can change these columns; expressions ('') can be of any."""
        computed = {c.name for c in work.table.columns if c.generated is not None}
        return CHANGED in work.classes and (
            "" in columns or bool((set(work.overwritten) | computed) & set(columns))
        )

    async def _take_out_orphans(self, work: Work) -> int:
        taken = 0
        for link in self._schema.links_of(work.table.full_name):
            if self._touches(work, link.key.columns):
                classes = [MISSING, CHANGED]
            elif MISSING in work.classes:
                classes = [MISSING]
            else:
                continue
            taken += await self._take_out(
                work, "no parent", link.key.name, self._orphans(work, link, classes)
            )
        return taken

    def _orphans(self, work: Work, link: Link, classes: Sequence[str]) -> sql.Composable:
        key = link.key
        child = names(key.columns, "i")
        refers = AND.join(sql.SQL("{} IS NOT NULL").format(column) for column in child)
        equal = match(link.operators, names(key.parent_columns, "r"), child)
        table = self._schema.tables[key.parent]
        parent = self._works.get(key.parent)
        comes: sql.Composable = sql.SQL("")
        coming = [MISSING]
        if parent is not None and self._touches(parent, key.parent_columns):
            coming.append(CHANGED)
        if parent is not None and set(coming) & set(parent.classes):
            comes = sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS q WHERE {})").format(
                parent.image(*coming),
                match(link.operators, names(key.parent_columns, "q"), child),
            )
        return sql.SQL(
            "SELECT i.{number} FROM {image} AS i WHERE {refers}"
            " AND NOT EXISTS (SELECT FROM {live} WHERE {equal}{stays}){comes}"
        ).format(
            number=sql.Identifier(work.number),
            image=work.image(*classes),
            refers=refers,
            live=self._rows(table, "r"),
            equal=equal,
            stays=self._stays(parent, key.parent_columns, "r"),
            comes=comes,
        )

    def _rows(self, table: Table, alias: str) -> sql.Composable:
        """Return a table's rows, told apart as those are that are staged of it."""
        work = self._works.get(table.full_name)
        return table.from_clause(alias) if work is None else work.live(alias)

    def _stays(self, work: Work | None, columns: Sequence[str], alias: str) -> sql.Composable:
        """Return that live's row is neither deleted nor given other values in these columns."""
        going = [ONLY_IN_LIVE]
        if work is not None and self._touches(work, columns):
            going.append(CHANGED)
        if work is None or not set(going) & set(work.classes):
            return sql.SQL("")
        return sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS g WHERE {} AND {})").format(
            work.rows, work.chosen(*going, alias="g"), work.same_key("g", alias)
        )

    async def _take_out_parents(self, work: Work) -> int:
        """Take out rows that live's rows refer to, and that would go or change their key."""
        taken = 0
        for link in self._schema.links_to(work.table.full_name):
            tests: list[tuple[str, sql.Composable]] = []
            if ONLY_IN_LIVE in work.classes:
                tests.append((ONLY_IN_LIVE, sql.SQL("true")))
            altered = [name for name in link.key.parent_columns if name in work.overwritten]
            if altered and CHANGED in work.classes:
                new = [differs(work.staged.columns, name) for name in altered]
                tests.append((CHANGED, sql.SQL("({})").format(sql.SQL(" OR ").join(new))))
            for row_class, test in tests:
                ids = self._referred(work, link, row_class, test)
                taken += await self._take_out(work, "has children", link.key.name, ids)
        return taken

    def _referred(
        self, work: Work, link: Link, row_class: str, test: sql.Composable
    ) -> sql.Composable:
        child = self._schema.tables[link.key.table]
        return sql.SQL(
            "SELECT d.id FROM {rows} AS d JOIN {live} ON {same} LEFT JOIN {content} AS s"
            " ON s.id = d.id WHERE {chosen} AND {test}"
            " AND EXISTS (SELECT FROM {child} WHERE {equal}{stays})"
        ).format(
            rows=work.rows,
            live=work.live("r"),
            same=work.same_key(),
            content=work.content,
            chosen=work.chosen(row_class),
            test=test,
            child=self._rows(child, "h"),
            equal=match(
                link.operators,
                names(link.key.parent_columns, "r"),
                names(link.key.columns, "h"),
            ),
            stays=self._stays(self._works.get(link.key.table), link.key.columns, "h"),
        )

    async def _preview(self) -> MergePreview:
        effects: list[TableEffect] = []
        left_out: list[LeftOut] = []
        for work in self._works.values():
            cursor = await self._connection.execute(
                sql.SQL(
                    "SELECT class, reason, pg_catalog.count(*) FROM {} WHERE wanted"
                    " AND class IN ({}) GROUP BY 1, 2 ORDER BY 1, 2"
                ).format(work.rows, COMMA.join(map(sql.Literal, work.classes)))
            )
            counts = {(name, reason): count for name, reason, count in await cursor.fetchall()}
            effects.append(
                TableEffect(
                    work.table.full_name,
                    counts.get((MISSING, None), 0),
                    counts.get((CHANGED, None), 0),
                    counts.get((ONLY_IN_LIVE, None), 0),
                )
            )
            for (row_class, mark), rows in counts.items():
                if mark is None:
                    continue
                reason, _tab, name = mark.partition("\t")
                sample = await self._sample(work, row_class, mark)
                left_out.append(
                    LeftOut(
                        work.table.full_name,
                        CLASSES[row_class],
                        _REASONS[reason],
                        name,
                        rows,
                        sample,
                    )
                )
        return MergePreview(tuple(effects), tuple(left_out))

    async def _sample(
        self, work: Work, row_class: str, mark: str
    ) -> tuple[tuple[str | None, ...], ...]:
        if work.staged.whole_rows:
            return ()  # no key that says anything to anybody
        cursor = await self._connection.execute(
            sql.SQL(
                "SELECT {} FROM {} AS d WHERE wanted AND class = {} AND reason = {}"
                " ORDER BY id LIMIT {}"
            ).format(
                key_text(work.staged.key, "d"),
                work.rows,
                sql.Literal(row_class),
                sql.Literal(mark),
                sql.Literal(_SAMPLE),
            )
        )
        return tuple(tuple(row) for row in await cursor.fetchall())


def key_text(key: Sequence[str], alias: str) -> sql.Composable:
    """Return the staged key's columns as text, by the types' own output functions."""
    # format() calls them, where a cast could be one that a user made.
    return COMMA.join(
        sql.SQL("pg_catalog.format('%s', {})").format(column)
        for column in names(numbered("k", len(key)), alias)
    )
