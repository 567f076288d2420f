"""Commands and workers in processes that were forked, not started: half a test run was imports.

A server (this module, run as a program) has imported all of fsbackup and forks for every command
and every worker: a process of its own, with its environment, directory, descriptors and exit
status. What the interpreter itself makes of an environment is not tried that way: such processes
are started. So are all workers of ``tests/faults``, where processes are told by their arguments.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from fsbackup_tui.jobs import launch, supervisor
from fsbackup_tui.jobs.layout import OUTPUT
from fsbackup_tui.jobs.preload import preload

PROJECT = Path(__file__).parents[2]
_PRELOADED = (
    "fsbackup_tui.cli.main",
    "fsbackup_tui.cli.point_text",
    "fsbackup_tui.cli.points",
    "fsbackup_tui.cli.follow",
    "fsbackup_tui.config.load",
    "fsbackup_tui.jobs.supervisor",
    "fsbackup_tui.operations.requests",
    "fsbackup_tui.operations.status",
    "fsbackup_tui.recovery.express",
)
_BYTES = 1 << 20
_READY_SECONDS = 60.0


class Prefork:
    """A server that forks commands for this process; it ends with it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="prefork-")
        self.path = str(Path(self._directory.name) / "s")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.prefork", self.path],
            cwd=PROJECT,
            env=base_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def run(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        directory: Path,
        output: tuple[BinaryIO, BinaryIO],
        timeout: float,
    ) -> int:
        """Run a command to its end, its output in two files; returns as ``subprocess`` does."""
        workers = self.path if _forks_workers() else ""
        told = ("command", [workers, *arguments], dict(environ), str(directory), _umask())
        with _ask(self.path, told, [each.fileno() for each in output]) as connection:
            connection.settimeout(timeout)
            pid = int.from_bytes(_receive(connection, 8))
            try:
                return int.from_bytes(_receive(connection, 8), signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise


def _ask(path: str, told: object, descriptors: Sequence[int]) -> socket.socket:
    text = json.dumps(told).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    socket.send_fds(connection, [len(text).to_bytes(8)], descriptors)
    connection.sendall(text)
    return connection


class ForkedWorker:
    """A worker that the server forked, with what of ``Popen`` its starter needs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int.from_bytes(_receive(connection, 8))
        self.returncode: int | None = None

    def __del__(self) -> None:
        self._connection.close()

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        if self.returncode is not None:
            return self.returncode
        readable, _, _ = select.select([self._connection], [], [], 0)
        return self.wait() if readable else None

    def wait(self) -> int:
        """Return the exit status once it has ended."""
        if self.returncode is None:
            self.returncode = int.from_bytes(_receive(self._connection, 8), signed=True)
            self._connection.close()
        return self.returncode


def fork_workers(path: str = "") -> None:
    """Let this process's jobs be run by workers that are forked by the server there, or our own."""
    started = launch.launch_worker

    def launch_worker(
        directory: Path, environ: Mapping[str, str], *, module: str = launch.WORKER
    ) -> subprocess.Popen[bytes]:
        if module != launch.WORKER or not _same_interpreter(environ):
            return started(directory, environ, module=module)
        output = os.open(directory / OUTPUT, os.O_WRONLY | os.O_APPEND)
        try:
            environment = launch._worker_environment(environ)
            told = ("worker", [str(directory)], environment, "/", _umask())
            worker = ForkedWorker(_ask(path or forked().path, told, [output, output]))
        finally:
            os.close(output)
        process = cast("subprocess.Popen[bytes]", worker)
        launch._started.add(process)
        return process

    vars(supervisor)["launch_worker"] = launch_worker


def start_workers() -> None:
    """Let this process's jobs be run by workers that are started, as users have them."""
    vars(supervisor)["launch_worker"] = launch.launch_worker


def _forks_workers() -> bool:
    return vars(supervisor)["launch_worker"] is not launch.launch_worker


def base_environment() -> dict[str, str]:
    """Return what every command of a test has of the machine's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT)}


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a forked interpreter is as one that was started with this environment."""
    return "PYTHONPATH" in environ and _same_interpreter(environ)


def _same_interpreter(environ: Mapping[str, str]) -> bool:
    special = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC", "COVERAGE")
    others = {name for name in environ if name.startswith(special)} - {"PYTHONPATH"}
    return not others and environ.get("PYTHONPATH", str(PROJECT)) == str(PROJECT)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise AssertionError("the forked command's keeper is gone")
        found += piece
    return found


def serve(path: str) -> int | None:
    """Fork a keeper for every connection, until standard input ends.

    Returns in a command's process what it is to exit with, once it has run; None in the others.
    """
    for name in _PRELOADED:
        importlib.import_module(name)
    preload()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return None
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return keep(connection)
            connection.close()


def keep(connection: socket.socket) -> int | None:
    """Fork the process asked for, wait for it, tell how it ended; returns as ``serve``."""
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    told = _receive(connection, int.from_bytes(head))
    kind, arguments, environ, directory, umask = json.loads(told)
    pid = os.fork()
    if pid == 0:
        connection.close()
        settle(environ, directory, umask, descriptors)
        return be_command(arguments) if kind == "command" else be_worker(arguments)
    with contextlib.suppress(OSError):
        connection.sendall(pid.to_bytes(8))
    for descriptor in descriptors:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, signed=True))
    return None


def settle(
    environ: Mapping[str, str], directory: str, umask: int, descriptors: Sequence[int]
) -> None:
    """Take the environment, directory and streams of the process that is to be."""
    os.chdir(directory)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, wanted)
    for descriptor in (nothing, *descriptors):
        os.close(descriptor)


def be_command(arguments: Sequence[str]) -> int:
    """Be a command; returns what it exits with. First of all: who is to fork its workers."""
    path, *words = arguments
    if path:
        fork_workers(path)
    sys.argv = ["fsbackup", *words]
    from fsbackup_tui.__main__ import main

    return main()


def be_worker(arguments: Sequence[str]) -> int:
    """Be a worker, in its own session; exits as it does."""
    os.setsid()
    sys.argv = [launch.WORKER, *arguments]
    with contextlib.suppress(KeyError):
        del sys.modules[launch.WORKER]
    runpy.run_module(launch.WORKER, run_name="__main__", alter_sys=True)
    return 0


_server: list[Prefork] = []


def forked() -> Prefork:
    """Return this process's server, started at its first use."""
    if not _server:
        _server.append(Prefork())
    return _server[0]


if __name__ == "__main__":
    del sys.path[0]
    _status = serve(sys.argv[1])
    if _status is not None:
        sys.exit(_status)
    # A keeper, or the server: what a command leaves to be done at its end is not theirs.
    os._exit(0)
