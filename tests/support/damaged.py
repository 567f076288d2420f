"""A shop on a server of its own whose files are damaged while it is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.relation_files import RelationFile
from tests.support.servers import FreshServer, execute, query

USERS = 5000
VIDEOS = 6000
NOTES = 20
_MAKE = (
    "CREATE SCHEMA app",
    "CREATE TABLE app.users (id int PRIMARY KEY, name text NOT NULL, upper text GENERATED ALWAYS"
    " AS (upper(name)) STORED)",
    "CREATE TABLE app.videos (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int NOT NULL"
    " REFERENCES app.users, title text)",
    'CREATE TABLE app."odd \'name" (id int PRIMARY KEY, body text NOT NULL)',
    'ALTER TABLE app."odd \'name" ALTER COLUMN body SET STORAGE EXTERNAL',
    "CREATE TABLE app.log (at int, what text) PARTITION BY RANGE (at)",
    "CREATE TABLE app.log_1 PARTITION OF app.log FOR VALUES FROM (0) TO (1000)",
    "CREATE VIEW app.named AS SELECT id, name FROM app.users",
    "CREATE MATERIALIZED VIEW app.counted AS SELECT count(*) AS n FROM app.videos",
    f"INSERT INTO app.users SELECT n, 'user ' || n FROM generate_series(1, {USERS}) AS n",
    f"INSERT INTO app.videos (user_id, title) SELECT 1 + n % {USERS}, 'video ' || n"
    f" FROM generate_series(1, {VIDEOS}) AS n",
    'INSERT INTO app."odd \'name" SELECT n, repeat(md5(n::text), 300)'
    f" FROM generate_series(1, {NOTES}) AS n",
    "INSERT INTO app.log SELECT n, 'line ' || n FROM generate_series(0, 999) AS n",
    "CREATE INDEX users_name ON app.users (name)",
    "VACUUM (ANALYZE)",
    "CHECKPOINT",
)


@dataclass
class Shop:
    """The server, the shop's database on it, and what lies in single blocks."""

    server: ScratchServer
    url: str

    def file(self, relation: str) -> RelationFile:
        """Return the file of a relation; the server must run."""
        return RelationFile.of(self.server, self.url, relation)

    def rows_in(self, table: str, block: int) -> int:
        """How many rows a block holds; the server must run, and the block be sound."""
        where = f"(ctid::text::point)[0] = {block}"
        return int(str(query(self.url, f"SELECT count(*) FROM {table} WHERE {where}")[0][0]))

    def toast_of(self, table: str) -> str:
        """Return the name of a table's TOAST table."""
        ((name,),) = query(
            self.url,
            f"SELECT reltoastrelid::regclass FROM pg_class WHERE relname = $${table}$$",
        )
        return str(name)


def make_shop(fresh_server: FreshServer, major: int, *, checksums: bool = False) -> Shop:
    """Start a server with or without data checksums, and fill the shop on it."""
    without = ["--no-data-checksums"] if major >= 18 else []
    server = fresh_server(major, initdb_options=["--data-checksums"] if checksums else without)
    execute(server.url(), "CREATE DATABASE shop")
    execute(server.url("shop"), *_MAKE)
    return Shop(server, server.url("shop"))


def names_below(directory: Path) -> set[str]:
    """Return all files below a directory, by their relative names."""
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
