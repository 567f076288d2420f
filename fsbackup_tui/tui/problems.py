"""Problems as the screens tell them: what, why, next, in local time and for who sits here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo

from fsbackup_tui.domain.errors import LockHeld, Problem
from fsbackup_tui.operations.wording import age_text, when_text
from fsbackup_tui.tui.lines import Line, labelled, line, wrapped

# As journals and lock files write a moment, and as PostgreSQL does.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)")
_WHEN_FREE = (
    "When it has ended, start this one again. 2 shows it, if it runs on this machine;"
    " on the command line --wait waits for it."
)


def told_here(problem: Problem, now: datetime, zone: tzinfo) -> Problem:
    """Return the problem with its moments in local time with their age, and what to do here."""

    def local(found: re.Match[str]) -> str:
        try:
            moment = datetime.fromisoformat(found[0])
        except ValueError:
            return found[0]
        age = age_text((now - moment).total_seconds())
        return f"{when_text(moment, now, zone)} ({age} ago)"

    return replace(
        problem,
        what=_MOMENT.sub(local, problem.what),
        why=_MOMENT.sub(local, problem.why),
        fix=_WHEN_FREE if problem.kind == LockHeld.kind else _MOMENT.sub(local, problem.fix),
    )


def problem_lines(problem: Problem, width: int, *, now: datetime, zone: tzinfo) -> list[Line]:
    """Return a problem in its three parts: what, why, next."""
    return list(_lines(told_here(problem, now, zone), width))


def _lines(problem: Problem, width: int) -> Iterator[Line]:
    for row in wrapped(problem.what, width - 2, "bad"):
        yield line(" ", *row)
    for label, text in (("Why", problem.why), ("Next", problem.fix)):
        if text:
            for row in labelled(label, text, width - 2):
                yield line(" ", *row)
