"""Restoring once more by one job, where several wrote their errors over each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fsbackup_tui.domain.errors import RestoreIncomplete
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.operations.context import JobContext

ONCE_MORE = (
    "Several jobs wrote their errors over each other, so that nobody can tell what is lost: "
    "what they restored was dropped, and all of it is restored once more by one job."
)

Result = TypeVar("Result")


class ErrorsTorn(RestoreIncomplete):
    """What several jobs restored is not whole, and their errors can't be read; one job's can."""


async def by_one_job_at_last(
    context: JobContext, jobs: int, attempt: Callable[[int], Awaitable[Result]]
) -> Result:
    """Return what ``attempt(jobs)`` does, or where errors were torn, what ``attempt(1)`` does.

    An attempt that fails leaves nothing of what it made: the second begins with an empty database.
    """
    try:
        return await attempt(jobs)
    except ErrorsTorn as error:
        context.report(Warned(f"{ONCE_MORE} {error.why.splitlines()[0]}"))
    return await attempt(1)
