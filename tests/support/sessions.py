"""Sessions of the program's own kind for tests, from a scratch server's URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions

APPLICATION = "fsbackup/test"


def address_of(url: str) -> DatabaseAddress:
    """Return the address a test's URL names."""
    return parse_database_url(url)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Connection]:
    """Open a pinned session, closed at the end."""
    connection = await connect(address_of(url), application_name=APPLICATION)
    try:
        yield connection
    finally:
        await connection.close()


async def inspected_tables(
    connection: Connection, exclusions: Exclusions | None = None
) -> dict[str, TableInspection]:
    """Return the database's tables by their qualified names."""
    tables = await list_tables(connection, exclusions or Exclusions(), exact_sizes=False)
    return {table.qualified: table for table in tables}
