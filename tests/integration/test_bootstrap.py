"""A bare machine with an address, its credentials and the key: the site is known again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.not_here import points_not_here
from fsbackup_tui.repository.writers import retirements_in
from tests.support.lost_hosts import (
    PASSPHRASE,
    BareMachine,
    WholeSite,
    bare_machine,
    copy_to_bucket,
    site_in_a_bucket,
)
from tests.support.replicas import SECRET_KEY, S3Server, s3_server
from tests.support.servers import MakeDatabase


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path) as server:
        yield server


@pytest.fixture
def whole(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, s3: S3Server
) -> WholeSite:
    return site_in_a_bucket(tmp_path / "old", server, make_database, s3)


def bootstrap(machine: BareMachine, s3: S3Server, *more: str, code: int = 0) -> dict[str, object]:
    url = ("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint)
    done = machine.run(*url, "--to", str(machine.directory / "repository"), "--json", *more)
    assert done.exit_code == code, done.stderr + done.stdout
    return done.document


def test_it_knows_the_site_again_by_what_is_small(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    assert whole.site.run("verify", "latest", "--level", "proven").exit_code == 0
    copy_to_bucket(whole.site)
    whole.lose()
    machine = bare_machine(tmp_path / "new")
    document = bootstrap(machine, s3)
    assert (document["site"], document["points"], document["proven"]) == ("face-swap", 1, 1)
    assert document["key"] == "right"
    assert document["needed"] == []
    repository = open_repository(machine.directory / "repository")
    (lacking,) = points_not_here(repository).values()
    assert (lacking.point, lacking.origin) == (whole.point, "s3")
    assert "db" in lacking.parts
    assert list((repository.points / whole.point / "db").glob("*.age")) == []
    listed = machine.run("list", "--json")
    assert listed.exit_code == 0, listed.stderr
    (point,) = listed.document["points"]
    assert (point["id"], point["trust"], point["elsewhere"]) == (whole.point, "proven", "s3")
    shown = machine.run("list")
    assert "at s3" in shown.stdout


def test_secrets_lie_in_the_private_file_and_the_key_nowhere(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    whole.lose()
    machine = bare_machine(tmp_path / "new", DATABASE_URL="postgresql://new.example.org/shop")
    document = bootstrap(machine, s3)
    variables = Path(str(document["env_file"]))
    assert variables.stat().st_mode & 0o777 == 0o600
    assert machine.config.stat().st_mode & 0o777 == 0o600
    text = variables.read_text()
    assert f"S3_SECRET={SECRET_KEY}" in text
    # What is told now wins over what was captured, which has the old address.
    assert "DATABASE_URL=postgresql://new.example.org/shop" in text.replace("'", "")
    assert SECRET_KEY not in machine.config.read_text()
    for path in machine.directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert PASSPHRASE.encode() not in path.read_bytes(), path


def test_what_is_verified_is_fetched_first_and_then_is_here(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    whole.lose()
    machine = bare_machine(tmp_path / "new")
    bootstrap(machine, s3)
    verified = machine.run("verify", "latest", "--level", "readable", "--json")
    assert verified.exit_code == 0, verified.stderr + verified.stdout
    repository = open_repository(machine.directory / "repository")
    assert points_not_here(repository) == {}
    (point,) = machine.run("list", "--json").document["points"]
    assert point["elsewhere"] is None
    assert not (repository.root / ".fetched" / "points" / whole.point / "db").exists()


def test_a_wrong_key_is_told_before_anything_large_and_mended_by_running_it_again(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    whole.lose()
    machine = bare_machine(tmp_path / "new", FSBACKUP_PASSPHRASE="another")
    error = bootstrap(machine, s3, code=1)["error"]
    assert isinstance(error, dict)
    assert error["what"].startswith("KEY NOT RIGHT")
    assert "the safe in the office" in error["why"]
    machine.environment["FSBACKUP_PASSPHRASE"] = PASSPHRASE
    assert bootstrap(machine, s3)["key"] == "right"


def test_the_old_host_is_retired_and_its_successor_is_not(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    whole.lose()
    machine = bare_machine(tmp_path / "new")
    document = bootstrap(machine, s3)
    assert len(document["retired"]) == 1  # type: ignore[arg-type]
    there = s3.files / "shop" / "writers"
    files = {path.name: path.read_bytes() for path in there.iterdir()}
    (retired,) = retirements_in(files)
    assert f"{retired.id}.json" in files
    assert len(files) == 3
    again = bootstrap(machine, s3)
    assert again["retired"] == []


def test_without_retiring_the_old_host_stays(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    machine = bare_machine(tmp_path / "new")
    assert bootstrap(machine, s3, "--no-retire")["retired"] == []
    assert not list((s3.files / "shop" / "writers").glob("*.retired.json"))


def test_wrong_credentials_and_wrong_addresses_say_so(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    machine = bare_machine(tmp_path / "new", AWS_SECRET_ACCESS_KEY="wrong")
    error = bootstrap(machine, s3, code=1)["error"]
    assert isinstance(error, dict)
    assert "REFUSES THE CREDENTIALS" in error["what"]
    machine.environment["AWS_SECRET_ACCESS_KEY"] = SECRET_KEY
    nowhere = machine.run("bootstrap", "s3://bucket/other", "--endpoint", s3.endpoint, "--json")
    assert nowhere.exit_code == 2
    assert nowhere.error["what"].startswith("NO REPOSITORY THERE")
    del machine.environment["AWS_ACCESS_KEY_ID"]
    untold = machine.run("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint, "--json")
    assert untold.error["kind"] == "secret-unavailable"
    assert not machine.config.exists()


def test_a_half_copied_point_is_told_and_not_taken_for_whole(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    first = whole.point
    second = whole.back_up()
    copy_to_bucket(whole.site)
    (s3.files / "shop" / "points" / second / "manifest.json").unlink()
    whole.lose()
    machine = bare_machine(tmp_path / "new")
    document = bootstrap(machine, s3)
    assert document["incomplete"] == [second]
    assert [point["id"] for point in machine.run("list", "--json").document["points"]] == [first]


def test_what_was_altered_at_the_copy_is_not_taken(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    dump = next((s3.files / "shop" / "points" / whole.point / "db").glob("database*"))
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    machine = bare_machine(tmp_path / "new")
    bootstrap(machine, s3, "--no-retire")
    failed = machine.run("verify", "latest", "--json")
    assert failed.exit_code == 1
    assert failed.error["kind"] == "point-damaged"
    assert "its SHA-256 differs" in failed.error["why"].lower().replace("sha-256", "SHA-256")
    repository = open_repository(machine.directory / "repository")
    assert "db" in points_not_here(repository)[whole.point].parts


def test_from_a_directory_that_was_brought(whole: WholeSite, s3: S3Server, tmp_path: Path) -> None:
    machine = bare_machine(tmp_path / "new")
    done = machine.run(
        *("bootstrap", str(s3.files / "shop"), "--no-retire", "--json"),
        *("--to", str(machine.directory / "repository")),
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    verified = machine.run("verify", "latest", "--level", "readable")
    assert verified.exit_code == 0, verified.stderr + verified.stdout
