"""Which PostgreSQL clients an operation works with."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import ClientUnsuitable
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.clients import ClientTools, choose_client, find_clients
from fsbackup_tui.engines.postgres.connection import client_environment
from fsbackup_tui.operations.context import JobContext

_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})


async def client_for_server(
    context: JobContext, address: DatabaseAddress, server_version_num: int
) -> ClientTools:
    """Return the client for a server (its own major where there is one); says so if newer."""
    clients = await find_clients(context.loaded.config.clients, os.environ)
    needs_tls = address.parameters.get("sslmode") in _TLS_MODES
    client, note = choose_client(clients, server_version_num, needs_tls=needs_tls)
    if note:
        context.report(Log(note))
    return client


async def client_for_archive(context: JobContext, facts: PostgresFacts) -> ClientTools:
    """Return a client that reads an archive: of the major that wrote it, else a newer one.

    Raises ClientUnsuitable: none here can; that says nothing about the archive.
    """
    clients = await find_clients(context.loaded.config.clients, os.environ)
    major = client_major(facts)
    try:
        client, _note = choose_client(clients, major * 10000)
    except ClientUnsuitable as error:
        raise ClientUnsuitable(
            f"NO FITTING CLIENT: the dump needs pg_restore {major} or newer (it is from pg_dump "
            f"{facts.client_version}).",
            why=error.why,
            fix=error.fix,
        ) from error
    return client


async def client_for_restore(
    context: JobContext, address: DatabaseAddress, server_version_num: int, facts: PostgresFacts
) -> ClientTools:
    """Return the client that restores an archive into a server.

    It is of the server's major where that reads the archive, else of the major that wrote it, and
    says so then: what a newer client sets, an older server may not know.
    """
    client = await client_for_server(context, address, server_version_num)
    if client.major >= client_major(facts):
        return client
    newer = await client_for_archive(context, facts)
    context.report(
        Warned(
            f"The archive was written by pg_dump {facts.client_version}; "
            f"pg_restore {newer.version} is used on a server of version "
            f"{server_version_num // 10000}."
        )
    )
    return newer


def job_environment(
    context: JobContext, address: DatabaseAddress
) -> AbstractContextManager[dict[str, str]]:
    """Give what a job's clients reach the address by, for as long as the block lasts."""
    return client_environment(
        address, directory=context.work, application_name=context.application_name
    )


def client_major(facts: PostgresFacts) -> int:
    """Return the major version of the client that wrote a part; 0 where it tells none."""
    match = re.match(r"\d+", facts.client_version)
    return int(match[0]) if match is not None else 0
