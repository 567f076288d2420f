"""Bringing a point back whole from a replica into the repository: one that is lost or damaged here.

It comes into a place of its own, is compared with its seal there, and takes its place by one
rename. What is fetched once is not fetched again; what is whole here is left as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.errors import (
    PointDamaged,
    SafetyRefusal,
)
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.trees.renaming import CannotExchange, exchange
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_open import open_far
from fsbackup_tui.operations.replica_send import Far
from fsbackup_tui.operations.replica_view import bring_point
from fsbackup_tui.operations.requests import FetchRequest
from fsbackup_tui.operations.signatures import demand_signature, is_demanded, signature_in
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.verify import verify_point
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.files import (
    create_whole,
    list_files,
    make_directory,
    remove_tree,
    sync_directory,
    writing,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.not_here import not_here, wholly_here
from fsbackup_tui.repository.reader import PointReader

_STAGING = ".fetched"


async def run(request: FetchRequest, context: JobContext) -> dict[str, object]:
    """Bring the point here and verify its seal; returns the document of ``fsbackup fetch``.

    Raises:
        PointNotFound, ReplicaLacks: it is not there, or not whole there.
        PointDamaged: what the replica has is not as it was sealed; nothing here was changed.
        SafetyRefusal: read only; it lies in the trash; another point of that name is here; a
            signature is demanded and is not there.
        LockHeld: it is in use, or being written.
        WriterRetired, ReplicaError, SecretUnavailable, UsageError, DiskFull.
    """
    refuse_if_read_only(context.loaded, "brings no point back")
    home = open_site_repository(context.loaded, os.environ)
    require_writer(context, home)
    point = request.point
    locks = make_directory(home.locks / "fetch")
    fetching = Lock(locks / f"{point}.lock", what=f"the fetching of {point}")
    async with fetching.acquire_async(0, context.holder()):
        return await _bring_back(request, context, home)


async def _bring_back(
    request: FetchRequest, context: JobContext, home: Repository
) -> dict[str, object]:
    point = request.point
    context.stage("fetch")
    wrong = await asyncio.to_thread(_what_is_wrong_here, context, home, point)
    if not wrong:
        context.report(Log(f"{point} is whole here: nothing was fetched"))
        return _document(request, fetched=False, trust="", replaced=[])
    far = await open_far(
        context.loaded, context.environment, context.redactor, context.work, request.replica
    )
    place = home.root / _STAGING / f"{far.name}-{point}"
    with writing(place):
        make_directory(place.parent)
        make_directory(place)
        staged = await bring_point(context, far, point, root=place)
        await _demand_the_same(context, home, staged, far, point)
        use = Lock(home.use_lock(point), what=f"point {point}")
        async with use.acquire_async(0, context.holder()):
            await asyncio.to_thread(_take, home, staged, point)
        remove_tree(place)
        with suppress(OSError):
            place.parent.rmdir()
    context.stage("verify")
    verified = await verify_point(context, home, point, level=Trust.SEALED)
    return _document(request, fetched=True, trust=str(verified["trust"]), replaced=wrong)


def _what_is_wrong_here(context: JobContext, home: Repository, point: str) -> list[str]:
    """Return why the point has to come; [] where it is here as it was sealed."""
    directory = home.point_directory(point)
    if (home.trash / point / "point").exists():
        raise SafetyRefusal(
            f"NOT FETCHED: {point} lies in the trash here.",
            why="It went there by the plan's keep:, and is whole.",
            fix=f"fsbackup retain --take-back {point}",
        )
    if not directory.exists():
        return ["it is not here"]
    if (lacking := not_here(home, point)) is not None:
        return [f"{part}: it is elsewhere" for part in lacking.parts] or ["it is elsewhere"]
    reader = PointReader(home, point)
    try:
        sources = [part.source for part in reader.parts()]
        problems = reader.check_point_files()
        if reader.manifest is None and not problems:
            problems.append("its manifest is missing")
    except PointDamaged as error:
        return [error.why or error.what]
    for source in sources:
        problems += reader.check_sealed(source, context.report, beside_parts=False)
    return problems


async def _demand_the_same(
    context: JobContext, home: Repository, staged: Repository, far: Far, point: str
) -> None:
    """Raise unless what came is as it was sealed, and is the point that this repository knows."""
    await asyncio.to_thread(_lay_own_records, home, staged, point)
    reader = PointReader(staged, point)
    problems = await asyncio.to_thread(_seal_problems, context, reader)
    if problems:
        remove_tree(staged.root)
        raise PointDamaged(
            f"POINT DAMAGED on {far.name}: {point}. Nothing here was changed.",
            why="\n".join(problems[:5]),
            fix=f"Take another replica, or another point: fsbackup list --replica {far.name}",
        )
    await demand_signature(context, reader, reason="")
    if is_demanded(context.loaded) or not home.point_directory(point).exists():
        return
    own = PointReader(home, point)
    if _same(own.directory, reader.directory):
        return
    if (await signature_in(context, reader)).state == "good":
        return
    raise SafetyRefusal(
        f"ANOTHER POINT: {point} on {far.name} is not the one that is here.",
        why=f"Neither its manifest nor its {SUMS_NAME} is the one of {own.directory},\n"
        "and no signature that counts says which of the two is right.",
        fix=f"Look at both: fsbackup show {point}   and: fsbackup show {point} --replica "
        f"{far.name}\nTo use the replica's: fsbackup restore {point} --replica {far.name} "
        "--beside NAME",
    )


def _lay_own_records(home: Repository, staged: Repository, point: str) -> None:
    """Let what this repository knows of a point count against what came: its manifest's hash."""
    known, come = home.records / point, staged.records / point
    if not known.is_dir():
        return
    make_directory(come)
    for path in sorted(known.glob("*.json")):
        target = come / path.name
        target.unlink(missing_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)


def _seal_problems(context: JobContext, reader: PointReader) -> list[str]:
    problems = reader.check_point_files()
    if problems:
        return problems
    for part in reader.parts():
        problems += reader.check_sealed(part.source, context.report, beside_parts=False)
    return problems


def _same(one: Path, other: Path) -> bool:
    """Whether two directories of a point hold the same manifest, or the same list of hashes."""
    for name in ("manifest.json", SUMS_NAME):
        with suppress(OSError):
            if (one / name).read_bytes() == (other / name).read_bytes():
                return True
    return False


def _take(home: Repository, staged: Repository, point: str) -> None:
    """Put what came in its place, with the records that are not known here."""
    come, place = staged.point_directory(point), home.point_directory(point)
    if place.exists():
        _exchange(come, place)
    else:
        come.rename(place)
    sync_directory(home.points)
    sync_directory(come.parent)
    wholly_here(home, point)
    facts = home.records / point
    for name in list_files(staged.records / point):
        if not (facts / name).exists():
            make_directory(facts)
            with suppress(FileExistsError):
                create_whole(facts / name, (staged.records / point / name).read_bytes())


def _exchange(come: Path, place: Path) -> None:
    from_fd, to_fd = (os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY) for path in (come, place))
    try:
        exchange(from_fd, os.fsencode(come.name), to_fd, os.fsencode(place.name))
    except CannotExchange:
        # A crash in between leaves the whole one where the next run finds it.
        former = come.with_name(f"{come.name}.former")
        remove_tree(former)
        place.rename(former)
        come.rename(place)
    finally:
        os.close(from_fd)
        os.close(to_fd)


def _document(
    request: FetchRequest, *, fetched: bool, trust: str, replaced: Sequence[str]
) -> dict[str, object]:
    return {
        "ok": True,
        "point": request.point,
        "replica": request.replica,
        "fetched": fetched,
        "was": list(replaced),
        "trust": trust,
    }
