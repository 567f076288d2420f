"""The changing half of a merge: foretelling a choice, doing it, and undoing what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, UsageError
from fsbackup_tui.domain.merge import ALL_COLUMNS, Merged, MergePreview, TableChoice
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.applying import Order, carry_out
from fsbackup_tui.engines.postgres.merge.catalogue import Schema, read_schema
from fsbackup_tui.engines.postgres.merge.judging import Judgement
from fsbackup_tui.engines.postgres.merge.planning import COPY_SET
from fsbackup_tui.engines.postgres.merge.staging import (
    StagedSet,
    StagedTable,
    Staging,
    read_set,
    read_sets,
)
from fsbackup_tui.engines.postgres.merge.work import Work

OnReady = Callable[[], Awaitable[None]]


async def preview_merge(
    live: Connection, staging: Staging, choices: Iterable[TableChoice]
) -> MergePreview:
    """Return what the choices come to now: what is put back, and what stays out and why.

    Raises:
        UsageError: a choice can't be done, say for want of a value.
    """
    return await _preview(live, staging, COPY_SET, choices)


async def apply_merge(
    live: Connection,
    staging: Staging,
    choices: Iterable[TableChoice],
    expected: MergePreview,
    *,
    on_ready: OnReady | None = None,
) -> Merged:
    """Do what ``expected`` foretold of these choices, in one transaction, its undo written first.

    Raises:
        LockHeld, TableLocked, SafetyRefusal, PostgresError: nothing was changed.
    """
    return await _apply(live, staging, COPY_SET, choices, expected, on_ready=on_ready)


async def preview_undo(
    live: Connection, staging: Staging, set_number: int, *, including_moved: bool = False
) -> MergePreview:
    """Return what undoing a merge would do now, and which rows it leaves, and why.

    Rows that somebody changed since (*moved*) are left, unless ``including_moved``; always left
    are those that others refer to, or whose former place is taken.
    """
    choices = await _everything(live, staging, set_number)
    return await _preview(live, staging, set_number, choices, including_moved=including_moved)


async def undo_merge(
    live: Connection,
    staging: Staging,
    set_number: int,
    expected: MergePreview,
    *,
    including_moved: bool = False,
    on_ready: OnReady | None = None,
) -> Merged:
    """Undo the merge that left this set, as foretold; sequences stay where they are.

    What it does can be undone again, by the set that it leaves itself.

    Raises:
        SafetyRefusal: it was undone already, or it would not do what was foretold.
        LockHeld, TableLocked, PostgresError: nothing was changed.
    """
    choices = await _everything(live, staging, set_number)
    return await _apply(
        live,
        staging,
        set_number,
        choices,
        expected,
        including_moved=including_moved,
        on_ready=on_ready,
    )


async def _everything(
    live: Connection, staging: Staging, set_number: int
) -> tuple[TableChoice, ...]:
    if set_number == COPY_SET:
        raise UsageError(
            "NOT AN UNDO: set 0 is what came out of the copy.",
            fix="Name the set that the merge returned.",
        )
    found = await read_set(live, staging, set_number)
    if found.applied_by is not None:
        raise SafetyRefusal(
            f"UNDONE ALREADY: set {set_number} was applied.",
            why=f"Set {found.applied_by} takes it back.",
            fix=f"To have it again, undo set {found.applied_by}.",
        )
    return tuple(
        TableChoice(table.full_name, missing=True, overwrite=ALL_COLUMNS, delete_only_in_live=True)
        for table in found.tables
    )


async def _preview(
    live: Connection,
    staging: Staging,
    set_number: int,
    choices: Iterable[TableChoice],
    *,
    including_moved: bool = False,
) -> MergePreview:
    async with live.transaction():
        # One moment for all tables; the judgement writes its marks, and they may stay.
        await live.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
        schema = await read_schema(live)
        staged = await read_set(live, staging, set_number)
        works = _works(staging, schema, staged, choices)
        judgement = Judgement(live, schema, works, including_moved=including_moved)
        return await judgement.judge()


async def _apply(
    live: Connection,
    staging: Staging,
    set_number: int,
    choices: Iterable[TableChoice],
    expected: MergePreview,
    *,
    including_moved: bool = False,
    on_ready: OnReady | None = None,
) -> Merged:
    schema = await read_schema(live)
    sets = await read_sets(live, staging)
    staged = await read_set(live, staging, set_number)
    order = Order(
        staging,
        schema,
        set_number,
        1 + max(found.number for found in sets),
        _works(staging, schema, staged, choices),
        expected,
        including_moved,
    )
    return await carry_out(live, order, on_ready=on_ready)


def _works(
    staging: Staging, schema: Schema, staged: StagedSet, choices: Iterable[TableChoice]
) -> tuple[Work, ...]:
    chosen: Sequence[TableChoice] = tuple(choices)
    by_name: dict[tuple[str, str], StagedTable] = {
        table.full_name: table for table in staged.tables
    }
    works: list[Work] = []
    for choice in chosen:
        table, found = schema.tables.get(choice.table), by_name.get(choice.table)
        name = f"{choice.table[0]}.{choice.table[1]}"
        if found is None:
            raise UsageError(
                f"NOTHING STAGED: {name} has no rows that differ.",
                fix="Choose among the tables that the plan lists with differences.",
            )
        if table is None or table.unfit:
            raise PostgresError(
                f"TABLE NOT USABLE: {name}",
                why=table.unfit if table else "It is not there any more.",
                fix="Look what happened to it, then stage the differences again.",
            )
        works.append(Work(staging, found, table, choice))
    return tuple(works)
