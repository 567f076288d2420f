"""What a table of the copy and that of live are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.engines.postgres.merge.catalogue import Column, Operator, Table
from fsbackup_tui.engines.postgres.merge.transfer import BINARY_TYPES
from fsbackup_tui.engines.postgres.merge.work import key_operators, rows_of


@dataclass(frozen=True, slots=True)
class Pair:
    """A table in the copy and in live, with the key and the columns they are compared by.

    ``raw`` are those whose values hash alike on both sides as they are. ``whole_rows``: there is
    no key, and ``key`` names the columns that ``source`` adds instead.
    """

    copy: Table
    live: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    raw: tuple[str, ...]
    whole_rows: bool = False

    @property
    def label(self) -> str:
        """The table's name as people read it."""
        return f"{self.live.schema}.{self.live.name}"

    def source(self, table: Table, alias: str = "r") -> sql.Composable:
        """Return one side's rows for a FROM clause, with the columns of the key."""
        return rows_of(table, alias, self.key, self.columns, whole_rows=self.whole_rows)

    def operators(self, table: Table) -> tuple[Operator, ...]:
        """Return what tells two keys equal on one side."""
        return key_operators(table, self.key, whole_rows=self.whole_rows)

    def binary(self, columns: Sequence[str]) -> bool:
        """Whether these columns' values can go over in binary form."""
        return (self.whole_rows and tuple(columns) == self.key) or all(
            _type(self.copy.column(name)) == _type(self.live.column(name))
            and _type(self.live.column(name))[1] in BINARY_TYPES
            for name in columns
        )


def _type(column: Column | None) -> tuple[str, int]:
    return ("", 0) if column is None else (column.type, column.type_oid)


def pair_tables(copy: Table, live: Table) -> Pair | str:
    """Return what two tables of one name are compared by, or why they can't be."""
    if live.unfit:
        return live.unfit
    if copy.unfit:
        return f"in the copy {copy.unfit}"
    if live.key is None:
        return _pair_whole_rows(copy, live)
    key = live.key.columns
    given = {column.name for column in live.stored}
    columns = tuple(
        column.name for column in copy.columns if column.name in given and not column.virtual
    )
    theirs = [copy.column(name) for name in key]
    never_null = all(column is not None and column.not_null for column in theirs)
    if not set(key) <= set(columns) or not never_null or copy.unique_over(key) is None:
        return f"the copy has no such key: {', '.join(key)}"
    raw = tuple(
        name
        for name in columns
        if (mine := live.column(name)) is not None
        and (other := copy.column(name)) is not None
        and mine.raw
        and other.raw
        and mine.type_oid == other.type_oid
    )
    return Pair(copy, live, key, columns, raw)


def _pair_whole_rows(copy: Table, live: Table) -> Pair | str:
    mine = {column.name: (column.type, column.raw) for column in live.stored}
    theirs = {column.name: (column.type, column.raw) for column in copy.stored}
    if mine != theirs:
        return (
            "it has no primary key, nor a unique index over columns that are never NULL; and its "
            "columns are others than the copy's, so that whole rows can't be compared"
        )
    taken = {column.name for column in (*copy.columns, *live.columns)}
    key = ["fsbackup_hash", "fsbackup_hash_2", "fsbackup_number"]
    while taken & set(key):
        key = [f"{name}_" for name in key]
    return Pair(copy, live, tuple(key), tuple(mine), (), whole_rows=True)
