"""A replica's points as if they lay here: what tells of them in a cache, what is used in a job.

The cache (in the state directory) holds manifests, seals and records alone, which never change;
what no longer lies there leaves it. The artifacts of a point that a job uses are brought into
the job's own private directory, and go with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import PointDamaged, PointNotFound, ReplicaLacks
from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.remote import RemoteFile
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.replica_open import open_far
from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.operations.status import open_site_repository, site_repository_or_none
from fsbackup_tui.repository.files import (
    free_bytes,
    is_plain_path,
    make_directory,
    make_state_directory,
    not_enough_space,
    remove_tree,
    sync_tree,
)
from fsbackup_tui.repository.layout import Repository, open_repository, site_state
from fsbackup_tui.repository.replica_layout import SMALL_NAMES, check_identity, point_path
from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME

_LARGEST_FACTS = 64 << 20
_SPARE_BYTES = 64 << 20


def point_repository(context: JobContext) -> Repository:
    """Return where the points of this job are read: what came from a replica, else the site's."""
    if context.borrowed is not None:
        return context.borrowed
    return open_site_repository(context.loaded, os.environ)


async def borrowing(context: JobContext, replica: str, point: str) -> JobContext:
    """Return a context that reads the point as it came from a replica; as it is for ``""``.

    Raises:
        PointNotFound: it is not there, or not whole there.
        ReplicaLacks: a file of it is missing there, or of another size.
        DiskFull: it does not fit into the job's directory.
        SafetyRefusal, ReplicaError, SecretUnavailable, UsageError.
    """
    if not replica:
        return context
    far = await open_far(
        context.loaded, context.environment, context.redactor, context.work, replica
    )
    return replace(context, borrowed=await bring_point(context, far, point))


async def bring_point(
    context: JobContext, far: Far, point: str, *, root: Path | None = None
) -> Repository:
    """Bring a point with its records into the job's directory; sizes are checked, not hashes.

    In a ``root`` that is given, what an earlier try has brought is not brought again.
    Hashes are for who uses it: nothing is restored, and nothing proven, without them.
    """
    home = site_repository_or_none(context.loaded, os.environ)
    files = [*await far.remote.list(point_path(point)), *await far.remote.list(f"records/{point}")]
    paths = {file.path for file in files}
    if point_path(point, "manifest.json") not in paths:
        raise PointNotFound(
            f"NO SUCH POINT on {far.name}: {point}.",
            why="What is there of it is not whole." if paths else f"{far.remote.describe}",
            fix=f"fsbackup list --replica {far.name}",
        )
    if root is None:
        root = context.work / f"replica-{far.name}"
        remove_tree(root)
        make_directory(root)
    came = sum(file.bytes for file in files if _has(root / file.path, file.bytes))
    needed, free = sum(file.bytes for file in files) - came + _SPARE_BYTES, free_bytes(root)
    if free < needed:
        raise not_enough_space(root, needed, free)
    context.report(Log(f"Fetching {point} from {far.name}: {far.remote.describe}"))
    await _bring(far, root, files, context.report)
    return await _opened(context.loaded, far, root, home)


async def refresh_view(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    name: str,
) -> Repository:
    """Return a replica's points as a repository without artifacts, compared with it just now.

    Raises:
        SafetyRefusal: it is another repository's.
        ReplicaError, SecretUnavailable, UsageError, ToolMissing.
    """
    return (await view_of(loaded, await open_far(loaded, environment, redactor, work, name)))[0]


async def view_of(loaded: LoadedConfig, far: Far) -> tuple[Repository, Listing]:
    """Return an open replica's points without artifacts, and all of its files as it lists them.

    Raises:
        SafetyRefusal: it is another repository's.
        ReplicaError.
    """
    await far.remote.probe()
    home = site_repository_or_none(loaded, os.environ)
    state = site_state(loaded, os.environ, home)
    make_state_directory(state / "replicas")
    root = make_state_directory(state / "replicas" / f"{far.name}.view")
    listing = {file.path: file for file in await far.remote.list()}
    wanted = {path: file for path, file in listing.items() if _tells(file)}
    for path in sorted(root.rglob("*"), reverse=True):
        relative = path.relative_to(root).as_posix()
        if path.is_file() and (
            relative not in wanted or wanted[relative].bytes != path.stat().st_size
        ):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    lacking = [file for path, file in wanted.items() if not (root / path).is_file()]
    await _bring(far, root, lacking, lambda _event: None)
    return await _opened(loaded, far, root, home), listing


def _tells(file: RemoteFile) -> bool:
    """Whether a file tells of a point, and is none of its artifacts."""
    steps = file.path.split("/")
    if file.bytes > _LARGEST_FACTS or not is_plain_path(file.path):
        return False
    match steps:
        case ["points", _point, _name]:
            return True
        case ["points", _point, _part, name]:
            return name in SMALL_NAMES
        case ["records", _point, name]:
            return name.endswith(".json")
    return False


async def _bring(far: Far, root: Path, files: list[RemoteFile], report: Report) -> None:
    bad = next((file.path for file in files if not is_plain_path(file.path)), None)
    if bad is not None:
        raise PointDamaged(
            f"NOT FETCHED: {far.name} lists {bad!r}, which leads elsewhere.",
            why="A replica holds plain paths only; somebody altered it.",
            fix="Take another replica.",
        )
    await far.remote.fetch_all([file.path for file in files], root, report)
    await asyncio.to_thread(_demand, far, root, files)


def _has(path: Path, size: int) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == size


def _demand(far: Far, root: Path, files: list[RemoteFile]) -> None:
    for file in files:
        path = root / file.path
        if not _has(path, file.bytes):
            size = path.stat().st_size if path.is_file() else None
            raise ReplicaLacks(
                f"NOT FETCHED: {file.path} of {far.name}.",
                why="It did not come." if size is None else f"{size} of {file.bytes} bytes came.",
                fix=f"Run it again; then check it: fsbackup replicate {far.name} --check",
            )
    sync_tree(root)


async def _opened(
    loaded: LoadedConfig, far: Far, root: Path, home: Repository | None
) -> Repository:
    content = await far.remote.read(REPOSITORY_NAME)
    if home is not None:
        check_identity(content, home, far.name, far.remote.describe)
    (root / REPOSITORY_NAME).write_bytes(content)
    (root / REPOSITORY_NAME).chmod(0o600)
    for name in ("points", "records", "locks"):
        make_directory(root / name)
    return open_repository(root, site=loaded.config.site)
