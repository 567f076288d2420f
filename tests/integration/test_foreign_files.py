"""Backups of other scripts: recognised by their content, named, read to their end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.layout import lay_out
from fsbackup_tui.engines.foreign.model import ForeignFile
from fsbackup_tui.engines.foreign.parts import foreign_part
from fsbackup_tui.engines.foreign.recognise import glance
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.foreign_files import MADE_AT, ROWS, contents, foreign_files, shell
from tests.support.servers import binaries

GOOD = {
    "backup_20240630_120000.sql": ("plain", "plain SQL of pg_dump 18", "full"),
    "packed.sql.gz": ("plain", "plain SQL of pg_dump 18", "full"),
    "backup_20240701_020000.sql.gz": ("plain", "plain SQL of pg_dump 18", "full"),
    "started.sql": ("plain", "plain SQL of pg_dump 18", "full"),
    "create.sql": ("plain", "plain SQL of pg_dump 18", "full"),
    "backup.sql.xz": ("plain", "plain SQL of pg_dump 18", "full"),
    "backup.sql.bz2": ("plain", "plain SQL of pg_dump 18", "full"),
    "backup.sql.zst": ("plain", "plain SQL of pg_dump 18", "full"),
    "schema_20240630.sql": ("plain", "plain SQL of pg_dump 18", "schema"),
    "data_backup.sql": ("plain", "plain SQL of pg_dump 18", "data"),
    "inserts.sql": ("plain", "plain SQL of pg_dump 18", "data"),
    "supabase_dump.sql": ("plain", "plain SQL of supabase db dump", "schema"),
    "supabase_data.sql": ("plain", "plain SQL of supabase db dump", "data"),
    "supabase_backup.sql": ("custom", "a custom archive of pg_dump 18", "full"),
    "custom.dump.gz": ("custom", "a custom archive of pg_dump 18", "full"),
    "directory": ("directory", "a directory archive of pg_dump 18", "full"),
    "archive.tar": ("tar", "a tar archive of pg_dump 18", "full"),
    "all.sql": ("cluster", "all databases of a server (pg_dumpall 18", None),
    "globals.sql": ("cluster", "all databases of a server (pg_dumpall)", None),
    "storage_backup_20240630_120000.tar.gz": ("files", "a tar of files", None),
    "one_file.tar": ("files", "a tar of files", None),
}
BAD = {
    "cut.sql": ("cut off", "it is cut off: the line with which pg_dump ends"),
    "cut.sql.gz": ("cut off", "it is cut off: its gzip data has no end"),
    "cut.sql.xz": ("cut off", "it is cut off: its xz data has no end"),
    "cut_in_toc.dump": ("damaged", "its table of contents can't be read: it ends within"),
    "flipped.sql.gz": ("damaged", "its gzip data is damaged"),
    "torn_by_error.sql": ("cut off", "it ends with an error of the tool that wrote it: pg_dump"),
    "empty.sql": ("empty", "it is empty: 0 bytes"),
    "failed.sql.gz": ("empty", "there is nothing in it (20 bytes of packing)"),
    "page.sql": ("not known", "it is no backup: an HTML page"),
    "error.sql.gz.sql": ("not known", "it is no backup: an XML document"),
    "told.sql": ("not known", "it is no backup: an error message: pg_dump: error: connection"),
    "mysql_backup.sql": ("not known", "it is no backup: SQL of MySQL"),
    "latin.dump": ("not known", "it is no backup: binary data"),
    "by_hand.sql": ("not known", "pg_dump did not write it, so nothing tells whether it is whole"),
    "nothing_in_it.sql": (
        "whole",
        "it holds no table: the database was empty, or it was the wrong",
    ),
    "cut.tar.gz": ("cut off", "it is cut off: its gzip data has no end"),
    "cut.tar": ("cut off", "the tar is cut off"),
    "no_file.tar": ("not known", "it is no backup: nothing but zero bytes"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, server: ScratchServer) -> Iterator[Path]:
    with foreign_files(tmp_path_factory.mktemp("foreign"), server) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_changes(directory: Path) -> Iterator[None]:
    before = contents(directory)
    yield
    assert contents(directory) == before


def look(path: Path) -> ForeignFile:
    return examine(path, UTC).file


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_recognised_by_its_content(directory: Path, name: str) -> None:
    form, what, scope = GOOD[name]
    for file in (glance(directory / name, UTC), look(directory / name)):
        assert (file.form, file.problems) == (form, ())
        assert file.what.startswith(what)
    assert look(directory / name).scope == scope
    # What it is must not hang on what it is called.
    other = directory.parent / "called_otherwise.txt"
    if (directory / name).is_file():
        shutil.copy2(directory / name, other)
        assert look(other).what == look(directory / name).what
        other.unlink()


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_good_backup_is_named(directory: Path, name: str) -> None:
    completeness, problem = BAD[name]
    file = look(directory / name)
    assert (file.completeness, len(file.problems)) == (completeness, 1)
    assert file.problems[0].startswith(problem)


def test_every_plain_dump_that_is_whole_is_known_to_be(directory: Path) -> None:
    for name, (form, _what, _scope) in GOOD.items():
        expected = "not known" if form in ("custom", "directory") else "whole"
        assert (name, look(directory / name).completeness) == (name, expected)


def test_a_dump_cut_anywhere_is_never_whole(directory: Path, tmp_path: Path) -> None:
    """A dump that lost its tail within rows loads with exit 0 (ops.md 0.1)."""
    whole = (directory / "backup_20240630_120000.sql").read_bytes()
    trailer = whole.rindex(b"-- PostgreSQL database dump complete")
    cut = tmp_path / "cut.sql"
    for size in range(1, trailer, max(1, trailer // 60)):
        cut.write_bytes(whole[:size])
        assert look(cut).problems, size
        assert look(cut).completeness != "whole", size


def test_a_cut_cluster_dump_is_not_whole_by_a_database_s_trailer(
    directory: Path, tmp_path: Path
) -> None:
    whole = (directory / "all.sql").read_bytes()
    one = b"-- PostgreSQL database dump complete\n--\n"
    cut = tmp_path / "all.sql"
    cut.write_bytes(whole[: whole.index(one) + len(one)])
    assert look(cut).completeness == "cut off"


def test_what_holds_no_rows_is_said_to(directory: Path) -> None:
    assert look(directory / "schema_20240630.sql").notes == ("it holds no rows: the schema alone",)
    (note,) = look(directory / "supabase_dump.sql").notes
    assert note == (
        "it holds no rows: the schema alone"
        " (supabase db dump leaves the rows out unless told --data-only)"
    )
    assert look(directory / "data_backup.sql").notes == (
        "it holds rows alone: their tables must come from another backup",
    )


def test_rows_and_entries_of_a_plain_dump_are_counted(directory: Path) -> None:
    examination = examine(directory / "packed.sql.gz", UTC)
    counted = {
        entry.name: examination.rows[entry.dump_id]
        for entry in examination.entries
        if entry.dump_id in examination.rows
    }
    assert counted == {"users": ROWS, "videos": 200}
    assert examination.commands == ()


def test_a_dump_that_has_psql_do_things_is_told_to(directory: Path) -> None:
    (note,) = look(directory / "create.sql").notes
    assert note.startswith("fsbackup won't restore it: it has psql carry out '\\\\connect test_")


def test_a_path_prefix_in_a_tar_is_understood(directory: Path) -> None:
    file = look(directory / "storage_backup_20240630_120000.tar.gz")
    assert (file.files, file.prefix) == (2, "srv/face-swap/storage")
    assert file.notes == ("all names in it begin with srv/face-swap/storage/",)
    single = look(directory / "one_file.tar")
    assert (single.files, single.prefix) == (1, "srv/face-swap/storage/faces")


def test_names_that_lead_out_of_a_tar_are_told(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("../../etc/passwd")
        tar.addfile(member)
    assert "some names in it lead out of the directory it is unpacked in" in look(path).notes


def test_the_time_comes_from_the_best_witness(directory: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    made = datetime.fromtimestamp(MADE_AT, UTC)

    def witness(name: str) -> tuple[str, datetime]:
        file = glance(directory / name, berlin)
        return file.taken_by, file.taken

    assert witness("backup_20240630_120000.sql") == ("its name", made)  # 12:00 in Berlin
    by, taken = witness("started.sql")
    assert by == "the dump itself"
    assert abs((datetime.now(UTC) - taken).total_seconds()) < 3 * 3600
    assert witness("supabase_backup.sql")[0] == "the dump itself"
    assert witness("archive.tar")[0] == "the dump itself"
    assert witness("packed.sql.gz") == ("the time that gzip kept", made)
    assert witness("data_backup.sql") == ("its modification time", made)
    # A day alone says less than the time of a file that was written on that day.
    assert witness("schema_20240630.sql") == ("its modification time", made)
    # The name says that it was taken after it was written: then it lies.
    assert witness("backup_20240701_020000.sql.gz") == (
        "its name",
        made.replace(month=7, day=1, hour=0),
    )


def test_an_archive_tells_its_database(directory: Path) -> None:
    for name in ("supabase_backup.sql", "custom.dump.gz", "archive.tar", "directory"):
        part = foreign_part(examine(directory / name, UTC), source="db", artifacts=())
        facts = part.postgres
        assert facts is not None
        assert facts.identity.database.startswith("test_")
        assert facts.identity.server_version_num // 10_000 == 18
        assert (facts.encoding, facts.roles, facts.owner) == ("UTF8", ("postgres",), "postgres")
        assert facts.collate
        assert [table.name for table in facts.tables] == ["users", "videos"]
        assert all(table.rows is None and not table.counted for table in facts.tables)
        assert (facts.count_method, facts.schema_sha256) == ("absent", None)


def test_a_missing_file_of_a_directory_archive_is_told(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "directory"
    shutil.copytree(directory / "directory", copy)
    next(path for path in copy.iterdir() if path.name[0].isdigit()).unlink()
    (problem,) = look(copy).problems
    assert problem.startswith("a file of it is missing: TABLE DATA public.")


@pytest.mark.parametrize(
    "name", ["supabase_backup.sql", "custom.dump.gz", "archive.tar", "directory"]
)
@pytest.mark.parametrize("link", [True, False], ids=["link", "copy"])
def test_every_archive_is_laid_out_for_pg_restore(
    directory: Path, tmp_path: Path, name: str, link: bool
) -> None:
    target = lay_out(examine(directory / name, UTC).file, tmp_path, link=link)
    done = subprocess.run(
        [binaries(18) / "pg_restore", "--file=-", target],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "COPY public.users (id, name) FROM stdin;" in done.stdout
    assert "lo_create" in done.stdout
    if not link:
        assert not any(path.is_symlink() for path in [target, *tmp_path.rglob("*")])


def test_a_file_that_is_written_to_meanwhile_is_not_taken(directory: Path, tmp_path: Path) -> None:
    source = tmp_path / "backup.sql"
    shutil.copy(directory / "backup_20240630_120000.sql", source)
    file = look(source)

    grown: list[int] = []

    def grow(count: int) -> None:
        if not grown:
            with source.open("ab") as more:
                more.write(b"-- more\n")
        grown.append(count)

    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(PointDamaged, match="NOT READABLE") as caught:
        lay_out(file, work, link=False, advance=grow)
    assert caught.value.why == "it was written to while it was read"


@pytest.mark.machine
def test_what_gpg_encrypted_is_whole_or_cut_off(directory: Path, tmp_path: Path) -> None:
    # The agent's socket lies in there: its path has to be short.
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    plain = directory / "backup_20240630_120000.sql"
    gpg = f"gpg --homedir {home} -q --batch --pinentry-mode loopback --passphrase canary"
    for options, name in (
        ("--symmetric --cipher-algo AES256", "backup.sql.gpg"),
        ("--symmetric --armor", "backup.sql.asc"),
    ):
        path = tmp_path / name
        assert shell(f"{gpg} {options} -o {path} {plain}", tmp_path) == 0
        file = look(path)
        assert (file.form, file.problems) == ("encrypted", ())
        assert file.what.startswith("encrypted (gpg")
        os.truncate(path, path.stat().st_size * 2 // 3)
        assert look(path).completeness == "cut off"
    shell(f"gpgconf --homedir {home} --kill gpg-agent", tmp_path)
    # The agent may be taking its sockets away itself.
    shutil.rmtree(home, ignore_errors=True)
