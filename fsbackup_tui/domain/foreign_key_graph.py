"""The order in which tables that refer to each other are filled and emptied; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import ForeignKey


def parents_first(
    tables: Iterable[TableName], keys: Sequence[ForeignKey]
) -> tuple[tuple[TableName, ...], ...]:
    """Return the tables in groups, each after those that it refers to.

    A group of several is a cycle: its tables refer to each other and must change together.
    """
    wanted = sorted(set(tables))
    parents: dict[TableName, list[TableName]] = {table: [] for table in wanted}
    for key in keys:
        if key.table in parents and key.parent in parents and key.parent != key.table:
            parents[key.table].append(key.parent)
    return _Components(parents).groups


class _Components:
    """Tarjan's strongly connected components, without recursion; parents come out first."""

    def __init__(self, parents: dict[TableName, list[TableName]]) -> None:
        self._parents = parents
        self._index: dict[TableName, int] = {}
        self._low: dict[TableName, int] = {}
        self._open: dict[TableName, None] = {}
        self._groups: list[tuple[TableName, ...]] = []
        for table in parents:
            if table not in self._index:
                self._walk(table)

    @property
    def groups(self) -> tuple[tuple[TableName, ...], ...]:
        return tuple(self._groups)

    def _walk(self, start: TableName) -> None:
        path = [(start, iter(self._enter(start)))]
        while path:
            table, others = path[-1]
            other = next(others, None)
            if other is None:
                path.pop()
                self._leave(table)
                if path:
                    before = path[-1][0]
                    self._low[before] = min(self._low[before], self._low[table])
            elif other not in self._index:
                path.append((other, iter(self._enter(other))))
            elif other in self._open:
                self._low[table] = min(self._low[table], self._index[other])

    def _enter(self, table: TableName) -> list[TableName]:
        self._index[table] = self._low[table] = len(self._index)
        self._open[table] = None
        return self._parents[table]

    def _leave(self, table: TableName) -> None:
        if self._low[table] != self._index[table]:
            return
        group = [self._open.popitem()[0]]
        while group[-1] != table:
            group.append(self._open.popitem()[0])
        self._groups.append(tuple(sorted(group)))


def related(named: Iterable[TableName], keys: Sequence[ForeignKey]) -> set[TableName]:
    """Return the tables a loss in the named ones can have reached, and all they need.

    That is: whoever refers to them, through others as well (a row that goes takes along, empties
    or came after those of its children), and what all of these refer to.
    """
    children: dict[TableName, set[TableName]] = defaultdict(set)
    parents: dict[TableName, set[TableName]] = defaultdict(set)
    for key in keys:
        parents[key.table].add(key.parent)
        children[key.parent].add(key.table)
    return _reach(_reach(set(named), children), parents)


def _reach(start: set[TableName], edges: dict[TableName, set[TableName]]) -> set[TableName]:
    found, queue = set(start), list(start)
    while queue:
        for other in edges[queue.pop()] - found:
            found.add(other)
            queue.append(other)
    return found
