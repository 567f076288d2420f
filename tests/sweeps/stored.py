"""The stored points that are damaged: one of every format and compression."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.files import list_files
from fsbackup_tui.repository.layout import RECOVER_NAME, SITE_NAME
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME
from fsbackup_tui.repository.reader import PointReader
from tests.support.proving import Bench, make_bench
from tests.support.servers import execute
from tests.sweeps.lane import Lane

FORMATS = ("custom", "directory", "plain")
COMPRESSIONS = ("none", "gzip", "zstd")

CONTENT = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text NOT NULL,"
    " born date, score numeric, tags text[], extra jsonb, picture bytea, mood mood)",
    "INSERT INTO users (mail, born, score, tags, extra, picture, mood)"
    " SELECT 'u' || i || '@example.org', date '1970-01-01' + i, i / 7.0, ARRAY['t' || i, NULL],"
    " jsonb_build_object('n', i), decode(md5(i::text), 'hex'),"
    " (ARRAY['sad', 'ok', 'happy']::mood[])[i % 3 + 1] FROM generate_series(1, 300) AS i",
    "CREATE TABLE notes (what text, n integer)",
    r"INSERT INTO notes SELECT (ARRAY[NULL, '', E'a\tb', E'x\ny', E'\\.', 'ü日本'])[i % 6 + 1], i"
    " FROM generate_series(1, 200) AS i",
    "CREATE TABLE events (at date NOT NULL, user_id bigint REFERENCES users, what text)"
    " PARTITION BY RANGE (at)",
    "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
    "CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)",
    "INSERT INTO events SELECT date '2025-09-01' + i % 200, 1 + i % 300, 'event ' || md5(i::text)"
    " FROM generate_series(1, 300) AS i",
    "CREATE UNLOGGED TABLE fleeting AS SELECT i FROM generate_series(1, 50) AS i",
    "CREATE TABLE empty (id integer)",
    "CREATE VIEW mails AS SELECT mail FROM users",
    "CREATE MATERIALIZED VIEW moods AS SELECT mood, count(*) AS n FROM users GROUP BY mood",
    "CREATE FUNCTION public.twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE"
    " AS 'SELECT $1 * 2'",
    "CREATE INDEX ON notes (public.twice(n))",
    "CREATE SEQUENCE down INCREMENT -2",
    "SELECT nextval('down'), nextval('down')",
    "SELECT lo_from_bytea(0, decode(repeat(md5(i::text), 40), 'hex'))"
    " FROM generate_series(1, 2) AS i",
)


@dataclass(frozen=True)
class Stored:
    """A faultless point on its own repository, with a copy of it to go back to."""

    bench: Bench
    point: str
    dump_format: str
    compression: str
    pristine: Path

    @property
    def name(self) -> str:
        """The format and compression in words."""
        return f"{self.dump_format}/{self.compression}"

    @property
    def directory(self) -> Path:
        """Where the point lies."""
        return self.bench.point_directory(self.point)

    def renew(self) -> None:
        """Make the point as it was, and forget what was recorded of it."""
        shutil.rmtree(self.directory)
        shutil.copytree(self.pristine, self.directory, symlinks=True)
        shutil.rmtree(self.bench.repository.records / self.point, ignore_errors=True)

    def files(self) -> dict[str, list[Path]]:
        """Return the point's files by kind, relative to its directory."""
        part = PointReader(self.bench.repository, self.point).part("db")
        kinds: dict[str, list[Path]] = {
            MANIFEST_NAME: [Path(MANIFEST_NAME)],
            "SHA256SUMS of the point": [Path(SUMS_NAME)],
            "SHA256SUMS of a part": [Path("db", SUMS_NAME)],
            PART_NAME: [Path("db", PART_NAME)],
            SITE_NAME: [Path(SITE_NAME)],
            RECOVER_NAME: [Path(RECOVER_NAME)],
        }
        for artifact in part.artifacts:
            kinds.setdefault(artifact.role, []).append(Path("db", artifact.path))
        known = {path.as_posix() for paths in kinds.values() for path in paths}
        assert known == set(list_files(self.directory)), "a kind of file is missing here"
        return kinds


async def store_all(lane: Lane) -> list[Stored]:
    """Back one database up in every format and compression."""
    execute(lane.live.url(), "CREATE DATABASE shop")
    url = lane.live.url("shop")
    execute(url, *CONTENT)
    stored = []
    for dump_format in FORMATS:
        for compression in COMPRESSIONS:
            name = f"{dump_format}-{compression}"
            bench = make_bench(
                lane.directory / name,
                url,
                scratch_url=lane.scratch.url(),
                source={"format": dump_format, "compression": compression},
            )
            document = await bench.back_up()
            assert document["ok"], document
            point = str(document["point"])
            pristine = lane.directory / f"{name}-pristine"
            shutil.copytree(bench.point_directory(point), pristine, symlinks=True)
            stored.append(Stored(bench, point, dump_format, compression, pristine))
    return stored
