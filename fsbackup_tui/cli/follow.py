"""Runs a request as a job and follows it; what ctrl-c, SIGTERM and SIGHUP mean meanwhile.

On a terminal the first ctrl-c asks whether to cancel or to leave the job running; off one it
cancels, and so does SIGTERM; ``attach`` detaches; SIGHUP always detaches (design §9).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.passphrase import environment_for
from fsbackup_tui.cli.progress import View, make_view
from fsbackup_tui.domain.errors import Interrupted, JobError, JobLost, Problem, UsageError

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.events import JobFinished
    from fsbackup_tui.jobs.job import Job
    from fsbackup_tui.jobs.supervisor import Follower
    from fsbackup_tui.operations.request import Request

Summary = Callable[[Mapping[str, Any]], list[str]]
_POLL_SECONDS = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Left(Exception):
    """The job is left to itself."""


class Interrupts:
    """The signals that came in while a job is followed, oldest first."""

    def __init__(self) -> None:
        self._heard: deque[signal.Signals] = deque()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Collect signals inside the block instead of being ended by them."""
        before = {
            number: signal.signal(number, self._hear)
            for number in _SIGNALS
            # What the caller has switched off (nohup, a shell's background job) stays off.
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Let ctrl-c raise KeyboardInterrupt inside the block, where a question waits."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def take(self) -> signal.Signals | None:
        """Return the next signal, None where none has come."""
        return self._heard.popleft() if self._heard else None

    def _hear(self, number: int, _: object) -> None:
        self._heard.append(signal.Signals(number))


def run_request(request: Request, context: CliContext, *, summary: Summary) -> int:
    """Start a job for the request and follow it to its end; returns the exit code.

    ``summary`` turns the result document into the lines printed where ``--json`` isn't asked for.
    Raises JobError with the job's own problem when it fails, JobLost when its worker vanishes,
    Interrupted when it is left running.
    """
    return end_of_job(_run(request, context), context, summary=summary)


def result_of(request: Request, context: CliContext) -> Mapping[str, Any]:
    """Start a job for the request, follow it, and return its result; raises as run_request."""
    finished = _run(request, context)
    if finished.outcome == "ok":
        return finished.result
    raise JobError(finished.problem or Problem("failed", f"JOB {finished.outcome.upper()}."))


def _run(request: Request, context: CliContext) -> JobFinished:
    from fsbackup_tui.jobs.supervisor import operator_name, start_job

    environ = environment_for(request, context)
    interrupts = Interrupts()
    with interrupts.listening():
        job = start_job(
            request,
            context.load(),
            environ=environ,
            state=context.state(),
            operator=operator_name(context.environ),
        )
        context.audited_job = context.audited_job or request.changes()
        finished = _follow(job, context, interrupts, attached=False)
    if finished is None:
        raise Interrupted(
            f"LEFT RUNNING: {job.id} goes on without this terminal.",
            fix=f"Back to it: fsbackup attach {job.id}",
        )
    return finished


def attach_to(job: Job, context: CliContext, *, summary: Summary) -> int:
    """Follow a job that runs already, or tell how it ended; ctrl-c detaches (exit code 0)."""
    interrupts = Interrupts()
    with interrupts.listening():
        finished = _follow(job, context, interrupts, attached=True)
    if finished is None:
        with contextlib.suppress(OSError):
            context.tell(f"Detached. {job.id} runs on. Back: fsbackup attach {job.id}")
        return 0
    return end_of_job(finished, context, summary=summary)


def follow_job(job: Job, context: CliContext, interrupts: Interrupts) -> bool:
    """Show a job until it has ended; False when it is left running before. JobLost."""
    return _follow(job, context, interrupts, attached=False) is not None


def end_of_job(finished: JobFinished, context: CliContext, *, summary: Summary) -> int:
    """Print a job's result, or raise JobError with its problem; returns the exit code.

    A failed job that has a result document (a verification that found damage) prints that.
    """

    def print_summary() -> None:
        for line in summary(finished.result):
            indent = len(line) - len(line.lstrip())
            context.say_text(line, first=" " * indent, later=" " * (indent + 2))

    if finished.outcome == "ok" or (finished.outcome == "failed" and finished.result):
        context.emit(finished.result, print_summary)
        return 0 if finished.problem is None else finished.problem.exit_code or 1
    raise JobError(finished.problem or Problem("failed", f"JOB {finished.outcome.upper()}."))


def _follow(
    job: Job, context: CliContext, interrupts: Interrupts, *, attached: bool
) -> JobFinished | None:
    """Show the job until it ends; None when it is left running before."""
    from fsbackup_tui.jobs.supervisor import Follower, reap_lost

    view = make_view(context.stderr, job.id, now=context.now, environ=context.environ)
    follower = Follower(job)
    try:
        return _watch(follower, view, context, interrupts, attached=attached)
    except _Left:
        return None
    except JobLost:
        if not context.load().config.read_only:
            reap_lost(job.directory.parent.parent)
        raise
    finally:
        with contextlib.suppress(OSError):
            view.close()


def _watch(
    follower: Follower,
    view: View,
    context: CliContext,
    interrupts: Interrupts,
    *,
    attached: bool,
) -> JobFinished | None:
    from fsbackup_tui.jobs.feed import JobFeed

    feed = JobFeed()
    cancelling = False
    while follower.finished is None:
        lines = follower.poll()
        feed.feed_all(lines)
        try:
            view.show(lines, feed)
        except OSError as error:
            # The terminal has died under us, and SIGHUP is on its way.
            raise _Left from error
        number = interrupts.take()
        if number is not None:
            cancelling = _answer(
                number, follower.job, view, context, interrupts, cancelling, attached=attached
            )
        elif not lines:
            time.sleep(_POLL_SECONDS)
    return follower.finished


def _answer(
    number: signal.Signals,
    job: Job,
    view: View,
    context: CliContext,
    interrupts: Interrupts,
    cancelling: bool,
    *,
    attached: bool,
) -> bool:
    """Do what a signal means; returns whether the job is being cancelled, raises _Left."""
    interactive = sys.stdin.isatty() and context.stderr.isatty()
    if number is signal.SIGHUP or attached:
        raise _Left
    if interactive and (cancelling or number is signal.SIGTERM):
        raise _Left
    if interactive:
        view.pause()
        if not _wants_cancel(job, context, interrupts):
            raise _Left
    if not cancelling:
        _cancel(job, context)
        context.tell("Cancelling; waiting until it has cleaned up.")
    return True


def _wants_cancel(job: Job, context: CliContext, interrupts: Interrupts) -> bool:
    context.stderr.write(
        f"\n{job.id} runs in its own process.\n"
        "Leave it running (Enter), or cancel it (c, Enter)? [L/c] "
    )
    context.stderr.flush()
    with interrupts.asking():
        try:
            return sys.stdin.readline().strip().lower() in {"c", "cancel"}
        except KeyboardInterrupt:
            context.stderr.write("\n")
            return False


def _cancel(job: Job, context: CliContext) -> None:
    from fsbackup_tui.jobs.supervisor import cancel_job, operator_name

    # It may have ended this very moment; then its end is what is told.
    with contextlib.suppress(UsageError):
        cancel_job(job, operator=operator_name(context.environ))
