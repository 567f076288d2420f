"""A worker that is killed, cancelled or hung up at each stage of a backup and of a restore."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fsbackup_tui.domain.events import CommandStarted, Event, JobStarted, Progress, StageStarted
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job
from tests.support.faults import (
    assert_clean,
    check_error,
    databases_of,
    fill,
    finish,
    make_slow_to_analyze,
    make_slow_to_restore,
    newest_job,
    processes_of,
    sessions_of,
    wait_for_event,
    warnings_of,
)
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until

Moment = Callable[[Event], bool]
LEAVE_SECONDS = 5.0


def begins(stage: str) -> Moment:
    return lambda event: isinstance(event, StageStarted) and event.stage == stage


def runs(program: str) -> Moment:
    return lambda event: isinstance(event, CommandStarted) and event.argv[0].endswith(program)


def rows_flow(event: Event) -> bool:
    return isinstance(event, Progress) and bool(event.active)


def first_word(event: Event) -> bool:
    return isinstance(event, JobStarted)


BACKUP: dict[str, Moment] = {
    "first word": first_word,
    "backup": begins("backup"),
    "dump": runs("/pg_dump"),
    "rows": rows_flow,
    "schema": runs("/pg_restore"),
}
RESTORE: dict[str, Moment] = {
    "check": begins("check"),
    "create": begins("create"),
    "restore": begins("restore"),
    "rows": rows_flow,
    "finish": begins("finish"),
}


def send(job: Job, number: signal.Signals) -> None:
    assert job.pid is not None
    os.kill(job.pid, number)


def assert_all_left(site: Site, url: str) -> None:
    wait_until(
        lambda: not processes_of(site) and not sessions_of(site, url),
        timeout=LEAVE_SECONDS,
        what="clients and sessions have gone with their worker",
    )


def backup_site(directory: Path, url: str, moment: str) -> Site:
    fill(url, megabytes=24)
    # Up to its rows a dump has to be slow to be met there; behind them it has to get through.
    rate = "25MB" if moment == "schema" else "500kB"
    return make_site(directory, url, source={"max_rate": rate})


@pytest.mark.parametrize("moment", BACKUP)
def test_a_backup_killed(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, moment: str
) -> None:
    url = make_database(server)
    site = backup_site(tmp_path / "site", url, moment)
    process = site.start("backup", "daily", "--json")
    job = wait_for_event(site, BACKUP[moment])
    send(job, signal.SIGKILL)
    assert_all_left(site, url)
    ended = finish(process)
    if moment == "schema":
        # The step lasts some milliseconds: the part may be whole by now, or even the point.
        wait_until(lambda: not sessions_of(site, url), timeout=30)
        site.run("backup", "daily", "--json")
        assert site.partial_remains() == []
        assert any(point["whole"] for point in site.points())
        return
    check_error(
        ended,
        exit_code=1,
        kind="job-lost",
        what=f"JOB LOST: {job.id}",
        why="killed, or out of memory",
        fix="Once more: fsbackup backup daily",
    )
    (told,) = site.run("jobs", "--json").document["jobs"]
    assert told["state"] == "lost"
    assert "fsbackup backup daily" in told["error"]["fix"]
    assert all(not point["whole"] for point in site.points())
    site.source = {}
    site.write_config()
    again = site.run("backup", "daily", "--json")
    assert again.exit_code == 0, again.stdout
    assert_clean(site, url, points=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", BACKUP)
def test_a_backup_cancelled(
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    moment: str,
    number: signal.Signals,
) -> None:
    url = make_database(server)
    site = backup_site(tmp_path / "site", url, moment)
    process = site.start("backup", "daily", "--json")
    job = wait_for_event(site, BACKUP[moment])
    send(job, number)
    ended = finish(process)
    if moment == "schema" and ended.exit_code == 0:
        return  # the step lasts some milliseconds: the signal came behind the end
    check_error(
        ended,
        exit_code=130,
        kind="interrupted",
        what=f"CANCELLED: {job.id} by signal {number.name}",
        fix="cleaned up",
    )
    assert newest_job(site).state == "cancelled"
    if moment == "schema" and (kept := site.points()):
        # The same milliseconds: what was whole by then stays, and the job says so.
        assert any(kept[0]["id"] in text for text in warnings_of(site))
        assert site.partial_remains() == []
        return
    assert_clean(site, url)


def test_a_hang_up_does_not_end_a_backup(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(tmp_path / "site", url, source={"max_rate": "4MB"})
    process = site.start("backup", "daily", "--json")
    job = wait_for_event(site, rows_flow)
    send(job, signal.SIGHUP)
    # The command itself detaches at a hang-up, and says how to come back.
    process.send_signal(signal.SIGHUP)
    left = finish(process)
    assert left.exit_code == 130
    assert f"fsbackup attach {job.id}" in left.error["fix"]
    attached = site.run("attach", job.id, "--json")
    assert attached.exit_code == 0, attached.stdout
    assert attached.document["trust"] == "sealed"
    assert_clean(site, url, points=1)


def restore_site(directory: Path, url: str, moment: str) -> Site:
    make_slow_to_restore(url, rows=400)
    if moment == "finish":
        # Else it is over before whoever ends it has seen it begin.
        make_slow_to_analyze(url)
    site = make_site(directory, url)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    return site


def copies(url: str, name: str) -> list[str]:
    return [found for found in databases_of(url) if found.startswith(name)]


@pytest.mark.parametrize("moment", RESTORE)
def test_a_restore_killed(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, moment: str
) -> None:
    url = make_database(server)
    site = restore_site(tmp_path / "site", url, moment)
    name = f"killed_{os.getpid()}_{moment}"
    process = site.start("restore", "latest", "--beside", name, "--json")
    job = wait_for_event(site, RESTORE[moment])
    send(job, signal.SIGKILL)
    assert_all_left(site, url)
    check_error(
        finish(process),
        exit_code=1,
        kind="job-lost",
        what=f"JOB LOST: {job.id}",
        fix=f"--beside {name}",
    )
    left = [*copies(url, name), *copies(url, f"fsbackup-{job.id}")]
    assert left in ([], [f"{name}__unfinished"], [f"fsbackup-{job.id}"])
    try:
        again = site.run("restore", "latest", "--beside", name, "--json")
        assert again.exit_code == 0, again.stdout
        assert copies(url, name) == [name]
        assert copies(url, f"fsbackup-{job.id}") == []
        assert query(server.url(name), "SELECT count(*) FROM crawling") == [(400,)]
    finally:
        execute(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    assert_clean(site, url, points=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", RESTORE)
def test_a_restore_cancelled(
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    moment: str,
    number: signal.Signals,
) -> None:
    url = make_database(server)
    site = restore_site(tmp_path / "site", url, moment)
    name = f"cancelled_{os.getpid()}_{moment}"
    process = site.start("restore", "latest", "--beside", name, "--json")
    job = wait_for_event(site, RESTORE[moment])
    send(job, number)
    result = finish(process)
    check_error(
        result,
        exit_code=130,
        kind="interrupted",
        what=f"CANCELLED: {job.id} by signal {number.name}",
    )
    assert copies(url, name) == copies(url, f"fsbackup-{job.id}") == []
    assert_clean(site, url, points=1)
