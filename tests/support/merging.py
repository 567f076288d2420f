"""A live database, a copy of what it was, and a merge between them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.merge import Merged, MergePlan, MergePreview, TableChoice
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.merging import (
    apply_merge,
    preview_merge,
    preview_undo,
    undo_merge,
)
from fsbackup_tui.engines.postgres.merge.planning import plan_merge
from fsbackup_tui.engines.postgres.merge.staging import Staging, create_staging
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session

_incidents = itertools.count(1)


def ignore(_: Event) -> None:
    """Take a report, and forget it."""


@dataclass
class Pair:
    """A live database and the copy, by their URLs."""

    live: str
    copy: str

    def damage(self, *statements: str) -> None:
        """Do something to live."""
        execute(self.live, *statements)

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Return what live answers."""
        return query(self.live, statement)

    def same(self, *tables: str) -> bool:
        """Whether these tables hold the same rows in both, as text."""
        return all(contents(self.live, table) == contents(self.copy, table) for table in tables)


def contents(url: str, table: str) -> list[tuple[object, ...]]:
    """Return a table's rows as text, sorted."""
    return query(url, f'SELECT t::text COLLATE "C" FROM {table} AS t ORDER BY 1')


def make_pair(
    make_database: MakeDatabase,
    server: ScratchServer,
    *setup: str,
    copy_server: ScratchServer | None = None,
) -> Pair:
    """Make both databases alike by the same statements."""
    pair = Pair(make_database(server), make_database(copy_server or server))
    for url in (pair.live, pair.copy):
        execute(url, *setup)
    return pair


@dataclass
class Merging:
    """A merge in progress: the sessions, the staging schema and the plan."""

    live: Connection
    copy: Connection
    staging: Staging
    plan: MergePlan

    async def preview(self, *choices: TableChoice) -> MergePreview:
        """Foretell."""
        return await preview_merge(self.live, self.staging, choices)

    async def apply(self, *choices: TableChoice) -> Merged:
        """Foretell, and do it."""
        expected = await self.preview(*choices)
        return await apply_merge(self.live, self.staging, choices, expected)

    async def undo(self, merged: Merged, *, including_moved: bool = False) -> Merged:
        """Foretell the undo of a merge, and do it."""
        expected = await preview_undo(
            self.live, self.staging, merged.set_number, including_moved=including_moved
        )
        return await undo_merge(
            self.live,
            self.staging,
            merged.set_number,
            expected,
            including_moved=including_moved,
        )


@asynccontextmanager
async def merging(
    pair: Pair, *, tables: Sequence[TableName] = (), as_role: str | None = None
) -> AsyncIterator[Merging]:
    """Plan a merge of the pair, with the sessions open inside the block."""
    live_url = pair.live if as_role is None else pair.live.replace("postgres@", f"{as_role}@", 1)
    async with session(live_url) as live, session(pair.copy) as copy:
        staging = await create_staging(live, f"t-{next(_incidents)}")
        plan = await plan_merge(copy, live, staging, tables=tables, report=ignore)
        yield Merging(live, copy, staging, plan)


def public(name: str) -> TableName:
    """Return a table of the schema ``public``."""
    return "public", name


def choice(name: str, **changes: object) -> TableChoice:
    """Return a choice for a table of ``public``."""
    return replace(TableChoice(public(name)), **changes)  # type: ignore[arg-type]
