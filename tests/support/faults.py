"""What every failed run must leave behind: nothing half made, nothing running, nothing told."""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from fsbackup_tui.domain.events import Event, Progress, Warned
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.jobs.supervisor import list_jobs
from tests.support.jobs import journal_lines
from tests.support.processes import is_running
from tests.support.servers import execute, query
from tests.support.sites import CommandResult, Site
from tests.support.waiting import wait_until

CANARY = f"canary-Pa55w0rd-{secrets.token_hex(4)}-never-seen"
"""Another in every process: tests beside this one have their own on the machine."""
_AFTER_SECONDS = 8.0
_LOOK_SECONDS = 0.01


def state_of(site: Site) -> Path:
    """Return the state directory of the site's repository (the jobs lie below it)."""
    (jobs,) = site.state.glob("*/jobs")
    return jobs.parent


def jobs_of(site: Site) -> list[Job]:
    """Return the site's jobs, newest first; none where nothing was started."""
    return list_jobs(state_of(site)) if list(site.state.glob("*/jobs")) else []


def newest_job(site: Site) -> Job:
    """Return the job that was started last."""
    return jobs_of(site)[0]


def processes_of(site: Site) -> list[int]:
    """Return the living processes that belong to a job of the site: workers and clients."""
    marks = [str(directory).encode() for directory in site.state.glob("*/jobs")]
    marks += [f"PGAPPNAME=fsbackup/{job.id}".encode() for job in jobs_of(site)]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            pid = int(entry.name)
            text = of_process(pid, "cmdline") + b"\0" + of_process(pid, "environ")
            if any(mark in text for mark in marks) and is_running(pid):
                found.append(pid)
    return found


def of_process(pid: int, name: str) -> bytes:
    """Return what ``/proc/PID/name`` holds; nothing of a process that has ended."""
    return _read(Path("/proc") / str(pid) / name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def sessions_of(site: Site, url: str) -> list[str]:
    """Return what sessions of the site's jobs the server has, in words."""
    names = [f"fsbackup/{job.id}" for job in jobs_of(site)]
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT application_name, datname, state, query FROM pg_stat_activity"
            " WHERE application_name = ANY (%s) OR application_name = 'fsbackup/look'",
            [names],
        ).fetchall()
    return [" | ".join(str(value) for value in row) for row in rows]


def assert_clean(
    site: Site,
    server_url: str | None,
    *,
    points: int = 0,
    user_files: tuple[str, ...] = (),
    timeout: float = _AFTER_SECONDS,
) -> None:
    """Assert that a run that ended badly left nothing but its journal.

    ``points`` is how many whole points there are afterwards; ``server_url`` None where no server
    runs; ``user_files`` hold the password because the user wrote it there.
    """
    wait_until(lambda: not processes_of(site), timeout=timeout, what="all processes have ended")
    if server_url is not None:
        url = server_url
        wait_until(lambda: not sessions_of(site, url), timeout=timeout, what="all sessions ended")
    assert site.partial_remains() == []
    listed = site.points()
    assert len(listed) == points, listed
    assert all(point["trust"] not in ("damaged", "incomplete") for point in listed)
    assert len(list((site.repository / "points").iterdir())) == points
    assert files_with(site.directory, CANARY, but=user_files) == []


def files_with(directory: Path, text: str, *, but: tuple[str, ...] = ()) -> list[Path]:
    """Return the files below a directory in whose name or content the text stands."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in but and text.encode() in _read(path):
            found.append(path)
        if text in path.name:
            found.append(path)
    return found


@dataclass
class Onlooker:
    """Another user of the machine, who reads everybody's command lines."""

    seen: set[str] = field(default_factory=set)
    looks: int = 0


@contextmanager
def onlooker(*needles: str) -> Iterator[Onlooker]:
    """Look at all command lines during the block; ``seen`` has those with a needle in them."""
    found = Onlooker()
    stop = threading.Event()
    wanted = [needle.encode() for needle in needles]

    def look() -> None:
        while not stop.wait(_LOOK_SECONDS):
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit() or int(entry.name) == os.getpid():
                    continue
                line = _read(entry / "cmdline")
                if any(needle in line for needle in wanted):
                    found.seen.add(line.replace(b"\0", b" ").decode(errors="replace"))
            found.looks += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def check_error(
    result: CommandResult, *, exit_code: int, kind: str, what: str, why: str = "", fix: str = ""
) -> None:
    """Assert that a command failed as documented, and that its words tell what they must."""
    assert result.exit_code == exit_code, result.stdout + result.stderr
    error = result.error
    assert result.document["ok"] is False
    assert error["kind"] == kind, error
    assert what in error["what"], error
    assert why in error["why"], error
    assert fix in error["fix"], error
    assert error["fix"], error
    assert "Traceback" not in result.stdout + result.stderr
    assert CANARY not in result.stdout + result.stderr


def finish(process: subprocess.Popen[str], timeout: float = 60.0) -> CommandResult:
    """Wait for a started command to end, and return what it gave."""
    stdout, stderr = process.communicate(timeout=timeout)
    return CommandResult(process.returncode, stdout, stderr)


def wait_for_event(site: Site, wanted: Callable[[Event], bool], *, timeout: float = 60.0) -> Job:
    """Return the newest job as soon as its journal has an event of that kind."""

    def heard() -> bool:
        jobs = jobs_of(site)
        return bool(jobs) and any(wanted(line.event) for line in journal_lines(jobs[0].directory))

    wait_until(heard, timeout=timeout, what="the job's journal has the event")
    return newest_job(site)


def warnings_of(site: Site) -> list[str]:
    """Return what the site's newest job warned of."""
    return [
        line.event.text
        for line in journal_lines(newest_job(site).directory)
        if isinstance(line.event, Warned)
    ]


def moving(event: Event) -> bool:
    """Whether an event tells that rows of a table flow."""
    return isinstance(event, Progress) and bool(event.active) and event.done > 0


def fill(url: str, *, megabytes: int = 36, tables: int = 6) -> None:
    """Make tables ``events_0`` and so on of about that size together that hardly compress.

    Several, since a rate is only looked at ten times a second: what fits between two looks is
    dumped at once.
    """
    for number in range(tables):
        execute(
            url,
            f"CREATE TABLE events_{number} (id bigint PRIMARY KEY, body text)",
            f"INSERT INTO events_{number} SELECT i, (SELECT string_agg(md5(i::text || k), '')"
            f" FROM generate_series(1, 32) AS k)"
            f" FROM generate_series(1, {megabytes * 1000 // tables}) AS i",
        )


SLOW_RATE = "100kB"
"""A ``max_rate`` at which a table of some MB is dumped for a minute."""


def make_slow_to_restore(url: str, *, rows: int = 4000) -> None:
    """Make a table whose rows take 10 ms each to load, in an unfinished copy alone."""
    execute(
        url,
        "CREATE FUNCTION public.crawl(bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF pg_catalog.current_database() LIKE '%\\_\\_unfinished' THEN"
        " PERFORM pg_catalog.pg_sleep(0.01); END IF; RETURN true; END $$",
        "CREATE TABLE public.crawling (id bigint PRIMARY KEY, CHECK (public.crawl(id)))",
        f"INSERT INTO public.crawling SELECT generate_series(1, {rows})",
    )


def make_slow_to_analyze(url: str) -> None:
    """Let the ANALYZE of an unfinished copy take three seconds, and its last index as long."""
    execute(
        url,
        "CREATE FUNCTION public.dawdle(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$"
        " BEGIN IF $1 <= 300 AND"
        " pg_catalog.current_database() LIKE '%\\_\\_unfinished' THEN"
        " PERFORM pg_catalog.pg_sleep(0.01); END IF; RETURN $1; END $$",
        "CREATE INDEX dawdling ON public.crawling (public.dawdle(id))",
    )


def databases_of(url: str) -> list[str]:
    """Return the names of the server's databases."""
    return [str(row[0]) for row in query(url, "SELECT datname FROM pg_database ORDER BY 1")]
