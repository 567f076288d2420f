"""`adopt:`, `fsbackup adopt` and a file where a POINT is asked for, as their users call them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.foreign_files import ROWS, contents, foreign_files
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import PROJECT, CommandResult, Site, make_site

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory, server: ScratchServer) -> Iterator[Path]:
    with foreign_files(tmp_path_factory.mktemp("backups"), server) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_changes(backups: Path) -> Iterator[None]:
    """No command may write, move or touch anything among the foreign backups."""
    before = contents(backups)
    yield
    assert contents(backups) == before


@pytest.fixture
def site(tmp_path: Path, backups: Path) -> Site:
    return make_site(tmp_path / "site", NOWHERE, settings={"adopt": [str(backups)]})


def without_config(directory: Path, *arguments: str) -> CommandResult:
    """Run a command where there is no site at all."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "TZ": "UTC"}
    done = subprocess.run(
        [sys.executable, "-m", "fsbackup_tui", *arguments],
        env={**environment, "HOME": str(directory), "TMPDIR": str(directory)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def listed(site: Site) -> dict[str, dict[str, Any]]:
    """The foreign points of ``list``, by their files' names."""
    points = site.run("list", "--json").document["points"]
    return {Path(point["foreign"]).name: point for point in points if point["foreign"]}


VERIFIED = {
    "backup_20240630_120000.sql": "readable",
    "backup_20240701_020000.sql.gz": "readable",
    "backup.sql.bz2": "readable",
    "supabase_backup.sql": "readable",
    "custom.dump.gz": "readable",
    "archive.tar": "readable",
    "directory": "readable",
    "all.sql": "readable",
    "storage_backup_20240630_120000.tar.gz": "readable",
    "cut.sql": "damaged",
    "cut.sql.gz": "damaged",
    "cut.dump": "damaged",
    "flipped.sql.gz": "damaged",
    "failed.sql.gz": "damaged",
    "told.sql": "damaged",
    "nothing_in_it.sql": "damaged",
    "cut.tar": "damaged",
}


@pytest.mark.parametrize("name", VERIFIED)
def test_a_file_is_verified_without_any_configuration(
    tmp_path: Path, backups: Path, name: str
) -> None:
    done = without_config(tmp_path, "verify", str(backups / name), "--json")
    document = done.document
    assert document["trust"] == VERIFIED[name]
    assert document["ok"] is (VERIFIED[name] == "readable")
    assert done.exit_code == (0 if document["ok"] else 1)
    # No checksum is known: that rung is neither a pass nor a failure.
    assert document["levels"]["sealed"]["ok"] is None
    assert document["levels"]["readable"]["ok"] is document["ok"]
    assert bool(document["problems"]) is not document["ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_beside_the_file_seals_it(tmp_path: Path, backups: Path) -> None:
    path = tmp_path / "backup.sql.gz"
    shutil.copy(backups / "packed.sql.gz", path)
    subprocess.run(
        ["sh", "-c", "sha256sum backup.sql.gz > backup.sql.gz.sha256"], cwd=tmp_path, check=True
    )
    assert without_config(tmp_path, "verify", str(path), "--json").document["levels"]["sealed"][
        "ok"
    ]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = without_config(tmp_path, "verify", "backup.sql.gz")
    assert done.exit_code == 1
    assert "backup.sql.gz: DAMAGED" in done.stdout
    assert "it was altered: backup.sql.gz.sha256 says sha256" in done.stdout


def test_what_is_no_backup_file_is_a_usage_error(tmp_path: Path, backups: Path) -> None:
    done = without_config(tmp_path, "verify", "./none.sql")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("NO SUCH FILE: none.sql.")
    assert without_config(tmp_path, "verify", str(backups)).exit_code == 2


def test_a_directory_is_listed_without_any_configuration(tmp_path: Path, backups: Path) -> None:
    done = without_config(tmp_path, "adopt", str(backups), "--json")
    assert done.exit_code == 0
    names = {Path(point["foreign"]).name for point in done.document["points"]}
    assert {"backup_20240630_120000.sql", "cut.sql.gz", "failed.sql.gz", "directory"} <= names
    assert all(point["trust"] == "unverified" for point in done.document["points"])
    shown = without_config(tmp_path, "show", str(backups / "supabase_dump.sql"))
    assert "it holds no rows: the schema alone (supabase db dump leaves" in shown.stdout


def test_the_list_names_them_unverified_with_all_that_can_be_known(site: Site) -> None:
    points = listed(site)
    good = points["backup_20240630_120000.sql"]
    assert good["id"].startswith("foreign-")
    assert (good["trust"], good["plan"], good["rows"], good["whole"]) == (
        "unverified",
        "foreign",
        None,
        False,
    )
    assert good["created"] == "2024-06-30T12:00:00.000Z"
    assert good["problems"] == []
    assert points["supabase_backup.sql"]["reason"].startswith(
        "supabase_backup.sql: a custom archive of pg_dump 18"
    )
    assert "it holds no rows" in points["supabase_dump.sql"]["reason"]
    for name, problem in (
        ("cut.sql.gz", "it is cut off: its gzip data has no end"),
        ("failed.sql.gz", "there is nothing in it (20 bytes of packing): the dump had failed"),
        ("page.sql", "it is no backup: an HTML page"),
    ):
        assert points[name]["problems"] == [problem]
        assert points[name]["trust"] == "unverified"
    text = site.run("list").stdout
    assert "UNVERIFIED" in text
    assert "foreign: backup_20240630_120000.sql: plain SQL of pg_dump 18" in text
    # They never answer what is asked at 3 am.
    assert "NO POINTS YET" in text.splitlines()[0]
    assert site.run("show", "latest").exit_code == 2


def test_backups_are_watched_before_there_is_a_repository(tmp_path: Path, backups: Path) -> None:
    site = Site(tmp_path / "site", NOWHERE, settings={"adopt": [str(backups)]})
    site.directory.mkdir(mode=0o700)
    site.write_config()
    done = site.run("list", "--json")
    assert done.exit_code == 0
    assert {Path(point["foreign"]).name for point in done.document["points"]} >= {"cut.sql"}
    assert "NO REPOSITORY at" in done.stderr
    assert site.run("adopt").exit_code == 0
    identifier = listed(site)["packed.sql.gz"]["id"]
    assert site.run("verify", identifier).exit_code == 0
    assert listed(site)["packed.sql.gz"]["trust"] == "readable"
    assert not site.repository.exists()


def test_a_verification_is_remembered_in_the_list(site: Site, backups: Path) -> None:
    assert site.run("verify", str(backups / "archive.tar")).exit_code == 0
    assert site.run("verify", listed(site)["cut.dump"]["id"]).exit_code == 1
    points = listed(site)
    assert points["archive.tar"]["trust"] == "readable"
    assert points["cut.dump"]["trust"] == "damaged"
    assert any("pg_restore" in problem for problem in points["cut.dump"]["problems"])
    shown = site.run("show", str(backups / "archive.tar"), "--json").document
    assert (shown["trust"], shown["id"]) == ("readable", points["archive.tar"]["id"])


@pytest.mark.parametrize(
    "name",
    [
        "backup_20240701_020000.sql.gz",
        "backup.sql.xz",
        "custom.dump.gz",
        "archive.tar",
        "directory",
    ],
)
def test_a_file_becomes_a_point_that_restores(
    site: Site, backups: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    before = listed(site)[name]
    adopted = site.run("adopt", str(backups / name), "--json").document
    assert (adopted["ok"], adopted["part"], adopted["trust"]) == (True, "db", "unverified")
    point = next(p for p in site.points() if p["id"] == adopted["point"])
    assert point["created"][:19] == before["created"][:19]
    assert (point["whole"], point["plan"], point["sequence"]) == (True, "adopted", 0)
    assert point["reason"] == f"adopted from {backups / name} ({before['id']})"
    assert name not in listed(site)
    again = site.run("adopt", str(backups / name))
    assert again.exit_code == 3
    told = " ".join(again.stderr.split())
    assert told.startswith(f"ADOPTED ALREADY: {name} is the point {adopted['point']}.")
    records = [
        json.loads(path.read_text())
        for path in (site.repository / "records" / adopted["point"]).glob("*.json")
    ]
    (record,) = [record for record in records if record["kind"] == "adopted"]
    assert record["document"]["from"] == str(backups / name)

    verified = site.run("verify", adopted["point"], "--level", "restored", "--json")
    assert verified.exit_code == 0, verified.stdout + verified.stderr
    assert Trust.from_word(verified.document["trust"]) is Trust.RESTORED

    site.url = make_database(server)
    copy = f"copy_{os.getpid()}_{adopted['point'][-4:]}"
    restored = site.run("restore", adopted["point"], "--beside", copy, "--json")
    try:
        assert restored.exit_code == 0, restored.stdout + restored.stderr
        counted = query(server.url(copy), "SELECT count(*) FROM users")
        assert counted == [(ROWS,)]
    finally:
        execute(server.socket_url(), f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')


def test_the_trial_restore_of_a_file_that_was_not_adopted(site: Site, backups: Path) -> None:
    # What pg_dump --no-owner wrote says nothing of owners: that is no loss.
    ownerless = site.run("verify", str(backups / "no_owner.sql"), "--level", "restored", "--json")
    assert ownerless.exit_code == 0, ownerless.stdout
    path = str(backups / "backup.sql.zst")
    done = site.run("verify", path, "--level", "restored", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.document["trust"] == "restored"
    assert done.document["proofs"]["file"]["entries"]["lost"] == 0
    assert listed(site)["backup.sql.zst"]["trust"] == "restored"
    # Nothing was counted when it was taken: proven can't be shown, and is not claimed.
    proven = site.run("verify", path, "--level", "proven", "--json").document
    assert (proven["ok"], proven["trust"]) == (False, "restored")
    assert proven["levels"]["proven"]["ok"] is None
    assert site.run("verify", str(backups / "cut.sql"), "--level", "restored").exit_code == 1


def test_a_tar_of_files_becomes_a_part_that_is_restored_like_any_other(
    site: Site, backups: Path, tmp_path: Path
) -> None:
    live = tmp_path / "srv" / "storage"
    (live / "faces").mkdir(parents=True)
    (live / "faces" / "bob.jpg").write_bytes(b"newer")
    settings = yaml.safe_load(site.config.read_text())
    settings["sources"]["uploads"] = {"kind": "files", "root": str(live)}
    site.config.write_text(yaml.safe_dump(settings))
    name = "storage_backup_20240630_120000.tar.gz"
    adopted = site.run("adopt", str(backups / name), "--json").document
    assert adopted["part"] == "uploads"  # its names say so
    point = site.repository / "points" / adopted["point"]
    verified = site.run("verify", adopted["point"], "--level", "proven", "--json")
    assert verified.exit_code == 0, verified.stdout + verified.stderr
    put_back = ("--part", "uploads", "--put-back", "--confirm", "storage", "--reason", "a test")
    done = site.run("restore", adopted["point"], *put_back)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert (live / "faces" / "ana.jpg").read_bytes() == b"ana.jpg" * 500
    assert (live / "faces" / "bob.jpg").read_bytes() == b"newer"
    text = (point / "RECOVER.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```sh\n")[1:]]
    environment = {**os.environ, "NEW_UPLOADS": str(tmp_path / "by-hand")}
    subprocess.run(["sh", "-ec", "".join(blocks)], cwd=point, env=environment, check=True)
    assert (tmp_path / "by-hand" / "faces" / "ana.jpg").read_bytes() == b"ana.jpg" * 500
    tar = point / "uploads" / "files.tar.zst"
    tar.write_bytes(tar.read_bytes()[:-20])
    assert site.run("verify", adopted["point"]).exit_code == 1


def test_a_hostile_tar_is_kept_as_it_is_and_never_unpacked(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "storage_backup_20240701_120000.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("storage/ok", "storage/../../../escaped"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"xx"))
    adopted = site.run("adopt", str(path), "--json")
    assert adopted.exit_code == 0, adopted.stderr
    point = site.repository / "points" / adopted.document["point"]
    assert (point / "files" / "files.tar.gz").read_bytes() == path.read_bytes()
    assert "leads out of the directory" in " ".join(adopted.stderr.split())
    assert not list(tmp_path.rglob("escaped"))
    assert not list(point.rglob("ok"))


@pytest.mark.parametrize(
    ("name", "exit_code", "said"),
    [
        ("cut.sql.gz", 1, "NOT ADOPTED: cut.sql.gz is no whole backup."),
        ("failed.sql.gz", 1, "NOT ADOPTED: failed.sql.gz is no whole backup."),
        ("nothing_in_it.sql", 1, "NOT ADOPTED: nothing_in_it.sql is no whole backup."),
        ("all.sql", 3, "NOT ADOPTED: all.sql holds all databases of a server"),
        ("create.sql", 3, "NOT ADOPTED: create.sql holds commands for psql itself."),
        ("gone.sql", 2, "NO SUCH FILE: "),
    ],
)
def test_what_no_restore_could_use_is_not_adopted(
    site: Site, backups: Path, name: str, exit_code: int, said: str
) -> None:
    done = site.run("adopt", str(backups / name))
    assert done.exit_code == exit_code
    assert said in " ".join(done.stderr.split())
    assert list((site.repository / "points").iterdir()) == []


def test_a_read_only_site_adopts_nothing(tmp_path: Path, backups: Path) -> None:
    site = make_site(
        tmp_path / "site", NOWHERE, settings={"adopt": [str(backups)], "read_only": True}
    )
    done = site.run("adopt", str(backups / "packed.sql.gz"))
    assert done.exit_code == 3
    assert "READ ONLY: this configuration adopts nothing." in done.stderr
    assert site.run("verify", str(backups / "packed.sql.gz")).exit_code == 0


def test_a_foreign_backup_is_no_point_to_clear_or_drill(site: Site, backups: Path) -> None:
    identifier = listed(site)["packed.sql.gz"]["id"]
    for command in (
        ("drill", str(backups / "packed.sql.gz")),
        ("clear", identifier, "--reason", "right"),
    ):
        done = site.run(*command)
        assert done.exit_code == 3
        assert done.stderr.startswith("NO POINT YET:")
        assert " adopt" in done.stderr


def test_an_adopted_point_is_nothing_to_compare_a_new_one_with(
    site: Site, backups: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """It counted nothing: a real fall must not hide behind it."""
    site.url = make_database(server)
    execute(site.url, "CREATE TABLE users AS SELECT g AS id FROM generate_series(1, 1000) AS g")
    assert site.run("backup", "daily").exit_code == 0
    assert site.run("adopt", str(backups / "supabase_backup.sql")).exit_code == 0
    execute(site.url, "TRUNCATE users")
    done = site.run("backup", "daily", "--json")
    assert done.document["suspect"], done.stdout
    newest = site.points()[0]
    assert newest["suspect"]
    # The adopted one was taken before the first, though it came into the repository later.
    latest = site.run("show", "latest", "--json").document["id"]
    assert latest.split("-")[1] == "daily"
    assert [point["plan"] for point in site.points() if point["whole"]] == [
        "daily",
        "daily",
        "adopted",
    ]
