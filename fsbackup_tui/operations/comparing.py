"""Comparing a filled copy with what was captured: rows, definitions, and the site's own checks.

A trial restore and the check of a copy that may take live's place ask the same of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck, TableProof
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.comparison import compare_database
from fsbackup_tui.engines.postgres.integrity import check_integrity, queries_about
from fsbackup_tui.engines.postgres.restore import SINGLE_DATABASE_EXTENSIONS
from fsbackup_tui.engines.postgres.soundness import check_soundness
from fsbackup_tui.operations.filling import Filling
from fsbackup_tui.operations.site_command import check_by_command


@dataclass(frozen=True, slots=True)
class Compared:
    """What one look at a copy showed; ``notes`` are no failures."""

    tables: tuple[TableProof, ...] = ()
    checks: tuple[ProofCheck, ...] = ()
    notes: tuple[str, ...] = ()


async def compare_rows(
    filling: Filling, facts: PostgresFacts, accounting: Accounting, *, sessions: int
) -> Compared:
    """Compare every table, sequence and large object, and the definitions' digest.

    What belongs to an extension that no copy may have is armed and told of when the copy is live.
    """
    report = filling.context.report
    facts, notes = _without_deferred(facts, accounting)
    digest = accounting.schema_sha256
    if any(note.startswith("Owners were not restored") for note in accounting.notes):
        note = "the schema digest is not compared: owners and grants can't be had there"
        report(Log(note))
        digest, notes = None, (*notes, note)
    tables, checks = await compare_database(
        filling.connect, facts, sessions=sessions, schema_sha256=digest, report=report
    )
    return Compared(tables, checks, notes)


def _without_deferred(
    facts: PostgresFacts, accounting: Accounting
) -> tuple[PostgresFacts, tuple[str, ...]]:
    names = [entry.name for entry in accounting.deferred if entry.kind == "EXTENSION"]
    schemas = {schema for name in names for schema in SINGLE_DATABASE_EXTENSIONS.get(name, ())}
    tables = tuple(table for table in facts.tables if table.schema not in schemas)
    if len(tables) == len(facts.tables):
        return facts, ()
    sequences = tuple(each for each in facts.sequences if each.schema not in schemas)
    note = f"not compared, as no copy may have it: what belongs to {', '.join(names)}"
    return replace(facts, tables=tables, sequences=sequences), (note,)


async def check_sound(filling: Filling, facts: PostgresFacts, source: str) -> Compared:
    """Plan views, check functions, and ask the site's integrity queries about the source."""
    context = filling.context
    async with await filling.connect() as connection:
        sound, notes = await check_soundness(connection, facts, context.report)
        queries = await check_integrity(
            connection, facts, queries_about(context.loaded.config.integrity, source)
        )
    return Compared(checks=(*sound, *queries), notes=notes)


async def check_by_site(filling: Filling, facts: PostgresFacts) -> tuple[ProofCheck, ...]:
    """Run the site's own check against the copy, its URL in the environment; () without one."""
    context = filling.context
    argv = context.loaded.config.commands.verify_integrity
    if argv is None:
        return ()
    database = facts.identity.database
    return (await check_by_command(context, argv, filling.address, live_database=database),)
