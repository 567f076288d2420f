"""What a merge of rows out of a restored copy into the live database is about (design §6, *merge*).

Rows are told apart by their primary key: *missing* (the copy has it, live has not), *changed* (both
have it, its content differs), *only in live*. A choice says what happens to each class of a table;
a row that could only be put back by guessing stays out, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.domain.comparison import TableName

RowClass = Literal["missing", "changed", "only in live"]
Action = Literal["no action", "restrict", "cascade", "set null", "set default"]
Reason = Literal["moved", "clash", "no parent", "has children", "unrelated"]
Narrowing = Literal["with parents", "needed"]
DriftKind = Literal[
    "table", "view", "column", "type", "key", "index", "constraint", "trigger", "policy"
]

_REASONS: Mapping[Reason, str] = {
    "moved": "changed in live since it was looked at",
    "clash": "another row has what must be unique: {}",
    "no parent": "what it refers to is not there: {}",
    "has children": "other rows refer to it: {}",
    "unrelated": "it has nothing to do with what is put back",
}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of live: rows of ``table`` refer to rows of ``parent``."""

    name: str
    table: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: Action = "no action"
    on_update: Action = "no action"

    @property
    def takes_along(self) -> bool:
        """Whether a row can't outlive its parent: it went with it, or had to go before."""
        return self.on_delete not in ("set null", "set default")


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the definitions of the copy and of live.

    ``column`` names the column, index, constraint, trigger or policy; None: it is about the whole
    table. ``copy`` and ``live`` are the definitions, None where there is none. ``needs_value``: of
    a column that the copy lacks, that a row can only be put back with a value for it; of one that
    live lost, that the ``rows_since`` (rows that the copy has not) can't do without one.

    What live lost can be made again, but for an ``obstacle``; ``rows`` of live (of a table: of the
    copy) have a value for it. ``comes_along`` is made with it; ``left`` used it, went with it, and
    has to be chosen for itself or is left to a person.
    """

    kind: DriftKind
    table: TableName
    column: str | None
    copy: str | None
    live: str | None
    needs_value: bool = False
    default: str | None = None
    rows: int | None = None
    rows_since: int | None = None
    comes_along: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    obstacle: str = ""

    @property
    def lost(self) -> bool:
        """Whether the copy has it and live has it no more."""
        return self.copy is not None and self.live is None


@dataclass(frozen=True, slots=True)
class SampleValue:
    """A column of a row that differs, as text that may be cut short; None: NULL, or no such row."""

    column: str
    in_copy: str | None
    in_live: str | None


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One row that differs: its key, and some of its values; of a changed one those that differ.

    The key is empty in a table without one.
    """

    row_class: RowClass
    key: tuple[str, ...]
    values: tuple[SampleValue, ...]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What the diff by key found in one table; ``equal`` tables have nothing staged.

    ``columns`` are those compared: in both, and not computed by live. ``changed_columns`` has
    for each column in how many changed rows it differs. ``filtered``: so many of the missing and
    changed rows meet the condition that was given; None: there was none. ``whole_rows``: there is
    no key, so rows are told apart by all they hold, and none counts as changed.
    """

    table: TableName
    key: tuple[str, ...]
    columns: tuple[str, ...]
    rows_in_copy: int
    rows_in_live: int
    missing: int = 0
    changed: int = 0
    only_in_live: int = 0
    changed_columns: Mapping[str, int] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()
    filtered: int | None = None
    sample: tuple[SampleRow, ...] = ()
    whole_rows: bool = False

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows."""
        return not (self.missing or self.changed or self.only_in_live)


@dataclass(frozen=True, slots=True)
class LinkDifference:
    """What a foreign key has to do with the missing rows of its parent.

    ``lost_with_parent``: missing rows that refer to a missing parent row. ``unlinked``: changed
    rows that did refer to one, and now have what ON DELETE SET NULL or SET DEFAULT leaves.
    """

    key: ForeignKey
    lost_with_parent: int = 0
    unlinked: int = 0


@dataclass(frozen=True, slots=True)
class MergePlan:
    """The whole read-only diff; ``refused`` has for each table why it can't be merged.

    ``keys`` are all foreign keys between tables of live.
    """

    tables: tuple[TableDifference, ...]
    links: tuple[LinkDifference, ...]
    drift: tuple[Drift, ...]
    refused: Mapping[TableName, str]
    keys: tuple[ForeignKey, ...]
    notes: tuple[str, ...] = ()

    def table(self, name: TableName) -> TableDifference | None:
        """Return the table's differences; None where it was not compared."""
        return next((table for table in self.tables if table.table == name), None)


@dataclass(frozen=True, slots=True)
class TableChoice:
    """What shall happen to one table's rows; by default missing ones are put back, no more.

    ``overwrite`` names the columns that changed rows get from the copy, ``ALL_COLUMNS`` for all;
    empty: changed rows stay. ``narrow`` leaves of both only rows that refer to a row that is put
    back itself (*with parents*), or that such a row needs (*needed*); rows deleted on purpose stay
    deleted then. ``values`` are for columns that the copy lacks, as text (None: NULL).

    ``recreate`` makes a table or view again that live lost; ``columns`` are lost ones to be made
    again, filled by key; rows that the copy has not get there what ``values`` says, or the
    column's own default where ``by_default`` names it, else NULL. ``objects`` are lost indexes,
    constraints, triggers and policies to be made again.
    """

    table: TableName
    missing: bool = True
    overwrite: tuple[str, ...] = ()
    delete_only_in_live: bool = False
    narrow: tuple[Narrowing, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)
    recreate: bool = False
    columns: tuple[str, ...] = ()
    by_default: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


ALL_COLUMNS = ("*",)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of one table and class that stay as they are in live, why, and some of their keys.

    ``name`` is the index or foreign key that it is about, if it is about one.
    """

    table: TableName
    row_class: RowClass
    reason: Reason
    name: str
    rows: int
    sample: tuple[tuple[str | None, ...], ...] = ()

    @property
    def text(self) -> str:
        """The reason in words."""
        return _REASONS[self.reason].format(self.name)


@dataclass(frozen=True, slots=True)
class TableEffect:
    """How many rows of one table a merge inserts, overwrites and deletes."""

    table: TableName
    inserted: int = 0
    overwritten: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Recreated:
    """What is made again, or by an undo taken away again; ``name`` as in ``Drift.column``.

    ``filled`` rows have the copy's value; ``rows_since`` are not in the copy. ``lacking`` is what
    could not be made with it, and why.
    """

    kind: DriftKind
    table: TableName
    name: str | None
    filled: int = 0
    rows_since: int = 0
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a choice comes to at this moment: what is done, and what stays out.

    ``recreated`` is made again, or by an undo taken away.
    """

    effects: tuple[TableEffect, ...]
    left_out: tuple[LeftOut, ...]
    recreated: tuple[Recreated, ...] = ()

    @property
    def rows(self) -> int:
        """All rows that are touched."""
        return sum(e.inserted + e.overwritten + e.deleted for e in self.effects)

    def differs_from(self, other: MergePreview) -> tuple[str, ...]:
        """Return a line for each table in which the two would not do the same."""
        mine = {effect.table: effect for effect in self.effects}
        theirs = {effect.table: effect for effect in other.effects}
        return tuple(
            f"{table[0]}.{table[1]}: {_effect_text(mine.get(table))}, "
            f"it was {_effect_text(theirs.get(table))}"
            for table in sorted(mine.keys() | theirs.keys())
            if mine.get(table) != theirs.get(table)
        )


def _effect_text(effect: TableEffect | None) -> str:
    if effect is None:
        return "nothing"
    return f"{effect.inserted} in, {effect.overwritten} over, {effect.deleted} out"


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did; ``set_number`` names what undoes it.

    ``sequences`` has for each sequence moved forward its new position. ``stale`` are the
    materialised views over the changed tables: they show the former rows until refreshed.
    ``recreated`` was made again, ``removed`` taken away again by an undo, its content kept.
    """

    set_number: int
    effects: tuple[TableEffect, ...]
    left_out: tuple[LeftOut, ...]
    sequences: Mapping[TableName, int]
    triggers_off: tuple[str, ...]
    stale: tuple[TableName, ...]
    locked_seconds: float
    recreated: tuple[Recreated, ...] = ()
    removed: tuple[Recreated, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposed:
    """A choice that the damage suggests for a table, and why."""

    choice: TableChoice
    reasons: tuple[str, ...]
