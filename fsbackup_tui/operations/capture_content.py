"""Reading, in the dump's own snapshot, what a restored copy will be compared with."""

from __future__ import annotations

from dataclasses import dataclass

from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.point import Fingerprint, IntegrityResult
from fsbackup_tui.engines.postgres.fingerprint import fingerprint_tables
from fsbackup_tui.engines.postgres.inspect import TableCount
from fsbackup_tui.engines.postgres.integrity import ask_at_capture, queries_about
from fsbackup_tui.engines.postgres.large_objects import capture_large_objects
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.engines.postgres.snapshot import SharedSnapshot
from fsbackup_tui.operations.capture import CaptureRun, weights_of


@dataclass(frozen=True, slots=True)
class CapturedContent:
    """Every table's count, the large objects' content, the integrity queries' answers."""

    counts: list[TableCount]
    large_objects: Fingerprint | None = None
    integrity: tuple[IntegrityResult, ...] = ()


async def read_content(
    run: CaptureRun, source: PostgresSource, snapshot: SharedSnapshot
) -> CapturedContent:
    """Count the tables, then read the rest in the session that holds the snapshot.

    What can't be read is absent, with a line in the log; it never fails the backup.
    """
    context = run.context
    counts = await fingerprint_tables(
        snapshot,
        method=source.fingerprints,
        report=context.report,
        weights=weights_of(run.last_good),
    )
    if source.scope == "schema":
        return CapturedContent(counts)
    inspection = snapshot.inspection
    search_path = database_search_path(inspection.settings, inspection.identity.role)
    if run.links is not None:
        await run.links.read_rows(run.source, snapshot.holder, search_path=search_path)
    large_objects = None
    if source.fingerprints == "content" and snapshot.counters:
        large_objects = await capture_large_objects(snapshot.holder, report=context.report)
    integrity = await ask_at_capture(
        snapshot.holder,
        queries_about(context.loaded.config.integrity, run.source),
        search_path=search_path,
        report=context.report,
    )
    return CapturedContent(counts, large_objects, integrity)
