"""What became of a tree of files: live's beside a point's, the rows, the disk, and who deletes."""

from __future__ import annotations

import os

from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.tree import FilesLook, RowFit, Touching
from fsbackup_tui.engines.trees.touching import find_touching
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import Ground, open_ground, why_not_beside
from fsbackup_tui.operations.files_point import FilesPoint, open_files_point
from fsbackup_tui.operations.files_rows import live_rows
from fsbackup_tui.operations.files_survey import Choice, Survey
from fsbackup_tui.operations.files_take_back import opened
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.site_requests import FilesLookRequest
from fsbackup_tui.operations.trees import own_paths
from fsbackup_tui.repository.files import free_bytes

_PER_ENTRY_BYTES = 4096
_BYTES_A_SECOND = 80e6
_ENTRIES_A_SECOND = 4000.0
_PASSES = 2.0
"""An archive is read twice, once before anything is extracted."""


async def run(request: FilesLookRequest, context: JobContext) -> dict[str, object]:
    """Look, by reading alone; returns ``FilesLook``. What can't be looked at is in its notes."""
    context.stage("point")
    ground = open_ground(context, request.part)
    async with open_files_point(context, request.point, request.part, check=False) as point:
        context.stage("live")
        directory = ground.lists(f"look-{ground.tag('')}")
        survey = Survey.into(context.work / "wanted", directory)
        pace = Pace(context.report, guard=None)
        async with live_rows(ground) as rows:
            if rows is not None:
                await rows.learn(point)
            names = rows.names if rows is not None else None
            choice = Choice(named=names, by_rows=rows is not None)
            with opened(ground.root) as live:
                await point.read_index(
                    lambda index: survey.run(
                        index,
                        live,
                        ground.selection,
                        choice,
                        step=pace.step,
                        contents=request.contents,
                        skip=own_paths(ground),
                    )
                )
            context.stage("rows")
            fits = rows.fits() if rows is not None else ()
            unread = list(rows.unread) if rows is not None else []
            nowhere = rows.write_nowhere(directory) if rows is not None else ""
        touching, notes = list[Touching](), list[str]()
        context.stage("who deletes")
        if request.touching:
            own = (os.getpid(), os.getppid())
            touching, notes = await paced(pace, lambda: find_touching(ground.root, ignore=own))
        found = _look(request, ground, point, survey, fits, nowhere)
        context.report(Log(f"{found.missing.count} files of the point are missing in live."))
        return {"ok": True, **plain(found), "touching": plain(touching), "notes": unread + notes}


def _look(
    request: FilesLookRequest,
    ground: Ground,
    point: FilesPoint,
    survey: Survey,
    fits: tuple[RowFit, ...],
    nowhere: str,
) -> FilesLook:
    exists = ground.root.is_dir()
    place = ground.root if exists else ground.root.parent
    return FilesLook(
        part=request.part,
        point=request.point,
        root=str(ground.root),
        exists=exists,
        files=survey.files,
        missing=survey.missing.found,
        wanted=survey.wanted.found,
        unnamed=survey.unnamed.found,
        only_live=survey.only_live.found,
        changed=survey.changed.found,
        newer=survey.newer.found,
        same=survey.same,
        rows=fits,
        needed_bytes=survey.wanted_bytes + survey.entries * _PER_ENTRY_BYTES,
        beside_bytes=survey.total_bytes + survey.files * _PER_ENTRY_BYTES,
        free_bytes=free_bytes(place),
        seconds=expected_seconds(point, survey),
        not_exchangeable=why_not_beside(ground.root) if exists else "",
        lists={
            **{name: each.written for name, each in survey.listings.items() if each.written},
            **({"nowhere": nowhere} if nowhere else {}),
        },
    )


def expected_seconds(point: FilesPoint, survey: Survey) -> float:
    """Return how long putting the wanted files back takes, roughly, on a slow disk."""
    _path, artifact = point.archive()
    reading = (artifact.plain_bytes or artifact.bytes) * _PASSES / _BYTES_A_SECOND / 4
    writing = survey.wanted_bytes / _BYTES_A_SECOND
    return round(reading + writing + survey.entries / _ENTRIES_A_SECOND, 1)
