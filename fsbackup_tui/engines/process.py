"""External programs: the one place from which fsbackup starts them.

``run`` and ``run_pipeline`` start children without a shell, in process groups of their own, with
a minimal environment; they look at every member's exit status, keep stderr within bounds, and
leave nothing running when they end, whichever way they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.events import CommandStarted, Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.process_channel import Channel
from fsbackup_tui.engines.process_group import (
    Child,
    Stream,
    child_environment,
    end_children,
    undisturbed,
)
from fsbackup_tui.engines.process_output import HeadAndTail, LineFeed, open_new_file
from fsbackup_tui.engines.process_pipes import read_pipe, write_pipe
from fsbackup_tui.engines.process_result import (
    Completed,
    ToolDiskFull,
    ToolFailed,
    ToolTimedOut,
    failure,
    first_culprit,
    timed_out,
)

__all__ = [
    "CAPTURE_LIMIT",
    "HANDED_OVER",
    "LONGEST_SECRET",
    "Command",
    "Completed",
    "RunningChild",
    "ToolDiskFull",
    "ToolFailed",
    "ToolTimedOut",
    "failure",
    "run",
    "run_pipeline",
]

CAPTURE_LIMIT = 16 * 1024 * 1024
"""Most bytes of standard output that are kept in memory; more is an error."""

DRAIN_SECONDS = 5.0
"""How long pipes are read after the last member ended: somebody else may hold them open."""

LAST_WORDS_SECONDS = 1.0
"""How long pipes are read after members had to be ended."""

HANDED_OVER = "{descriptor}"
"""The word of a command line for which the number of the secret's descriptor is put."""

LONGEST_SECRET = 4096
"""Most bytes of a secret: what every pipe takes at once."""

Task = asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, and what it gets and gives.

    ``env`` is added to the minimal environment of children. ``stdin`` is a file, bytes, or
    nothing (/dev/null). ``stdout`` is a file to be created (it must not exist; 0600), or None:
    captured, at most 16 MiB. A Channel, for either, is served by a thread of the caller's.
    ``secret`` is handed over on a descriptor of its own, whose number replaces HANDED_OVER
    in ``argv``.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stdin: Path | bytes | Channel | None = None
    stdout: Path | Channel | None = None
    secret: bytes | None = None


class RunningChild:
    """A running command or pipeline, as its starter may steer it."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = tuple(children)

    @property
    def pid(self) -> int:
        """Process id of the first member."""
        return self._children[0].pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of all members; each leads a process group."""
        return tuple(child.pid for child in self._children)

    def pause(self) -> None:
        """Stop every process of every member where it stands."""
        for child in self._children:
            child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let paused processes go on."""
        for child in self._children:
            child.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask all members to end; the call that runs them then reports how they ended."""
        for child in self._children:
            child.terminate()


LineCallback = Callable[[str], None]
StartedCallback = Callable[[RunningChild], None]


async def run(
    command: Command,
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
    check: bool = True,
    timeout: float | None = None,
    on_stderr_line: LineCallback | None = None,
    on_stdout_line: LineCallback | None = None,
    on_started: StartedCallback | None = None,
) -> Completed:
    """Run one program to its end and return how it ended; see ``run_pipeline``."""
    (completed,) = await run_pipeline(
        (command,),
        report=report,
        redactor=redactor,
        check=check,
        timeout=timeout,
        on_stderr_line=on_stderr_line,
        on_stdout_line=on_stdout_line,
        on_started=on_started,
    )
    return completed


async def run_pipeline(
    commands: Sequence[Command],
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
    check: bool = True,
    timeout: float | None = None,
    on_stderr_line: LineCallback | None = None,
    on_stdout_line: LineCallback | None = None,
    on_started: StartedCallback | None = None,
) -> tuple[Completed, ...]:
    """Run programs joined by pipes and return how each ended, in their order.

    Lines go to the callbacks as they come, unredacted; with ``on_stdout_line`` the standard
    output is not kept besides. ``timeout`` is in seconds for the whole.

    Raises ToolMissing when a program is not there; with ``check`` ToolFailed (ToolDiskFull where
    space ran out) about the member that failed first; ToolTimedOut; ToolError when more than
    16 MiB would have to be kept; DiskFull and RepositoryError when an output file can't be made.
    When cancelled, and whenever it raises, all members were terminated, killed after 10 s if
    need be, and reaped.
    """
    redactor = redactor or Redactor()
    pipeline = _Pipeline(commands, redactor, on_stderr_line, on_stdout_line)
    timer = asyncio.timeout(timeout)
    try:
        async with timer:
            pipeline.start(report)
            if on_started is not None:
                on_started(RunningChild(pipeline.children))
            await pipeline.finish()
    except TimeoutError:
        if not timer.expired():
            raise
    finally:
        await undisturbed(pipeline.end())
    completed = pipeline.completed()
    if timer.expired():
        raise timed_out(completed, timeout or 0.0)
    if check and any(member.exit_status != 0 for member in completed):
        raise failure(completed[first_culprit(completed, pipeline.ends())])
    return completed


class _Pipeline:
    """The members of one call with their pipes, what was kept of their output, and tasks."""

    def __init__(
        self,
        commands: Sequence[Command],
        redactor: Redactor,
        on_stderr_line: LineCallback | None,
        on_stdout_line: LineCallback | None,
    ) -> None:
        if not commands or not all(command.argv for command in commands):
            raise ValueError("a pipeline needs commands, and each of them a program")
        if any(command.stdout is not None for command in commands[:-1]):
            raise ValueError("only the last member of a pipeline has an output of its own")
        if any(command.stdin is not None for command in commands[1:]):
            raise ValueError("only the first member of a pipeline has an input of its own")
        self.children: list[Child] = []
        self._commands = commands
        self._redactor = redactor
        self._on_stderr_line = on_stderr_line
        self._on_stdout_line = on_stdout_line
        self._stdout = bytearray()
        self._stderr = [HeadAndTail() for _ in commands]
        self._pipes = contextlib.ExitStack()
        self._work: list[Coroutine[object, object, None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, report: Report | None) -> None:
        """Start all members; the children's ends of the pipes are closed on our side."""
        with contextlib.ExitStack() as theirs:
            source = self._input(theirs)
            for number, command in enumerate(self._commands):
                following, sink = self._output(command, theirs, last=command is self._commands[-1])
                argv, passing = self._with_secret(command, theirs)
                child = Child(
                    argv,
                    environment=child_environment(command.env),
                    cwd=command.cwd,
                    stdin=source,
                    stdout=sink,
                    stderr=self._error_output(self._stderr[number], theirs),
                    passing=passing,
                )
                self.children.append(child)
                source = following
                if report is not None:
                    report(CommandStarted(self._shown(command), child.pid))

    def _with_secret(
        self, command: Command, theirs: contextlib.ExitStack
    ) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the command line, and the descriptor that the secret can be read from."""
        if command.secret is None:
            return command.argv, ()
        if len(command.secret) > LONGEST_SECRET:
            raise ValueError("the secret is too long")
        reading, writing = os.pipe()
        theirs.callback(os.close, reading)
        try:
            os.write(writing, command.secret)
        finally:
            os.close(writing)
        argv = tuple(str(reading) if word == HANDED_OVER else word for word in command.argv)
        return argv, (reading,)

    def _shown(self, command: Command) -> tuple[str, ...]:
        return tuple(self._redactor.redact(word) for word in command.argv)

    def _input(self, theirs: contextlib.ExitStack) -> Stream:
        stdin = self._commands[0].stdin
        if stdin is None:
            return subprocess.DEVNULL
        if isinstance(stdin, Channel):
            return theirs.enter_context(os.fdopen(stdin.take_theirs(), "rb"))
        if isinstance(stdin, bytes):
            reading, writing = os.pipe()
            self._work.append(write_pipe(self._ours(writing, "wb"), stdin))
            return theirs.enter_context(os.fdopen(reading, "rb"))
        try:
            return theirs.enter_context(stdin.open("rb"))
        except OSError as error:
            raise ToolError(
                f"INPUT NOT READ: {stdin}.", why=f"The system says: {error.strerror}."
            ) from error

    def _output(
        self, command: Command, theirs: contextlib.ExitStack, *, last: bool
    ) -> tuple[Stream, Stream]:
        """Return what the next member reads, and what this one writes into."""
        if command.stdout is not None:
            if isinstance(command.stdout, Channel):
                descriptor = command.stdout.take_theirs()
            else:
                descriptor = open_new_file(command.stdout)
            return subprocess.DEVNULL, theirs.enter_context(os.fdopen(descriptor, "wb"))
        reading, writing = os.pipe()
        sink = theirs.enter_context(os.fdopen(writing, "wb"))
        if not last:
            return theirs.enter_context(os.fdopen(reading, "rb")), sink
        feed = self._on_stdout_line and LineFeed(self._on_stdout_line)
        take, finish = (feed.add, feed.finish) if feed else (self._keep_output, _nothing)
        self._work.append(read_pipe(self._ours(reading, "rb"), take, finish))
        return subprocess.DEVNULL, sink

    def _error_output(self, kept: HeadAndTail, theirs: contextlib.ExitStack) -> Stream:
        reading, writing = os.pipe()
        feed = self._on_stderr_line and LineFeed(self._on_stderr_line)

        def keep_and_give(data: bytes) -> None:
            kept.add(data)
            if feed:
                feed.add(data)

        finish = feed.finish if feed else _nothing
        self._work.append(read_pipe(self._ours(reading, "rb"), keep_and_give, finish))
        return theirs.enter_context(os.fdopen(writing, "wb"))

    def _ours(self, descriptor: int, mode: Literal["rb", "wb"]) -> IO[bytes]:
        return self._pipes.enter_context(os.fdopen(descriptor, mode, buffering=0))

    def _keep_output(self, data: bytes) -> None:
        self._stdout += data
        if len(self._stdout) > CAPTURE_LIMIT:
            program = Path(self._commands[-1].argv[0]).name
            raise ToolError(
                f"TOO MUCH OUTPUT: {program} printed more than {CAPTURE_LIMIT} bytes.",
                why="More than that is not kept in memory; the program was ended.",
            )

    async def finish(self) -> None:
        """Return when all members have ended and their output is read."""
        streams = [self._task(work) for work in self._work]
        self._work.clear()
        members = [self._task(self._member(number)) for number in range(len(self.children))]
        self._task(_stop_late(members, streams))
        tasks = [*members, *streams]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _member(self, number: int) -> None:
        """Wait for a member; when it failed, nobody needs what those before it write."""
        if await self.children[number].wait() != 0:
            for child in self.children[:number]:
                child.terminate()

    def _task(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def end(self) -> None:
        """Leave nothing behind: no member, task or pipe; last messages are still taken in."""
        failed = any(child.exit_status is None for child in self.children)
        await end_children(self.children)
        if failed and self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for work in self._work:
            work.close()
        self._pipes.close()

    def completed(self) -> tuple[Completed, ...]:
        """Return how the members ended; all of them have been reaped."""
        last = len(self.children) - 1
        return tuple(
            Completed(
                self._shown(command),
                child.exit_status if child.exit_status is not None else -signal.SIGKILL,
                bytes(self._stdout) if number == last else b"",
                self._redactor.redact(self._stderr[number].text()),
                (child.ended or child.started) - child.started,
            )
            for number, (command, child) in enumerate(
                zip(self._commands, self.children, strict=True)
            )
        )

    def ends(self) -> tuple[float, ...]:
        """Return the monotonic times at which the members ended."""
        return tuple(child.ended or child.started for child in self.children)


async def _stop_late(members: Iterable[Task], streams: Sequence[Task]) -> None:
    """Stop reading soon after the last member ended: somebody else may hold a pipe open."""
    await asyncio.wait(members)
    if streams:
        _, late = await asyncio.wait(streams, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()


def _nothing() -> None:
    pass
