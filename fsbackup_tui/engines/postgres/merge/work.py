"""One table's part in a merge, as the pieces of SQL that all steps are built of.

Everything is composed without parameters: a percent sign in a name would be taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.domain.merge import ALL_COLUMNS, TableChoice
from fsbackup_tui.engines.postgres.fingerprint import choose_form, row_hash
from fsbackup_tui.engines.postgres.inspect_tables import ColumnInspection
from fsbackup_tui.engines.postgres.merge.catalogue import Column, Operator, Table
from fsbackup_tui.engines.postgres.merge.staging import StagedSet, StagedTable, Staging

MISSING, CHANGED, ONLY_IN_LIVE = "m", "c", "o"
COMMA, AND = sql.SQL(", "), sql.SQL(" AND ")


def numbered(letter: str, count: int) -> list[str]:
    """Return the names of a staged relation's columns: ``k1``, ``k2``, …."""
    return [f"{letter}{number}" for number in range(1, count + 1)]


def names(columns: Iterable[str], alias: str | None = None) -> list[sql.Composable]:
    """Return the columns as identifiers, qualified by the alias if there is one."""
    if alias is None:
        return [sql.Identifier(column) for column in columns]
    return [sql.Identifier(alias, column) for column in columns]


def match(
    operators: Sequence[Operator],
    left: Sequence[sql.Composable],
    right: Sequence[sql.Composable],
) -> sql.Composable:
    """Return the condition that two lists of values compare true, one by one."""
    return AND.join(
        operator.compare(a, b) for operator, a, b in zip(operators, left, right, strict=True)
    )


def hash_of(columns: Iterable[str], raw: Iterable[str]) -> sql.Composable:
    """Return the hash of the alias ``r``'s columns, ``raw`` ones as they are, others as text."""
    as_is = set(raw)
    listed = [ColumnInspection(name, 0, name in as_is) for name in columns]
    return row_hash(listed, choose_form(listed))


def rows_of(
    table: Table,
    alias: str,
    key: Sequence[str],
    columns: Iterable[str],
    *,
    whole_rows: bool,
) -> sql.Composable:
    """Return the table's rows for a FROM clause; without a key, with the columns that make one.

    These are two hashes of a row and its number among its equals: which of them has which number
    does not matter, as they are equal.
    """
    if not whole_rows:
        return table.from_clause(alias)
    return sql.SQL("(SELECT r.*, {values} FROM {rows}) AS {alias}").format(
        values=COMMA.join(
            sql.SQL("{} AS {}").format(value, sql.Identifier(name))
            for value, name in zip(whole_row_key(columns), key, strict=True)
        ),
        rows=table.from_clause("r"),
        alias=sql.Identifier(alias),
    )


def whole_row_key(columns: Iterable[str]) -> tuple[sql.Composable, ...]:
    """Return what tells the rows of the alias ``r`` apart where they have no key.

    Two hashes of the row as text, 128 bits together: the one for rows with a key is folded to 32
    on its way (fingerprint.py), and among some hundred thousand rows two would be taken for one.
    """
    text = sql.SQL("ROW({})::pg_catalog.text").format(COMMA.join(names(sorted(columns), "r")))
    hashes = [
        sql.SQL("pg_catalog.hashtextextended({}, {})").format(text, sql.Literal(seed))
        for seed in (0, 1)
    ]
    number = sql.SQL("pg_catalog.row_number() OVER (PARTITION BY {})").format(COMMA.join(hashes))
    return (*hashes, number)


def key_operators(
    table: Table, key: Sequence[str], *, whole_rows: bool = False
) -> tuple[Operator, ...]:
    """Return what tells two keys equal, in the order of ``key``.

    Raises:
        PostgresError: nothing makes these columns a key any more.
    """
    if whole_rows:
        return (Operator("pg_catalog", "="),) * len(key)
    index = table.unique_over(tuple(key))
    if index is None:
        raise PostgresError(
            f"NO KEY: {table.schema}.{table.name} has no unique index over {', '.join(key)}.",
            why="It was altered since its rows were looked at.",
            fix="Stage the differences again.",
        )
    by_name = dict(zip(index.columns, index.operators, strict=True))
    return tuple(by_name[column] for column in key)


def staged_of(staged_set: StagedSet, table: TableName) -> StagedTable:
    """Return what a set has of a table; UsageError where that is nothing."""
    for staged in staged_set.tables:
        if staged.full_name == table:
            return staged
    raise UsageError(
        f"NOTHING STAGED: {table[0]}.{table[1]} has no rows that differ.",
        fix="Name a table that the plan lists with differences.",
    )


@dataclass(frozen=True, slots=True)
class Work:
    """A table of live, what was staged of it, and what was chosen for it."""

    staging: Staging
    staged: StagedTable
    table: Table
    choice: TableChoice

    @property
    def rows(self) -> sql.Identifier:
        """The relation with the staged keys."""
        return self.staging.relation(self.staged.rows)

    @property
    def content(self) -> sql.Identifier:
        """The relation with the staged content."""
        return self.staging.relation(self.staged.content)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What compares the key's columns."""
        return key_operators(self.table, self.staged.key, whole_rows=self.staged.whole_rows)

    def live(self, alias: str) -> sql.Composable:
        """Return live's rows for a FROM clause, with the columns of the staged key."""
        staged = self.staged
        return rows_of(
            self.table,
            alias,
            staged.key,
            staged.columns,
            whole_rows=staged.whole_rows,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of rows that shall change."""
        chosen = MISSING if self.choice.missing and self.staged.missing else ""
        chosen += CHANGED if self.overwritten and self.staged.changed else ""
        chosen += ONLY_IN_LIVE if self.choice.delete_only_in_live else ""
        return tuple(chosen)

    @property
    def overwritten(self) -> tuple[str, ...]:
        """The columns that changed rows get: never the key's, nor what live gives itself."""
        if not self.choice.overwrite:
            return ()
        wanted = self.choice.overwrite
        return tuple(
            name
            for name in self.staged.columns
            if (wanted == ALL_COLUMNS or name in wanted)
            and name not in self.staged.key
            and not self._column(name).always_identity
        )

    def _column(self, name: str) -> Column:
        column = self.table.column(name)
        if column is None or column.generated is not None:
            raise PostgresError(
                f"COLUMN GONE: {self.table.schema}.{self.table.name} has no {name} to be filled.",
                why="It was altered since its rows were looked at.",
                fix="Stage the differences again.",
            )
        return column

    def check(self) -> None:
        """Raise UsageError or PostgresError for a choice that can't be done, before anything."""
        for name in self.staged.columns:
            self._column(name)
        table = f"{self.table.schema}.{self.table.name}"
        given = {column.name for column in self.table.stored}
        if self.staged.whole_rows and given != set(self.staged.columns):
            raise PostgresError(
                f"TABLE ALTERED: {table} has other columns than when its rows were looked at.",
                why="It has no key, so its rows are told apart by all they hold.",
                fix="Stage the differences again.",
            )
        unknown = [
            name
            for name in self.choice.overwrite
            if self.choice.overwrite != ALL_COLUMNS and name not in self.overwritten
        ]
        unknown += [
            name for name in self.choice.values if name in self.staged.columns or name not in given
        ]
        if unknown:
            raise UsageError(
                f"NO SUCH COLUMN: {', '.join(unknown)} of {table} can't be filled.",
                why="It is part of the key, is computed by live, or not in both databases.",
                fix="Name columns that the plan lists.",
            )
        lacking = [
            column.name
            for column in self.table.stored
            if column.not_null
            and not column.has_default
            and column.name not in self.staged.columns
            and column.name not in self.choice.values
        ]
        if MISSING in self.classes and lacking:
            raise UsageError(
                f"VALUE NEEDED: {table} wants {', '.join(lacking)}, which the copy has not.",
                why="Live has the column NOT NULL and without a default.",
                fix="Give the value that rows shall have there.",
            )

    def chosen(self, *classes: str, alias: str = "d") -> sql.Composable:
        """Return the condition for the staged rows that are in, of these classes (or all)."""
        wanted = [name for name in classes or self.classes if name in self.classes]
        one_of = COMMA.join(sql.Literal(name) for name in wanted or ["-"])
        return sql.SQL("{0}.wanted AND {0}.reason IS NULL AND {0}.class IN ({1})").format(
            sql.Identifier(alias), one_of
        )

    def staged_key(self, alias: str = "d") -> list[sql.Composable]:
        """Return the key's columns in the staged rows."""
        return names(numbered("k", len(self.staged.key)), alias)

    def same_key(self, alias: str = "d", live: str = "r") -> sql.Composable:
        """Return the condition that a staged row is that row of live."""
        return match(self.operators, self.staged_key(alias), names(self.staged.key, live))

    def staged_value(self, name: str, alias: str = "s") -> sql.Composable:
        """Return the staged content of one of live's columns."""
        return sql.Identifier(alias, f"c{self.staged.columns.index(name) + 1}")

    def live_hash(self) -> sql.Composable:
        """Return the hash of live's row, the alias ``r``, as it was staged."""
        return hash_of(self.staged.columns, self.staged.raw)

    def free_name(self, name: str) -> str:
        """Return a name like this that none of the table's columns has."""
        taken = {column.name for column in self.table.columns}
        while name in taken:
            name += "_"
        return name

    @property
    def number(self) -> str:
        """What the staged row's number is called in ``image``."""
        return self.free_name("fsbackup_row")

    def image(self, *classes: str) -> sql.Composable:
        """Return a subquery of the chosen rows as they shall be in live, columns by their names.

        What the copy lacks is the value chosen for it, or NULL, in a row that is put back; what
        is not overwritten is live's. Computed columns are computed.
        """
        wanted = [name for name in classes or (MISSING, CHANGED) if name in self.classes]
        changed = CHANGED in wanted
        columns = [
            sql.SQL("{} AS {}").format(
                self._image_value(column, changed=changed), sql.Identifier(column.name)
            )
            for column in self.table.stored
        ]
        if self.staged.whole_rows:
            columns += [
                sql.SQL("{} AS {}").format(staged, sql.Identifier(name))
                for staged, name in zip(self.staged_key(), self.staged.key, strict=True)
            ]
        join = (
            sql.SQL(" LEFT JOIN {} ON {}").format(self.live("r"), self.same_key())
            if changed
            else sql.SQL("")
        )
        base = sql.SQL(
            "SELECT d.id AS {}, {} FROM {} AS d JOIN {} AS s ON s.id = d.id{} WHERE {}"
        ).format(
            sql.Identifier(self.number),
            COMMA.join(columns),
            self.rows,
            self.content,
            join,
            self.chosen(*(wanted or ["-"])),
        )
        computed = [
            sql.SQL("({}) AS {}").format(sql.SQL(column.generated), sql.Identifier(column.name))
            for column in self.table.columns
            if column.generated is not None
        ]
        if not computed:
            return sql.SQL("({})").format(base)
        extra = self.staged.key if self.staged.whole_rows else ()
        return sql.SQL("(SELECT {}, {} FROM ({}) AS {})").format(
            COMMA.join(
                names([self.number, *(column.name for column in self.table.stored), *extra])
            ),
            COMMA.join(computed),
            base,
            sql.Identifier(self.free_name("i")),
        )

    def _image_value(self, column: Column, *, changed: bool) -> sql.Composable:
        name = column.name
        if name in self.staged.columns:
            given = self.staged_value(name)
        else:
            value = self.choice.values.get(name)
            given = sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(column.bare_type))
        if not changed or name in self.staged.key or name in self.overwritten:
            return given
        return sql.SQL("CASE WHEN d.class = {} THEN {} ELSE {} END").format(
            sql.Literal(CHANGED), sql.Identifier("r", name), given
        )

    @property
    def inserted_columns(self) -> tuple[str, ...]:
        """The columns that a row which is put back gets."""
        return (*self.staged.columns, *self.choice.values)
