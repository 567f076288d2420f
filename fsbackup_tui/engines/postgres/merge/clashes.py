"""Finding rows that can't be beside each other under a unique or excluding index."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from fsbackup_tui.engines.postgres.merge.catalogue import Index
from fsbackup_tui.engines.postgres.merge.work import (
    CHANGED,
    COMMA,
    ONLY_IN_LIVE,
    Work,
    match,
    names,
    numbered,
)


class Clash:
    """The queries that find rows which can't be beside each other under a unique index."""

    def __init__(
        self, work: Work, index: Index, classes: Sequence[str], *, both_null: bool
    ) -> None:
        self._work = work
        self._index = index
        self._classes = classes
        self._both_null = both_null
        self._values = numbered("e", len(index.definitions))

    def _columns(self) -> sql.Composable:
        return COMMA.join(
            sql.SQL("({}) AS {}").format(sql.SQL(definition), sql.Identifier(value))
            for definition, value in zip(self._index.definitions, self._values, strict=True)
        )

    def _where(self) -> sql.Composable:
        if self._index.predicate is None:
            return sql.SQL("")
        return sql.SQL(" WHERE {}").format(sql.SQL(self._index.predicate))

    def _staged(self) -> sql.Composable:
        # An expression names columns without a table: the image must be the only one around.
        keys = COMMA.join(
            sql.SQL("i.{} AS {}").format(sql.Identifier(name), sql.Identifier(key))
            for name, key in zip(
                self._work.staged.key, numbered("k", len(self._work.staged.key)), strict=True
            )
        )
        return sql.SQL("(SELECT i.{} AS id, {}, {} FROM {} AS i{})").format(
            sql.Identifier(self._work.number),
            keys,
            self._columns(),
            self._work.image(*self._classes),
            self._where(),
        )

    def _live(self) -> sql.Composable:
        keys = COMMA.join(
            sql.SQL("r.{} AS {}").format(sql.Identifier(name), sql.Identifier(key))
            for name, key in zip(
                self._work.staged.key, numbered("k", len(self._work.staged.key)), strict=True
            )
        )
        return sql.SQL("(SELECT {}, {} FROM {}{})").format(
            keys, self._columns(), self._work.live("r"), self._where()
        )

    def _equal(self, left: str, right: str) -> sql.Composable:
        mine, theirs = names(self._values, left), names(self._values, right)
        if self._both_null:
            # A join by "equal or both NULL" can't be hashed; the same text can.
            return sql.SQL("ROW({})::pg_catalog.text = ROW({})::pg_catalog.text").format(
                COMMA.join(mine), COMMA.join(theirs)
            )
        return match(self._index.operators, mine, theirs)

    def with_live(self) -> sql.Composable:
        """Return the ids of rows that clash with one that is and stays in live."""
        work = self._work
        keys = numbered("k", len(work.staged.key))
        # One that is checked at the end of the statement lets rows change places.
        moving = CHANGED in self._classes and not self._index.immediate
        going = [ONLY_IN_LIVE, *([CHANGED] if moving else [])]
        gone = [name for name in going if name in work.classes]
        stays: sql.Composable = sql.SQL("")
        if gone:
            stays = sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS g WHERE {} AND {})").format(
                work.rows,
                work.chosen(*gone, alias="g"),
                match(work.operators, work.staged_key("g"), names(keys, "t")),
            )
        return sql.SQL(
            "SELECT DISTINCT a.id FROM {} AS a JOIN {} AS t ON {} WHERE NOT ({}){}"
        ).format(
            self._staged(),
            self._live(),
            self._equal("a", "t"),
            match(work.operators, names(keys, "a"), names(keys, "t")),
            stays,
        )

    def among(self) -> sql.Composable:
        """Return the ids of rows that clash with each other: which one is right is a guess."""
        return sql.SQL(
            "SELECT DISTINCT a.id FROM {0} AS a JOIN {0} AS b ON {1} WHERE a.id <> b.id"
        ).format(self._staged(), self._equal("a", "b"))
