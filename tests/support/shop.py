"""A shop in production: its tables, a busy application with a role of its own, and a backup."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.relation_files import RelationFile
from tests.support.servers import execute, query
from tests.support.sites import Site, make_site

PASSWORD = "of-the-application"
_numbers = itertools.count(1)

TABLES = (
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " mail text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE videos (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, title text NOT NULL,"
    " created_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE likes (user_id bigint REFERENCES users ON DELETE CASCADE,"
    " video_id bigint REFERENCES videos ON DELETE CASCADE, PRIMARY KEY (user_id, video_id))",
    "CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz"
    " NOT NULL DEFAULT now())",
    "INSERT INTO users (mail) SELECT 'u' || i || '@example.org' FROM generate_series(1, 300) i",
    "INSERT INTO videos (user_id, title) SELECT 1 + i % 300, 'video ' || i"
    " FROM generate_series(1, 1500) i",
    "INSERT INTO likes SELECT 1 + i % 300, 1 + i FROM generate_series(1, 1499) i",
)


@dataclass
class Application:
    """A client that reconnects: what it wrote and could not, each with the server's words."""

    url: str
    written: int = 0
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Write a visit and read the users, again and again, until it is stopped."""
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                    while not self._stop.is_set():
                        connection.execute("INSERT INTO visits DEFAULT VALUES")
                        connection.execute("SELECT count(*) FROM users")
                        self.written += 1
                        self._stop.wait(0.005)
            except psycopg.Error as error:
                self.errors.append(str(error).strip().splitlines()[0] if str(error) else "")
                self._stop.wait(0.02)

    def stop(self) -> None:
        """End it at its next statement."""
        self._stop.set()


@dataclass
class Shop:
    """The site, its server, its live database and the application's role."""

    server: ScratchServer
    site: Site
    live: str
    role: str

    def url(self, database: str | None = None, user: str | None = None) -> str:
        """Return a URL, as the superuser or as somebody else."""
        if user is None:
            return self.server.url(database or self.live)
        password = PASSWORD if self.server.tcp else None
        return self.server.url(database or self.live, user=user, password=password)

    def execute(self, *statements: str) -> None:
        """Do something to live as the superuser."""
        execute(self.url(), *statements)

    def query(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Return what a database answers."""
        return query(self.url(database), statement)

    def count(self, table: str, database: str | None = None) -> int:
        """Return how many rows a table has."""
        return int(self.query(f"SELECT count(*) FROM {table}", database)[0][0])

    def content(
        self, tables: Sequence[str] = ("users", "videos", "likes"), database: str | None = None
    ) -> dict[str, tuple[Any, ...]]:
        """Return for each table its rows and their content as one hash."""
        return {
            table: self.query(
                "SELECT count(*), md5(string_agg(t::text, ';' ORDER BY t::text COLLATE \"C\"))"
                f" FROM {table} AS t",
                database,
            )[0]
            for table in tables
        }

    def databases(self) -> set[str]:
        """Return the names of the server's databases that have to do with live."""
        rows = query(self.server.url(), "SELECT datname::text FROM pg_database")
        return {str(row[0]) for row in rows if str(row[0]).startswith(self.live)}

    def back_up(self) -> str:
        """Take a point, prove it, and return its id."""
        done = self.site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stderr + done.stdout
        point = str(done.document["point"])
        assert done.document["trust"] == "proven", done.stdout
        return point

    @contextmanager
    def application(self) -> Iterator[Application]:
        """Let the application run inside the block."""
        client = Application(self.url(user=self.role))
        thread = threading.Thread(target=client.run, name="application")
        thread.start()
        try:
            yield client
        finally:
            client.stop()
            thread.join()

    def works_for_the_application(self) -> bool:
        """Whether its role reads and writes what it always did."""
        with psycopg.connect(self.url(user=self.role), autocommit=True) as connection:
            connection.execute("INSERT INTO visits DEFAULT VALUES")
            connection.execute("INSERT INTO users (mail) VALUES (gen_random_uuid()::text)")
            connection.execute("DELETE FROM users WHERE mail LIKE '________-____-____-%'")
            connection.execute("SELECT * FROM videos, likes LIMIT 1")
        return True


@contextmanager
def open_shop(
    directory: Path,
    server: ScratchServer,
    settings: Mapping[str, object] | None = None,
    *,
    names: tuple[str, str] | None = None,
) -> Iterator[Shop]:
    """Make a shop on a server, and take everything of it away again.

    ``names`` are those of its database and its role; without them they are like no other's.
    """
    number = next(_numbers)
    live, role = f"shop_{number}_{directory.name[-8:]}".lower(), f"app_{number}"
    live = "".join(c if c.isalnum() or c == "_" else "_" for c in live)
    live, role = names or (live, role)
    execute(server.url(), f"DROP DATABASE IF EXISTS {live}", f"DROP ROLE IF EXISTS {role}")
    execute(server.url(), f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    execute(server.url(), f"CREATE DATABASE {live}")
    tables = "users, videos, likes, visits"
    execute(
        server.url(live),
        *TABLES,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}",
    )
    plans = {"daily": {"sources": ["db"], "verify": "proven"}}
    more = {"plans": plans, "recovery": {"app_role": role}, **(settings or {})}
    source = {"admin": {"url": server.url("postgres")}}
    site = make_site(directory / "site", server.url(live), source=source, settings=more)
    try:
        yield Shop(server, site, live, role)
    finally:
        rows = query(server.url(), "SELECT datname::text FROM pg_database")
        for (name,) in rows:
            if str(name).startswith(live):
                with suppress(psycopg.Error):
                    execute(server.url(), f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
                execute(server.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        with suppress(psycopg.Error):
            execute(server.url(), f"DROP ROLE IF EXISTS {role}")


def spoil_page(shop: Shop, table: str, page: int) -> None:
    """Write nonsense over the header of a table's page, as a broken disk would."""
    file = RelationFile.of(shop.server, shop.url(), table)
    shop.execute("CHECKPOINT")
    shop.server.stop()
    try:
        assert file.pages() > page
        file.spoil_header(page)
    finally:
        shop.server.start()
