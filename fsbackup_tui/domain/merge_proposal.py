"""Which rows a damage suggests to put back: what a person names, and what a loss took along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import (
    Drift,
    LinkDifference,
    MergePlan,
    Narrowing,
    Proposed,
    TableChoice,
)


def propose(plan: MergePlan, named: Iterable[TableName] = ()) -> tuple[Proposed, ...]:
    """Return what to put back, starting from the tables a person names; from all without any.

    Added to these: children whose rows were lost with a missing parent, the columns that an
    action of a foreign key emptied, and parents that the named rows need. What is added is narrowed
    to rows that have to do with what is put back; rows deleted on purpose stay deleted.

    Never proposed: rows of a table without a key, and a definition that nobody named or that wants
    a value.
    """
    keyless = {table.table for table in plan.tables if table.whole_rows}
    missing = [t.table for t in plan.tables if t.missing and t.table not in keyless]
    names = set(named)
    start = [table for table in missing if not names or table in names]
    chosen = {table: _Suggestion(named=True, missing=True) for table in start}
    queue = list(chosen)
    links = [link for link in plan.links if not keyless & {link.key.table, link.key.parent}]
    while queue:
        table = queue.pop()
        for link in links:
            queue += _follow(table, link, chosen)
    for drift in plan.drift:
        if drift.table in names and drift.lost and not (drift.obstacle or drift.needs_value):
            _make_again(drift, chosen)
    return tuple(
        Proposed(suggestion.choice(table), tuple(suggestion.reasons) or ("rows are missing",))
        for table, suggestion in sorted(chosen.items())
    )


def _make_again(drift: Drift, chosen: dict[TableName, _Suggestion]) -> None:
    suggestion = chosen.setdefault(drift.table, _Suggestion(named=True))
    if drift.kind in ("table", "view"):
        suggestion.recreate = True
        _say(suggestion, f"live has the {drift.kind} no more")
    elif drift.kind == "column" and drift.column is not None:
        suggestion.lost_columns.append(drift.column)
        _say(suggestion, f"live has the column {drift.column} no more")
    elif drift.column is not None:
        suggestion.objects.append(drift.column)
        _say(suggestion, f"live has the {drift.kind} {drift.column} no more")


@dataclass(slots=True)
class _Suggestion:
    """What is known so far of a table's part; it only ever grows."""

    named: bool = False
    missing: bool = False
    needed: bool = False
    went_along: bool = False
    columns: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    recreate: bool = False
    lost_columns: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)

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
            table,
            missing=self.missing,
            overwrite=tuple(sorted(self.columns)),
            narrow=narrow,
            recreate=self.recreate,
            columns=tuple(self.lost_columns),
            objects=tuple(self.objects),
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
