"""The terminal dies, is left, or is taken over by another: the job ends well (promise 3).

All of it runs in a directory whose yaml.py, psycopg.py and textual.py must not be imported.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.events import JobStarted
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job, load_job
from tests.support.faults import fill, jobs_of, processes_of
from tests.support.installs import doctored_wheel, install_wheel, make_environment, project_wheel
from tests.support.jobs import journal_lines
from tests.support.processes import is_running
from tests.support.servers import execute, query
from tests.support.sites import Site, make_site
from tests.support.tty import Tty, answer
from tests.support.waiting import wait_until

FOREIGN = ("yaml", "psycopg", "textual", "json", "pydantic")


@pytest.fixture(scope="module")
def url(server: ScratchServer) -> Iterator[str]:
    execute(server.url(), "CREATE DATABASE terminal_death")
    url = server.url("terminal_death")
    fill(url, megabytes=6)
    yield url
    execute(server.url(), "DROP DATABASE terminal_death WITH (FORCE)")


@pytest.fixture
def site(url: str, tmp_path: Path) -> Iterator[Site]:
    site = make_site(tmp_path / "site", url, source={"lock_timeout": "120s"})
    for name in FOREIGN:
        (site.directory / f"{name}.py").write_text("raise SystemExit('a foreign module ran')\n")
    yield site
    for job in jobs_of(site):
        if job.running and job.pid is not None:
            os.kill(job.pid, signal.SIGKILL)


@pytest.fixture
def screen(site: Site) -> Iterator[Tty]:
    """The application, open on the site, in a terminal of 110 by 32."""
    tty = Tty(site.command(), site.environ(), site.directory)
    yield tty
    tty.close()


@contextmanager
def standing(site: Site) -> Iterator[Callable[[], Job]]:
    """Keep a backup from going on inside the block; called, it returns the job that stands still.

    Everything but the connecting to the server is still before it then.
    """
    waits = (
        "SELECT application_name FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND application_name LIKE 'fsbackup/%'"
    )

    def job() -> Job:
        wait_until(
            lambda: (
                jobs_of(site) and (f"fsbackup/{jobs_of(site)[0].id}",) in query(site.url, waits)
            ),
            timeout=30,
            what="the job waits for the table",
        )
        return load_job(jobs_of(site)[0].directory)

    with psycopg.connect(site.url) as connection:
        connection.execute("LOCK TABLE events_0 IN ACCESS EXCLUSIVE MODE")
        yield job


def start_from_screen(site: Site, screen: Tty) -> None:
    """Start a backup by keys."""
    screen.until_text("PROD face-swap", "No recovery point yet.")
    screen.type("b")
    screen.until_text("Back up daily")
    answer(screen, "1", question="No, nothing")


def runs(job: Job) -> bool:
    """Whether the job runs, and with it its worker."""
    job = load_job(job.directory)
    return job.running and job.pid is not None and is_running(job.pid)


def ends_well(job: Job, site: Site) -> None:
    """Assert that the job ends well, and that a new fsbackup shows it and its point."""
    wait_until(lambda: not load_job(job.directory).running, timeout=60, what="the job's end")
    ended = load_job(job.directory)
    assert ended.state == "ok", ended.problem
    listed = site.run("jobs", "--json")
    assert [(row["id"], row["state"]) for row in listed.document["jobs"]] == [(job.id, "ok")]
    (point,) = site.points()
    assert point["trust"] == "sealed"
    wait_until(lambda: not processes_of(site), timeout=5, what="its processes are gone")


class Tmux:
    """A tmux server of its own."""

    def __init__(self, site: Site) -> None:
        self._directory = tempfile.mkdtemp(prefix="fsb-tmux-")
        self._command = ["tmux", "-u", "-f", "/dev/null", "-S", f"{self._directory}/s"]
        self._site = site

    def call(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            env={**self._site.environ(), "TERM": "xterm-256color"},
            cwd=self._site.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def open(self, *arguments: str) -> int:
        """Run fsbackup in a session; return its process id."""
        self.call("new-session", "-d", "-s", "it", "-x", "110", "-y", "32")
        self.call("set-option", "-g", "remain-on-exit", "on")
        self.call("respawn-pane", "-k", "-t", "it", *self._site.command(*arguments))
        return int(self.call("display-message", "-p", "-t", "it", "#{pane_pid}"))

    def text(self) -> str:
        return self.call("capture-pane", "-p", "-t", "it")

    def close(self) -> None:
        subprocess.run([*self._command, "kill-server"], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)


@pytest.fixture
def tmux(site: Site) -> Iterator[Tmux]:
    tmux = Tmux(site)
    yield tmux
    tmux.close()


@pytest.mark.machine
def test_the_tmux_session_of_a_backup_is_killed(site: Site, tmux: Tmux) -> None:
    with standing(site) as started:
        face = tmux.open("backup", "daily")
        job = started()
        wait_until(lambda: job.id in tmux.text(), what="the job is followed")
        tmux.call("kill-session", "-t", "it")
        wait_until(lambda: not is_running(face), what="the command line is gone")
        assert runs(job)
    ends_well(job, site)


@pytest.mark.machine
def test_the_tmux_session_of_the_application_is_killed(site: Site, tmux: Tmux) -> None:
    with standing(site) as started:
        face = tmux.open()
        wait_until(lambda: "No recovery point yet." in tmux.text(), timeout=30)
        tmux.call("send-keys", "-t", "it", "b")
        wait_until(lambda: "Back up daily" in tmux.text())

        def given() -> bool:
            if "No, nothing" in tmux.text():
                tmux.call("send-keys", "-t", "it", "1")
                return False
            return True

        wait_until(given)
        job = started()
        tmux.call("send-keys", "-t", "it", "2")
        wait_until(lambda: "RUNNING" in tmux.text(), what="the job is shown")
        tmux.call("kill-session", "-t", "it")
        wait_until(lambda: not is_running(face), what="the application is gone")
        assert runs(job)
    ends_well(job, site)
    again = Tty(site.command(), site.environ(), site.directory)
    try:
        again.until_text("sealed", "daily")
        again.type("2")
        again.until(lambda text: re.search(r"backup.*\bok\b", text, re.IGNORECASE), what="done")
    finally:
        again.close()


def test_leaving_says_what_goes_on(site: Site, screen: Tty) -> None:
    with standing(site) as started:
        start_from_screen(site, screen)
        job = started()
        screen.type("q")
        assert screen.wait() == 0
        tag = job.id.rpartition("-")[2]
        assert f"You left. Backup {tag} runs on. Back: fsbackup" in screen.text()
        assert runs(job)
    ends_well(job, site)


def test_leaving_at_once_says_what_was_just_started(site: Site, screen: Tty) -> None:
    """The worker has not even given its first word when the application is left."""
    with standing(site) as started:
        start_from_screen(site, screen)
        screen.type("q")
        assert screen.wait() == 0
        job = started()
        tag = job.id.rpartition("-")[2]
        assert f"You left. Backup {tag} runs on." in screen.text()
    ends_well(job, site)


def test_the_application_is_killed_and_the_worker_hung_up(site: Site, screen: Tty) -> None:
    with standing(site) as started:
        start_from_screen(site, screen)
        job = started()
        assert job.pid is not None
        os.kill(screen.pid, signal.SIGKILL)
        assert screen.wait() == -signal.SIGKILL
        os.kill(job.pid, signal.SIGHUP)
        os.killpg(job.pid, signal.SIGHUP)
        assert runs(job)
    ends_well(job, site)


def test_a_second_terminal_attaches_and_detaches(site: Site) -> None:
    with ExitStack() as held:
        started = held.enter_context(standing(site))
        with closing(Tty(site.command("backup", "daily"), site.environ(), site.directory)) as first:
            job = started()
            attach = site.command("attach", "last")
            with closing(Tty(attach, site.environ(), site.directory)) as second:
                second.until_text(job.id)
                second.type("\x03")
                assert second.wait() == 0
                assert f"Detached. {job.id} runs on." in second.text()
            assert runs(job)
            held.close()
            assert first.wait() == 0
            assert "Backed up:" in first.text()
    assert [row["state"] for row in site.run("jobs", "--json").document["jobs"]] == ["ok"]


@pytest.mark.parametrize("reply", ["\r", "\x03", "c\r"], ids=["enter", "ctrl-c-again", "cancel"])
def test_ctrl_c_asks_and_leaves_it_running_unless_told_to_cancel(site: Site, reply: str) -> None:
    with standing(site) as started:
        tty = Tty(site.command("backup", "daily"), site.environ(), site.directory)
        try:
            job = started()
            tty.type("\x03")
            tty.until_text("Leave it running (Enter), or cancel it (c, Enter)? [L/c]")
            tty.type(reply)
            assert tty.wait() == 130
            assert ("LEFT RUNNING" in tty.text()) is (reply != "c\r")
        finally:
            tty.close()
        assert runs(job) is (reply != "c\r")
    if reply != "c\r":
        ends_well(job, site)
        return
    assert load_job(job.directory).state == "cancelled"
    assert site.points() == []
    assert site.partial_remains() == []


def test_another_version_is_installed_in_mid_backup(site: Site, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv")
    old = project_wheel(tmp_path / "dist")
    new = doctored_wheel(old, tmp_path / "doctored", version="99.9")
    install_wheel(python, old)
    environ = {name: text for name, text in site.environ().items() if name != "PYTHONPATH"}
    with standing(site) as started:
        command = [str(python.parent / "fsbackup"), "--config", str(site.config)]
        face = subprocess.Popen(
            [*command, "backup", "daily", "--json"],
            env=environ,
            cwd=site.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        job = started()
        install_wheel(python, new)
        told = subprocess.run([*command, "--version"], env=environ, capture_output=True, text=True)
        assert told.stdout == "fsbackup 99.9\n"
        broken = subprocess.run([*command, "list"], env=environ, capture_output=True, text=True)
        assert "another version" in broken.stderr
        assert runs(job)
    ends_well(job, site)
    face.wait(timeout=30)
    (started_event,) = (
        line.event for line in journal_lines(job.directory) if isinstance(line.event, JobStarted)
    )
    (point,) = site.points()
    manifest = (site.repository / "points" / str(point["id"]) / "manifest.json").read_text()
    assert f'"{started_event.version}"' in manifest
    assert "99.9" not in manifest
