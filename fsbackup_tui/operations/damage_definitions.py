"""Comparing what is defined in live with a point's own definitions, or with a restored copy's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fsbackup_tui.domain.damage import SchemaDamage
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.point import ExtensionFacts, PartManifest
from fsbackup_tui.engines.compression import Buffered, ByteStream
from fsbackup_tui.engines.postgres.catalogue import read_definitions
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.definitions import compare_definitions
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.plain import scan_plain, scan_stream
from fsbackup_tui.engines.postgres.restore import deferred_entries
from fsbackup_tui.engines.postgres.toc import (
    TocEntry,
    UnknownArchive,
    read_archive_header,
    read_header,
)
from fsbackup_tui.operations.clients import client_for_server, client_major, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import dump_name
from fsbackup_tui.operations.opened import read_plain
from fsbackup_tui.operations.target import admin_address
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_STAGED = "fsbackup_merge_*"
_LOCK_TIMEOUT_MILLISECONDS = 5000


@dataclass(frozen=True, slots=True)
class Live:
    """The live database as it was found: where it is, its version, extensions, what is left out."""

    address: DatabaseAddress
    server_version_num: int
    extensions: tuple[ExtensionFacts, ...]
    exclusions: Exclusions


async def compare_with_copy(
    context: JobContext, live: Live, source: str, copy: str
) -> tuple[tuple[SchemaDamage, ...], tuple[str, ...]]:
    """Return how live's definitions differ from a restored copy's, exactly; and notes.

    What a copy never gets (subscriptions, extensions that serve one database alone) counts for
    neither. Where the two can't be read, the notes say why.
    """
    address = await admin_address(context.loaded, context.environment, context.redactor, source)
    try:
        client = await client_for_server(context, live.address, live.server_version_num)
        mine = await _read(context, client, live.address, live.exclusions)
        theirs = await _read(context, client, address.with_database(copy), live.exclusions)
    except FsbackupError as error:
        return (), (_not_compared(error),)
    deferred = {(entry.kind, entry.schema, entry.name) for entry in deferred_entries(mine)}
    kept = [entry for entry in mine if (entry.kind, entry.schema, entry.name) not in deferred]
    return compare_definitions(theirs, kept), ()


async def compare_with_point(
    context: JobContext, live: Live, repository: Repository, point: str, part: PartManifest
) -> tuple[tuple[SchemaDamage, ...], tuple[str, ...]]:
    """Return how live's definitions differ from those that a point holds; and notes."""
    facts = part.postgres
    if facts is None:
        return (), ()
    if facts.scope == "data":
        return (), (f"{point} holds rows alone: definitions can't be compared with it.",)
    try:
        theirs = await _definitions(context, PointReader(repository, point), part)
        client = await client_for_server(context, live.address, live.server_version_num)
        mine = await _read(context, client, live.address, live.exclusions)
    except (FsbackupError, UnknownArchive, OSError) as error:
        return (), (_not_compared(error),)
    then, now = facts.identity.server_version_num // 10000, live.server_version_num // 10000
    same = then == now and client_major(facts) == client.major
    notes: tuple[str, ...] = ()
    if not same:
        notes = (
            f"PostgreSQL {client_major(facts)} wrote the point's definitions (server {then}), "
            f"{client.major} live's ({now}): what was changed can be told from a restored copy.",
        )
    found = [*compare_definitions(theirs, mine, changes=same)]
    return (*found, *_versions(facts.extensions, live.extensions)), notes


def _not_compared(error: Exception) -> str:
    said = f"{error.what} {error.why}" if isinstance(error, FsbackupError) else str(error)
    return f"Definitions were not compared: {' '.join(said.split())}"


async def _definitions(
    context: JobContext, reader: PointReader, part: PartManifest
) -> Sequence[TocEntry]:
    """Return the definitions in a point, wherever they lie; nothing is decrypted onto a disk."""
    if part.key is None:
        return await asyncio.to_thread(_of_point, reader, part)
    is_plain = part.postgres is not None and part.postgres.format == "plain"
    role = "schema" if is_plain else "dump"
    artifact = next(a for a in part.artifacts if a.role == role)

    def read(stream: ByteStream) -> Sequence[TocEntry]:
        return scan_stream(stream).entries if is_plain else read_header(Buffered(stream)).entries

    return await read_plain(context, reader, part.source, artifact, read)


def _of_point(reader: PointReader, part: PartManifest) -> Sequence[TocEntry]:
    """Return the definitions in a point, each with its SQL; nothing is restored."""
    facts = part.postgres
    if facts is not None and facts.format == "plain":
        schema = next((a for a in part.artifacts if a.role == "schema"), None)
        if schema is not None:
            return scan_plain(reader.artifact_path(part.source, schema)).entries
        return scan_plain(reader.path_inside(part.source, dump_name(part))).entries
    return read_archive_header(reader.path_inside(part.source, dump_name(part))).entries


async def _read(
    context: JobContext, client: ClientTools, address: DatabaseAddress, exclusions: Exclusions
) -> tuple[TocEntry, ...]:
    options = (
        f"--lock-wait-timeout={_LOCK_TIMEOUT_MILLISECONDS}",
        f"--exclude-schema={_STAGED}",
        *(f"--exclude-schema={pattern}" for pattern in exclusions.all_schemas),
        *(f"--exclude-table={pattern}" for pattern in exclusions.all_tables),
    )
    with job_environment(context, address) as environment:
        return await read_definitions(
            client, environment, context.work, options=options, redactor=context.redactor
        )


def _versions(
    point: Iterable[ExtensionFacts], live: Iterable[ExtensionFacts]
) -> Iterator[SchemaDamage]:
    """Yield the extensions whose version changed: a dump does not tell it."""
    now = {extension.name: extension.version for extension in live}
    for extension in point:
        version = now.get(extension.name, extension.version)
        if version != extension.version:
            yield SchemaDamage(
                "extension",
                extension.name,
                "changed",
                f"was {extension.version}; is {version}",
            )
