"""What recoveries left inside the live database, and what they left closed or frozen."""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal
from fsbackup_tui.domain.leftovers import Leftover
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.kept import Kept
from fsbackup_tui.engines.postgres.leftovers import closed_databases, schema_bytes, staged_since
from fsbackup_tui.engines.postgres.merge.staging import LeftStaging, drop_staging, find_stagings
from fsbackup_tui.engines.postgres.schema_marks import MarkedSchema, MarkKind, find_marked
from fsbackup_tui.engines.postgres.schema_side import drop_beside
from fsbackup_tui.operations.fences import Fence, find_fences, lift_fence
from fsbackup_tui.operations.leftover_look import Looking, time_of

_SCHEMAS: dict[MarkKind, str] = {
    "before": "the schema {schema} of {database} as it was before a swap",
    "after": "the schema {schema} of {database} as it was before a swap was undone",
    "restored": "a restored copy of the schema {schema}, in {database}",
    "unfinished": "a copy of the schema {schema}, in {database}, that was never finished",
}


async def look_at_fences(looking: Looking, admin: Connection, kept: Sequence[Kept]) -> None:
    """List what is kept from writing still, and what lets nobody in."""
    live = looking.live.database
    closed = await closed_databases(admin, [live, *(database.name for database in kept)])
    for fence in find_fences(looking.incidents, looking.request.part, live, closed, kept):
        _add_fence(looking, admin, fence)


def _add_fence(looking: Looking, admin: Connection, fence: Fence) -> None:
    async def drop() -> None:
        await lift_fence(fence, looking.context, looking.state, admin, looking.open)

    of = looking.incident_of(fence.of)
    looking.add(
        Leftover("fence", fence.name, 0, of, fence.since, None, fence.what, fence.held_by), drop
    )


async def look_into_live(looking: Looking) -> None:
    """List the schemas in live that merges and swaps of schemas left."""
    try:
        async with await looking.open() as live:
            for staging in await find_stagings(live):
                await _add_staging(looking, live, staging)
            marked = await find_marked(live)
            sizes = await schema_bytes(live, [schema.oid for schema in marked])
            for schema in marked:
                _add_schema(looking, schema, sizes.get(schema.oid))
    except FsbackupError as error:
        looking.notes.append(f"Schemas that were left in live can't be seen: {error.what}")


async def _add_staging(looking: Looking, live: Connection, staging: LeftStaging) -> None:
    async def drop() -> None:
        async with await looking.open() as session:
            await drop_staging(session, staging.schema)

    filling = bool(staging.job) and looking.is_alive(staging.job)
    looking.add(
        Leftover(
            "staging",
            staging.schema,
            0,
            staging.incident,
            await staged_since(live, staging.schema),
            staging.bytes,
            f"rows staged to merge in {looking.live.database}, and what undoes it",
            f"the job {staging.job} is filling it" if filling else "",
        ),
        drop,
    )


def _add_schema(looking: Looking, schema: MarkedSchema, size: int | None) -> None:
    mark, database = schema.mark, looking.live.database

    async def drop() -> None:
        async with await looking.open() as session:
            found = {one.name: one.oid for one in await find_marked(session)}
            if found.get(schema.name) != schema.oid:
                raise SafetyRefusal(
                    f"NOT DROPPED: {schema.name} is not the schema that it was.",
                    why="It was renamed, dropped or made anew since it was looked at.",
                    fix="Look again: fsbackup leftovers",
                )
            await drop_beside(session, schema.name)

    filling = mark.kind == "unfinished" and looking.is_alive(mark.job)
    looking.add(
        Leftover(
            "schema",
            f"{database}.{schema.name}",
            schema.oid,
            looking.incident_of(mark.job),
            time_of(mark.at),
            size,
            _SCHEMAS[mark.kind].format(schema=mark.schema, database=database),
            f"the job {mark.job} is filling it" if filling else "",
        ),
        drop,
        role=mark.kind,
    )
