"""Children as process groups: started so that they die with us, watched, ended and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import IO

from fsbackup_tui.domain.errors import ToolMissing

TERMINATE_SECONDS = 10.0
"""How long a child has after SIGTERM: pg_dump uses it to cancel its queries on the server."""

_INHERITED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "TZ",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
)
_PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROBE_SECONDS = 5.0
_FIRST_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.1

Stream = int | IO[bytes]


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return what a child may see: an allow-list of ours, ``LC_ALL=C``, then ``extra``.

    No DATABASE_URL or PGPASSWORD of our own environment reaches a child by accident.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.setdefault("PATH", _PLAIN_PATH)
    return {**environment, "LC_ALL": "C", **extra}


def find_program(name: str, environment: Mapping[str, str], cwd: Path | None = None) -> str:
    """Return the path of a program as the child would find it; ToolMissing when it can't run."""
    if "/" in name:
        path = (cwd / name) if cwd is not None else Path(name)
        found = name if path.is_file() and os.access(path, os.X_OK) else None
    else:
        found = shutil.which(name, path=environment.get("PATH", _PLAIN_PATH))
    if found is not None:
        return found
    if "/" in name and path.is_file():
        raise ToolMissing(
            f"PROGRAM NOT RUNNABLE: {name}.",
            why="It is there, but this user may not run it.",
            fix=f"chmod +x {shlex.quote(str(path))}",
        )
    raise ToolMissing(
        f"PROGRAM MISSING: {name}.",
        why="There is no such file."
        if "/" in name
        else f"It is in no directory of PATH ({environment.get('PATH', '')}).",
        fix=f"Install {Path(name).name}, then run: fsbackup doctor",
    )


@functools.cache
def death_signal_prefix(signal_name: str = "TERM") -> tuple[str, ...]:
    """Return the command that makes Linux signal a child when its parent's thread dies.

    Empty where there is no working ``setpriv --pdeathsig`` (macOS, BusyBox); tried by a real
    call, once per process. See prctl(2), PR_SET_PDEATHSIG: the thread that forked counts.
    """
    if sys.platform != "linux":
        return ()
    setpriv = shutil.which("setpriv", path=os.environ.get("PATH", "") + ":" + _PLAIN_PATH)
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", signal_name)
    try:
        probe = subprocess.run(
            [*prefix, setpriv, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env=child_environment({}),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if probe.returncode == 0 else ()


class Child:
    """One child, leader of its own process group, started by the calling thread."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
        wrapper: Sequence[str] = (),
        death_signal: str = "TERM",
        user: int | None = None,
        group: int | None = None,
        passing: Sequence[int] = (),
    ) -> None:
        """Start the program; ToolMissing when that can't be done.

        ``wrapper`` is a command that runs the rest of its arguments; ``death_signal`` is sent
        when the calling thread dies; ``user`` and ``group`` are for root, who gives up all
        other groups with them. ``passing`` are further descriptors that it gets.
        """
        program = find_program(argv[0], environment, cwd)
        # A worker leads its own session and shares it with its children: only then does the
        # kernel wake a *paused* child when the worker is killed (an orphaned process group
        # with stopped members gets SIGHUP and SIGCONT). Anybody else may have a terminal, from
        # which the children are kept away by a session of their own.
        leads_session = os.getsid(0) == os.getpid()
        try:
            self._popen = subprocess.Popen(
                [*wrapper, *death_signal_prefix(death_signal), program, *argv[1:]],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=dict(environment),
                cwd=cwd,
                close_fds=True,
                pass_fds=tuple(passing),
                start_new_session=not leads_session,
                process_group=0 if leads_session else None,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        except OSError as error:
            raise ToolMissing(
                f"PROGRAM NOT STARTED: {argv[0]}.",
                why=f"The system says: {error.strerror}.",
                fix=f"Try it by hand: {program} --version",
            ) from error
        self.started = time.monotonic()
        self.ended: float | None = None

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """Exit status as subprocess counts it (negative: killed by that signal), or None."""
        return self._popen.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing happens when the leader was reaped."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask the group to end; a paused one is woken to hear it."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    async def wait(self) -> int:
        """Return the exit status when the child has ended, and see that its group has too.

        What the leader leaves behind in its group (workers of a killed ``pg_dump -j``) is
        terminated before the leader is reaped, as long as its number can't be anybody else's.
        """
        if self._popen.returncode is None:
            await _until_ended(self._popen)
            await self._end_leftovers()
            self._reap()
        return self._popen.returncode

    def wait_blocking(self, timeout: float) -> int | None:
        """Return the exit status, or None when the child still runs after ``timeout`` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(timeout=timeout)
        return None

    def kill(self) -> None:
        """Kill the group and reap the leader, without waiting for anybody's consent."""
        self.signal(signal.SIGKILL)
        if self._popen.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=_PROBE_SECONDS)
                self.ended = time.monotonic()

    def _reap(self) -> None:
        self._popen.wait()
        if self.ended is None:
            self.ended = time.monotonic()

    async def _end_leftovers(self) -> None:
        self.ended = time.monotonic()
        if self._popen.returncode is not None or not _ended_badly(self.pid):
            return
        if not _others_in_group(self.pid):
            return
        self.terminate()
        deadline = time.monotonic() + TERMINATE_SECONDS
        while _others_in_group(self.pid) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LONGEST_LOOK_SECONDS / 4)
        self.signal(signal.SIGKILL)


async def end_children(children: Sequence[Child]) -> None:
    """Terminate all groups, wait up to 10 s, kill what is left, and reap every leader."""
    running = [child for child in children if child.exit_status is None]
    if not running:
        return
    try:
        for child in running:
            child.terminate()
        await asyncio.wait_for(
            asyncio.gather(*(child.wait() for child in running)), TERMINATE_SECONDS
        )
    except TimeoutError:
        pass
    finally:
        for child in running:
            child.kill()


async def undisturbed(work: Coroutine[object, object, None]) -> None:
    """Finish ``work`` although this task is cancelled meanwhile; the cancellation comes after.

    A client that is killed before it could cancel its query leaves it running on the server.
    """
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()


def _ended_badly(leader: int) -> bool:
    """Whether the ended, unreaped leader did anything but exit with status 0."""
    if sys.platform != "linux":
        return False
    result = os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return result is not None and (result.si_code, result.si_status) != (os.CLD_EXITED, 0)


def _others_in_group(leader: int) -> bool:
    """Whether a process other than its ended leader is in the group.

    Only /proc can tell a group of one zombie from a living one; elsewhere nobody is assumed.
    """
    if sys.platform != "linux":
        return False
    with os.scandir("/proc") as processes:
        for entry in processes:
            if entry.name.isdigit() and int(entry.name) != leader:
                with contextlib.suppress(OSError):
                    fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                    if int(fields[2]) == leader and fields[0] not in (b"Z", b"X"):
                        return True
    return False


async def _until_ended(popen: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended, leaving it to be reaped where the system allows."""
    descriptor = _process_descriptor(popen.pid)
    if descriptor is None:
        pause = _FIRST_LOOK_SECONDS
        while popen.poll() is None:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _process_descriptor(pid: int) -> int | None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            return os.pidfd_open(pid)
    return None
