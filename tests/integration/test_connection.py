"""Sessions on real servers: what is pinned, and what a refusal says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    IdentityMismatch,
    PostgresError,
    ServerUnreachable,
)
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres.connection import client_environment, connect
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import FreshServer, MakeDatabase, binaries, execute
from tests.support.sessions import APPLICATION, address_of, session

PINNED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "search_path": '""',
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "7s",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "2s",
    "client_encoding": "UTF8",
    "application_name": APPLICATION,
}


async def settings_of(address: DatabaseAddress) -> dict[str, str]:
    connection = await connect(address, application_name=APPLICATION, lock_timeout_seconds=7)
    async with connection:
        cursor = await connection.execute("SELECT name, current_setting(name) FROM pg_settings")
        return dict(await cursor.fetchall())


async def test_sessions_are_pinned_against_the_database_s_settings(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    name = address_of(url).database
    for setting, value in {
        "DateStyle": "'SQL, DMY'",
        "TimeZone": "'Asia/Tokyo'",
        "search_path": "public",
        "statement_timeout": "'5s'",
        "idle_in_transaction_session_timeout": "'5s'",
        "lock_timeout": "'1s'",
    }.items():
        execute(url, f'ALTER DATABASE "{name}" SET {setting} = {value}')
    settings = await settings_of(address_of(url))
    expected = PINNED | {"DateStyle": "ISO, DMY"}
    if matrix_server.version_num >= 170000:
        expected |= {"transaction_timeout": "0", "event_triggers": "off"}
    assert {name: settings[name] for name in expected} == expected


async def test_a_plain_role_may_connect_as_well(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE ROLE plain_session LOGIN")
    try:
        settings = await settings_of(
            address_of(server.url(address_of(url).database, user="plain_session"))
        )
    finally:
        execute(url, "DROP ROLE plain_session")
    assert {name: settings[name] for name in PINNED} == PINNED
    assert settings["event_triggers"] == "on"


async def test_identity(matrix_server: ScratchServer, make_database: MakeDatabase) -> None:
    url = make_database(matrix_server, 'we"ird; db naïve')
    address = address_of(url)
    async with session(url) as connection:
        identity = await read_identity(connection, address)
    assert identity.database == 'we"ird; db naïve'
    assert identity.server_version_num == matrix_server.version_num
    assert identity.server_version.startswith(str(matrix_server.version_num // 10000))
    assert (identity.system_identifier or "").isdigit()
    assert not identity.standby
    assert (identity.size_bytes or 0) > 1_000_000
    again = await connect(address, application_name=APPLICATION, database_oid=identity.database_oid)
    await again.close()
    with pytest.raises(IdentityMismatch, match="ANOTHER DATABASE"):
        await connect(address, application_name=APPLICATION, database_oid=identity.database_oid + 1)


WRONG: dict[str, tuple[Callable[[DatabaseAddress], str], type[PostgresError], str]] = {
    "host": (
        lambda it: "postgresql://app:hush@nosuch.invalid/db",
        ServerUnreachable,
        "no host that this machine knows",
    ),
    "port": (
        lambda it: "postgresql://app:hush@127.0.0.1:1/db",
        ServerUnreachable,
        "refused the connection",
    ),
    "socket": (
        lambda it: f"postgresql://app:hush@/db?host={it.host}&port=1",
        ServerUnreachable,
        "has no socket",
    ),
    "database": (
        lambda it: f"postgresql://{it.user}:hush@/no%20such%20db?host={it.host}&port={it.port}",
        DatabaseMissing,
        "has no database 'no such db'",
    ),
    "role": (
        lambda it: f"postgresql://nobody_here:hush@/x?host={it.host}&port={it.port}",
        AuthenticationFailed,
        "refused the role 'nobody_here'",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_addresses_are_told_apart(server: ScratchServer, what: str) -> None:
    make, kind, words = WRONG[what]
    address = parse_database_url(make(address_of(server.url())))
    with pytest.raises(PostgresError) as caught:
        await connect(address, application_name=APPLICATION)
    assert type(caught.value) is kind
    assert words in caught.value.what
    assert "hush" not in str(caught.value)


async def test_a_wrong_password_and_tls(tls_server: ScratchServer) -> None:
    address = address_of(tls_server.url())
    with pytest.raises(AuthenticationFailed, match="LOGIN REFUSED"):
        await connect(
            DatabaseAddress(
                address.host, address.port, address.database, address.user, Secret("wrong one")
            ),
            application_name=APPLICATION,
        )
    with pytest.raises(ServerUnreachable, match="NO SECURE CONNECTION"):
        await connect(
            DatabaseAddress(
                address.host,
                address.port,
                address.database,
                address.user,
                address.password,
                {"sslmode": "verify-full", "sslrootcert": "/nowhere/root.crt"},
            ),
            application_name=APPLICATION,
        )


async def test_no_free_connection_and_a_server_that_stops(fresh_server: FreshServer) -> None:
    server = fresh_server(settings={"max_connections": "3", "superuser_reserved_connections": "0"})
    address = address_of(server.url())
    ours = await connect(address, application_name=APPLICATION)
    others = [psycopg.connect(server.url()) for _ in range(2)]
    with pytest.raises(ServerUnreachable, match="NO FREE CONNECTION"):
        await connect(address, application_name=APPLICATION)
    server.stop()
    for connection in others:
        connection.close()
    await ours.close()
    with pytest.raises(ServerUnreachable, match="SERVER NOT REACHED"):
        await connect(address, application_name=APPLICATION)


@pytest.mark.parametrize("name", ["plain", 'we"ird; db', "naïve = table", "ends with blank "])
def test_stock_clients_reach_the_database_without_an_argument(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, name: str
) -> None:
    url = make_database(server, name)
    execute(url, "CREATE TABLE only_here (id int)")
    with client_environment(
        address_of(url), directory=tmp_path, application_name=APPLICATION
    ) as environment:
        done = subprocess.run(
            [str(binaries(18) / "pg_dump"), "--schema-only"],
            env=environment,
            capture_output=True,
            check=False,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "only_here" in done.stdout
