"""Where a trial server's data lie, whether they fit there, and who watches that they still do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Coroutine
from pathlib import Path

from fsbackup_tui.domain.errors import DiskFull, FsbackupError, ScratchUnavailable
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.guards import free_bytes
from fsbackup_tui.engines.postgres.scratch_room import may_enter, temporary_directories

SPACE_SHARE = 1.3
"""What a copy takes of the captured size: indexes are sorted in files before they are written."""

SERVER_BYTES = 200 * 10**6
_WATCH_SECONDS = 0.5
_MEASURE_SECONDS = 2.0
_FLOOR_SHARE = 0.02
_LEAST_FLOOR_BYTES = 64 * 10**6
# Of LC_ALL=C; ENOSPC and EDQUOT (strerror of glibc and macOS; the BSDs write "Disc").
_SPACE_WORDS = re.compile(r"No space left on device|Dis[ck] quota exceeded")
_REMEDY = "Free some, or name a roomier place under scratch: directory in the config."


def needed_bytes(facts: PostgresFacts) -> int:
    """Return about how much disk a copy takes; a schema's is next to nothing."""
    size = 0 if facts.scope == "schema" else facts.identity.size_bytes or 0
    return int(size * SPACE_SHARE)


def choose_data_place(
    configured: Path | None, work: Path, *, other_user: bool, needed: int
) -> Path:
    """Return the directory below which a trial server's data go; made if it is the configured one.

    That is the configured one, else the job's. Where the server's own user may not enter the
    job's directory it is a temporary one, the system's durable one first (``/tmp`` may be in
    memory), with room for ``needed`` bytes.

    Raises:
        ScratchUnavailable: no such place, or too little space in it.
    """
    if configured is not None:
        return _with_space([_configured(configured, other_user)], needed)
    if not other_user or may_enter(work):
        return _with_space([work], needed)
    named = [Path(os.environ["TMPDIR"])] if os.environ.get("TMPDIR") else []
    durable = Path("/var/tmp")  # noqa: S108 - the room made in it is private
    places = dict.fromkeys((*named, durable, *temporary_directories()))
    return _with_space([path for path in places if path.is_dir() and may_enter(path)], needed)


def _configured(directory: Path, other_user: bool) -> Path:
    try:
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o711 if other_user else 0o700)
        enterable = not other_user or may_enter(directory)
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error)) from error
    if not enterable:
        raise _unusable(
            directory, "The scratch server's own user may not enter it (it never runs as root)."
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _unusable(directory, "It may not be written to.")
    return directory


def _unusable(directory: Path, why: str) -> ScratchUnavailable:
    fix = (
        f"Let everybody pass through it and those above (chmod o+x), e.g. {directory}, or name "
        "another directory under scratch: directory"
    )
    return ScratchUnavailable(
        f"NO PLACE FOR A SCRATCH SERVER: {directory} can't be used.",
        why=why,
        fix=fix,
        lacks=((f"the directory {directory} can't be used by a scratch server", fix),),
    )


def _with_space(places: list[Path], needed: int) -> Path:
    free = {path: free_bytes(path) for path in places}
    for path, count in free.items():
        if count - floor_bytes(path) >= needed:
            return path
    seen = "\n".join(f"{path} has {count // 10**6} MB free." for path, count in free.items())
    raise no_space(f"The trial takes about {needed // 10**6} MB.\n{seen}".strip(), _REMEDY)


def no_space(why: str, fix: str) -> ScratchUnavailable:
    """Return the error for a place on which a copy does not fit."""
    return ScratchUnavailable(
        "NOT ENOUGH SPACE for a trial restore. Nothing was created.",
        why=why,
        fix=fix,
        lacks=((f"not enough space for a trial restore: {why.splitlines()[0]}", fix),),
    )


def check_limit(limit: int | None, needed: int) -> None:
    """Raise ScratchUnavailable where the configured limit is below what a trial takes."""
    if limit is not None and limit < needed:
        raise no_space(
            f"The trial takes about {needed // 10**6} MB; scratch: disk allows "
            f"{limit // 10**6} MB.",
            "Raise scratch: disk in the config.",
        )


def floor_bytes(directory: Path) -> int:
    """Return what a trial leaves free on the directory's file system, whatever it needs."""
    floor = max(_LEAST_FLOOR_BYTES, int(shutil.disk_usage(directory).total * _FLOOR_SHARE))
    return min(floor, free_bytes(directory) // 4)


def when_full(directory: Path, needed: int, error: FsbackupError) -> FsbackupError:
    """Return why a server could not be started: that its disk was filled meanwhile, else itself.

    ``needed`` bytes were free before. A server that can't write its log can't tell; one that
    tells has cleaned up behind itself, so that there may be room again.
    """
    free = free_bytes(directory)
    if free >= needed and not _SPACE_WORDS.search(f"{error.what}\n{error.why}"):
        return error
    return DiskFull(
        f"DISK FULL: {directory} had no space left for a scratch server.",
        why=f"{free // 10**6} MB are free there.",
        fix=_REMEDY,
    )


def space_guards(
    directory: Path | None, *, limit: int | None, what: str
) -> list[Coroutine[object, object, None]]:
    """Return what watches, beside a trial, the disk that it fills; nothing where it can't be seen.

    Each raises DiskFull and never returns otherwise: below a floor of free space, and when
    ``directory`` has grown beyond ``limit`` bytes.
    """
    if directory is None:
        return []
    guards = [watch_floor(directory, floor_bytes(directory), what=what)]
    if limit is not None:
        guards.append(watch_size(directory, limit, what=what))
    return guards


async def watch_floor(directory: Path, floor: int, *, what: str) -> None:
    """Raise DiskFull as soon as less than ``floor`` bytes are free where the directory lies."""
    while True:
        free = free_bytes(directory)
        if free < floor:
            raise DiskFull(
                f"DISK NEARLY FULL: {what} was stopped.",
                why=f"{directory} has {free // 10**6} MB left, the floor is {floor // 10**6} MB.",
                fix=_REMEDY,
            )
        await asyncio.sleep(_WATCH_SECONDS)


async def watch_size(directory: Path, limit: int, *, what: str) -> None:
    """Raise DiskFull as soon as the files below the directory take more than ``limit`` bytes."""
    while True:
        size = await asyncio.to_thread(tree_bytes, directory)
        if size > limit:
            raise DiskFull(
                f"DISK LIMIT REACHED: {what} was stopped.",
                why=f"{directory} takes {size // 10**6} MB; scratch: disk allows "
                f"{limit // 10**6} MB.",
                fix="Raise scratch: disk in the config.",
            )
        await asyncio.sleep(_MEASURE_SECONDS)


def tree_bytes(directory: Path) -> int:
    """Return what the files below a directory take on disk; what vanishes meanwhile is nothing."""
    total = 0
    for place, _directories, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
    return total
