"""What a merge of rows out of a restored copy into the live database is about (design §6, *merge*).

Rows are told apart by their primary key: *missing* (the copy has it, live has not), *changed* (both
have it, its content differs), *only in live*. A choice says what happens to each class of a table;
a row that could only be put back by guessing stays out, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.domain.comparison import TableName

RowClass = Literal["missing", "changed", "only in live"]
Action = Literal["no action", "restrict", "cascade", "set null", "set default"]
Reason = Literal["moved", "clash", "no parent", "has children", "unrelated"]
Narrowing = Literal["with parents", "needed"]
DriftKind = Literal["table", "column", "type", "key"]

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

    ``column`` None: it is about the whole table. ``copy`` and ``live`` are the definitions, None
    where there is none. ``needs_value``: a row can only be put back with a value for the column.
    """

    kind: DriftKind
    table: TableName
    column: str | None
    copy: str | None
    live: str | None
    needs_value: bool = False


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What the diff by key found in one table; ``equal`` tables have nothing staged.

    ``columns`` are those compared: in both, and not computed by live. ``changed_columns`` has
    for each column in how many changed rows it differs.
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
    """

    table: TableName
    missing: bool = True
    overwrite: tuple[str, ...] = ()
    delete_only_in_live: bool = False
    narrow: tuple[Narrowing, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)


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
class MergePreview:
    """What a choice comes to at this moment: what is done, and what stays out."""

    effects: tuple[TableEffect, ...]
    left_out: tuple[LeftOut, ...]

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
    """

    set_number: int
    effects: tuple[TableEffect, ...]
    left_out: tuple[LeftOut, ...]
    sequences: Mapping[TableName, int]
    triggers_off: tuple[str, ...]
    stale: tuple[TableName, ...]
    locked_seconds: float


@dataclass(frozen=True, slots=True)
class Proposed:
    """A choice that the damage suggests for a table, and why."""

    choice: TableChoice
    reasons: tuple[str, ...]


def propose(plan: MergePlan, named: Iterable[TableName] = ()) -> tuple[Proposed, ...]:
    """Return what to put back, starting from the tables a person names; from all without any.

    Added to these: children whose rows were lost with a missing parent, the columns that an
    action of a foreign key emptied, and parents that the named rows need. What is added is narrowed
    to rows that have to do with what is put back; rows deleted on purpose stay deleted.
    """
    missing = [table.table for table in plan.tables if table.missing]
    names = set(named)
    start = [table for table in missing if not names or table in names]
    chosen = {table: _Suggestion(named=True, missing=True) for table in start}
    queue = list(chosen)
    while queue:
        table = queue.pop()
        for link in plan.links:
            queue += _follow(table, link, chosen)
    return tuple(
        Proposed(suggestion.choice(table), tuple(suggestion.reasons) or ("rows are missing",))
        for table, suggestion in sorted(chosen.items())
    )


@dataclass(slots=True)
class _Suggestion:
    """What is known so far of a table's part; it only ever grows."""

    named: bool = False
    missing: bool = False
    needed: bool = False
    went_along: bool = False
    columns: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)

    def state(self) -> tuple[bool, bool, bool, int]:
        return self.missing, self.needed, self.went_along, len(self.columns)

    @property
    def spreads(self) -> bool:
        """Whether rows that refer to its missing ones are part of the damage, too."""
        return self.named or (self.went_along and self.missing)

    @property
    def wants(self) -> bool:
        """Whether the parents of its rows are wanted, too.

        Not those of rows that went along: one whose other parent is missing as well may have
        been deleted with that one, on purpose. It stays out, and is listed.
        """
        return self.missing and (self.named or self.needed)

    def choice(self, table: TableName) -> TableChoice:
        narrow: tuple[Narrowing, ...] = ()
        if not self.named:
            narrow += ("with parents",) if self.went_along else ()
            narrow += ("needed",) if self.needed else ()
        return TableChoice(
            table, missing=self.missing, overwrite=tuple(sorted(self.columns)), narrow=narrow
        )


def _follow(
    table: TableName, link: LinkDifference, chosen: dict[TableName, _Suggestion]
) -> list[TableName]:
    """Add what one link makes necessary beside ``table``; return the tables that it concerns."""
    key, here = link.key, chosen[table]
    changed: list[TableName] = []
    went = link.lost_with_parent and key.takes_along
    if key.parent == table and here.spreads and (went or link.unlinked):
        child = chosen.setdefault(key.table, _Suggestion())
        before = child.state()
        child.went_along = True
        if went:
            child.missing = True
            _say(child, f"{link.lost_with_parent} rows went with {_name(key.parent)} ({key.name})")
        if link.unlinked:
            child.columns.update(key.columns)
            _say(child, f"{link.unlinked} rows lost their {_name(key.parent)} ({key.name})")
        changed += [key.table] if child.state() != before else []
    if key.table == table and here.wants and link.lost_with_parent and key.parent != table:
        parent = chosen.setdefault(key.parent, _Suggestion())
        before = parent.state()
        parent.missing = parent.needed = True
        _say(parent, f"{link.lost_with_parent} rows of {_name(key.table)} need it ({key.name})")
        changed += [key.parent] if parent.state() != before else []
    return changed


def _say(suggestion: _Suggestion, reason: str) -> None:
    if reason not in suggestion.reasons:
        suggestion.reasons.append(reason)


def _name(table: TableName) -> str:
    return f"{table[0]}.{table[1]}"
