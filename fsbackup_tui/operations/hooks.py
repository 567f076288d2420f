"""What a files source has run around its capture: ``before`` and ``after`` (config/sources.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from fsbackup_tui.domain.errors import FsbackupError, ToolError
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.engines.secrets import remember_named_secrets
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.owed import owed
from fsbackup_tui.operations.site_commands import literal_secrets, shown


@asynccontextmanager
async def hooks(
    context: JobContext,
    source: str,
    before: tuple[str, ...] | None,
    after: tuple[str, ...] | None,
    warnings: list[str],
) -> AsyncIterator[None]:
    """Run ``before``, the block, and ``after`` whatever happened in between.

    ``after`` is run when the block failed, when it was cancelled, and when ``before`` failed half
    done. Where it fails that is a warning, also put into ``warnings``: a person must do by hand
    what it was to do. Should the worker be killed meanwhile, its job tells that ``after`` is owed.

    Raises:
        ToolError: ``before`` failed; the block was not entered.
    """
    with _owed(context, source, after) if before and after else nullcontext():
        try:
            if before:
                await _run_before(context, source, before)
            yield
        finally:
            if after:
                await undisturbed(_run_after(context, source, after, warnings))


def _owed(context: JobContext, source: str, after: tuple[str, ...]) -> AbstractContextManager[None]:
    for value in literal_secrets(after):
        context.redactor.add(Secret(value))
    words = (
        f"'AFTER' OF {source} WAS NOT RUN: what 'before' began may go on (paused, mounted). "
        f"Do it by hand in {context.loaded.path.parent}: {shown(after, context.redactor)}"
    )
    return owed(context.work.parent, source, words)


async def _run_before(context: JobContext, source: str, argv: tuple[str, ...]) -> None:
    problem = await _run(context, argv)
    if problem:
        raise ToolError(
            f"NOT CAPTURED: 'before' of {source} failed.",
            why=problem,
            fix=f"Try it by hand in {context.loaded.path.parent}: {shown(argv, context.redactor)}",
        )


async def _run_after(
    context: JobContext, source: str, argv: tuple[str, ...], warnings: list[str]
) -> None:
    problem = await _run(context, argv)
    if problem:
        told = (
            f"'AFTER' OF {source} FAILED: {' '.join(problem.split())} "
            "What 'before' began is not undone. Do it by hand in "
            f"{context.loaded.path.parent}: {shown(argv, context.redactor)}"
        )
        warnings.append(told)
        context.report(Warned(told))


async def _run(context: JobContext, argv: tuple[str, ...]) -> str:
    """Run one of them; returns what went wrong, empty for nothing."""
    for value in literal_secrets(argv):
        context.redactor.add(Secret(value))
    try:
        environment = await asyncio.to_thread(dict, context.environment)
        remember_named_secrets(environment, context.redactor)
        ended = await run(
            Command(argv, env=environment, cwd=context.loaded.path.parent),
            report=context.report,
            redactor=context.redactor,
            check=False,
        )
    except FsbackupError as error:
        return " ".join(piece for piece in (error.what, error.why) if piece)
    if ended.exit_status == 0:
        return ""
    said = ended.last_lines()
    return f"It ended with {ended.ended()}." + (f" It said: {said}" if said else "")
