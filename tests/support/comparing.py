"""A database captured with its content, restored beside, and the copy compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.config.model import IntegrityQuery
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck, TableProof
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.comparison import compare_database
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.fingerprint import Method, fingerprint_tables
from fsbackup_tui.engines.postgres.inspect import table_facts
from fsbackup_tui.engines.postgres.integrity import ask_at_capture
from fsbackup_tui.engines.postgres.large_objects import capture_large_objects
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.engines.postgres.snapshot import shared_snapshot
from tests.support.sessions import address_of
from tests.support.transfers import (
    APPLICATION,
    Dumped,
    client_of,
    dump,
    empty_kitchen_sink,
    fill_kitchen_sink,
    restore,
)


@dataclass
class Compared:
    """What a comparison found."""

    tables: dict[str, TableProof]
    checks: dict[tuple[str, str], ProofCheck]

    @property
    def failed(self) -> dict[str, str]:
        """Each failure's name and verdict."""
        tables: dict[str, str] = {
            table.qualified: table.verdict for table in self.tables.values() if table.failed
        }
        return tables | {
            f"{check.kind} {check.name}": check.verdict
            for check in self.checks.values()
            if check.failed
        }

    @property
    def not_equal(self) -> dict[str, str]:
        """Each name and verdict that is not ``equal``."""
        tables: dict[str, str] = {
            table.qualified: table.verdict
            for table in self.tables.values()
            if table.verdict != "equal"
        }
        return tables | {
            f"{check.kind} {check.name}": check.verdict
            for check in self.checks.values()
            if check.verdict != "equal"
        }


async def capture_facts(
    url: str,
    facts: PostgresFacts,
    *,
    method: Method = "content",
    exclusions: Exclusions | None = None,
    queries: Sequence[IntegrityQuery] = (),
) -> PostgresFacts:
    """Return the facts with counts, fingerprints and answers of a database as it is now."""
    async with shared_snapshot(
        address_of(url),
        application_name=APPLICATION,
        exclusions=exclusions or Exclusions(),
        lock_timeout_seconds=10,
        counting_connections=2,
        report=_ignore,
    ) as snapshot:
        counts = {
            count.table.oid: count
            for count in await fingerprint_tables(snapshot, method=method, report=_ignore)
        }
        large_objects = None
        if method == "content":
            large_objects = await capture_large_objects(snapshot.holder, report=_ignore)
        integrity = await ask_at_capture(
            snapshot.holder,
            queries,
            search_path=database_search_path(facts.settings, facts.identity.role),
            report=_ignore,
        )
        tables = tuple(
            table_facts(table, counts.get(table.oid)) for table in snapshot.inspection.tables
        )
    return replace(
        facts,
        tables=tables,
        count_method=method,
        integrity=integrity,
        large_object_fingerprint=large_objects,
    )


def _ignore(_: Event) -> None:
    return None


async def captured_and_restored(
    url: str,
    server: ScratchServer,
    copy: str,
    directory: Path,
    *,
    method: Method = "content",
    exclusions: Exclusions | None = None,
) -> tuple[Dumped, Accounting]:
    """Dump a database, capture its content, and restore it into the new database ``copy``."""
    dumped = await dump(url, await client_of(server), directory / "part", exclusions=exclusions)
    dumped.facts = await capture_facts(url, dumped.facts, method=method, exclusions=exclusions)
    _done, accounting = await restore(dumped, copy, directory)
    return dumped, accounting


async def captured_kitchen_sink(
    url: str, server: ScratchServer, copy: str, directory: Path
) -> tuple[Dumped, Accounting]:
    """Make every kind of object in an empty database, capture it, restore it into ``copy``."""
    fill_kitchen_sink(url)
    try:
        return await captured_and_restored(url, server, copy, directory)
    finally:
        empty_kitchen_sink(url)


async def compare(
    address: DatabaseAddress,
    database: str,
    facts: PostgresFacts,
    *,
    schema_sha256: str | None = None,
    sessions: int = 2,
) -> Compared:
    """Compare a database with the facts."""

    async def open_session() -> Connection:
        return await connect(address, application_name=APPLICATION, database=database)

    tables, checks = await compare_database(
        open_session, facts, sessions=sessions, schema_sha256=schema_sha256, report=_ignore
    )
    return Compared(
        {table.qualified: table for table in tables},
        {(check.kind, check.name): check for check in checks},
    )
