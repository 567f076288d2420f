"""Putting files of a point back into live while the application runs, and taking them back.

Everything is extracted beside and compared with the point's hashes first; then the list that
undoes it is made durable; then each file appears by one rename, and never over another unless
that one is kept aside in the same step. Killed at any moment, the list takes it all back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.tree import Found, PutBack
from fsbackup_tui.engines.files.walk import Selection
from fsbackup_tui.engines.trees.opened import OpenTree
from fsbackup_tui.engines.trees.renaming import sync_file_system
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import TREES, Ground, open_ground
from fsbackup_tui.operations.files_point import FilesPoint, open_files_point
from fsbackup_tui.operations.files_rows import LiveRows, live_rows
from fsbackup_tui.operations.files_staging import Staging, remove_work
from fsbackup_tui.operations.files_survey import Choice, Survey
from fsbackup_tui.operations.files_take_back import Told, opened, place, take_back
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.site_requests import FilesPutBackRequest
from fsbackup_tui.operations.trees import own_paths
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.tree_marks import mark_path, read_mark
from fsbackup_tui.repository.undo_lists import UNDO_NAME, read_heading

_SURVEY = "wanted"


async def run(request: FilesPutBackRequest, context: JobContext) -> dict[str, object]:
    """Put files back, and return ``PutBack``; what fails leaves live as it was.

    Raises:
        UnsafeArchive, PointDamaged, DiskFull, KeyUnavailable: nothing was changed in live, or it
            was taken back.
    """
    refuse_if_read_only(context.loaded, "puts no files back")
    context.stage("check")
    ground = open_ground(context, request.part)
    if not ground.root.exists() and not ground.root.parent.is_dir():
        raise SafetyRefusal(
            "NOT PUT BACK. Nothing changed.",
            why=f"{ground.root.parent}, which holds the tree, is not there: is it mounted?",
            fix="Mount it, or make it; then run it again.",
        )
    async with (
        ground.alone(),
        open_files_point(
            context, request.point, request.part, reason_unsigned=request.reason_unsigned
        ) as point,
    ):
        putting = _Putting(request, ground, point, _free_tag(ground, ground.tag(request.tag)))
        return {"ok": True, **plain(await putting.run())}


def _free_tag(ground: Ground, tag: str) -> str:
    """Return the tag, numbered where an earlier attempt has left something under it."""
    number, free = 1, tag
    while (ground.state / TREES / free / UNDO_NAME).exists() or any(
        path.exists() or mark_path(path).exists()
        for path in (ground.beside("restore", free), ground.beside("before", free))
    ):
        number += 1
        free = f"{tag}-{number}"
    return free


@dataclass
class _Putting:
    request: FilesPutBackRequest
    ground: Ground
    point: FilesPoint
    tag: str
    notes: list[str] = field(default_factory=list)

    async def run(self) -> PutBack:
        context, ground = self.ground.context, self.ground
        context.stage("compare")
        directory = ground.lists(self.tag)
        survey = Survey.into(context.work / _SURVEY, directory)
        try:
            async with live_rows(ground) as rows:
                await self._compare(survey, rows)
                nowhere = (rows.nowhere(), rows.write_nowhere(directory)) if rows else None
            if not survey.entries:
                context.report(Log("There is nothing to put back."))
                return self._result(survey, Told(), nowhere)
            return await self._put(survey, nowhere, directory)
        finally:
            survey.path.unlink(missing_ok=True)
            if not (directory / UNDO_NAME).exists() and not any(directory.iterdir()):
                directory.rmdir()

    async def _compare(self, survey: Survey, rows: LiveRows | None) -> None:
        request, ground = self.request, self.ground
        patterns = Selection(request.patterns) if request.patterns else None
        by_rows = rows is not None and not request.all_missing and patterns is None
        if rows is not None and by_rows:
            rows.refuse_unread()
            for text in rows.unread:
                self.notes.append(f"what only this link names was left out: {text}")
        if rows is not None:
            await rows.learn(self.point)
        names = rows.names if rows is not None else None
        choice = Choice(patterns, request.conflict, names, by_rows)
        pace = Pace(ground.context.report, guard=None)
        with opened(ground.root) as live:
            await self.point.read_index(
                lambda index: survey.run(
                    index,
                    live,
                    ground.selection,
                    choice,
                    step=pace.step,
                    skip=own_paths(ground),
                )
            )

    async def _put(
        self, survey: Survey, nowhere: tuple[Found, str] | None, directory: Path
    ) -> PutBack:
        context, ground = self.ground.context, self.ground
        staging = Staging(
            ground,
            self.point,
            survey,
            ground.beside("restore", self.tag),
            ground.beside("before", self.tag),
        )
        pace = Pace(context.report, total=float(survey.entries), guard=ground.root.parent)
        with writing(ground.root.parent):
            try:
                staging.check_space()
                context.stage("extract")
                await staging.extract()
                await paced(pace, lambda: staging.write_undo(directory, pace.step))
                with OpenTree(staging.beside) as beside:
                    sync_file_system(beside.descriptor)
            except BaseException:
                # The list goes first: without the trees beside there is nothing that it undoes.
                (directory / UNDO_NAME).unlink(missing_ok=True)
                staging.remove()
                raise
            context.stage("put back")
            told = await self._place(staging, directory, survey.entries)
        context.report(Log(f"Put back: {told.placed.count} files into {ground.root}."))
        return self._result(survey, told, nowhere, staging)

    async def _place(self, staging: Staging, directory: Path, count: int) -> Told:
        context = self.ground.context
        heading = read_heading(directory)
        told = Told()
        pace = Pace(context.report, total=float(count), guard=self.ground.root.parent)

        try:
            await paced(pace, lambda: place(heading, directory, told.hear, pace))
        except BaseException:
            quiet = Pace(lambda _event: None, guard=None)
            await paced(quiet, lambda: take_back(heading, directory, Told().hear, quiet))
            (directory / UNDO_NAME).unlink(missing_ok=True)
            raise
        remove_work(staging.beside)
        if heading.aside:
            self._keep_aside(staging, told)
        for note in (*staging.notes, *told.notes()):
            self.notes.append(note)
            context.report(Warned(note))
        return told

    def _keep_aside(self, staging: Staging, told: Told) -> None:
        mark = read_mark(staging.aside)
        if told.replaced.count and mark is not None:
            self.ground.complete(staging.aside, mark)
        else:
            remove_work(staging.aside)

    def _result(
        self,
        survey: Survey,
        told: Told,
        nowhere: tuple[Found, str] | None,
        staging: Staging | None = None,
    ) -> PutBack:
        done = staging is not None
        return PutBack(
            root=str(self.ground.root),
            undo=self.tag if done else "",
            put_back=told.placed.found,
            directories=told.directories,
            kept=survey.kept.found,
            beside=told.beside.found,
            replaced=told.replaced.found,
            came_meanwhile=told.taken.found,
            unnamed=survey.unnamed.found,
            nowhere=nowhere[0] if nowhere is not None else Found(),
            nowhere_list=nowhere[1] if nowhere is not None else "",
            kept_in=str(staging.aside) if staging is not None and told.replaced.count else "",
            list_file=survey.wanted.written,
            notes=tuple(self.notes),
        )
