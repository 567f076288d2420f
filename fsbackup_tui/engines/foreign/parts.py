"""A foreign dump as a part: what a manifest can say of it, and what stays unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fsbackup_tui.domain.point import (
    Artifact,
    ExtensionFacts,
    PartManifest,
    PostgresFacts,
    ServerIdentity,
    TableFacts,
)
from fsbackup_tui.engines.foreign.layout import stored_format
from fsbackup_tui.engines.foreign.model import Examination, ForeignFile
from fsbackup_tui.engines.postgres.toc import TocEntry

_ENCODING = re.compile(r"client_encoding = '([A-Za-z0-9_]+)'")
_OPTION = re.compile(r"\b([A-Z_]+) = (?:'((?:[^']|'')*)'|([A-Za-z0-9_]+))")
# What `pg_restore --list` leaves out unless it is told to create the database.
_NOT_LISTED = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"})
COUNT_NOTE = "it was not made by fsbackup: nothing was counted when it was taken"


def foreign_part(
    examination: Examination, *, source: str, artifacts: Sequence[Artifact]
) -> PartManifest:
    """Return the part that a foreign file makes; without counts, so restored at most.

    Unknown texts are empty (database, host, server version, collation: then the new database
    gets the server's own), unknown numbers 0 or None.
    """
    file = examination.file
    return PartManifest(
        source=source,
        kind="postgres" if file.is_database else "files",
        started=file.taken,
        finished=file.taken,
        artifacts=tuple(artifacts),
        restore_commands=() if file.is_database else (unpack_command(file, source, artifacts),),
        warnings=tuple(dict.fromkeys((*file.problems, *file.notes))),
        postgres=foreign_facts(examination) if file.is_database else None,
    )


def unpack_command(file: ForeignFile, source: str, artifacts: Sequence[Artifact]) -> str:
    """Return the stock command that puts the files of a tar back below a directory."""
    depth = len([step for step in file.prefix.split("/") if step])
    strip = f" --strip-components={depth}" if depth else ""
    name = artifacts[0].path if artifacts else "files.tar"
    return f"mkdir -p {source}-restored\ntar -xf {source}/{name} -C {source}-restored{strip}"


def foreign_facts(examination: Examination) -> PostgresFacts:
    """Return what the dump itself tells of its database."""
    file, entries = examination.file, examination.entries
    created = next((entry for entry in entries if entry.kind == "DATABASE"), None)
    options = _options(created.definition if created else "")
    locale = options.get("LOCALE", "")
    provider = options.get("LOCALE_PROVIDER", "libc")
    special = options.get("ICU_LOCALE") or options.get("BUILTIN_LOCALE")
    return PostgresFacts(
        identity=_identity(file, file.database or (created.name if created else "")),
        client_version=file.client_version or "0",
        scope=file.scope or "full",
        format=stored_format(file),
        encoding=options.get("ENCODING") or file.encoding or _client_encoding(entries),
        collate=options.get("LC_COLLATE", locale),
        ctype=options.get("LC_CTYPE", locale),
        locale_provider=provider,
        locale=None if provider == "libc" else special or locale or None,
        icu_rules=options.get("ICU_RULES"),
        collation_version=None,
        owner=created.owner if created else "",
        tablespace=options.get("TABLESPACE", "pg_default"),
        connection_limit=-1,
        comment=None,
        settings=(),
        grants=(),
        roles=tuple(sorted({entry.owner for entry in entries if entry.owner})),
        extensions=tuple(
            ExtensionFacts(entry.name, "", "") for entry in entries if entry.kind == "EXTENSION"
        ),
        tables=_tables(entries),
        sequences=(),
        large_objects=None,
        large_object_bytes=None,
        subscriptions=tuple(entry.name for entry in entries if entry.kind == "SUBSCRIPTION"),
        prepared_transactions=(),
        replication_slots=(),
        snapshot_at=file.taken,
        snapshot_lsn=None,
        replay_at=None,
        count_method="absent",
        count_note=COUNT_NOTE,
        toc_entries=sum(entry.kind not in _NOT_LISTED for entry in entries),
        schema_sha256=None,
    )


def _identity(file: ForeignFile, database: str) -> ServerIdentity:
    return ServerIdentity(
        host="",
        port=0,
        database=database,
        database_oid=0,
        role="",
        system_identifier=None,
        standby=False,
        server_version=file.server_version,
        server_version_num=_version_number(file.server_version),
    )


def _version_number(text: str) -> int:
    numbers = [int(number) for number in re.findall(r"\d+", text)[:3]]
    if not numbers:
        return 0
    if numbers[0] >= 10:
        return numbers[0] * 10000 + (numbers[1] if len(numbers) > 1 else 0)
    major, minor, patch = (*numbers, 0, 0)[:3]
    return major * 10000 + minor * 100 + patch


def _options(definition: str) -> dict[str, str]:
    """Return the options of a ``CREATE DATABASE`` statement by their names."""
    return {
        match[1]: match[3] if match[2] is None else match[2].replace("''", "'")
        for match in _OPTION.finditer(definition)
    }


def _client_encoding(entries: Sequence[TocEntry]) -> str:
    for entry in entries:
        match = _ENCODING.search(entry.definition) if entry.kind == "ENCODING" else None
        if match is not None:
            return match[1]
    return "UTF8"


def _tables(entries: Sequence[TocEntry]) -> tuple[TableFacts, ...]:
    materialised = "MATERIALIZED VIEW"
    return tuple(
        TableFacts(
            schema=entry.schema or "",
            name=entry.name,
            kind="materialised view" if entry.kind == materialised else "table",
            rows=None,
            counted=False,
            bytes=None,
            note=COUNT_NOTE,
        )
        for entry in entries
        if entry.kind in ("TABLE", materialised)
    )
