"""Sessions on a PostgreSQL server: opened with everything pinned, their errors in plain words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DatabaseMissing, IdentityMismatch, PostgresError
from fsbackup_tui.engines.postgres.pooling import refuse_transaction_pooler
from fsbackup_tui.engines.postgres.server_errors import explain

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECT_TIMEOUT_SECONDS = 15
OLDEST_SERVER = 140000
_SERVICE = "fsbackup"
_KEEPALIVES: Mapping[str, str] = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
_OUR_PARAMETERS = frozenset(
    {
        "application_name",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "host",
        "password",
        "passfile",
        "port",
        "service",
        "user",
    }
)
_SERVICE_UNSAFE = ("\n", "\r", "\0")
_ENVIRONMENT_NAMES = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}

# Whatever changes how a value is written as text, or who sees it, or how long it may take; first
# of all the time-out that could end the pinning itself.
_PINS: tuple[tuple[str, str], ...] = (
    ("statement_timeout", "0"),
    ("search_path", ""),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("quote_all_identifiers", "off"),
    ("row_security", "off"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
)
_PINS_FROM_17: tuple[tuple[str, str], ...] = (("transaction_timeout", "0"),)


def connection_parameters(
    address: DatabaseAddress, *, database: str | None = None
) -> dict[str, str]:
    """Return what libpq needs to reach the database, but for the password and the session's name.

    The address's own parameters (``sslmode``, ``sslrootcert``, …) are kept.
    """
    parameters = dict(_KEEPALIVES)
    parameters.update(
        (name, value) for name, value in address.parameters.items() if name not in _OUR_PARAMETERS
    )
    if address.host:
        parameters["host"] = address.host
    parameters["port"] = str(address.port)
    parameters["dbname"] = database if database is not None else address.database
    if address.user is not None:
        parameters["user"] = address.user
    return parameters


async def connect(
    address: DatabaseAddress,
    *,
    application_name: str,
    database: str | None = None,
    database_oid: int | None = None,
    lock_timeout_seconds: float = 0,
    autocommit: bool = True,
) -> Connection:
    """Open a session with everything pinned that changes text, visibility or patience (design §5).

    ``lock_timeout_seconds`` 0 waits for ever. With ``database_oid`` the session must be in that
    very database: a renamed one is refused.

    Raises:
        ServerUnreachable, AuthenticationFailed, DatabaseMissing, RightsMissing, PostgresError:
            as ``classify`` tells them apart; PostgresError for a server before 14, too.
        IdentityMismatch: the database of that name has another OID.
        SafetyRefusal: a transaction pooler is between; nothing was set in its sessions.
    """
    conninfo = make_conninfo(
        **connection_parameters(address, database=database),
        connect_timeout=_connect_timeout(address),
        application_name=application_name,
        client_encoding="UTF8",
    )
    password = address.password.reveal() if address.password else None
    connection: Connection | None = None
    try:
        connection = await psycopg.AsyncConnection.connect(
            conninfo, password=password, autocommit=True, prepare_threshold=None
        )
        _refuse_old(connection, address)
        await refuse_transaction_pooler(connection, address, conninfo, password)
        await _pin(connection, lock_timeout_seconds)
        if database_oid is not None:
            await _check_database(connection, database_oid)
        await connection.set_autocommit(autocommit)
    except BaseException as error:
        if connection is not None:
            await connection.close()
        if isinstance(error, psycopg.Error):
            raise classify(error, address) from error
        raise
    return connection


def _refuse_old(connection: Connection, address: DatabaseAddress) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise PostgresError(
            f"SERVER TOO OLD: {_place(address)} is PostgreSQL {version // 10000}.",
            why=f"fsbackup works with PostgreSQL {OLDEST_SERVER // 10000} and newer.",
            fix="Dump it with its own pg_dump, and upgrade it.",
        )


async def _pin(connection: Connection, lock_timeout_seconds: float) -> None:
    pins = (*_PINS, ("lock_timeout", f"{max(0, round(lock_timeout_seconds * 1000))}ms"))
    if connection.info.server_version >= 170000:
        pins += _PINS_FROM_17
    statements = sql.SQL("; ").join(
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in pins
    )
    await connection.execute(statements)
    await _set_where_possible(connection, "client_connection_check_interval", "2s")
    if connection.info.server_version >= 170000:
        await _set_where_possible(connection, "event_triggers", "off")


async def _set_where_possible(connection: Connection, name: str, value: str) -> None:
    """Set what the platform (a socket that can tell) or the role's rights may refuse."""
    try:
        await connection.execute(
            sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        )
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.InvalidParameterValue,
        psycopg.errors.UndefinedObject,
    ):
        return


async def _check_database(connection: Connection, expected_oid: int) -> None:
    cursor = await connection.execute(
        "SELECT oid::pg_catalog.int8, datname FROM pg_catalog.pg_database"
        " WHERE datname = pg_catalog.current_database()"
    )
    row = await cursor.fetchone()
    if row is None:
        raise DatabaseMissing("DATABASE MISSING: it vanished while connecting to it.")
    if row[0] != expected_oid:
        raise IdentityMismatch(
            f"ANOTHER DATABASE: '{row[1]}' is not the one it was.",
            why=f"Its OID is {row[0]}, expected was {expected_oid}: it was renamed or recreated.",
            fix="Look at the server's databases (psql -l), then start again.",
        )


@contextmanager
def plain_errors(address: DatabaseAddress) -> Iterator[None]:
    """Turn what a session of this address raises inside the block into errors of our tree."""
    try:
        yield
    except psycopg.Error as error:
        raise classify(error, address) from error


def classify(error: psycopg.Error, address: DatabaseAddress) -> PostgresError:
    """Return the error of our tree that says in plain words what the server or libpq refused."""
    text = str(error)
    if address.password:
        text = text.replace(address.password.reveal(), "***")
    return explain(
        error.sqlstate,
        text,
        detail=error.diag.message_detail or "",
        hint=error.diag.message_hint or "",
        display=address.display(),
        place=_place(address),
        database=address.database,
        user=address.user,
    )


def _place(address: DatabaseAddress) -> str:
    if not address.host:
        return f"the local socket of port {address.port}"
    if address.is_socket:
        return f"{address.host}/.s.PGSQL.{address.port}"
    return f"{address.host}:{address.port}"


def _connect_timeout(address: DatabaseAddress) -> str:
    return address.parameters.get("connect_timeout", str(CONNECT_TIMEOUT_SECONDS))


@contextmanager
def client_environment(
    address: DatabaseAddress,
    *,
    directory: Path,
    application_name: str,
    database: str | None = None,
) -> Iterator[dict[str, str]]:
    """Give the environment in which a stock client reaches the database, without any argument.

    A service file (0600, no password) is written into ``directory`` and removed at the end; the
    password is in the environment alone. What a service file can't hold (a line break, white
    space at the end, which libpq strips) goes into libpq's own variables.
    """
    parameters = connection_parameters(address, database=database)
    lines = [f"[{_SERVICE}]"]
    environment = {
        "PGSERVICE": _SERVICE,
        "PGAPPNAME": application_name,
        "PGCLIENTENCODING": "UTF8",
        "LC_ALL": "C",
        "PGCONNECT_TIMEOUT": _connect_timeout(address),
    }
    for name, value in parameters.items():
        unsafe = any(mark in value for mark in _SERVICE_UNSAFE) or value != value.rstrip()
        if unsafe and name in _ENVIRONMENT_NAMES:
            environment[_ENVIRONMENT_NAMES[name]] = value
        else:
            lines.append(f"{name}={value}")
    if address.password:
        environment["PGPASSWORD"] = address.password.reveal()
    path = directory / f"service-{os.urandom(6).hex()}.conf"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        yield environment | {"PGSERVICEFILE": str(path)}
    finally:
        path.unlink(missing_ok=True)
