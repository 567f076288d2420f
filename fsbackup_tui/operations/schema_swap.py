"""Letting copies of schemas take the live ones' places, and letting the former ones back."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Log, Warned, format_time
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.kept import kept_name
from fsbackup_tui.engines.postgres.schema_exchange import check_constraints, left_to_check
from fsbackup_tui.engines.postgres.schema_grants import grant_differences
from fsbackup_tui.engines.postgres.schema_marks import beside_name, check_tag, schema_oids
from fsbackup_tui.engines.postgres.schema_pairs import (
    SchemaPair,
    SchemaSwap,
    SchemaSwapped,
    standing,
)
from fsbackup_tui.engines.postgres.schema_swap import in_the_way, swap_schemas
from fsbackup_tui.engines.postgres.schema_ties import find_ties
from fsbackup_tui.engines.postgres.schema_waiting import end_other_sessions
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.table_counters import TableCounters
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import SchemaSwapRequest
from fsbackup_tui.operations.swap_counters import counters_of_schemas, counters_of_swapped_schemas
from fsbackup_tui.operations.target import admin_address, source_address

# PostgREST keeps the schema in mind until it is told (docs.postgrest.org, "Schema Cache").
_POSTGREST = ("pgrst", "reload schema")
_HAS_POSTGREST = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'authenticator')
    OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS s,
               pg_catalog.unnest(s.setconfig) AS item WHERE item LIKE 'pgrst.%')
"""
# Their OIDs are new: a statement prepared before, whose result has such a column, is refused with
# "cached plan must not change result type" until it is prepared anew, which few drivers do by
# themselves (tried with psycopg on 18).
_OWN_TYPES = """
SELECT count(*) FROM pg_catalog.pg_type AS t
JOIN pg_catalog.pg_attribute AS a ON a.atttypid = t.oid AND a.attnum > 0
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm')
WHERE t.typnamespace::int8 = ANY (%s)
"""


@dataclass
class _Swapping:
    """One swap while it goes on."""

    request: SchemaSwapRequest
    context: JobContext
    live: DatabaseAddress
    swap: SchemaSwap
    notes: list[str] = field(default_factory=list)
    grants: tuple[str, ...] = ()
    notified: bool = False
    counters: TableCounters | None = None

    async def open(self) -> Connection:
        """Open a session in the live database."""
        return await connect(self.live, application_name=self.context.application_name)

    def note(self, text: str) -> None:
        """Keep a remark for the result, and tell it now."""
        self.notes.append(text)
        self.context.report(Warned(text))


async def run(request: SchemaSwapRequest, context: JobContext) -> dict[str, object]:
    """Swap, and return which schema has which name now; done already is done, too.

    Raises:
        IdentityMismatch: the server is not the one that was seen.
        SafetyRefusal: a schema is not what it was, or something can't be re-pointed.
        TableLocked: somebody held a lock on a table all the time.
        RightsMissing, PostgresError: the server refuses; nothing was changed.
    """
    refuse_if_read_only(context.loaded, "swaps nothing")
    context.stage("check")
    arguments = (context.loaded, context.environment, context.redactor, request.part)
    source = await source_address(*arguments, database=request.database)
    address = await admin_address(*arguments)
    live = address.with_database(source.database)
    swapping = _Swapping(request, context, live, _planned(request, context))
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            identity = await confirm_target(admin, address, request.target, context)
            # The same lock as every restore into this server: neither meets the other half-way.
            async with restore_lock(admin, identity, context.application_name):
                with plain_errors(live):
                    return await _swap(swapping)


def _planned(request: SchemaSwapRequest, context: JobContext) -> SchemaSwap:
    check_tag(request.tag)
    numbers = {len(request.schemas), len(request.live_oids), len(request.copy_oids)}
    if len(numbers) != 1 or not request.schemas:
        raise UsageError(
            "SCHEMAS NOT TOLD: each needs its live one's and its copy's OID.",
            fix="Take them from the result of the copy (or of the swap that is undone).",
        )
    pairs = []
    for schema, live_oid, copy_oid in zip(
        request.schemas, request.live_oids, request.copy_oids, strict=True
    ):
        before, after = (kept_name(schema, kind, request.tag) for kind in ("before", "after"))
        coming = before if request.back else beside_name(schema, request.tag)
        if request.again:
            coming = after
        kept_as = after if request.back else before
        pairs.append(SchemaPair(schema, live_oid, coming, copy_oid, kept_as))
    at = format_time(context.now())
    return SchemaSwap(tuple(pairs), "after" if request.back else "before", at, context.job)


async def _swap(swapping: _Swapping) -> dict[str, object]:
    request, context, swap = swapping.request, swapping.context, swapping.swap
    oid = swap.pairs[0].coming_oid
    async with await swapping.open() as connection:
        if await standing(connection, swap) == "after":
            context.report(Log("It is done already: the schemas have their new names."))
            # A job that died after the commit may not have come to this.
            left = await check_constraints(connection, await left_to_check(connection, swap))
            swapping.counters = await counters_of_swapped_schemas(
                context, swapping.live, connection, [p.schema for p in swap.pairs], oid
            )
            return await _document(swapping, connection, None, left)
        ties = await find_ties(connection, [pair.leaving_oid for pair in swap.leaving])
        if ties.blockers:
            raise in_the_way(ties)
        for schema in ties.fixed:
            swapping.note(
                f"An extension can't leave {schema}: its content changes places, object by object;"
                " grants on the schema itself and default privileges in it stay as they are."
            )
        swapping.grants = await grant_differences(connection, swap.leaving)
        for text in swapping.grants:
            swapping.note(text)
        (row,) = await fetch_all(connection, _HAS_POSTGREST)
        swapping.notified = bool(row[0])
        (count,) = await fetch_all(connection, _OWN_TYPES, [list(request.copy_oids)])
        new_types = bool(count[0])
        if request.preview:
            return {
                **await _document(swapping, connection, None, ()),
                "repointed": [r.what for r in ties.repoints],
            }
        names = {pair.coming: pair.schema for pair in swap.pairs}
        swapping.counters = await counters_of_schemas(
            context, swapping.live, connection, names, oid
        )
        context.stage("swap")
        swapped = await swap_schemas(
            swapping.open,
            swap,
            patience_seconds=request.patience_seconds,
            end_blockers=request.end_blockers,
            notify=[_POSTGREST] if swapping.notified else [],
        )
        told = ", ".join(pair.schema for pair in swap.pairs)
        context.report(
            Log(
                f"{told}: the copy has the name now; closed for {swapped.closed_seconds:.2f} s, "
                f"{swapped.attempts} attempts, {swapped.sessions_ended} sessions ended."
            )
        )
        context.stage("settle")
        await _end_sessions(swapping, connection, swapped, new_types=new_types)
        unchecked = await check_constraints(connection, swapped.to_check)
        for text in (*swapped.notes, *unchecked):
            swapping.note(text)
        return await _document(swapping, connection, swapped, unchecked)


async def _end_sessions(
    swapping: _Swapping, connection: Connection, swapped: SchemaSwapped, *, new_types: bool
) -> None:
    """End who may have prepared statements that are refused from now on, or say that they are."""
    wanted = swapping.request.end_sessions
    if wanted or (wanted is None and new_types):
        ended, left = await end_other_sessions(connection)
        swapped.sessions_ended += ended
        for who in left:
            swapping.note(f"This role may not end {who}: restart it.")
    elif new_types:
        swapping.note(
            "Columns have types of the schema's own, which are new: sessions that go on meet "
            "'cached plan must not change result type'. Restart the application."
        )


async def _document(
    swapping: _Swapping,
    connection: Connection,
    swapped: SchemaSwapped | None,
    unchecked: tuple[str, ...],
) -> dict[str, object]:
    pairs = swapping.swap.pairs
    names = [name for pair in pairs for name in (pair.schema, pair.kept_as)]
    oids = await schema_oids(connection, names)
    return {
        "ok": True,
        "database": swapping.live.database,
        "schemas": [
            {
                "schema": pair.schema,
                "oid": oids.get(pair.schema, 0),
                "kept_as": pair.kept_as if pair.leaving_oid else None,
                "kept_oid": oids.get(pair.kept_as, 0),
            }
            for pair in pairs
        ],
        "closed_seconds": None if swapped is None else round(swapped.closed_seconds, 3),
        "attempts": None if swapped is None else swapped.attempts,
        "sessions_ended": None if swapped is None else swapped.sessions_ended,
        "repointed": [] if swapped is None else list(swapped.repointed),
        "unchecked": list(unchecked),
        "grants": list(swapping.grants),
        "counters": "" if swapping.counters is None else swapping.counters.text(),
        "notified": swapping.notified and swapped is not None,
        "notes": list(swapping.notes),
    }
