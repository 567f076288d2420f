"""What ``doctor`` finds out about a server: everything tried for real, nothing left behind."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.point import ExtensionFacts, ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, classify, connect
from fsbackup_tui.engines.postgres.inspect import read_identity, read_table_names
from fsbackup_tui.engines.postgres.inspect_objects import (
    fetch_all,
    read_extensions,
    read_names,
    read_properties,
    read_roles,
)
from fsbackup_tui.engines.postgres.inspect_tables import list_tables
from fsbackup_tui.engines.postgres.locking import LockBudget, read_budget
from fsbackup_tui.engines.postgres.managed import SUPABASE, is_supabase, with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.rights import MissingRights, missing_backup_rights

_APPLICATION = "fsbackup/doctor"
_LOCK_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SourceExamination:
    """A database to be backed up, as the backup's own role sees it."""

    identity: ServerIdentity
    tables: int
    missing: MissingRights
    budget: LockBudget
    extensions: tuple[ExtensionFacts, ...]
    roles: tuple[str, ...]
    owners: tuple[str, ...]
    owner: str
    prepared_transactions: tuple[str, ...]
    exclusions: Exclusions = field(default_factory=Exclusions)
    left_out: tuple[str, ...] = ()

    @property
    def platform(self) -> str:
        """The host's own platform, as manifests name it; empty where there is none."""
        return self.exclusions.platform


@dataclass(frozen=True, slots=True)
class RestoreExamination:
    """What the administrating role can do on the server; each problem None where it works.

    ``unavailable`` and ``untrusted`` are extensions that the server lacks, or that only a
    superuser may create; ``absent_roles`` are not on this server; ``foreign_owners`` are, but
    objects can't be given to them by this role; ``foreign_superusers`` are those of them of whom
    nobody should be made a member.
    """

    role: str
    standby: bool
    superuser: bool
    create_problem: PostgresError | None
    rename_problem: PostgresError | None
    drop_problem: PostgresError | None
    left_behind: str | None
    may_end_sessions: bool
    owns_live: bool
    unavailable: tuple[str, ...]
    untrusted: tuple[str, ...]
    absent_roles: tuple[str, ...]
    foreign_owners: tuple[str, ...]
    foreign_superusers: tuple[str, ...]


async def examine_source(
    address: DatabaseAddress, exclusions: Exclusions, *, with_rows: bool
) -> SourceExamination:
    """Look at a source with its own credentials; PostgresError where it can't be looked at.

    ``exclusions`` are the source's own; what its host manages is found out here.
    """
    connection = await _connect(address)
    try:
        exclusions = await with_managed(connection, exclusions)
        tables = await list_tables(connection, exclusions, exact_sizes=False)
        return SourceExamination(
            identity=await read_identity(connection, address),
            tables=len(tables),
            missing=await missing_backup_rights(
                connection, tables, exclusions, with_rows=with_rows
            ),
            budget=await read_budget(connection, tables, dump_jobs=1),
            extensions=await read_extensions(connection),
            roles=await read_roles(connection),
            owners=await read_roles(connection, owners_alone=True),
            owner=(await read_properties(connection)).owner,
            prepared_transactions=await read_names(connection, "prepared transactions"),
            exclusions=exclusions,
            left_out=await read_table_names(connection, exclusions.managed_tables),
        )
    except psycopg.Error as error:
        raise classify(error, address) from error
    finally:
        await connection.close()


async def read_owner(address: DatabaseAddress) -> tuple[str, bool, str]:
    """Return who owns the database, whether that role is a superuser, and the platform."""
    connection = await _connect(address)
    try:
        rows = await fetch_all(
            connection,
            "SELECT r.rolname::text, r.rolsuper FROM pg_database AS d"
            " JOIN pg_roles AS r ON r.oid = d.datdba WHERE d.datname = current_database()",
        )
        platform = SUPABASE if await is_supabase(connection) else ""
    except psycopg.Error as error:
        raise classify(error, address) from error
    finally:
        await connection.close()
    return rows[0][0], rows[0][1], platform


async def _connect(address: DatabaseAddress) -> Connection:
    return await connect(
        address, application_name=_APPLICATION, lock_timeout_seconds=_LOCK_TIMEOUT_SECONDS
    )


async def examine_restore(
    admin: DatabaseAddress,
    source: ServerIdentity,
    *,
    extensions: Sequence[ExtensionFacts],
    roles: Sequence[str],
    owners: Sequence[str],
) -> RestoreExamination:
    """Try on an empty database of our own what a restore and a swap will need.

    ``admin`` names the maintenance database. Whatever happens the empty database is dropped;
    where even that fails, ``left_behind`` names it. PostgresError where it can't be reached.
    """
    connection = await _connect(admin)
    try:
        rows = await fetch_all(connection, _ADMIN, [source.database])
        role, superuser, standby, may_end, owns_live = rows[0]
        tried = _Tried(None, None, None, None)
        if not standby:
            tried = await _try_database(connection, admin)
        absent, foreign, superusers = await _roles(connection, roles, owners, superuser=superuser)
        unavailable, untrusted = await _extensions(connection, extensions, superuser=superuser)
        return RestoreExamination(
            role=role,
            standby=standby,
            superuser=superuser,
            create_problem=tried.create,
            rename_problem=tried.rename,
            drop_problem=tried.drop,
            left_behind=tried.left_behind,
            may_end_sessions=may_end,
            owns_live=bool(owns_live),
            unavailable=unavailable,
            untrusted=untrusted,
            absent_roles=absent,
            foreign_owners=foreign,
            foreign_superusers=superusers,
        )
    except psycopg.Error as error:
        raise classify(error, admin) from error
    finally:
        await connection.close()


_ADMIN = """
SELECT r.rolname::text, r.rolsuper, pg_is_in_recovery(),
       r.rolsuper OR pg_has_role('pg_signal_backend', 'USAGE'),
       (SELECT r.rolsuper OR pg_has_role(d.datdba, 'USAGE')
        FROM pg_database AS d WHERE d.datname = %s)
FROM pg_roles AS r WHERE r.rolname = current_user
"""


@dataclass(slots=True)
class _Tried:
    create: PostgresError | None
    rename: PostgresError | None
    drop: PostgresError | None
    left_behind: str | None


async def _try_database(connection: Connection, admin: DatabaseAddress) -> _Tried:
    name = f"fsbackup_doctor_{secrets.token_hex(5)}"
    other = f"{name}_renamed"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
    tried = _Tried(None, None, None, None)
    try:
        try:
            await connection.execute(made)
        except psycopg.Error as error:
            tried.create = classify(error, admin)
            return tried
        try:
            await _rename(connection, name, other)
            await _rename(connection, other, name)
        except psycopg.Error as error:
            tried.rename = classify(error, admin)
    finally:
        await _drop(connection, admin, (name, other), tried)
    return tried


async def _rename(connection: Connection, old: str, new: str) -> None:
    await connection.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )


async def _drop(
    connection: Connection, admin: DatabaseAddress, names: Sequence[str], tried: _Tried
) -> None:
    # On a cancelled try the session may be gone: then by another one.
    if connection.broken or connection.closed:
        with suppress(PostgresError):
            connection = await _connect(admin)
    for name in names:
        try:
            await connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
            )
        except psycopg.Error as error:
            if tried.create is None:
                tried.drop = classify(error, admin)
                tried.left_behind = name


async def _roles(
    connection: Connection, roles: Sequence[str], owners: Sequence[str], *, superuser: bool
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    rows = await fetch_all(
        connection,
        "SELECT w.name, r.oid IS NULL, coalesce(pg_has_role(r.oid, 'MEMBER'), false),"
        " coalesce(r.rolsuper, false)"
        " FROM unnest(%s::text[]) AS w(name) LEFT JOIN pg_roles AS r ON r.rolname = w.name"
        " ORDER BY w.name",
        [list(roles)],
    )
    absent = tuple(name for name, missing, _, _ in rows if missing)
    foreign = [
        (name, is_super)
        for name, missing, member, is_super in rows
        if name in owners and not (missing or member or superuser)
    ]
    superusers = tuple(name for name, is_super in foreign if is_super)
    return absent, tuple(name for name, _ in foreign), superusers


async def _extensions(
    connection: Connection, extensions: Sequence[ExtensionFacts], *, superuser: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = await fetch_all(
        connection,
        "SELECT w.name, count(v.name) = 0,"
        " coalesce(bool_or(v.trusted OR NOT v.superuser), false)"
        " FROM unnest(%s::text[]) AS w(name)"
        " LEFT JOIN pg_available_extension_versions AS v ON v.name = w.name"
        " WHERE w.name <> 'plpgsql' GROUP BY w.name ORDER BY w.name",
        [[extension.name for extension in extensions]],
    )
    unavailable = tuple(name for name, absent, _ in rows if absent)
    untrusted = tuple(name for name, absent, free in rows if not (absent or free or superuser))
    return unavailable, untrusted
