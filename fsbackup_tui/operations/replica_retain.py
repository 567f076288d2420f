"""Retention on a replica: started by a person, by rules of its own, in two steps.

What no rule keeps is marked there first, and removed by a later run, when it has been marked for
as long as the trash here keeps a point. The manifest leaves first, so that nobody takes what is
left for a point; the records and the artifacts follow, the mark goes last. A run that was killed
is finished by the next one. What the replica locks stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import (
    FsbackupError,
    Problem,
    ReplicaError,
    ReplicaRefused,
    SafetyRefusal,
)
from fsbackup_tui.domain.events import Log, Progress, Warned
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.remote import RemoteFile
from fsbackup_tui.engines.remote.removal import RemovingRemote, open_removing
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_open import replica_settings
from fsbackup_tui.operations.replica_retain_look import (
    ReplicaRetentionLook,
    demand_rules,
    look_there,
)
from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.operations.replica_writers import heed_retirements
from fsbackup_tui.operations.retain import refused
from fsbackup_tui.operations.retain_look import open_incidents
from fsbackup_tui.operations.retain_requests import RetainReplicaRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.copies import UNCOPIED
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.records import pin_in, read_records, trash_parts, write_record
from fsbackup_tui.repository.removals import DIRECTORY, Removal, removal_path
from fsbackup_tui.repository.replica_layout import point_path


@dataclass
class _Done:
    marked: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    removed_bytes: int = 0
    locked: list[dict[str, object]] = field(default_factory=list)
    problems: list[dict[str, object]] = field(default_factory=list)


async def run(request: RetainReplicaRequest, context: JobContext) -> dict[str, object]:
    """Mark and remove; returns the document of ``retain --replica --apply``.

    Raises:
        UsageError: there is no such replica, or it has no rules.
        SafetyRefusal: nothing may be removed now; says why.
        ConfirmationNeeded: the site's name has to be typed.
        WriterRetired: another machine took this one's place.
        LockHeld: something is being sent there, or removed.
        ReplicaError, SecretUnavailable: it can't be reached, or looked at.
    """
    refuse_if_read_only(context.loaded, "removes no points")
    name = request.replica
    demand_rules(context.loaded, name)
    home = open_site_repository(context.loaded, os.environ)
    writer = require_writer(context, home)
    far, remote = await _open(
        context.loaded, context.environment, context.redactor, context.work, name
    )
    lock = Lock(home.locks / f"replica-{name}.lock", what=f"replica {name}")
    async with lock.acquire_async(0, context.holder()):
        context.stage("look")
        looked = await look_there(
            context.loaded,
            context.environment,
            home,
            far,
            context.work,
            context.now(),
            confirmed=request.confirmed,
        )
        await heed_retirements(home, far, looked.listing, writer)
        if looked.decision.refusals:
            again = f"retain --replica {name} --apply"
            raise refused(looked.decision.refusals, context.loaded.config.site, again)
        work = _Work(context, home, remote, looked)
        await work.do(request.points)
    return {
        **looked.document(),
        "ok": not work.done.problems,
        "applied": True,
        "marked": work.done.marked,
        "unmarked": work.done.unmarked,
        "removed": work.done.removed,
        "removed_bytes": work.done.removed_bytes,
        "locked": work.done.locked,
        "problems": work.done.problems,
    }


async def look_now(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    home: Repository,
    work: Path,
    name: str,
    now: datetime,
    *,
    confirmed: bool = False,
) -> ReplicaRetentionLook:
    """Return what a replica's rules would do now, outside of a job; see ``look_there``."""
    demand_rules(loaded, name)
    far, _ = await _open(loaded, environment, redactor, work, name)
    return await look_there(loaded, environment, home, far, work, now, confirmed=confirmed)


async def _open(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    name: str,
) -> tuple[Far, RemovingRemote]:
    settings = replica_settings(loaded, name).for_retention()
    where = loaded.place("replicas", name)
    remote = await open_removing(name, settings, environment, redactor, work, where=where)
    return Far(name, settings, remote), remote


@dataclass
class _Work:
    """One run on one replica, after everything was decided."""

    context: JobContext
    home: Repository
    remote: RemovingRemote
    looked: ReplicaRetentionLook
    done: _Done = field(default_factory=_Done)

    async def do(self, wanted: Sequence[str] | None) -> None:
        """Finish what was begun, mark, and remove; what fails is told in ``done``."""
        try:
            self.context.stage("finish")
            for point in sorted(self.looked.begun):
                await self._take_away(point)
                self.context.report(Log(f"The removal of {point} there is finished"))
            self.context.stage("mark")
            await self._unmark()
            await self._mark(wanted)
            self.context.stage("remove")
            await self._remove(wanted)
        except ReplicaRefused as error:
            self._tell("", _not_allowed(error, self.looked.far.name))
        except (SafetyRefusal, ReplicaError) as error:
            self._tell("", error)

    def _tell(self, point: str, error: FsbackupError) -> None:
        problem: Problem = error.problem()
        self.done.problems.append({"point": point, **problem.document()})
        self.context.report(Warned(error.what))

    async def _unmark(self) -> None:
        points = self.looked.to_unmark
        await self.remote.remove([removal_path(point) for point in points])
        self.done.unmarked.extend(points)

    async def _mark(self, wanted: Sequence[str] | None) -> None:
        context, looked = self.context, self.looked
        points = _chosen(looked.to_mark, wanted)
        root = context.work / "marks"
        (root / DIRECTORY).mkdir(mode=0o700, parents=True, exist_ok=True)
        why = f"no rule keeps it: {looked.keep.words()}"
        for point in points:
            mark = Removal(point, looked.now, context.operator, context.host, context.job, why)
            (root / removal_path(point)).write_bytes(mark.content())
        unreadable = [point for point in points if point in looked.removals]
        fresh = [point for point in points if point not in looked.removals]
        await self.remote.put(root, [removal_path(point) for point in fresh])
        await self.remote.put(root, [removal_path(point) for point in unreadable], replace=True)
        self.done.marked.extend(points)

    async def _remove(self, wanted: Sequence[str] | None) -> None:
        due = set(self.looked.due)
        if not self.looked.grace:
            due |= set(self.done.marked)
        points = _chosen([p for p in self.looked.decision.removable if p in due], wanted)
        for number, point in enumerate(reversed(points)):
            self.context.report(Progress(number, len(points), "points", point))
            self._refuse_changed(point)
            until = await self.remote.lock_of(point_path(point, MANIFEST_NAME))
            if until is not None:
                self.done.locked.append({"point": point, "lock": until})
                self.context.report(Log(f"{point} stays there: {until}"))
                continue
            self.done.removed_bytes += await self._take_away(point)
            self.done.removed.append(point)
            self.context.report(Log(f"{point} is gone from {self.looked.far.name}"))

    def _refuse_changed(self, point: str) -> None:
        """Raise where somebody opened an incident, or pinned the point, since it was decided."""
        incidents = open_incidents(self.home, self.context.loaded, os.environ)
        if incidents:
            raise SafetyRefusal(
                f"NOT GONE ON: incident {incidents[0]} was opened meanwhile.",
                why="While one is open every point may be the one that is needed.",
                fix="Close it first: fsbackup incidents",
            )
        if reason := pin_in(read_records(self.home, point)):
            raise SafetyRefusal(
                f"{point} stays: it was pinned meanwhile: {reason}.", fix=f"fsbackup show {point}"
            )

    async def _take_away(self, point: str) -> int:
        """Remove all that is there of a point, its manifest first, its mark last; returns bytes."""
        size = sum(file.bytes for file in _files_of(point, self.looked.listing))
        manifest = point_path(point, MANIFEST_NAME)
        await self.remote.remove([manifest])
        left = await self._listed(point)
        if manifest in left:
            raise _still_there(self.looked.far, manifest)
        await asyncio.to_thread(self._record, point)
        await self.remote.remove([path for path in left if path.startswith("records/")])
        await self.remote.remove([path for path in left if path.startswith("points/")])
        left = await self._listed(point)
        if left:
            raise _still_there(self.looked.far, left[0])
        known = {*(file.path for file in _files_of(point, self.looked.listing)), manifest}
        await self.remote.remove_directories(_directories(point, known))
        await self.remote.remove([removal_path(point)])
        return size

    async def _listed(self, point: str) -> list[str]:
        files = [
            *await self.remote.list(point_path(point)),
            *await self.remote.list(f"records/{point}"),
        ]
        return [file.path for file in files]

    def _record(self, point: str) -> None:
        """Write down, where the point is here, that the replica has it no more, and why."""
        trashed, _ = trash_parts(self.home, point)
        if not self.home.point_directory(point).exists() and not trashed.exists():
            return
        why = f"no rule keeps it there: {self.looked.keep.words()}"
        write_record(
            self.home,
            point,
            UNCOPIED,
            {"replica": self.looked.far.name, "removed": True, "why": why},
            now=self.context.now(),
            job=self.context.job,
            operator=self.context.operator,
            or_in_trash=True,
        )


def _chosen(points: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return those that were shown to who started it; all where nobody was shown any."""
    return [point for point in points if wanted is None or point in wanted]


def _files_of(point: str, listing: Listing) -> list[RemoteFile]:
    roots = (f"{point_path(point)}/", f"records/{point}/")
    return [file for path, file in listing.items() if path.startswith(roots)]


def _directories(point: str, paths: Collection[str]) -> list[str]:
    """Return the directories that files of a point lie in, the deepest first."""
    roots = (point_path(point), f"records/{point}")
    found = {
        str(parent)
        for path in paths
        for parent in PurePosixPath(path).parents
        if str(parent) in roots or str(parent).startswith(f"{roots[0]}/")
    }
    return sorted(found, key=lambda path: (-path.count("/"), path))


def _still_there(far: Far, path: str) -> ReplicaError:
    return ReplicaError(
        f"NOT REMOVED from {far.name}: {path} is still there.",
        why=f"{far.remote.describe} took the command, and lists the file nevertheless.",
        fix="Look at the rights and the object lock there; run it again and it goes on from there.",
    )


def _not_allowed(error: ReplicaRefused, name: str) -> FsbackupError:
    return ReplicaRefused(
        f"REPLICA {name} LETS NOTHING BE REMOVED: {error.what}",
        why=error.why,
        fix="An account that may only add is what keeps a thief from your copies. Give "
        f"replicas: {name}: retain_with:\nkeys of one that may remove, which nobody needs at "
        "night, or let the bucket's own rules remove.",
    )
