"""What is in a database, told by the stock tool: a schema-only pg_dump that is thrown away."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.patterns import exactly
from fsbackup_tui.engines.postgres.schema import DUMP_ENVIRONMENT, schema_digest
from fsbackup_tui.engines.postgres.toc import TocEntry, read_archive_header
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import Command, ToolFailed, run

ObjectKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A database's objects as pg_dump lists them, by kind, schema and name.

    ``own_sha256`` is the schema digest without ``foreign_grants``.
    """

    objects: Mapping[ObjectKey, Sequence[TocEntry]]
    schema_sha256: str
    own_sha256: str


async def read_catalogue(
    client: ClientTools,
    environment: Mapping[str, str],
    work: Path,
    redactor: Redactor | None = None,
    *,
    schemas: Sequence[str] = (),
) -> Catalogue:
    """List what is in a database, or in some of its schemas, by a dump that is thrown away."""
    archive, schema = work / "catalogue.dump", work / "catalogue.sql"
    try:
        only = tuple(f"--schema={exactly(schema)}" for schema in schemas)
        entries = await _dump_definitions(
            client, environment, archive, redactor, what=_COPY, options=only
        )
        argv = (client.tool("pg_restore"), "--schema-only", f"--file={schema}", str(archive))
        await _run(client, argv, environment, redactor, what=_COPY)
        digest = own_digest = await asyncio.to_thread(schema_digest, schema)
        if foreign := {entry.dump_id for entry in foreign_grants(entries)}:
            own_digest = await archive_schema_digest(
                client, archive, entries, work, without=foreign, redactor=redactor
            )
    finally:
        archive.unlink(missing_ok=True)
        schema.unlink(missing_ok=True)
    objects: defaultdict[ObjectKey, list[TocEntry]] = defaultdict(list)
    for entry in entries:
        objects[entry_key(entry)].append(entry)
    return Catalogue(objects, digest, own_digest)


_COPY = "COPY NOT READ"


async def read_definitions(
    client: ClientTools,
    environment: Mapping[str, str],
    work: Path,
    *,
    options: Sequence[str] = (),
    redactor: Redactor | None = None,
) -> tuple[TocEntry, ...]:
    """Return what is defined in a database, each with its SQL, by a dump that is thrown away.

    No table's rows are read. ``options`` are pg_dump's own, such as what is left out.
    """
    archive = work / "definitions.dump"
    try:
        return await _dump_definitions(
            client, environment, archive, redactor, options=options, what="DEFINITIONS NOT READ"
        )
    finally:
        archive.unlink(missing_ok=True)


async def _dump_definitions(
    client: ClientTools,
    environment: Mapping[str, str],
    archive: Path,
    redactor: Redactor | None,
    *,
    what: str,
    options: Sequence[str] = (),
) -> tuple[TocEntry, ...]:
    argv = (
        client.tool("pg_dump"),
        "--no-password",
        "--format=custom",
        "--compress=0",
        "--schema-only",
        "--no-sync",
        f"--file={archive}",
        *options,
    )
    await _run(client, argv, environment, redactor, what=what)
    return (await asyncio.to_thread(read_archive_header, archive)).entries


async def _run(
    client: ClientTools,
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    redactor: Redactor | None,
    *,
    what: str,
) -> None:
    env = {**client.env, **environment, **DUMP_ENVIRONMENT}
    log = ToolLog(Path(argv[0]).name, redactor)
    try:
        await run(Command(argv, env=env), redactor=redactor, on_stderr_line=log.add)
    except ToolFailed as error:
        raise explain_failure(error, log, what=what) from error


async def archive_schema_digest(
    client: ClientTools,
    archive: Path,
    entries: Sequence[TocEntry],
    work: Path,
    *,
    without: Collection[int] = (),
    redactor: Redactor | None = None,
) -> str:
    """Return the schema digest of an archive without some of its ``entries`` (dump ids)."""
    chosen, schema = work / "schema-of-archive.list", work / "schema-of-archive.sql"
    # pg_restore takes the number alone of each line of a list.
    lines = [f"{entry.dump_id};\n" for entry in entries if entry.dump_id not in without]
    chosen.write_text("".join(lines), encoding="ascii")
    argv = (
        client.tool("pg_restore"),
        "--schema-only",
        f"--use-list={chosen}",
        f"--file={schema}",
        str(archive),
    )
    log = ToolLog("pg_restore", redactor)
    try:
        await run(Command(argv, env=client.env), redactor=redactor, on_stderr_line=log.add)
        return await asyncio.to_thread(schema_digest, schema)
    except ToolFailed as error:
        raise explain_failure(error, log, what="ARCHIVE NOT READ") from error
    finally:
        chosen.unlink(missing_ok=True)
        schema.unlink(missing_ok=True)


def foreign_grants(entries: Sequence[TocEntry]) -> list[TocEntry]:
    """Return the grants on what the archive itself does not define.

    These are objects of extensions and of the system: they are in the database anyway, and
    belong to whoever made the extension, or the cluster. (A plain dump's entries tell no
    dependencies, so none of its are known.)
    """
    dumped = {entry.dump_id for entry in entries}
    return [
        entry
        for entry in entries
        if entry.kind == "ACL"
        and entry.schema is not None
        and entry.dependencies
        and dumped.isdisjoint(entry.dependencies)
    ]


def entry_key(entry: TocEntry) -> ObjectKey:
    """Return what an entry is found by: kind, schema, name, each on one line."""
    # In a plain dump's comments a line break in a name is written as a space.
    name = one_line(entry.name)
    if entry.kind == "DEFAULT ACL":  # any number of roles have them, under one name
        name = f"{name} of {one_line(entry.owner)}"
    return entry.kind, one_line(entry.schema), name


def one_line(name: str | None) -> str:
    """Return a name as pg_dump's comments and listings write it: line breaks as spaces."""
    return re.sub(r"[\r\n]", " ", name or "")
