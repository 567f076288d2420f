"""Comparing a restored copy with what was captured: tables, sequences, all else of the database.

Every table's rows are read again, several sessions at once, and summed in the very form in which
the captured fingerprint was taken. The verdicts themselves are ``domain/comparison.py``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from fsbackup_tui.domain.comparison import TableName, judge_tables, unproven_reason
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck, TableProof
from fsbackup_tui.engines.postgres.compare_objects import compare_objects
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import read_extensions
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.measure import measure_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions

__all__ = ["compare_database", "unproven_reason"]


async def compare_database(
    open_session: Callable[[], Awaitable[Connection]],
    facts: PostgresFacts,
    *,
    sessions: int,
    schema_sha256: str | None,
    report: Report,
) -> tuple[tuple[TableProof, ...], tuple[ProofCheck, ...]]:
    """Compare the database that ``open_session`` opens sessions in with the captured facts.

    ``sessions`` read at once, one more looks at everything else. ``schema_sha256`` is the
    copy's schema digest; None where it says nothing (owners were not restored). Nothing in the
    copy may change meanwhile. Whether a comparison without failures proves the part is told by
    ``unproven_reason``.

    Raises:
        psycopg.Error: a session was lost, or the catalogue could not be read.
    """
    connection = await open_session()
    async with connection:
        here = {
            (table.schema, table.name): table
            for table in await list_tables(connection, Exclusions(), exact_sizes=True)
        }
        too_many = await _too_many(connection, facts, here)
        known = {item.name: item.version for item in await read_extensions(connection)}
        measuring = asyncio.create_task(
            measure_tables(open_session, facts, here, sessions=sessions, report=report)
        )
        try:
            checks = await compare_objects(connection, facts, schema_sha256)
            found = await measuring
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
    proofs = judge_tables(facts, found, too_many)
    versions = {item.name: item.version for item in facts.extensions}
    return tuple(_of_its_version(proof, here, versions, known) for proof in proofs), checks


def _of_its_version(
    proof: TableProof,
    here: Mapping[TableName, TableInspection],
    captured: Mapping[str, str],
    installed: Mapping[str, str],
) -> TableProof:
    """Don't call rows different that another version of their extension tells from its own.

    Which rows of such a table are the site's is said by the extension, as it is installed here.
    """
    table = here.get((proof.schema, proof.name))
    if proof.verdict != "different" or table is None or not table.condition:
        return proof
    name = table.extension or ""
    if captured.get(name) == installed.get(name):
        return proof
    note = f"of the extension {name}, {installed.get(name)} here, {captured.get(name)} at capture"
    return replace(proof, verdict="unknown", note=note)


async def _too_many(
    connection: Connection, facts: PostgresFacts, here: dict[TableName, TableInspection]
) -> dict[TableName, str]:
    """Return the tables not captured, each with why it may be there; empty: it may not.

    What the capture left out is none of them, whoever made it; an extension's tables are as the
    version at hand makes them.
    """
    captured = {(table.schema, table.name) for table in facts.tables}
    extra = {name: table for name, table in here.items() if name not in captured}
    if not extra:
        return {}
    exclusions = Exclusions(facts.excluded_schemas, facts.excluded_tables)
    dumped = {
        (table.schema, table.name)
        for table in await list_tables(connection, exclusions, exact_sizes=False)
    }
    return {
        name: f"made by the extension {table.extension}" if table.extension else ""
        for name, table in extra.items()
        if name in dumped and name[0] not in facts.managed_schemas
    }
