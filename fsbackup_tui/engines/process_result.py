"""How programs ended, and the errors that say so."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import DiskFull, FsbackupError, ToolError, ToolMissing

_SPACE_MESSAGES = ("No space left on device", "Disk quota exceeded")
_BROKEN_PIPE = "Broken pipe"
_WRAPPER_FAILED = "setpriv: failed to execute"
_SHOWN_LINES = 6
_SHOWN_LINE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    ``argv`` and ``stderr`` are redacted. ``exit_status`` below 0: killed by that signal.
    ``stderr`` has the first and last 64 KiB; ``stdout`` is empty where it went elsewhere.
    """

    argv: tuple[str, ...]
    exit_status: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def program(self) -> str:
        """The program's name without its directory."""
        return Path(self.argv[0]).name

    def ended(self) -> str:
        """Return in words how it ended: ``exit status 1`` or ``signal SIGKILL``."""
        if self.exit_status >= 0:
            return f"exit status {self.exit_status}"
        try:
            return f"signal {signal.Signals(-self.exit_status).name}"
        except ValueError:
            return f"signal {-self.exit_status}"

    def last_lines(self) -> str:
        """Return the last few lines of its standard error, shortened."""
        lines = [line.rstrip() for line in self.stderr.splitlines() if line.strip()]
        return "\n".join(line[:_SHOWN_LINE_LENGTH] for line in lines[-_SHOWN_LINES:])


class ToolFailed(ToolError):
    """A program ended in failure; ``completed`` has all that is known of it."""

    def __init__(self, what: str, *, completed: Completed, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.completed = completed


class ToolTimedOut(ToolFailed):
    """A program took longer than it was allowed to, and was ended."""


class ToolDiskFull(DiskFull):
    """A program failed because space ran out; ``completed`` has all that is known of it."""

    def __init__(self, what: str, *, completed: Completed, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.completed = completed


def ran_out_of_space(text: str) -> bool:
    """Whether a program's messages say that a disk or a quota is full."""
    return any(message in text for message in _SPACE_MESSAGES)


def failure(completed: Completed) -> FsbackupError:
    """Return the error for a program that ended with another status than 0."""
    program, ended = completed.program, completed.ended()
    why = completed.last_lines() or "It said nothing on its standard error."
    command = f"The command was: {shlex.join(completed.argv)}"
    if completed.stderr.startswith(_WRAPPER_FAILED):
        return ToolMissing(f"PROGRAM NOT STARTED: {program}.", why=why, fix=command)
    if ran_out_of_space(completed.stderr):
        return ToolDiskFull(
            f"DISK FULL: {program} could not go on ({ended}).",
            completed=completed,
            why=why,
            fix=f"Make room on the file system that it names, then try again. {command}",
        )
    if completed.exit_status < 0:
        what = f"PROGRAM KILLED: {program} was ended by {ended}."
    else:
        what = f"PROGRAM FAILED: {program} ended with {ended}."
    return ToolFailed(what, completed=completed, why=why, fix=command)


def timed_out(completed: Sequence[Completed], seconds: float) -> ToolTimedOut:
    """Return the error for a command or pipeline that was ended after ``seconds``."""
    names = " | ".join(member.program for member in completed)
    last = next((member for member in completed if member.exit_status != 0), completed[-1])
    return ToolTimedOut(
        f"PROGRAM TOO SLOW: {names} did not end within {seconds:g} s.",
        completed=last,
        why=last.last_lines() or "It said nothing on its standard error.",
        fix=f"The command was: {shlex.join(last.argv)}",
    )


def first_culprit(completed: Sequence[Completed], ends: Sequence[float]) -> int:
    """Return the index of the member that failed first.

    One that only found its reader gone (SIGPIPE, "Broken pipe") comes after all others.
    ``ends`` are the monotonic times at which the members ended.
    """
    failed = [index for index, member in enumerate(completed) if member.exit_status != 0]
    return min(failed, key=lambda index: (_lost_its_reader(completed[index]), ends[index]))


def _lost_its_reader(member: Completed) -> bool:
    return member.exit_status == -signal.SIGPIPE or _BROKEN_PIPE in member.stderr
