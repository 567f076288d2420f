"""The recovery test: a point is proven from its bytes up, every phase is timed, and it is kept.

What a drill measured tells from then on how long getting back will take (domain/estimate.py);
one of a copy of the repository does not: where getting back starts is the repository itself.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    PointNotFound,
    RepositoryError,
    RepositoryMissing,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import not_recorded
from fsbackup_tui.operations.opened import key_document
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.requests import DrillChoice, DrillRequest
from fsbackup_tui.operations.signatures import demand_signature
from fsbackup_tui.operations.status import open_catalogue, open_site_repository, site_zone
from fsbackup_tui.operations.verify import verify_point
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.drills import KIND
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.points import capture_order, resolve_point, usable
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record

Choose = Callable[[Sequence[PointSummary]], PointSummary]


async def run(request: DrillRequest, context: JobContext) -> dict[str, object]:
    """Prove a point on a throw-away server and record how it went; returns its document.

    The document's ``outcome`` is ok, failed, or blocked: something could not be tried here.
    Where all of that is accepted, ``ok`` is true nevertheless.

    Raises:
        PointNotFound: there is no point that could be restored.
        SafetyRefusal: it lacks the signature that is demanded, and nobody wrote why it is trusted.
        FsbackupError: the trial could not be made at all; that is recorded, too.
    """
    refuse_if_read_only(context.loaded, "records no drills")
    home = open_site_repository(context.loaded, os.environ)
    context = await borrowing(context, request.replica, request.point)
    copy = context.borrowed
    if request.copy:
        copy = await asyncio.to_thread(_open_copy, request.copy, home)
    point = await asyncio.to_thread(_choose, request, context, home, copy)
    context.report(Log(_announcement(request, point)))
    started = time.monotonic()
    if copy is None:
        await bring_here(context, home, point)
    reason = request.reason_unsigned
    await demand_signature(context, PointReader(copy or home, point), reason=reason)
    key = await key_document(context, PointReader(copy or home, point))
    if key is not None:
        context.report(Log(key_words(key)))
    try:
        verified = await verify_point(
            context,
            copy or home,
            point,
            level=Trust.PROVEN,
            home=None if copy is None else home,
            reason_unsigned=reason,
        )
    except FsbackupError as error:
        problem = {"part": None, "artifact": None, "table": None, "what": error.what}
        _record(
            home,
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
        "key": key,
        "seconds": round(time.monotonic() - started, 3),
    }
    if note := _record(home, point, context, document):
        document = {**document, "notes": list(dict.fromkeys([*_notes(verified), note]))}
    return document


def key_words(key: Mapping[str, object]) -> str:
    """Return whether the key that is kept for the day it is needed opens the point."""
    hint = f" ({key['hint']})" if key["hint"] else ""
    if key["opens"]:
        return f"The key {key['id']}{hint} is here and opens it"
    return f"The key {key['id']}{hint} is not here: it {key['needs']}"


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


def _notes(verified: Mapping[str, object]) -> list[str]:
    notes = verified["notes"]
    return [str(note) for note in notes] if isinstance(notes, list) else []


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
            why="What is damaged, incomplete, suspect or taken in an incident is left out.",
            fix="fsbackup list shows what there is; name one: fsbackup drill POINT",
        )
    older = fit[:-1]
    return pick(older) if choice == "random" and older else fit[-1]


def _can_be_tried(point: PointSummary) -> bool:
    return usable(point) and any(part.kind == "postgres" for part in point.parts)


def _open_copy(directory: str, home: Repository) -> Repository:
    """Return the copy of the site's repository; RepositoryError where it is none."""
    try:
        copy = open_repository(Path(directory), site=home.site)
    except RepositoryMissing as error:
        raise RepositoryError(
            f"NO COPY at {directory}.",
            why="There is no repository.",
            fix="Name the directory that the repository was copied to, or mount the disk it is on.",
        ) from error
    if copy.root.resolve() == home.root.resolve():
        raise RepositoryError(
            f"NO COPY: {copy.root} is the repository itself.",
            fix="fsbackup drill   without --copy",
        )
    if copy.id != home.id:
        raise RepositoryError(
            f"NO COPY OF THIS REPOSITORY: {copy.root}.",
            why=f"It is the repository {copy.id}; that of {home.root} is {home.id}.",
            fix="Name the directory that the repository was copied to.",
        )
    return copy


def _choose(
    request: DrillRequest, context: JobContext, home: Repository, copy: Repository | None
) -> str:
    if copy is not None:
        with Catalogue.of_copy(copy) as catalogue:
            points = catalogue.points(own=True)
        if request.point:
            zone = site_zone(context.loaded)
            return resolve_point(points, request.point, zone=zone, any_trust=True).id
        return choose_point(points, request.choice).id
    if request.point:
        return request.point
    with open_catalogue(context.loaded, os.environ, home) as catalogue:
        return choose_point(catalogue.points(own=True), request.choice).id


def _announcement(request: DrillRequest, point: str) -> str:
    of_copy = f" of the copy in {request.copy}" if request.copy else ""
    of_copy = f" of the replica {request.replica}" if request.replica else of_copy
    return f"Drill on {point}{of_copy} ({request.choice})"


def _head(request: DrillRequest, context: JobContext, point: str) -> dict[str, object]:
    return {
        "site": context.loaded.config.site,
        "point": point,
        "choice": request.choice,
        "drill": request.drill or None,
        "copy": request.copy or None,
        "replica": request.replica or None,
        "host": context.host,
        "by": context.operator,
    }


def _record(
    repository: Repository, point: str, context: JobContext, document: Mapping[str, object]
) -> str:
    """Keep how it went beside the point; returns why that can't be done, or nothing."""
    if not repository.point_directory(point).is_dir():
        return f"Not recorded: {repository.root} has {point} no more."
    try:
        write_record(
            repository,
            point,
            KIND,
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
    except (RepositoryUnwritable, DiskFull) as error:
        # What was measured in an hour is not thrown away for that.
        return not_recorded(repository, error)
    return ""
