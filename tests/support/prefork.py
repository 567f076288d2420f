"""The command line in processes that were forked, not started: half a test run was imports.

A server (this module, run as a program) has imported the command line and forks for every command:
a process of its own, with its environment, directory, descriptors and exit status. What the
interpreter itself makes of an environment is not tried that way: such commands are started.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

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
        self._path = str(Path(self._directory.name) / "s")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.prefork", self._path],
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
        told = json.dumps([list(arguments), dict(environ), str(directory), _umask()]).encode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(self._path)
            socket.send_fds(connection, [len(told).to_bytes(8)], [each.fileno() for each in output])
            connection.sendall(told)
            pid = int.from_bytes(_receive(connection, 8))
            try:
                return int.from_bytes(_receive(connection, 8), signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise


def base_environment() -> dict[str, str]:
    """Return what every command of a test has of the machine's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT)}


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a forked interpreter is as one that was started with this environment."""
    own = base_environment()
    special = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC", "COVERAGE")
    others = {name for name in environ if name.startswith(special)} - {"PYTHONPATH"}
    return not others and environ.get("PYTHONPATH") == own["PYTHONPATH"]


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
    """Fork the command, wait for it, tell how it ended; returns as ``serve``."""
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    told = _receive(connection, int.from_bytes(head))
    arguments, environ, directory, umask = json.loads(told)
    pid = os.fork()
    if pid == 0:
        connection.close()
        return become(arguments, environ, directory, umask, descriptors)
    connection.sendall(pid.to_bytes(8))
    for descriptor in descriptors:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, signed=True))
    return None


def become(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    directory: str,
    umask: int,
    descriptors: Sequence[int],
) -> int:
    """Be the command: its directory, environment and streams; returns what it exits with."""
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
    sys.argv = ["fsbackup", *arguments]
    from fsbackup_tui.__main__ import main

    return main()


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
