"""The edge at which every command passes: read-only is refused there, and what was done is told.

A command that runs a job, or leads an incident, has its own lines in the audit log, written by
whoever does the work; here stands what came to its end before that, and what needs no job.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fsbackup_tui.cli.acts import Act, act_of, command_of
from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    FsbackupError,
    Interrupted,
    JobError,
    OutputLost,
    SafetyRefusal,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.audit import Result

Run = Callable[[argparse.Namespace, "CliContext"], int]
_NEED_NO_CONFIG = frozenset({"demo", "init", "decrypt", "bootstrap"})
_NOT_TOLD = frozenset(
    {"run", "parser", "version", "json", "config", "site", "read_only", "confirm", "url"}
)


def run_command(run: Run, arguments: argparse.Namespace, context: CliContext) -> int:
    """Run a command; a changing one is refused where nothing may be changed, and is audited."""
    act = act_of(arguments)
    if act is None:
        return run(arguments, context)
    try:
        _refuse_read_only(act, arguments, context)
        code = run(arguments, context)
    except (BrokenPipeError, OutputLost):
        _told(act, arguments, context, "ok")
        raise
    except FsbackupError as error:
        if not _is_told(error, context):
            _tell(act, arguments, context, _result_of(error), error)
        raise
    except KeyboardInterrupt:
        _tell(act, arguments, context, "cancelled")
        raise
    except Exception as error:
        _tell(act, arguments, context, "failed", error)
        raise
    _told(act, arguments, context, "ok" if code == 0 else "failed")
    return code


def _refuse_read_only(act: Act, arguments: argparse.Namespace, context: CliContext) -> None:
    from fsbackup_tui.operations.read_only import refuse_if_read_only

    would = f"It would {act.would(arguments)}."
    try:
        loaded = context.load()
    except FsbackupError:
        # What needs a configuration tells by itself that it lacks one.
        if context.asked_read_only and command_of(arguments) in _NEED_NO_CONFIG:
            raise SafetyRefusal(
                f"READ ONLY: this call {act.refuses}. Nothing was done.",
                why=f"--read-only was given.\n{would}",
                fix="Do it without --read-only.",
            ) from None
        return
    refuse_if_read_only(loaded, act.refuses, would=would)


def _is_told(error: FsbackupError, context: CliContext) -> bool:
    """Whether the job's worker has written how it ended, or the job goes on."""
    return context.audited_job and isinstance(error, JobError | Interrupted)


def _result_of(error: FsbackupError) -> Result:
    if isinstance(error, SafetyRefusal | ConfirmationNeeded):
        return "refused"
    problem = error.problem()
    if problem.exit_code in (SafetyRefusal.exit_code, ConfirmationNeeded.exit_code):
        return "refused"
    return "cancelled" if isinstance(error, Interrupted) else "failed"


def _told(act: Act, arguments: argparse.Namespace, context: CliContext, result: Result) -> None:
    """Write how a command ended that raised nothing, unless its jobs did; say what was not."""
    if act.tells:
        _say_unaudited(context)
    else:
        _tell(act, arguments, context, result)


def _tell(
    act: Act,
    arguments: argparse.Namespace,
    context: CliContext,
    result: Result,
    error: Exception | None = None,
) -> None:
    from fsbackup_tui.jobs.auditing import problem_words
    from fsbackup_tui.operations.auditing import audit_act

    state = _state(arguments, context)
    if state is None:
        return
    problem = error.problem() if isinstance(error, FsbackupError) else None
    words = problem_words(problem) if problem is not None else type(error).__name__ if error else ""
    audit_act(
        state,
        command_of(arguments),
        environ=context.environ,
        loaded=context.loaded,
        subject=act.subject(arguments),
        arguments=told_arguments(arguments),
        result=result,
        detail=words,
        now=context.now(),
    )
    _say_unaudited(context)


def _state(arguments: argparse.Namespace, context: CliContext) -> Path | None:
    """Return where the site's log lies; None where there is no site, or it can't be told which."""
    if command_of(arguments) == "init":
        context.follow_config(getattr(arguments, "output", None))
    try:
        return context.state()
    except (FsbackupError, OSError):
        return None


def told_arguments(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Return what the command was called with, but for what may hold a secret."""
    return {
        name: value
        for name, value in vars(arguments).items()
        if name not in _NOT_TOLD and value not in (None, False, "", (), [])
    }


def _say_unaudited(context: CliContext) -> None:
    from contextlib import suppress

    from fsbackup_tui.repository.audit import take_unaudited

    for why in take_unaudited():
        with suppress(OSError):
            context.tell(why, first="NOT AUDITED: ")
