"""Proving schemas that were brought beside the live ones: rows and definitions."""

from __future__ import annotations

from fsbackup_tui.domain.comparison import judge_tables
from fsbackup_tui.domain.errors import RestoreIncomplete
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.catalogue import entry_key
from fsbackup_tui.engines.postgres.inspect_tables import list_tables
from fsbackup_tui.engines.postgres.measure import measure_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.schema_dump import differing_definitions, dump_schemas
from fsbackup_tui.operations.clients import job_environment
from fsbackup_tui.operations.schema_copying import Copying


async def prove(copying: Copying, facts: PostgresFacts, accounting: Accounting) -> None:
    """Compare rows and definitions; RestoreIncomplete where they are not as they have to be."""
    async with await copying.open_live() as live:
        here = {
            (table.schema, table.name): table
            for table in await list_tables(live, Exclusions(), exact_sizes=True)
            if table.schema in copying.beside
        }
    found = await measure_tables(
        copying.open_live, facts, here, sessions=copying.jobs, report=copying.context.report
    )
    captured = {(table.schema, table.name) for table in facts.tables}
    too_many = {name: "" for name in here if name not in captured}
    proofs = judge_tables(facts, found, too_many)
    wrong = [f"{proof.qualified}: {proof.verdict} {proof.note}" for proof in proofs if proof.failed]
    unknown = [proof.qualified for proof in proofs if proof.verdict == "unknown"]
    if unknown:
        copying.note(f"not compared, as they were not counted: {', '.join(unknown[:5])}")
    differing = await _differing(copying, accounting)
    wrong += [f"{label}: not defined as in the copy" for label in differing]
    if wrong:
        raise RestoreIncomplete(
            "SCHEMA NOT PROVEN: what stands beside is not what was captured. It is dropped.",
            why="\n".join(wrong[:5]),
            fix="Check the copy (fsbackup verify), or restore another point.",
        )


async def _differing(copying: Copying, accounting: Accounting) -> list[str]:
    """Return what is not defined as in the copy, but for what is held back or benign."""
    context = copying.context
    if any(note.startswith("Owners were not restored") for note in accounting.notes):
        copying.note("definitions were looked for one by one; their owners differ")
        return []
    again = context.work / "definitions.dump"
    benign = [entry for entry, _why in accounting.benign]
    try:
        with job_environment(context, copying.live) as environment:
            await dump_schemas(
                copying.client,
                environment,
                copying.beside,
                again,
                definitions_only=True,
                redactor=context.redactor,
            )
        return await differing_definitions(
            copying.client,
            context.work / "schemas",
            again,
            without={entry_key(entry) for entry in (*accounting.deferred, *benign)},
        )
    finally:
        again.unlink(missing_ok=True)
