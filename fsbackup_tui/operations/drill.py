"""The recovery test: a point is proven from its bytes up, every phase is timed, and it is kept.

What a drill measured tells from then on how long getting back will take (domain/estimate.py).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from fsbackup_tui.domain.errors import FsbackupError, PointNotFound
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.requests import DrillChoice, DrillRequest
from fsbackup_tui.operations.status import open_catalogue, open_site_repository
from fsbackup_tui.operations.verify import verify_point
from fsbackup_tui.repository.drills import KIND
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.points import capture_order, usable
from fsbackup_tui.repository.records import write_record

Choose = Callable[[Sequence[PointSummary]], PointSummary]


async def run(request: DrillRequest, context: JobContext) -> dict[str, object]:
    """Prove a point on a throw-away server and record how it went; returns its document.

    The document's ``outcome`` is ok, failed, or blocked: something could not be tried here.
    Where all of that is accepted, ``ok`` is true nevertheless.

    Raises:
        PointNotFound: there is no point that could be restored.
        FsbackupError: the trial could not be made at all; that is recorded, too.
    """
    refuse_if_read_only(context.loaded, "records no drills")
    repository = open_site_repository(context.loaded, os.environ)
    point = request.point or _choose(context, repository, request.choice)
    context.report(Log(f"Drill on {point} ({request.choice})"))
    started = time.monotonic()
    try:
        verified = await verify_point(context, repository, point, level=Trust.PROVEN)
    except FsbackupError as error:
        problem = {"part": None, "artifact": None, "table": None, "what": error.what}
        _record(
            repository,
            point,
            context,
            {
                **_head(request, context, point),
                "ok": False,
                "outcome": "failed",
                "seconds": round(time.monotonic() - started, 3),
                "problems": [{**problem, "fix": error.fix}],
            },
        )
        raise
    document = {
        **_head(request, context, point),
        **drill_result(verified),
        "seconds": round(time.monotonic() - started, 3),
    }
    _record(repository, point, context, document)
    return document


def drill_result(verified: Mapping[str, object]) -> dict[str, object]:
    """Return how a drill went, from the document of its verification."""
    proofs = verified["proofs"]
    of_parts = list(proofs.values()) if isinstance(proofs, Mapping) else []
    blocked, accepted = verified["blocked"], verified["accepted"]
    failed = bool(verified["problems"])
    untried = bool(blocked or accepted) and not failed
    outcome = "blocked" if untried else "ok" if verified["ok"] else "failed"
    return {
        "ok": verified["ok"],
        "outcome": outcome,
        "trust": verified["trust"],
        "suspect": verified["suspect"],
        "levels": verified["levels"],
        "place": ", ".join(dict.fromkeys(str(proof["place"]) for proof in of_parts)) or None,
        "phases": verified["phases"],
        "bytes": verified["bytes"],
        "database_bytes": verified["database_bytes"],
        "rows": sum(proof["rows"] for proof in of_parts) if of_parts else None,
        "problems": verified["problems"],
        "blocked": blocked,
        "accepted": accepted,
        "notes": verified["notes"],
    }


def choose_point(
    points: Sequence[PointSummary],
    choice: DrillChoice,
    *,
    pick: Choose = secrets.choice,
) -> PointSummary:
    """Return the newest point that a restore may use, or any one of the older ones.

    Raises:
        PointNotFound: there is none; of one alone, that one is taken whatever the choice.
    """
    fit = sorted((point for point in points if _can_be_tried(point)), key=capture_order)
    if not fit:
        raise PointNotFound(
            "NOTHING TO DRILL: no point holds a database that can be restored.",
            why="Points that are damaged, incomplete or suspect are left out.",
            fix="fsbackup list shows what there is; name one: fsbackup drill POINT",
        )
    older = fit[:-1]
    return pick(older) if choice == "random" and older else fit[-1]


def _can_be_tried(point: PointSummary) -> bool:
    return usable(point) and any(part.kind == "postgres" for part in point.parts)


def _choose(context: JobContext, repository: Repository, choice: DrillChoice) -> str:
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        return choose_point(catalogue.points(own=True), choice).id


def _head(request: DrillRequest, context: JobContext, point: str) -> dict[str, object]:
    return {
        "site": context.loaded.config.site,
        "point": point,
        "choice": request.choice,
        "host": context.host,
        "by": context.operator,
    }


def _record(
    repository: Repository, point: str, context: JobContext, document: Mapping[str, object]
) -> None:
    write_record(
        repository,
        point,
        KIND,
        document,
        now=context.now(),
        job=context.job,
        operator=context.operator,
    )
