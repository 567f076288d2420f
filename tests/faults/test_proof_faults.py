"""A proof that is killed, cancelled or out of disk in its midst: nothing is left, nothing shown."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.events import CommandStarted, Event, StageStarted
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.scratch_place import ROOM_LINK
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.records import read_records
from tests.support.disks import fill_disk, small_disk
from tests.support.faults import (
    check_error,
    databases_of,
    finish,
    jobs_of,
    processes_of,
    sessions_of,
)
from tests.support.jobs import journal_lines
from tests.support.processes import is_running, processes_with_argument
from tests.support.servers import FreshServer, MakeDatabase, execute
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until

Moment = Callable[[Event], bool]
LEAVE_SECONDS = 8.0
SLEEP = ("sleep", "600")


def begins(stage: str) -> Moment:
    return lambda event: isinstance(event, StageStarted) and event.stage == stage


def runs(program: str, option: str = "") -> Moment:
    return lambda event: (
        isinstance(event, CommandStarted)
        and event.argv[0].endswith(program)
        and any(word.startswith(option) for word in event.argv)
    )


MOMENTS: Mapping[str, Moment] = {
    "start": begins("restored"),
    "restore": runs("pg_restore", "--jobs"),
    "compare": begins("proven"),
    "command": runs(SLEEP[0]),
}
# A server that is there already has no start.
ON_A_SERVER = ("restore", "compare")


@dataclass
class Trial:
    """A site with one point, whose proof takes its time."""

    site: Site
    url: str
    scratch_url: str | None
    known: set[str] = field(default_factory=set)
    rooms: list[Path] = field(default_factory=list)

    def start(self, moment: Moment) -> tuple[Any, Job]:
        """Start a proof; returns it and its job as soon as the moment has come."""
        self.known |= {job.id for job in jobs_of(self.site)}
        process = self.site.start("verify", "latest", "--level", "proven", "--json")
        found: list[Job] = []

        def come() -> bool:
            found[:] = [job for job in jobs_of(self.site) if job.id not in self.known]
            return bool(found) and any(
                moment(line.event) for line in journal_lines(found[0].directory)
            )

        wait_until(come, timeout=60, what="the moment has come")
        link = found[0].directory / "work" / ROOM_LINK
        if link.is_symlink():
            self.rooms.append(link.readlink())
        return process, found[0]

    def assert_all_ended(self, job: Job) -> None:
        """Assert that no process and no session of a job is left: clients, servers, commands."""
        started = [
            line.event.pid
            for line in journal_lines(job.directory)
            if isinstance(line.event, CommandStarted)
        ]

        def ended() -> bool:
            of_rooms = [pid for room in self.rooms for pid in processes_with_argument(str(room))]
            urls = [self.url] if self.scratch_url is None else [self.url, self.scratch_url]
            return not (
                processes_of(self.site)
                or of_rooms
                or any(is_running(pid) for pid in started)
                or any(sessions_of(self.site, url) for url in urls)
            )

        wait_until(ended, timeout=LEAVE_SECONDS, what=f"all of {job.id} has ended")

    def left(self) -> list[str]:
        """Return the directories and databases that lie about."""
        urls = [self.url] if self.scratch_url is None else [self.url, self.scratch_url]
        names = [name for url in urls for name in databases_of(url) if name.startswith("fsbackup-")]
        return [str(room) for room in self.rooms if room.exists()] + names

    def recorded(self) -> set[str]:
        """Return the levels of which anything was recorded."""
        repository = open_repository(self.site.repository)
        (point,) = repository.points.iterdir()
        return {str(record.document["level"]) for record in read_records(repository, point.name)}

    def moments(self) -> dict[str, Moment]:
        """Return the moments that are tried with this place of the trial restore."""
        chosen = MOMENTS if self.scratch_url is None else ON_A_SERVER
        return {name: MOMENTS[name] for name in chosen}

    def trust(self) -> str:
        (point,) = self.site.points()
        return str(point["trust"])

    def assert_proves(self) -> None:
        """Assert that the next run is clean."""
        self.site.settings = {
            name: value for name, value in self.site.settings.items() if name != "commands"
        }
        self.site.write_config()
        again = self.site.run("verify", "latest", "--level", "proven", "--json")
        assert again.exit_code == 0, again.stdout
        assert self.trust() == "proven"
        assert self.left() == []


def make_trial(
    place: Path, url: str, scratch_url: str | None = None, *, rows: int = 150, **scratch: object
) -> Trial:
    """Make a site with one point; each of its rows takes 10 ms to come back."""
    execute(
        url,
        "CREATE FUNCTION public.crawl(bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF pg_catalog.current_database() LIKE 'fsbackup-%' THEN"
        " PERFORM pg_catalog.pg_sleep(0.01); END IF; RETURN true; END $$",
        "CREATE TABLE public.crawling (id bigint PRIMARY KEY, body text, CHECK (public.crawl(id)))",
        "INSERT INTO public.crawling SELECT i, repeat(md5(i::text), 20)"
        f" FROM generate_series(1, {rows}) AS i",
    )
    where = {"on": "own"} if scratch_url is None else {"on": "server", "url": scratch_url}
    settings = {"scratch": {**where, **scratch}, "commands": {"verify_integrity": list(SLEEP)}}
    site = make_site(place, url, settings=settings)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    return Trial(site, url, scratch_url)


@pytest.fixture(params=["own", "server"])
def trial(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    fresh_server: FreshServer,
) -> Trial:
    """A proof on an own server, or on one that the config names."""
    scratch_url = None if request.param == "own" else fresh_server(18).url()
    return make_trial(tmp_path / "site", make_database(server), scratch_url)


def test_a_proof_killed(trial: Trial) -> None:
    for name, moment in trial.moments().items():
        process, job = trial.start(moment)
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        trial.assert_all_ended(job)
        check_error(
            finish(process), exit_code=1, kind="job-lost", what=f"JOB LOST: {job.id}", fix="verify"
        )
        assert trial.recorded() == {"sealed", "readable"}, name
        # What the kill left is gone as soon as there is a next job: one at most lies about.
        assert len(trial.left()) <= 1, name
    assert trial.trust() == "readable"
    trial.assert_proves()


def test_a_proof_cancelled(trial: Trial) -> None:
    """By either signal, and by ``fsbackup cancel``, one after the other."""
    ways = itertools.cycle(("SIGTERM", "SIGINT", "fsbackup cancel"))
    for (name, moment), way in zip(trial.moments().items(), ways, strict=False):
        process, job = trial.start(moment)
        if way == "fsbackup cancel":
            asked = trial.site.run("cancel", job.id, "--json")
            assert asked.exit_code == 0, asked.stdout
        else:
            assert job.pid is not None
            os.kill(job.pid, signal.Signals[way])
        check_error(finish(process), exit_code=130, kind="interrupted", what=f"CANCELLED: {job.id}")
        trial.assert_all_ended(job)
        assert trial.left() == [], name
        assert trial.recorded() == {"sealed", "readable"}, name
    assert trial.trust() == "readable"
    trial.assert_proves()


@contextmanager
def scratch_disk(megabytes: int) -> Iterator[Path]:
    """Give a small file system on which an own server's other user may be at home."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="proof-disk-") as place:
        Path(place).chmod(0o711)
        with small_disk(Path(place, "disk"), megabytes) as disk:
            disk.chmod(0o711)
            yield disk


@pytest.mark.machine
def test_no_disk_for_a_proof_to_start_on(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    with scratch_disk(100) as disk:
        trial = make_trial(tmp_path / "site", make_database(server), directory=str(disk))
        blocked = trial.site.run("verify", "latest", "--level", "proven", "--json")
        assert blocked.exit_code != 0
        (blocker,) = blocked.document["blocked"]
        assert "not enough space" in blocker["what"]
        assert blocked.document["problems"] == []
        assert trial.trust() == "readable"
        assert list(disk.iterdir()) == []
    with scratch_disk(600) as disk:
        trial.site.settings = {"scratch": {"directory": str(disk)}}
        trial.assert_proves()
        assert list(disk.iterdir()) == []


@pytest.mark.machine
@pytest.mark.parametrize("name", ["start", "restore", "compare"])
def test_the_disk_is_filled_in_mid_proof(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    with scratch_disk(600) as disk:
        rows = 1000 if name == "restore" else 150  # there is still to be written when it is full
        url = make_database(server)
        trial = make_trial(tmp_path / "site", url, rows=rows, directory=str(disk))
        trial.site.settings = {"scratch": {"directory": str(disk)}}
        trial.site.write_config()
        process, job = trial.start(MOMENTS[name])
        theirs = fill_disk(disk)
        ended = finish(process)
        trial.assert_all_ended(job)
        if name == "compare" and ended.exit_code == 0:
            # Reading takes no disk: what had come back by then could be compared.
            assert trial.trust() == "proven"
        elif name == "start" and ended.document.get("blocked"):
            # It was full before the place was looked at: then nothing was begun.
            assert ended.exit_code == 1
            assert "not enough space" in ended.document["blocked"][0]["what"]
            assert trial.trust() == "readable"
        else:
            check_error(ended, exit_code=1, kind="disk-full", what="DISK", fix="scratch: directory")
            assert trial.recorded() == {"sealed", "readable"}
            assert trial.trust() == "readable"
        assert list(disk.iterdir()) == [theirs]
        theirs.unlink()
        trial.assert_proves()
        assert list(disk.iterdir()) == []
