"""What the server counted of a copy's rows before it became live, kept through a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.spare import settled_counters
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.engines.postgres.table_counters import (
    TableCounters,
    parse_table_counters,
    read_table_counters,
)
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.files import replace_file, state_file_mode
from fsbackup_tui.repository.spares import Spare

TABLES = "tables"
"""Under which name a spare's counters hold those of its tables."""

_LATE_SECONDS = 10.0
_LATE = "counted only after the swap: what was written in its first moments is not in it"


async def counters_before(
    context: JobContext, admin: Connection, address: DatabaseAddress, copy: Database
) -> TableCounters | None:
    """Return the copy's counters while nobody uses it; None where nobody can get in.

    They are kept in the incident, so that a swap whose job died can still be measured.
    """
    try:
        with plain_errors(address):
            if admin.info.server_version < 150000:
                # There a process of its own collects them, and tells later.
                await settled_counters(admin, copy.oid, limit_seconds=_LATE_SECONDS)
            counters = await _read(context, address, copy)
    except FsbackupError:
        return None
    _keep(context, copy, counters)
    return counters


async def counters_of_schemas(
    context: JobContext,
    address: DatabaseAddress,
    connection: Connection,
    names: Mapping[str, str],
    oid: int,
) -> TableCounters | None:
    """Return the counters of schemas' tables while nobody uses them, and keep them.

    ``names`` has for each schema's name now the one that it gets; ``oid`` is one schema's own.
    """
    try:
        with plain_errors(address):
            found = await read_table_counters(connection, format_time(context.now()))
    except FsbackupError:
        return None
    tables = {
        number: replace(table, name=f"{new}.{table.name.removeprefix(f'{old}.')}")
        for number, table in found.tables.items()
        for old, new in names.items()
        if table.name.startswith(f"{old}.")
    }
    counters = replace(found, tables=tables)
    _keep(context, Database("", oid), counters)
    return counters


async def counters_of_swapped_schemas(
    context: JobContext,
    address: DatabaseAddress,
    connection: Connection,
    names: Sequence[str],
    oid: int,
) -> TableCounters | None:
    """Return the counters of a schema swap that is done: those kept before it, else as now."""
    if (kept := _kept(context, Database("", oid))) is not None:
        return kept
    context.report(Warned(f"What was written since is {_LATE}"))
    same = {name: name for name in names}
    return await counters_of_schemas(context, address, connection, same, oid)


def counters_of_spare(context: JobContext, spare: Spare) -> TableCounters | None:
    """Return a spare's counters as they were when it was proven; nobody was in it since."""
    try:
        counters = parse_table_counters(str(spare.counters[TABLES]))
    except (KeyError, ValueError):
        return None
    counters = replace(counters, database_oid=spare.oid)
    _keep(context, Database(spare.name, spare.oid), counters)
    return counters


async def counters_after(
    context: JobContext, address: DatabaseAddress, live: Database, notes: list[str]
) -> TableCounters | None:
    """Return the counters of a swap that is done: those kept before it, else as they are now."""
    if (kept := _kept(context, live)) is not None:
        return kept
    try:
        with plain_errors(address):
            counters = await _read(context, address, live)
    except FsbackupError as error:
        notes.append(f"What is written from now on can't be counted: {error.what}")
        return None
    notes.append(f"What was written since is {_LATE}")
    return counters


async def _read(context: JobContext, address: DatabaseAddress, database: Database) -> TableCounters:
    connection = await connect(
        address.with_database(database.name),
        application_name=context.application_name,
        database_oid=database.oid,
    )
    async with connection:
        return await read_table_counters(connection, format_time(context.now()))


def _path(context: JobContext, database: Database) -> Path | None:
    return None if context.incident is None else context.incident / f"counters-{database.oid}.json"


def _keep(context: JobContext, database: Database, counters: TableCounters) -> None:
    path = _path(context, database)
    if path is None:
        return
    try:
        replace_file(path, counters.text().encode(), mode=state_file_mode(path))
    except (FsbackupError, OSError) as error:
        context.report(Warned(f"What is written since is lost if this job dies: {error}"))


def _kept(context: JobContext, database: Database) -> TableCounters | None:
    path = _path(context, database)
    if path is None:
        return None
    try:
        return parse_table_counters(path.read_text())
    except (OSError, ValueError):
        return None
