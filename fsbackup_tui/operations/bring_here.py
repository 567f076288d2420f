"""Fetching what a point keeps elsewhere, when it is about to be used (after a bootstrap)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import PointDamaged, UsageError
from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.directory import DirectoryRemote
from fsbackup_tui.engines.remote.remote import Remote, open_remote
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.status import site_repository_or_none
from fsbackup_tui.repository.files import (
    free_bytes,
    hash_file,
    make_directory,
    not_enough_space,
    remove_tree,
    sync_tree,
    writing,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.not_here import FILE_SCHEME, has_come, not_here
from fsbackup_tui.repository.reader import PointReader

_STAGING = ".fetched"
_SPACE_MARGIN = 1.02
# Operations that read the artifacts of the point that they name.
_READING = frozenset(
    {
        *("restore", "check-copy", "rehearsal", "files-look", "files-put-back", "files-beside"),
        *("restore-config", "restore-code", "verify", "drill"),
    }
)


async def bring_what_is_read(request: Request, context: JobContext) -> None:
    """Fetch what a job is about to read of the point that it names, where it is elsewhere."""
    point = getattr(request, "point", "")
    if not point or "/" in point or request.operation not in _READING:
        return
    repository = site_repository_or_none(context.loaded, os.environ)
    if repository is not None:
        await bring_here(context, repository, point, part=getattr(request, "part", ""))


async def bring_here(
    context: JobContext, repository: Repository, point: str, *, part: str = ""
) -> tuple[str, ...]:
    """Fetch a point's parts that are elsewhere, or one of them; returns those that came.

    What was fetched before is not fetched again. Every byte is compared with the point's own
    hashes before it counts as here.

    Raises:
        PointDamaged: what is there is not what the point's manifest says.
        ReplicaError and its kinds, SecretUnavailable, DiskFull.
    """
    lacking = not_here(repository, point)
    if lacking is None or (part and part not in lacking.parts):
        return ()
    locks = make_directory(repository.locks / "fetch")
    lock = Lock(locks / f"{point}.lock", what=f"the fetching of {point}")
    async with lock.acquire_async(3600.0, context.holder()):
        lacking = not_here(repository, point)
        wanted = [] if lacking is None else [each for each in lacking.parts if part in ("", each)]
        if lacking is None or not wanted:
            return ()
        origin = await open_origin(
            context.loaded, lacking.origin, context.environment, context.redactor, context.work
        )
        reader = PointReader(repository, point)
        for name in wanted:
            context.report(Log(f"Fetching {name} of {point} from {origin.describe}"))
            await _fetch(repository, reader, reader.part(name), origin, context.report)
            has_come(repository, point, name)
        return tuple(wanted)


async def open_origin(
    loaded: LoadedConfig,
    origin: str,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
) -> Remote:
    """Return the way to where a point's parts lie.

    Raises:
        UsageError: the configuration has no such replica any more. See ``open_remote``.
    """
    if origin.startswith(FILE_SCHEME):
        return DirectoryRemote(Path(origin.removeprefix(FILE_SCHEME)))
    replica = loaded.config.replicas.get(origin)
    if replica is None:
        raise UsageError(
            f"NOT HERE: the point lies at the replica {origin or '-'}.",
            why=f"{loaded.path} has no replica of that name any more.",
            fix="Name it again under replicas:, or bootstrap anew.",
        )
    where = loaded.place("replicas", origin)
    return await open_remote(origin, replica, environment, redactor, work, where=where)


async def _fetch(
    repository: Repository, reader: PointReader, part: PartManifest, origin: Remote, report: Report
) -> None:
    """Bring a part's artifacts: into a place of their own, compared, then moved."""
    staging = repository.root / _STAGING
    prefix = f"points/{reader.id}/{part.source}"
    files = {f"{prefix}/{each.path}": each for each in part.artifacts}
    with writing(staging):
        make_directory(staging)
        missing = [
            path
            for path, each in files.items()
            if not _has(repository.root / path, each.bytes) and not _has(staging / path, each.bytes)
        ]
        needed = int(sum(files[path].bytes for path in missing) * _SPACE_MARGIN)
        free = free_bytes(staging)
        if free < needed:
            raise not_enough_space(repository.root, needed, free)
        await origin.fetch_all(missing, staging, report)
        for path, artifact in files.items():
            if _has(repository.root / path, artifact.bytes):
                continue
            await asyncio.to_thread(
                _take, staging / path, repository.root / path, artifact.sha256, origin.describe
            )
        sync_tree(reader.directory / part.source)
        place = staging / prefix
        if place.is_dir():
            remove_tree(place)


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _take(fetched: Path, target: Path, sha256: str, origin: str) -> None:
    """Move a fetched file to where it belongs, once its hash is that of the manifest."""
    problem = "it is missing there"
    if fetched.is_file():
        if hash_file(fetched)[0] == sha256:
            fetched.chmod(0o600)
            for directory in reversed(target.parents):
                if not directory.exists():
                    make_directory(directory)
            shutil.move(fetched, target)
            return
        fetched.unlink()
        problem = "its SHA-256 differs"
    raise PointDamaged(
        f"POINT DAMAGED at {origin}: {'/'.join(target.parts[-3:])}.",
        why=f"{problem[0].upper()}{problem[1:]}: it is not what its manifest says.",
        fix="Take another copy of it, or another point: fsbackup list",
    )
