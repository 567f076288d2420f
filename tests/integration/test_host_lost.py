"""A bare machine with an address, its credentials and the key becomes the site: timed by phase."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.code_sites import git
from tests.support.file_sites import snapshot
from tests.support.lost_hosts import (
    BareMachine,
    WholeSite,
    bare_machine,
    copy_to_bucket,
    site_in_a_bucket,
)
from tests.support.replicas import S3Server, s3_server
from tests.support.servers import FreshServer, MakeDatabase, query
from tests.support.sites import CommandResult

CONTENT = (
    "SELECT count(*), sum(hashtext(t::text)) FROM users t",
    "SELECT count(*), sum(hashtext(t::text)) FROM videos t",
    "SELECT last_value FROM orders_seq",
)
ENTER = ""


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path) as server:
        yield server


@pytest.fixture
def whole(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, s3: S3Server
) -> WholeSite:
    return site_in_a_bucket(tmp_path / "old", server, make_database, s3)


def content(url: str) -> list[object]:
    return [query(url, statement) for statement in CONTENT]


def name_of(url: str) -> str:
    return url.rpartition("?")[0].rpartition("/")[2]


def led(machine: BareMachine, *answers: str, more: tuple[str, ...] = ()) -> CommandResult:
    """Answer the walkthrough line by line."""
    command = [sys.executable, "-P", "-m", "fsbackup_tui", "--config", str(machine.config)]
    command += ["recover", "host-lost", "--plain", "--seen", "server", "--last-right", "unknown"]
    done = subprocess.run(
        [*command, *more],
        env=machine.environ(),
        cwd=machine.home,
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return CommandResult(done.returncode, done.stdout, done.stderr)


def journal(machine: BareMachine) -> list[dict[str, object]]:
    (path,) = machine.state.glob("*/incidents/*/journal.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_bare_machine_becomes_the_site(
    whole: WholeSite, s3: S3Server, tmp_path: Path, fresh_server: FreshServer
) -> None:
    wanted = content(whole.site.url)
    env = (whole.srv / "app" / ".env").read_text()
    name = name_of(whole.site.url)
    whole.lose()
    new = fresh_server(18)
    url = new.url(name)
    machine = bare_machine(tmp_path / "new", DATABASE_URL=url)
    took: dict[str, float] = {}

    started = time.monotonic()
    done = machine.run(
        *("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint),
        *("--to", str(machine.directory / "repository")),
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    assert "recover host-lost" in done.stdout
    took["bootstrap"] = time.monotonic() - started

    started = time.monotonic()
    walk = led(
        machine,
        # It is off; people are told; what is left; the server is there; the point.
        *("yes", ENTER, "one snapshot, which ben keeps", ENTER, ENTER),
        # The roles: a new server, on purpose. The database, code, configuration, files.
        *(ENTER, f"{new.socket_directory}/{name}", ENTER, ENTER, ENTER, ENTER),
        # The proof, the links; start, try, jobs, backup, tell, and the last question.
        *(ENTER, ENTER, ENTER, ENTER, ENTER, ENTER, ENTER, "ana changes the DNS at 04:00"),
        *("h", "q"),
    )
    took["recover host-lost"] = time.monotonic() - started
    told = walk.stdout + walk.stderr
    steps = [str(entry["step"]) for entry in journal(machine) if entry["entry"] == "done"]
    assert steps[-1:] == ["host-address"], told

    assert content(url) == wanted
    storage, app = whole.srv / "storage", whole.srv / "app"
    assert snapshot(storage, times=True) == whole.files
    assert (app / ".env").read_text() == env
    assert (app / ".env").stat().st_mode & 0o777 == 0o600
    assert git(app, "rev-parse", "HEAD") == whole.head
    assert git(app, "status", "--porcelain") == ""
    assert (whole.srv / "started").exists()
    points = machine.run("list", "--json").document["points"]
    assert len(points) == 2
    assert len(list((s3.files / "shop" / "points").glob("*/manifest.json"))) == 2
    # It was taken of what is right again, and moved on purpose.
    assert (points[0]["suspect"], points[0]["in_incident"]) == ([], None)
    assert "What was written after" in told
    assert "Who points to the new address?" in told

    for phase, seconds in (*took.items(), *phases(machine).items()):
        print(f"{phase:<20} {seconds:6.1f} s")  # noqa: T201 - the measured times are the result
    assert sum(took.values()) < 60


def phases(machine: BareMachine) -> dict[str, float]:
    """How long each step's job took, by the incident's journal."""
    began: dict[str, datetime] = {}
    took = {}
    for entry in journal(machine):
        step, at = str(entry.get("step")), parse_time(str(entry["at"]))
        if entry["entry"] == "started":
            began[step] = at
        elif entry["entry"] == "done" and step in began:
            took[step] = (at - began[step]).total_seconds()
    return took


def test_the_old_host_that_wakes_is_refused_at_the_copy(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    whole.lose()
    machine = bare_machine(tmp_path / "new")
    done = machine.run(
        *("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint, "--retire"),
        *("--to", str(machine.directory / "repository")),
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    site = whole.wake()
    there = sorted(path.name for path in (s3.files / "shop" / "points").iterdir())
    # Its cron takes a point on its own disk; the copy refuses it, and from then on it knows.
    first = site.run("backup", "daily", "--json")
    assert first.exit_code == 1, first.stdout
    problem = first.document["stages"]["replicate"]["problem"]
    assert problem["kind"] == "writer-retired", problem
    for command in (("backup", "daily"), ("replicate",)):
        refused = site.run(*command, "--json")
        assert refused.exit_code == 3, refused.stdout
        assert refused.error["kind"] == "writer-retired"
    assert sorted(path.name for path in (s3.files / "shop" / "points").iterdir()) == there


def test_a_server_that_has_the_database_is_no_new_one(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    copy_to_bucket(whole.site)
    machine = bare_machine(tmp_path / "new", DATABASE_URL=whole.site.url)
    done = machine.run(
        *("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint, "--no-retire"),
        *("--to", str(machine.directory / "repository")),
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    before = content(whole.site.url)
    walk = led(machine, "yes", ENTER, "nothing", ENTER, "q")
    told = " ".join((walk.stdout + walk.stderr).split())
    assert re.search(r"A DATABASE \S+ IS THERE ALREADY", told), told
    assert content(whole.site.url) == before


def test_a_drill_of_it_leaves_nothing_and_touches_nothing(
    whole: WholeSite, s3: S3Server, tmp_path: Path
) -> None:
    machine = bare_machine(tmp_path / "new", DATABASE_URL=whole.site.url)
    done = machine.run(
        *("bootstrap", "s3://bucket/shop", "--endpoint", s3.endpoint, "--no-retire"),
        *("--to", str(machine.directory / "repository")),
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    before = (content(whole.site.url), snapshot(whole.srv, times=True))
    databases = query(whole.site.url, "SELECT datname FROM pg_database ORDER BY 1")
    walk = led(
        machine,
        ENTER,
        "yes",
        ENTER,
        "nothing",
        *[ENTER] * 14,
        "ben would",
        ENTER,
        "h",
        "q",
        more=("--drill",),
    )
    told = walk.stdout + walk.stderr
    steps = [str(entry["step"]) for entry in journal(machine) if entry["entry"] == "done"]
    assert steps[-1:] == ["host-unstage"], told
    assert "host-database" in steps
    assert "host-links" in steps
    assert (content(whole.site.url), snapshot(whole.srv, times=True)) == before
    assert query(whole.site.url, "SELECT datname FROM pg_database ORDER BY 1") == databases
    assert list(machine.state.glob("*/host-drills/*")) == []
