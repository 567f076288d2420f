"""Which database an operation acts on: found from the configuration, looked at, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fsbackup_tui.config.load import LoadedConfig, site_environment
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.config.values import SecretDescription
from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import IdentityMismatch, UsageError
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret

# What makes two looks at a server the same place; size and minor version may change.
_IDENTITY_FIELDS = ("system_identifier", "database", "database_oid", "standby")


def postgres_source(loaded: LoadedConfig, name: str) -> PostgresSource:
    """Return the postgres source of that name; UsageError where the site has none."""
    source = loaded.config.sources.get(name)
    if not isinstance(source, PostgresSource):
        raise UsageError(
            f"NO SUCH SOURCE: {name}.",
            why=f"{loaded.path} has the sources: {', '.join(loaded.config.sources) or 'none'}.",
            fix="Restoring beside needs the source that names the server.",
        )
    return source


def source_exclusions(source: PostgresSource) -> Exclusions:
    """Return what the configuration leaves out of a source."""
    return Exclusions(source.exclude_schemas, source.exclude_tables, source.exclude_table_data)


async def source_address(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    name: str,
    *,
    database: str = "",
) -> DatabaseAddress:
    """Return where the source's database is; SecretUnavailable where its URL can't be read.

    ``database`` stands in for the source's own: the copy that a drill plays on.
    """
    source = postgres_source(loaded, name)
    place = ("sources", name, "url")
    address = await _read_address(loaded, environment, redactor, source.url, place)
    return address.with_database(database) if database else address


async def admin_address(
    loaded: LoadedConfig, environment: Mapping[str, str], redactor: Redactor, name: str
) -> DatabaseAddress:
    """Return how to reach the maintenance database with the rights to create databases."""
    source = postgres_source(loaded, name)
    description = source.url
    place: tuple[str | int, ...] = ("sources", name, "url")
    if source.admin.url is not None and not expands_to_nothing(source.admin.url, environment):
        description, place = source.admin.url, ("sources", name, "admin", "url")
    address = await _read_address(loaded, environment, redactor, description, place)
    return address.with_database(source.admin.maintenance_database)


async def _read_address(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    description: SecretDescription,
    place: tuple[str | int, ...],
) -> DatabaseAddress:
    secret = await read_secret(
        description, environment, redactor, what="database address", where=loaded.place(*place)
    )
    address = parse_database_url(secret.reveal())
    if address.password is not None:
        redactor.add(address.password)
    return address


async def look_at_target(
    loaded: LoadedConfig, environ: Mapping[str, str], source: str
) -> ServerIdentity:
    """Return the server a restore beside goes to, for a person to see before acting.

    It is looked at through the maintenance database: the live one may be gone, and that is when
    a restore is wanted most.
    """
    redactor = Redactor()
    address = await admin_address(loaded, site_environment(loaded, environ), redactor, source)
    return await look_at(address, application_name="fsbackup/look")


async def look_at(address: DatabaseAddress, *, application_name: str) -> ServerIdentity:
    """Return the identity of the database at the address."""
    from fsbackup_tui.engines.postgres.connection import connect, plain_errors
    from fsbackup_tui.engines.postgres.inspect import read_identity

    with plain_errors(address):
        connection = await connect(address, application_name=application_name)
        async with connection:
            return await read_identity(connection, address)


def check_target(confirmed: ServerIdentity | None, found: ServerIdentity) -> None:
    """Raise IdentityMismatch unless the database found is the one that was confirmed."""
    if confirmed is None:
        return
    differing = [
        name for name in _IDENTITY_FIELDS if getattr(confirmed, name) != getattr(found, name)
    ]
    if differing:
        raise IdentityMismatch(
            "STOPPED: this is not the database that was confirmed. Nothing was done.",
            why=f"confirmed  {target_text(confirmed)}\nfound      {target_text(found)}",
            fix="See what the configuration points at now: fsbackup doctor",
        )


def check_server(confirmed: ServerIdentity | None, found: ServerIdentity) -> None:
    """Raise IdentityMismatch unless it is the server that was confirmed, whatever the database.

    What a person saw, they saw through the maintenance database.
    """
    if confirmed is None:
        return
    there = replace(confirmed, database=found.database, database_oid=found.database_oid)
    check_target(there, found)


def target_text(identity: ServerIdentity) -> str:
    """Return the identity in one line: database, host, system identifier, size, role."""
    from fsbackup_tui.operations.wording import size_text

    size = size_text(identity.size_bytes)
    return f"{identity.database} on {_place(identity)}  {size}  {_about(identity)}"


def server_text(identity: ServerIdentity) -> str:
    """Return which server it is in one line, whatever the database: what a restore adds to."""
    return f"{_place(identity)}  {_about(identity)}"


def _place(identity: ServerIdentity) -> str:
    return identity.host if identity.host.startswith("/") else f"{identity.host}:{identity.port}"


def _about(identity: ServerIdentity) -> str:
    return (
        f"{'standby' if identity.standby else 'primary'}  as {identity.role}  "
        f"PostgreSQL {identity.server_version}  system {identity.system_identifier or '-'}"
    )
