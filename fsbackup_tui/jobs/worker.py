"""The worker: runs one request in its own process (``python -P -m fsbackup_tui.jobs.worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fsbackup_tui.domain.errors import (
    FsbackupError,
    Interrupted,
    Problem,
    SafetyRefusal,
    ToolError,
    UsageError,
)
from fsbackup_tui.domain.events import Log, Outcome, Warned
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.auditing import audit_job
from fsbackup_tui.jobs.journal import utc_now
from fsbackup_tui.jobs.layout import OUTPUT, WORK, read_request
from fsbackup_tui.jobs.leader import INCIDENTS, check_leader
from fsbackup_tui.jobs.leftovers import lost_with_sessions, sessions_seen_to
from fsbackup_tui.jobs.liveness import hold_lock
from fsbackup_tui.jobs.preload import preload
from fsbackup_tui.jobs.session import JobSession, complain
from fsbackup_tui.repository.origin import act_from
from fsbackup_tui.repository.standing import problem_text

if TYPE_CHECKING:
    from fsbackup_tui.operations.context import JobContext

Runner = Callable[[Any, Any], Awaitable[dict[str, object]]]
ResolveRunner = Callable[[str], Runner]
_INTERRUPTED = Interrupted.exit_code


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended."""

    outcome: Outcome
    result: Mapping[str, object]
    problem: Problem | None

    @property
    def exit_status(self) -> int:
        """The worker's exit status: 0, 130 for cancelled, else the problem's."""
        if self.outcome == "cancelled":
            return _INTERRUPTED
        return 0 if self.problem is None else self.problem.exit_code or 1


def main(argv: list[str]) -> int:
    """Run the job in the directory named; returns the exit status."""
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    redactor = Redactor()
    sys.stdout = sys.stderr = _RedactedOutput(sys.stderr, redactor)
    return run_job(Path(argv[1]), redactor=redactor)


def resolve_runner(name: str) -> Runner:
    """Return the coroutine function that a ``module:function`` name means."""
    module, _, function = name.partition(":")
    runner: Runner = getattr(importlib.import_module(module), function)
    return runner


def run_job(
    directory: Path,
    *,
    resolve_runner: ResolveRunner = resolve_runner,
    redactor: Redactor | None = None,
) -> int:
    """Run the job in a directory to its end and return its exit status.

    Its lock is held until the process ends. Everything the work raises ends in the journal;
    UsageError and SafetyRefusal come out only when there is no journal to write to.
    """
    request = read_request(directory)
    lock = hold_lock(directory)
    if lock is None:
        raise SafetyRefusal(f"JOB RUNS ALREADY: another worker holds {directory}.")
    redactor = redactor or Redactor()
    preload()
    state = directory.parent.parent
    session = JobSession(directory, request, redactor, pid=os.getpid(), state=state)
    work = directory / WORK
    work.mkdir(mode=0o700)
    try:
        with _Signals(session):
            session.begin()
            act_from(request.operator, request.origin)
            _say_unaudited(session, audit_job(state, request, "started", redactor=redactor))
            ending = asyncio.run(_work(session, redactor, work, resolve_runner))
            shutil.rmtree(work, ignore_errors=True)
            _say_unaudited(
                session,
                audit_job(state, request, ending.outcome, ending.problem, redactor=redactor),
            )
            session.finish(ending.outcome, ending.result, ending.problem)
    finally:
        os.close(lock)
    return ending.exit_status


def _say_unaudited(session: JobSession, why: str) -> None:
    if why:
        session.report(Warned(f"NOT AUDITED: {why}"))


async def _work(
    session: JobSession, redactor: Redactor, work: Path, resolve: ResolveRunner
) -> Ending:
    task = asyncio.create_task(_run(session, redactor, work, resolve))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complain(f"{context.get('message')}"))

    def hear() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has just ended, and the job with it
            loop.call_soon_threadsafe(task.cancel)

    session.on_cancel = hear
    if session.cancelled.is_set():
        task.cancel()
    try:
        result = await task
    except asyncio.CancelledError:
        if session.cancelled.is_set():
            return _cancelled(session)
        return Ending("failed", {}, _internal(session, "the work was cancelled by nobody"))
    except Exception as error:  # noqa: BLE001 - the outermost edge of a job
        return _failed(session, redactor, error)
    finally:
        session.on_cancel = None
    if "ok" not in result:
        return Ending("failed", result, _internal(session, "its result doesn't say how it went"))
    if result["ok"]:
        return Ending("ok", result, None)
    return Ending("failed", result, _problem_of_result(session, result))


async def _run(
    session: JobSession, redactor: Redactor, work: Path, resolve: ResolveRunner
) -> dict[str, object]:
    from fsbackup_tui.config.load import SiteEnvironment, load_config
    from fsbackup_tui.operations.bring_here import bring_what_is_read
    from fsbackup_tui.operations.context import JobContext
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.stand_in import with_stand_in

    told = session.request
    check_leader(told, session.state)
    loaded = load_config(told.config, os.environ)
    if loaded.digest != told.config_digest:
        raise SafetyRefusal(
            "CONFIGURATION CHANGED since the job was asked for; nothing was done.",
            why=f"{told.config} is not what it was when {told.operator} asked.",
            fix="Look at the change, then ask again.",
        )
    incident = None if told.incident is None else session.state / INCIDENTS / told.incident
    loaded = with_stand_in(loaded, told.request.operation, incident)
    session.watch(loaded.config.stall_after.total_seconds())
    if told.request.operation == "backup":
        await _apply_manners(session, loaded.config.limits.nice, loaded.config.limits.ionice)
    context = JobContext(
        job=told.job,
        loaded=loaded,
        environment=SiteEnvironment(loaded, os.environ),
        redactor=redactor,
        report=session.report,
        stage=session.stage,
        work=work,
        operator=told.operator,
        host=told.host,
        now=utc_now,
        incident=incident,
        epoch=told.epoch,
    )
    if not loaded.config.read_only:
        await _end_lost_sessions(session, context)
    elif not told.request.is_allowed_read_only():
        refuse_if_read_only(loaded, "changes nothing")
    try:
        await bring_what_is_read(told.request, context)
        return await resolve(told.request.runner)(told.request, context)
    except FsbackupError:
        raise
    except Exception:
        _know_secrets(context)
        raise


def _know_secrets(context: JobContext) -> None:
    """Let nothing of the site's environment be told by what nobody foresaw: a traceback."""
    from fsbackup_tui.engines.secrets import remember_named_secrets

    with contextlib.suppress(FsbackupError):
        remember_named_secrets(context.environment, context.redactor)


async def _end_lost_sessions(session: JobSession, context: JobContext) -> None:
    """End what lost jobs left on the servers that this job is about to use."""
    from fsbackup_tui.operations.leftover_sessions import end_leftover_sessions, postgres_sources

    ours = postgres_sources(session.request.request, context)
    lost = lost_with_sessions(session.state, host=context.host) if ours else []
    sources = {job.id: postgres_sources(job.request, context) for job in lost}
    done = set()
    for source in sorted(ours):
        concerned = [job.id for job in lost if source in sources[job.id]]
        if concerned and await end_leftover_sessions(context, source, concerned):
            done.add(source)
    for job in lost:
        if sources[job.id] <= done:
            sessions_seen_to(job)


async def _apply_manners(session: JobSession, nice: int, ionice: str) -> None:
    """Lower this process's priority, and with it that of every child, as ``limits:`` says."""
    from fsbackup_tui.engines.process import Command, run

    if nice:
        os.nice(nice)
    if ionice != "none":
        level = ("-c", "3") if ionice == "idle" else ("-c", "2", "-n", "7")
        try:
            await run(Command(("ionice", *level, "-p", str(os.getpid()))))
        except ToolError as error:
            session.report(Warned(f"limits.ionice is not in force: {error.what}"))


def _cancelled(session: JobSession) -> Ending:
    problem = Problem(
        Interrupted.kind,
        f"CANCELLED: {session.request.job} by {session.cancelled_by}.",
        "",
        "What it had begun was cleaned up; what was whole by then stays.",
        _INTERRUPTED,
    )
    return Ending("cancelled", {}, problem)


def _failed(session: JobSession, redactor: Redactor, error: BaseException) -> Ending:
    """Return the end that an exception means; a cancel may come out as any of them."""
    known = _known_error(error)
    if session.cancelled.is_set():
        if known is None:
            _print_traceback(error, redactor)
        if not isinstance(known, Interrupted):
            session.report(Log(f"While ending: {known.what if known else type(error).__name__}"))
        return _cancelled(session)
    if known is not None:
        return Ending("failed", {}, known.problem())
    _print_traceback(error, redactor)
    return Ending(
        "failed", {}, _internal(session, redactor.redact(f"{type(error).__name__}: {error}"))
    )


def _known_error(error: BaseException) -> FsbackupError | None:
    """Return the error meant for the user; of a group, the first when all of them are such."""
    if isinstance(error, FsbackupError):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [_known_error(member) for member in error.exceptions]
    return None if None in found else found[0]


def _internal(session: JobSession, why: str) -> Problem:
    operation = session.request.request.operation
    return Problem(
        "internal",
        f"INTERNAL ERROR: {operation} met something it did not foresee.",
        why,
        f"Report it with {session.directory / OUTPUT}, which holds the details.",
    )


def _problem_of_result(session: JobSession, result: Mapping[str, object]) -> Problem:
    """Return what a result that is not ``ok`` says is wrong."""
    operation = session.request.request.operation.upper()
    for stage in _listed(_values(result.get("stages"))):
        if isinstance(problem := stage.get("problem"), Mapping):
            return Problem.from_mapping(problem)
    problems, blocked = _listed(result.get("problems")), _listed(result.get("blocked"))
    if problems:
        what = f"{operation} FOUND PROBLEMS: {problem_text(problems[0])}{_more(problems)}"
        return Problem("failed", what, "", str(problems[0].get("fix") or ""))
    if blocked:
        what = f"{operation} BLOCKED: {problem_text(blocked[0])}{_more(blocked)}"
        why = "It could not be tried here: that is neither a pass nor a failure."
        return Problem("blocked", what, why, str(blocked[0].get("fix") or ""))
    return Problem("failed", f"{operation} FAILED: its result says so.")


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _listed(value: object) -> list[Mapping[str, object]]:
    items = value if isinstance(value, list | tuple) else ()
    return [item for item in items if isinstance(item, Mapping)]


def _more(items: Sequence[object]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def _print_traceback(error: BaseException, redactor: Redactor) -> None:
    complain(redactor.redact("".join(traceback.format_exception(error))))


class _Signals:
    """SIGTERM and SIGINT mean cancel, from the first word to the last.

    The handler only wakes the session's thread: it may run between any two instructions.
    """

    def __init__(self, session: JobSession) -> None:
        self._session = session
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._hear)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _: object) -> None:
        self._session.hurry(signal.Signals(number).name)


class _RedactedOutput(io.TextIOBase):
    """Standard output and error of the worker: whole lines, without secrets."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor
        self._line = ""

    def write(self, text: str) -> int:
        """Take text; what is not a whole line yet waits for its end."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(self._redactor.redact(line) + "\n")
        return len(text)

    def flush(self) -> None:
        """Hand whole lines to the file."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of output.log, for children that inherit it."""
        return self._stream.fileno()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (UsageError, SafetyRefusal) as refusal:
        complain(str(refusal))
        sys.exit(refusal.exit_code)
