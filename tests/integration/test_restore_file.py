"""`fsbackup restore FILE`: another script's backup into a new database, without adopting it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.foreign_trial import ForeignPoint
from tests.support.foreign_files import ROWS, contents, foreign_files
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import CommandResult, Site, make_site

COPY = "copy_of_a_file"


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory, server: ScratchServer) -> Iterator[Path]:
    with foreign_files(tmp_path_factory.mktemp("backups"), server) as made:
        yield made


@pytest.fixture
def site(
    tmp_path: Path, backups: Path, server: ScratchServer, make_database: MakeDatabase
) -> Iterator[Site]:
    before = contents(backups)
    yield make_site(tmp_path / "site", make_database(server), settings={"adopt": [str(backups)]})
    assert contents(backups) == before
    execute(server.socket_url(), f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")


def names(server: ScratchServer) -> list[str]:
    """The databases that restores make or leave."""
    found = query(
        server.socket_url(),
        "SELECT datname FROM pg_database WHERE datname LIKE 'copy%' OR datname LIKE 'fsbackup%'",
    )
    return [str(name) for (name,) in found]


def told(result: CommandResult) -> str:
    """What stands on standard error, as one line."""
    return " ".join(result.stderr.split())


def work_left(site: Site) -> list[Path]:
    """What jobs left of what they worked with."""
    return [path for path in site.state.rglob("work/*") if path.is_file()]


@pytest.mark.parametrize(
    "name",
    [
        "backup_20240701_020000.sql.gz",
        "backup.sql.zst",
        "no_owner.sql",
        "custom.dump.gz",
        "archive.tar",
        "directory",
    ],
)
def test_a_file_is_restored_beside(
    site: Site, backups: Path, server: ScratchServer, name: str
) -> None:
    shutil.rmtree(site.repository)  # a file needs none
    done = site.run("restore", str(backups / name), "--beside", COPY, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    document = done.document
    assert (document["ok"], document["target"], document["part"]) == (True, COPY, "db")
    assert document["point"] == str(backups / name)
    assert document["entries"]["lost"] == 0
    assert document["entries"]["restored"] > 5
    notes = [problem["what"] for problem in document["problems"]]
    assert f"{name}: it was not made by fsbackup: nothing was counted when it was taken" in notes
    assert query(server.url(COPY), "SELECT count(*), min(name) FROM users") == query(
        server.url(COPY),
        f"SELECT {ROWS}::bigint, min(md5(g::text)) FROM generate_series(1, {ROWS}) g",
    )
    assert query(server.url(COPY), "SELECT last_value FROM videos_id_seq") == [(200,)]
    assert query(server.url(COPY), "SELECT count(*) FROM pg_largeobject_metadata") == [(1,)]
    assert work_left(site) == []


def test_the_listed_id_serves_too_and_the_trust_is_said_first(
    site: Site, backups: Path, server: ScratchServer
) -> None:
    listed = site.run("list", "--json").document["points"]
    (identifier,) = [p["id"] for p in listed if str(p["foreign"]).endswith("/packed.sql.gz")]
    done = site.run("restore", identifier, "--beside", COPY)
    assert done.exit_code == 0, done.stderr
    assert told(done).startswith(f"Restores packed.sql.gz as the new database {COPY} on ")
    assert "plain SQL of pg_dump 18" in told(done)
    assert "UNVERIFIED: it is read to its end before anything is created." in told(done)
    assert " ".join(done.stdout.split()).startswith(f"Restored {backups / 'packed.sql.gz'} ")
    shown = site.run("show", identifier).stdout
    assert f"fsbackup restore {backups / 'packed.sql.gz'} --beside packed_restored" in shown


def test_a_schema_file_is_said_to_hold_no_rows_before(
    site: Site, backups: Path, server: ScratchServer
) -> None:
    done = site.run("restore", str(backups / "schema_20240630.sql"), "--beside", COPY)
    assert done.exit_code == 0, done.stderr
    assert "note: it holds no rows: the schema alone" in told(done)
    assert "it holds no rows: the schema alone" in " ".join(done.stdout.split())
    assert query(server.url(COPY), "SELECT count(*) FROM users") == [(0,)]


def test_what_supabase_db_dump_writes_is_restored_and_its_entries_are_not_claimed(
    site: Site, backups: Path, server: ScratchServer
) -> None:
    done = site.run("restore", str(backups / "supabase_dump.sql"), "--beside", COPY, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    notes = [problem["what"] for problem in done.document["problems"]]
    assert any("supabase db dump leaves the rows out" in note for note in notes)
    assert done.document["entries"]["restored"] == 0
    assert any("the dump doesn't tell of its entries" in note for note in notes)
    assert query(server.url(COPY), "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    ("name", "exit_code", "said"),
    [
        ("cut.sql", 1, "It is cut off: the line with which pg_dump ends every whole dump"),
        ("cut.sql.gz", 1, "It is cut off: its gzip data has no end."),
        ("failed.sql.gz", 1, "There is nothing in it (20 bytes of packing): the dump had failed"),
        ("empty.sql", 1, "It is empty: 0 bytes."),
        ("nothing_in_it.sql", 1, "It holds no table"),
        ("cut.dump", 1, "pg_restore: error: could not read from input file: end of file."),
        ("flipped.sql.gz", 1, "Its gzip data is damaged"),
        ("by_hand.sql", 1, "pg_dump did not write it, so nothing tells whether it is whole."),
        ("page.sql", 1, "It is no backup: an HTML page."),
        ("create.sql", 3, "holds commands for psql itself"),
        ("all.sql", 3, "NOT RESTORED: all.sql holds all databases of a server"),
        ("data_backup.sql", 3, "NO SCHEMA NAMED: "),
        ("storage_backup_20240630_120000.tar.gz", 2, "NOT A DATABASE: "),
        ("gone.sql", 2, "NO SUCH FILE: "),
    ],
)
def test_what_is_not_whole_or_not_safe_is_refused_and_nothing_is_created(
    site: Site, backups: Path, server: ScratchServer, name: str, exit_code: int, said: str
) -> None:
    done = site.run("restore", str(backups / name), "--beside", COPY)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert said in told(done)
    assert names(server) == []


def test_rows_alone_are_loaded_into_the_tables_of_an_archive(
    site: Site, backups: Path, server: ScratchServer
) -> None:
    words = ("restore", str(backups / "data_backup.sql"), "--beside", COPY, "--schema-point")
    refused = site.run(*words, str(backups / "schema_20240630.sql"))
    assert refused.exit_code == 3
    assert "SCHEMA NOT DIVISIBLE: " in told(refused)
    assert names(server) == []
    done = site.run(*words, str(backups / "custom.dump.gz"), "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.document["entries"]["lost"] == 0
    counted = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM videos)"
    assert query(server.url(COPY), counted) == [(ROWS, 200)]
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert query(server.url(COPY), keys) == [(1,)]


def test_a_file_that_changes_meanwhile_is_not_believed(tmp_path: Path, backups: Path) -> None:
    path = tmp_path / "backup.sql"
    shutil.copy(backups / "backup_20240630_120000.sql", path)
    for name, makes in (("first", "-- appended\n"), ("second", None)):
        work = tmp_path / name
        work.mkdir()
        point = ForeignPoint(examine(path, UTC), work)
        point.check_unchanged()
        if makes is None:
            path.unlink()
        else:
            path.write_text(path.read_text() + makes)
        with pytest.raises(PointDamaged, match=r"CHANGED: backup\.sql was written to or moved"):
            point.check_unchanged()


def test_a_file_names_no_server_where_there_are_several(
    site: Site, backups: Path, server: ScratchServer
) -> None:
    source = {"kind": "postgres", "url": "${DATABASE_URL}"}
    site.settings = {**site.settings, "sources": {"db": source, "other": source}}
    site.write_config()
    path = str(backups / "packed.sql.gz")
    done = site.run("restore", path, "--beside", COPY)
    assert done.exit_code == 2
    assert "WHICH SERVER?" in done.stderr
    assert "db, other" in told(done)
    chosen = site.run("restore", path, "--beside", COPY, "--part", "other", "--json")
    assert (chosen.exit_code, chosen.document["part"]) == (0, "other")
