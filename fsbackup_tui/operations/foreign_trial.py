"""Foreign backups in a job of a site: verified with a trial restore, or restored beside."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, PointDamaged, PointNotFound
from fsbackup_tui.domain.events import Report, Warned, format_time
from fsbackup_tui.domain.point import Artifact, Manifest, PartManifest
from fsbackup_tui.domain.proof import Outcome
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.foreign.layout import lay_out, stored_name
from fsbackup_tui.engines.foreign.model import Examination
from fsbackup_tui.engines.foreign.parts import COUNT_NOTE, foreign_part
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.decryption import Keys
from fsbackup_tui.operations.foreign import (
    FileVerification,
    Surroundings,
    backup_path,
    is_backup_path,
    remember,
)
from fsbackup_tui.operations.foreign_refusals import refuse_damaged, refuse_unusable
from fsbackup_tui.operations.proof import prove_part
from fsbackup_tui.operations.status import site_catalogue, site_zone
from fsbackup_tui.repository.foreign import ID_PREFIX, found_at
from fsbackup_tui.repository.manifest import damaged
from fsbackup_tui.repository.reader import PointReader

_SOURCE = "database"


class ForeignPoint(PointReader):
    """A foreign dump in the shape of a stored point with one part, for a trial restore.

    It needs no repository. The dump is laid out in ``work``, a private directory, for the stock
    tools, by links where those do; ``laid_out`` is where that was done already.
    """

    def __init__(
        self,
        examination: Examination,
        work: Path,
        *,
        laid_out: Path | None = None,
        source: str = _SOURCE,
    ) -> None:
        # Not the parent's: there is no directory of a repository to look for.
        file = examination.file
        self.id = str(file.path)
        self._laid_out = laid_out or lay_out(file, work, link=True)
        self._is_linked = self._laid_out.is_symlink() and file.content is None
        self._found = found_at(file.path).id
        self.directory = self._laid_out.parent
        self.notes = tuple(f"{file.path.name}: {note}" for note in (COUNT_NOTE, *file.notes))
        name = stored_name(file)
        path = f"{name}/toc.dat" if self._laid_out.is_dir() else name
        artifact = Artifact(path, "dump", file.bytes, "")
        self._part = foreign_part(examination, source=source, artifacts=(artifact,))

    @functools.cached_property
    def manifest(self) -> Manifest | None:
        """None: nobody wrote one."""
        return None

    def parts(self) -> list[PartManifest]:
        """Return the one part."""
        return [self._part]

    def path_inside(self, source: str, relative: str) -> Path:
        """Return where the dump was laid out."""
        path = self.directory / relative
        if source != self._part.source or not path.exists():
            raise damaged(path, "it is missing")
        return path

    def check_sealed(self, source: str, report: Report, *, beside_parts: bool = True) -> list[str]:
        """Return nothing: no seal of it is known."""
        return []

    def check_point_files(self) -> list[str]:
        """Return nothing: no files stand beside it that are its own."""
        return []

    def check_unchanged(self) -> None:
        """Raise PointDamaged where the file is another one than when this was made."""
        path = Path(self.id)
        try:
            same = found_at(path).id == self._found
        except OSError:
            same = False
        if not same and self._is_linked:
            raise PointDamaged(
                f"CHANGED: {path.name} was written to or moved while it was read.",
                why="What was read of it may be of two different backups.",
                fix="Wait until its script is done, then try again.",
            )


def foreign_file(text: str, context: JobContext) -> Path | None:
    """Return the backup file that a POINT means by its path or its id; None for a point."""
    if is_backup_path(text):
        return backup_path(text)
    if not text.startswith(ID_PREFIX):
        return None
    with site_catalogue(context.loaded, os.environ) as (catalogue, _, _, _):
        catalogue.refresh()
        point = catalogue.point(text)
    if point is None or not point.foreign:
        raise PointNotFound(
            f"NO SUCH BACKUP: {text}.",
            why="It was changed, moved or adopted since it was listed.",
            fix="fsbackup list shows what there is.",
        )
    return backup_path(point.foreign)


def _surroundings(context: JobContext, work: Path) -> Surroundings:
    return Surroundings(
        zone=site_zone(context.loaded),
        work=work,
        environ=os.environ,
        now=context.now,
        report=context.report,
        clients=context.loaded.config.clients,
        keys=Keys(context.loaded, os.environ, context.redactor),
    )


async def point_to_restore(path: Path, context: JobContext, source: str) -> ForeignPoint:
    """Read a backup file to its end, as ``verify`` does, and return it as a point to restore.

    Its part is called ``source``. What a person should know of it is warned of.

    Raises:
        PointDamaged: it is no whole backup.
        SafetyRefusal: no restore of fsbackup could use it.
        UsageError: it is no dump of a database.
    """
    work = context.work / f"file-{source}"
    while work.exists():
        work = work.with_name(f"{work.name}-schema")
    work.mkdir(mode=0o700)
    verification = FileVerification(path, _surroundings(context, work))
    await verification.climb("readable")
    refuse_damaged(path.name, "RESTORED", verification.problems)
    if verification.closed is not None:
        raise verification.closed
    examination = verification.examination
    if examination is None:
        raise FsbackupError(f"NOT RESTORED: {path.name} was not read. Nothing was created.")
    refuse_unusable(examination, "RESTORED")
    point = await asyncio.to_thread(
        ForeignPoint, examination, work, laid_out=verification.laid_out, source=source
    )
    for note in examination.file.notes:
        context.report(Warned(f"{path.name}: {note}"))
    return point


async def verify_foreign(path: Path, context: JobContext, level: Trust) -> dict[str, object]:
    """Climb up to ``level`` for a backup file and remember it; the document of ``verify``.

    ``restored`` and ``proven`` are tried by a trial restore; without counts the last is blocked.
    """
    verification = FileVerification(path, _surroundings(context, context.work))
    context.stage("sealed")
    await verification.climb("sealed" if level is Trust.SEALED else "readable")
    if level >= Trust.RESTORED and verification.holds("readable"):
        await _try_out(verification, context, compare=level is Trust.PROVEN)
    document = verification.document(level.word)
    document["job"] = context.job
    remember(context.loaded, os.environ, path, document)
    return document


async def _try_out(verification: FileVerification, context: JobContext, *, compare: bool) -> None:
    examination = verification.examination
    if examination is None or not examination.file.is_database:
        verification.notes.append("readable is as far as a file of this kind is shown good")
        return
    started = time.monotonic()
    context.stage("restored")
    names = list(context.loaded.config.databases)
    point = await asyncio.to_thread(
        ForeignPoint,
        examination,
        context.work,
        laid_out=verification.laid_out,
        source=names[0] if len(names) == 1 else _SOURCE,
    )
    proof = await prove_part(context, None, point, point.parts()[0], compare=compare)
    verification.proof = proof
    verification.notes += proof.notes
    _take_down(verification, context, Trust.RESTORED, proof.restored, started)
    if compare and proof.restored == "ok":
        _take_down(verification, context, Trust.PROVEN, proof.proven or "blocked", started)


def _take_down(
    verification: FileVerification,
    context: JobContext,
    level: Trust,
    outcome: Outcome,
    started: float,
) -> None:
    proof = verification.proof
    if proof is None:
        return
    verification.levels[level.word] = {
        "ok": {"ok": True, "failed": False}.get(outcome),
        "at": format_time(context.now()),
        "seconds": round(time.monotonic() - started, 3),
    }
    if outcome == "failed":
        verification.problems += [
            f"{table}: {what}" if table else what for table, what in proof.problems()
        ]
    elif outcome == "blocked":
        verification.blocked += [
            {"part": None, "what": f"{level.word}: {item.what}", "fix": item.fix}
            for item in proof.blocked()
        ]
