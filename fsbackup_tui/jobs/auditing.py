"""What the audit log has of jobs: changing ones begin and end in it, lost ones are noticed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from fsbackup_tui.domain.audit import Result
from fsbackup_tui.domain.errors import Problem, SafetyRefusal
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.journal import utc_now
from fsbackup_tui.jobs.layout import JobRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.repository.audit import append_audit

_SUBJECTS = ("plan", "point", "part", "source", "name", "path")


def audit_job(
    state: Path,
    request: JobRequest,
    result: Result,
    problem: Problem | None = None,
    *,
    redactor: Redactor | None = None,
) -> str:
    """Write that a job began, or how it ended; return why it could not be, empty where it was.

    A job that changes nothing is not written; where nothing may be changed, none but the refused.
    """
    refused = problem is not None and problem.exit_code == SafetyRefusal.exit_code
    if not request.request.changes() or (request.read_only and not refused):
        return ""
    return append_audit(
        state,
        request.request.operation,
        operator=request.operator,
        origin=request.origin or {"host": request.host},
        result="refused" if refused and result == "failed" else result,
        now=utc_now(),
        subject=subject_of(request.request),
        arguments=arguments_of(request.request) if result == "started" else None,
        detail=problem_words(problem),
        incident=request.incident or "",
        job=request.job,
        redactor=redactor,
        keeps_head=not request.read_only,
    )


def subject_of(request: Request) -> str:
    """Return what a request is about, in a word or two: a plan, a point and its part."""
    told = [str(value) for name in _SUBJECTS if (value := getattr(request, name, None))]
    return " ".join(told[:2])


def arguments_of(request: Request) -> Mapping[str, object]:
    """Return the rest of what a request says; requests hold no secrets."""
    return {
        name: value
        for name, value in dataclasses.asdict(request).items()
        if name not in {*_SUBJECTS, "target"} and value not in (None, "", (), False)
    }


def problem_words(problem: Problem | None) -> str:
    """Return what went wrong, and why, in one line."""
    if problem is None:
        return ""
    return " ".join(f"{problem.what} {problem.why}".split())
