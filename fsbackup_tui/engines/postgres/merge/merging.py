"""The changing half of a merge: foretelling a choice, doing it, and undoing what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, UsageError
from fsbackup_tui.domain.merge import ALL_COLUMNS, Merged, MergePreview, TableChoice
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.applying import Order, carry_out
from fsbackup_tui.engines.postgres.merge.catalogue import Schema, read_schema
from fsbackup_tui.engines.postgres.merge.judging import Judgement
from fsbackup_tui.engines.postgres.merge.lost import read_lost
from fsbackup_tui.engines.postgres.merge.planning import COPY_SET
from fsbackup_tui.engines.postgres.merge.recreating import (
    NOTHING,
    Recreating,
    Source,
    choose,
    kept_recreating,
    rows_alone,
    without,
)
from fsbackup_tui.engines.postgres.merge.staging import (
    StagedSet,
    StagedTable,
    Staging,
    read_set,
    read_sets,
)
from fsbackup_tui.engines.postgres.merge.work import Work

OnReady = Callable[[], Awaitable[None]]
Note = Callable[[Merged], str]


async def preview_merge(
    live: Connection, staging: Staging, choices: Iterable[TableChoice]
) -> MergePreview:
    """Return what the choices come to now: what is put back, and what stays out and why.

    Raises:
        UsageError: a choice can't be done, say for want of a value.
    """
    return await _preview(live, staging, _Asked(COPY_SET, tuple(choices)))


async def apply_merge(
    live: Connection,
    staging: Staging,
    choices: Iterable[TableChoice],
    expected: MergePreview,
    *,
    source: Source | None = None,
    note: Note | None = None,
    on_ready: OnReady | None = None,
) -> Merged:
    """Do what ``expected`` foretold of these choices, in one transaction, its undo written first.

    ``source`` is needed where tables or views are made again. What ``note`` returns is kept with
    the undo.

    Raises:
        LockHeld, TableLocked, SafetyRefusal, PostgresError: nothing was changed.
    """
    asked = _Asked(COPY_SET, tuple(choices))
    return await _apply(live, staging, asked, expected, source=source, note=note, on_ready=on_ready)


async def preview_undo(
    live: Connection, staging: Staging, set_number: int, *, including_moved: bool = False
) -> MergePreview:
    """Return what undoing a merge would do now, and which rows it leaves, and why.

    Rows that somebody changed since (*moved*) are left, unless ``including_moved``; always left
    are those that others refer to, or whose former place is taken. ``recreated`` of it is what
    would be taken away again.
    """
    return await _preview(
        live, staging, await _everything(live, staging, set_number, including_moved)
    )


async def undo_merge(
    live: Connection,
    staging: Staging,
    set_number: int,
    expected: MergePreview,
    *,
    including_moved: bool = False,
    note: Note | None = None,
    on_ready: OnReady | None = None,
) -> Merged:
    """Undo the merge that left this set, as foretold; sequences stay where they are.

    What it does can be undone again, by the set that it leaves itself; but for definitions that
    it took away.

    Raises:
        SafetyRefusal: it was undone already, or it would not do what was foretold.
        LockHeld, TableLocked, PostgresError: nothing was changed.
    """
    asked = await _everything(live, staging, set_number, including_moved)
    return await _apply(live, staging, asked, expected, note=note, on_ready=on_ready)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be done with which set; ``removal`` is what an undo takes away again."""

    set_number: int
    choices: tuple[TableChoice, ...]
    removal: Recreating = NOTHING
    including_moved: bool = False


async def _everything(
    live: Connection, staging: Staging, set_number: int, including_moved: bool
) -> _Asked:
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
    # Its rows may be lost, as a crash of the server empties the copy's.
    before = [each for each in await read_sets(live, staging) if each.number == found.undoes]
    if any(kept_recreating(each.recreated) for each in before):
        raise SafetyRefusal(
            "NOT DONE AGAIN: the undo took definitions away that the merge had made again.",
            why="Their content lies in the staging schema, but is not put back from there.",
            fix="Plan the merge anew from the copy.",
        )
    choices = tuple(
        TableChoice(table.full_name, missing=True, overwrite=ALL_COLUMNS, delete_only_in_live=True)
        for table in found.tables
    )
    return _Asked(set_number, choices, kept_recreating(found.recreated), including_moved)


async def _preview(live: Connection, staging: Staging, asked: _Asked) -> MergePreview:
    async with live.transaction():
        # One moment for all tables; the judgement writes its marks, and they may stay.
        await live.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
        schema = without(await read_schema(live), asked.removal)
        staged = await read_set(live, staging, asked.set_number)
        recreating = await _recreating(live, staging, asked)
        works = _works(staging, schema, staged, asked.choices)
        judgement = Judgement(live, schema, works, including_moved=asked.including_moved)
        preview = await judgement.judge()
    return replace(preview, recreated=(recreating or asked.removal).foretell())


async def _recreating(live: Connection, staging: Staging, asked: _Asked) -> Recreating:
    """Return what the choices make again; only what came out of the copy can."""
    if not any(c.recreate or c.columns or c.objects for c in asked.choices):
        return NOTHING
    return choose(await read_lost(live, staging), asked.choices)


async def _apply(
    live: Connection,
    staging: Staging,
    asked: _Asked,
    expected: MergePreview,
    *,
    source: Source | None = None,
    note: Note | None = None,
    on_ready: OnReady | None = None,
) -> Merged:
    schema = without(await read_schema(live), asked.removal)
    sets = await read_sets(live, staging)
    staged = await read_set(live, staging, asked.set_number)
    order = Order(
        staging,
        schema,
        asked.set_number,
        1 + max(found.number for found in sets),
        _works(staging, schema, staged, asked.choices),
        expected,
        asked.including_moved,
        recreating=await _recreating(live, staging, asked),
        removal=asked.removal,
        source=source,
        note=note,
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
            if choice.recreate or choice.columns or choice.objects:
                continue
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
        works.append(Work(staging, found, table, rows_alone(choice)))
    return tuple(works)
