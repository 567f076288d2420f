"""A database dumped and restored beside, by the engines alone, for tests of either."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.model import Limits
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.point import DumpFormat, PostgresFacts, Scope
from fsbackup_tui.engines.postgres.accounting import Accounting, account
from fsbackup_tui.engines.postgres.archive import archive_rows, list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools, choose_client, find_clients
from fsbackup_tui.engines.postgres.connection import client_environment, connect
from fsbackup_tui.engines.postgres.dump import (
    DumpPlan,
    DumpResult,
    dump_database,
    plan_dump,
    write_schema,
)
from fsbackup_tui.engines.postgres.inspect import inspect_database
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.replay import create_database
from fsbackup_tui.engines.postgres.restore import (
    RestoreRun,
    restore_archive,
    restore_plain,
    scan_for_restore,
)
from fsbackup_tui.engines.postgres.schema import canonical_schema
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.process import Command, run
from tests.support.servers import execute
from tests.support.sessions import address_of

KITCHEN_SINK = Path(__file__).with_name("kitchen_sink.sql")
APPLICATION = "fsbackup/test-transfer"
MOMENT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


_numbers = itertools.count(1)


def make_directory(directory: Path) -> None:
    """Make a directory that is not there yet, with its parents."""
    directory.mkdir(parents=True)


async def client_of(server: ScratchServer) -> ClientTools:
    """Return the client programs that belong to a server."""
    clients = await find_clients([server.bin_directory], {})
    own = [client for client in clients if client.directory == server.bin_directory]
    client, _note = choose_client(own, server.version_num)
    return client


def fill_kitchen_sink(url: str) -> None:
    """Make every kind of object in an empty database; ``empty_kitchen_sink`` before dropping."""
    execute(url, KITCHEN_SINK.read_text(encoding="utf-8"))


def empty_kitchen_sink(url: str) -> None:
    """Drop the subscription, which keeps a database from being dropped."""
    execute(url, "DROP SUBSCRIPTION IF EXISTS from_elsewhere")


@dataclass
class Dumped:
    """A dump with what is needed to restore it."""

    address: DatabaseAddress
    client: ClientTools
    directory: Path
    plan: DumpPlan
    result: DumpResult
    facts: PostgresFacts
    log: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.directory / self.plan.name


async def dump(
    url: str,
    client: ClientTools,
    directory: Path,
    *,
    dump_format: DumpFormat = "custom",
    scope: Scope = "full",
    compression: str = "auto",
    jobs: int = 2,
    report: Callable[[Event], None] | None = None,
    exclusions: Exclusions | None = None,
) -> Dumped:
    """Dump a database in a snapshot of its own; ``directory`` is made."""
    make_directory(directory)
    address = address_of(url)
    exclusions = exclusions or Exclusions()
    log: list[str] = []
    connection = await connect(address, application_name=APPLICATION)
    async with connection:
        inspection = await inspect_database(connection, address, exclusions=exclusions)
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = await (await connection.execute("SELECT pg_export_snapshot()")).fetchone()
        assert row is not None
        source = PostgresSource.model_validate(
            {
                "kind": "postgres",
                "url": "unused",
                "format": dump_format,
                "scope": scope,
                "compression": compression,
                "jobs": jobs,
                "lock_timeout": "1s",
            }
        )
        plan = plan_dump(
            source,
            Limits(),
            client,
            size_bytes=inspection.identity.size_bytes,
            tables=len(inspection.tables),
            cpu_count=2,
            exclusions=exclusions,
        )
        with client_environment(
            address, directory=directory.parent, application_name=APPLICATION
        ) as environment:
            result = await dump_database(
                plan,
                client,
                environment,
                snapshot_id=row[0],
                directory=directory,
                report=report,
                on_log=log.append,
            )
            schema = await write_schema(
                plan, client, environment, snapshot_id=row[0], directory=directory
            )
    facts = inspection.to_facts(
        client_version=client.version,
        scope=scope,
        format=plan.format,
        toc_entries=result.toc_entries,
        schema_sha256=schema[1] if schema else None,
        snapshot_at=MOMENT,
        snapshot_lsn=None,
        counts={},
        count_method="absent",
    )
    return Dumped(address, client, directory, plan, result, facts, log)


async def make_copy(dumped: Dumped, name: str) -> None:
    """Make the empty database for a copy, by a session in ``postgres``."""
    admin = await connect(dumped.address, application_name=APPLICATION, database="postgres")
    async with admin:
        await create_database(admin, name, dumped.facts, comment="a test's copy")


async def restore(
    dumped: Dumped, name: str, work: Path, *, jobs: int = 2, rows: Mapping[int, int] | None = None
) -> tuple[RestoreRun, Accounting]:
    """Restore a dump into the new database ``name`` and account for it."""
    await make_copy(dumped, name)
    return await fill(dumped, name, work, jobs=jobs, rows=rows)


async def fill(
    dumped: Dumped, name: str, work: Path, *, jobs: int = 2, rows: Mapping[int, int] | None = None
) -> tuple[RestoreRun, Accounting]:
    """Fill the database ``name`` from a dump and account for it; rows are counted in the dump."""
    client = dumped.client
    with client_environment(
        dumped.address, directory=work, application_name=APPLICATION, database=name
    ) as environment:
        if dumped.plan.format == "plain":
            scan = await scan_for_restore(dumped.path)
            entries = list(scan.entries)
            done = await restore_plain(client, environment, dumped.path, scan=scan, work=work)
        else:
            _text, entries = await list_archive(client, dumped.path)
            done = await restore_archive(
                client, environment, dumped.path, entries=entries, work=work, jobs=jobs
            )
            if rows is None:
                rows = await archive_rows(client, dumped.path, entries, work)
        side = await connect(dumped.address, application_name=APPLICATION, database=name)
        async with side:
            accounting = await account(
                side,
                entries,
                done,
                dumped.facts,
                client=client,
                environment=environment,
                work=work,
                archive=dumped.path,
                archive_rows=rows,
            )
    return done, accounting


async def text_of(
    client: ClientTools, address: DatabaseAddress, database: str, work: Path, *options: str
) -> list[str]:
    """Return a database as pg_dump writes it, without what differs between two equal ones."""
    target = work / f"text-{next(_numbers)}.sql"
    with client_environment(
        address, directory=work, application_name=APPLICATION, database=database
    ) as environment:
        argv = (client.tool("pg_dump"), "--no-subscriptions", f"--file={target}", *options)
        await run(Command(argv, env={**client.env, **environment}))
    with target.open("rb") as stream:
        return [line.decode() for line in canonical_schema(stream)]
