"""A server looked at before a trial restore: is it fit, what does it lack, is there space."""

from __future__ import annotations

import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import ScratchUnavailable
from fsbackup_tui.domain.point import PostgresFacts, ServerIdentity
from fsbackup_tui.domain.proof import Blocker
from fsbackup_tui.engines.postgres.archive_compression import unread_compression
from fsbackup_tui.engines.postgres.clients import ClientTools, find_clients
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import free_bytes, local_data_directory
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.lacks import (
    look_for_lacks,
    missing_locale,
    speak_english,
)
from fsbackup_tui.engines.postgres.trial_space import (
    floor_bytes,
    needed_bytes,
    no_space,
    space_guards,
)
from fsbackup_tui.operations.clients import client_for_restore, client_major
from fsbackup_tui.operations.context import JobContext

PlaceKind = Literal["own", "server", "live"]


@dataclass(frozen=True, slots=True)
class ScratchPlace:
    """A server on which a trial restore may run, ready for it.

    ``text`` is for people; ``address`` is the maintenance database, as a role that may create
    databases; ``client`` restores the archive there. ``data_directory`` is None where it can't
    be seen from here; ``disk`` is what the trial may fill it with (None: all but a reserve).
    ``lacks`` was found before anything is restored; ``offline``: nothing in the server can
    reach another host.
    """

    kind: PlaceKind
    text: str
    address: DatabaseAddress
    identity: ServerIdentity
    client: ClientTools
    jobs: int
    data_directory: Path | None
    lacks: tuple[Blocker, ...]
    start_seconds: float
    disk: int | None = None
    offline: bool = False

    def space_guards(self) -> list[Coroutine[object, object, None]]:
        """Return what watches the disk while the trial fills it, for ``guarded``."""
        return space_guards(
            self.data_directory, limit=self.disk, what=f"the trial restore on {self.text}"
        )


async def look_at(
    context: JobContext,
    facts: PostgresFacts,
    address: DatabaseAddress,
    *,
    kind: PlaceKind,
    text: str,
    jobs: int,
    started: float,
    archive: Path | None = None,
    data_directory: Path | None = None,
    disk: int | None = None,
    offline: bool = False,
) -> ScratchPlace:
    """Return the server at the address as a place, once it is seen to be fit for one."""
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            await speak_english(admin)
            identity = await read_identity(admin, address)
            await _check_fit(admin, identity, facts, text)
            lacks = await look_for_lacks(admin, facts)
            if kind != "own":
                data_directory = await local_data_directory(admin, identity.system_identifier)
                _check_space(data_directory, facts, text)
    client = await _client(context, address, identity, facts, archive)
    return ScratchPlace(
        kind=kind,
        text=text,
        address=address,
        identity=identity,
        client=client,
        jobs=jobs,
        data_directory=data_directory,
        lacks=lacks,
        start_seconds=time.monotonic() - started,
        disk=disk if kind == "own" else None,
        offline=offline,
    )


async def _client(
    context: JobContext,
    address: DatabaseAddress,
    identity: ServerIdentity,
    facts: PostgresFacts,
    archive: Path | None,
) -> ClientTools:
    """Return the client that restores there, one that can decompress the archive.

    Raises ScratchUnavailable where this machine has none: the archive is as good as before.
    """
    chosen = await client_for_restore(context, address, identity.server_version_num, facts)
    if archive is None or facts.format == "plain":
        return chosen
    least = max(identity.server_version_num // 10_000, client_major(facts))
    others = await find_clients(context.loaded.config.clients, os.environ)
    missing = ""
    for client in (chosen, *sorted(others, key=lambda client: client.major)):
        if client.major >= least:
            missing = await unread_compression(client, archive)
            if not missing:
                return client
    what = f"no pg_restore {least} or newer on this machine decompresses {missing}"
    fix = (
        f"Install postgresql-client-{least} (the distribution's or PGDG's is built with it), or "
        "name its directory under clients: in the config"
    )
    raise ScratchUnavailable(
        f"ARCHIVE NOT READABLE HERE: {what}.", why="", fix=fix, lacks=((what, fix),)
    )


async def _check_fit(
    admin: Connection, identity: ServerIdentity, facts: PostgresFacts, text: str
) -> None:
    """Raise ScratchUnavailable where no database like the captured one can be made there."""
    captured = facts.identity.server_version_num // 10_000
    if identity.server_version_num // 10_000 < captured:
        raise unavailable(
            f"SCRATCH SERVER TOO OLD: {text} is PostgreSQL {identity.server_version}.",
            f"The backup is of PostgreSQL {captured}, which an older server may not take.",
            f"Name a server of {captured} or newer under scratch: url in the config.",
        )
    if identity.standby:
        raise unavailable(
            f"NOT A SCRATCH SERVER: {text} is a standby, on which nothing can be made.",
            "",
            "Name a primary under scratch: url in the config.",
        )
    cursor = await admin.execute(
        "SELECT 1 FROM pg_catalog.pg_roles"
        " WHERE rolname = current_user AND (rolsuper OR rolcreatedb)"
    )
    if await cursor.fetchone() is None:
        raise unavailable(
            f"RIGHTS MISSING: {identity.role} may not create databases on {text}.",
            "",
            f'As a superuser there: ALTER ROLE "{identity.role}" CREATEDB',
        )
    missing = await missing_locale(admin, facts)
    if missing:
        raise ScratchUnavailable(
            f"LOCALE MISSING: {text} can't make a database like the captured one.",
            why="\n".join(blocker.what for blocker in missing),
            fix=missing[0].fix,
            lacks=[(blocker.what, blocker.fix) for blocker in missing],
        )


def _check_space(data_directory: Path | None, facts: PostgresFacts, text: str) -> None:
    if data_directory is None:
        return
    needed, free = needed_bytes(facts), free_bytes(data_directory)
    if free - floor_bytes(data_directory) < needed:
        raise no_space(
            f"The trial on {text} takes about {needed // 10**6} MB; {data_directory} has "
            f"{free // 10**6} MB free.",
            "Free space there, or prove on another server: scratch: in the config",
        )


def unavailable(what: str, why: str, fix: str) -> ScratchUnavailable:
    """Return the error for a place that can't be used, which is itself what is lacking."""
    return ScratchUnavailable(what, why=why, fix=fix, lacks=((what.rstrip("."), fix),))
