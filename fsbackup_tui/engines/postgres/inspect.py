"""Reads what a database is and holds: everything a restore and a proof need to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DatabaseMissing
from fsbackup_tui.domain.point import (
    CountMethod,
    DatabaseSetting,
    DumpFormat,
    ExtensionFacts,
    Fingerprint,
    IntegrityResult,
    PostgresFacts,
    Scope,
    SequenceFacts,
    ServerIdentity,
    TableFacts,
)
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import (
    DatabaseProperties,
    SequenceInspection,
    fetch_all,
    list_sequences,
    read_extensions,
    read_large_objects,
    read_migration_head,
    read_names,
    read_properties,
    read_roles,
    read_sequences,
    read_settings,
)
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions, matching_schemas, matching_tables


@dataclass(frozen=True, slots=True)
class TableCount:
    """What counting one table gave; ``rows`` None means that it could not be counted."""

    table: TableInspection
    rows: int | None
    fingerprint: Fingerprint | None
    note: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseInspection:
    """A database as its catalogue tells; what only a dump or counting can tell is not in here."""

    identity: ServerIdentity
    properties: DatabaseProperties
    settings: tuple[DatabaseSetting, ...]
    roles: tuple[str, ...]
    extensions: tuple[ExtensionFacts, ...]
    tables: tuple[TableInspection, ...]
    sequences: tuple[SequenceFacts, ...]
    listed_sequences: tuple[SequenceInspection, ...]
    large_objects: int
    large_object_bytes: int
    subscriptions: tuple[str, ...]
    prepared_transactions: tuple[str, ...]
    replication_slots: tuple[str, ...]
    replay_at: datetime | None
    migration_head: str | None
    exclusions: Exclusions
    managed_schemas: tuple[str, ...]
    managed_tables: tuple[str, ...] = ()

    def to_facts(
        self,
        *,
        client_version: str,
        scope: Scope,
        format: DumpFormat,  # noqa: A002 - the manifest's word
        toc_entries: int,
        schema_sha256: str | None,
        snapshot_at: datetime,
        snapshot_lsn: str | None,
        counts: Mapping[int, TableCount],
        count_method: CountMethod,
        count_note: str = "",
        integrity: tuple[IntegrityResult, ...] = (),
        large_object_fingerprint: Fingerprint | None = None,
    ) -> PostgresFacts:
        """Return the part's facts; ``counts`` are by table OID, and may be empty."""
        properties = self.properties
        return PostgresFacts(
            identity=self.identity,
            client_version=client_version,
            scope=scope,
            format=format,
            encoding=properties.encoding,
            collate=properties.collate,
            ctype=properties.ctype,
            locale_provider=properties.locale_provider,
            locale=properties.locale,
            icu_rules=properties.icu_rules,
            collation_version=properties.collation_version,
            owner=properties.owner,
            tablespace=properties.tablespace,
            connection_limit=properties.connection_limit,
            comment=properties.comment,
            settings=self.settings,
            grants=properties.grants,
            roles=self.roles,
            extensions=self.extensions,
            tables=tuple(table_facts(table, counts.get(table.oid)) for table in self.tables),
            sequences=self.sequences,
            large_objects=self.large_objects,
            large_object_bytes=self.large_object_bytes,
            subscriptions=self.subscriptions,
            prepared_transactions=self.prepared_transactions,
            replication_slots=self.replication_slots,
            snapshot_at=snapshot_at,
            snapshot_lsn=snapshot_lsn,
            replay_at=self.replay_at,
            count_method=count_method,
            count_note=count_note,
            toc_entries=toc_entries,
            schema_sha256=schema_sha256,
            excluded_schemas=self.exclusions.schemas,
            excluded_tables=self.exclusions.tables,
            excluded_table_data=self.exclusions.table_data,
            managed_schemas=self.managed_schemas,
            managed_tables=self.managed_tables,
            platform=self.exclusions.platform,
            migration_head=self.migration_head,
            integrity=integrity,
            large_object_fingerprint=large_object_fingerprint,
        )


def table_facts(table: TableInspection, count: TableCount | None) -> TableFacts:
    """Return a table's facts: counted where it was, else the server's estimate."""
    counted = count is not None and count.rows is not None
    rows = count.rows if count is not None and counted else table.estimated_rows
    return TableFacts(
        schema=table.schema,
        name=table.name,
        kind=table.kind,
        rows=None if table.kind == "partitioned" else rows,
        counted=counted,
        bytes=table.bytes,
        fingerprint=count.fingerprint if count is not None else None,
        primary_key=table.primary_key,
        data_excluded=table.data_excluded,
        note=count.note if count is not None and count.note else table.note,
        partition_root=table.partition_root,
    )


async def read_identity(connection: Connection, address: DatabaseAddress) -> ServerIdentity:
    """Return which database on which server the session is in.

    ``system_identifier`` and ``size_bytes`` are None where the role may not know them.
    """
    rows = await fetch_all(connection, _IDENTITY)
    if not rows:
        raise DatabaseMissing(
            f"DATABASE MISSING: '{address.database}' vanished while looking at it.",
            fix="Look at the server's databases (psql -l), then start again.",
        )
    database, oid, role, standby, version, version_num, may_control, size = rows[0]
    identifier: str | None = None
    if may_control:
        # The right to call it is one thing, the server's own right to its file another.
        with suppress(psycopg.errors.InsufficientPrivilege):
            async with connection.transaction():
                control = await fetch_all(
                    connection, "SELECT system_identifier::text FROM pg_control_system()"
                )
                identifier = control[0][0]
    return ServerIdentity(
        host=address.host,
        port=address.port,
        database=database,
        database_oid=oid,
        role=role,
        system_identifier=identifier,
        standby=standby,
        server_version=version,
        server_version_num=int(version_num),
        size_bytes=size,
    )


_IDENTITY = """
SELECT d.datname::text, d.oid::int8, current_user::text, pg_is_in_recovery(),
       current_setting('server_version'), current_setting('server_version_num'),
       has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       CASE WHEN has_database_privilege(d.oid, 'CONNECT')
            OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END
FROM pg_database AS d WHERE d.datname = current_database()
"""


async def inspect_database(
    connection: Connection,
    address: DatabaseAddress,
    *,
    exclusions: Exclusions,
    tables: tuple[TableInspection, ...] | None = None,
) -> DatabaseInspection:
    """Return everything the catalogue tells; psycopg.Error where the server refuses.

    ``tables`` are those a holder of locks has listed already.
    """
    if tables is None:
        tables = await list_tables(connection, exclusions, exact_sizes=False)
    schemas = await matching_schemas(connection, exclusions.all_schemas)
    excluded = await matching_tables(connection, exclusions.all_tables)
    managed = await matching_schemas(connection, exclusions.managed_schemas)
    # A pattern of tables means sequences too: a dump has no position of these.
    without_data = await matching_tables(connection, exclusions.all_table_data)
    listed = tuple(
        sequence
        for sequence in await list_sequences(
            connection, schemas=list(schemas), tables=list(excluded)
        )
        if sequence.oid not in without_data
    )
    large_objects, large_object_bytes = await read_large_objects(connection)
    replay = await fetch_all(
        connection,
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() END",
    )
    return DatabaseInspection(
        identity=await read_identity(connection, address),
        properties=await read_properties(connection),
        settings=await read_settings(connection),
        roles=await read_roles(connection),
        extensions=await read_extensions(connection),
        tables=tables,
        sequences=await read_sequences(connection, listed),
        listed_sequences=listed,
        large_objects=large_objects,
        large_object_bytes=large_object_bytes,
        subscriptions=await read_names(connection, "subscriptions"),
        prepared_transactions=await read_names(connection, "prepared transactions"),
        replication_slots=await read_names(connection, "replication slots"),
        replay_at=replay[0][0],
        migration_head=await read_migration_head(connection, tables, schema=address.schema),
        exclusions=exclusions,
        managed_schemas=tuple(sorted(managed.values())),
        managed_tables=await read_table_names(connection, exclusions.managed_tables),
    )


async def read_table_names(connection: Connection, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tables and sequences that the patterns mean, partitions by their parents."""
    found = await matching_tables(connection, patterns)
    rows = await fetch_all(connection, _TABLE_NAMES, [list(found)])
    return tuple(row[0] for row in rows)


_TABLE_NAMES = """
SELECT DISTINCT n.nspname || '.' || c.relname
       || CASE WHEN i.inhparent IS NULL THEN '' ELSE ' (partitions)' END
FROM unnest(%s::oid[]) AS t(oid)
LEFT JOIN pg_class AS part ON part.oid = t.oid AND part.relispartition
LEFT JOIN pg_inherits AS i ON i.inhrelid = part.oid
JOIN pg_class AS c ON c.oid = coalesce(i.inhparent, t.oid)
JOIN pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY 1
"""
