"""A lost machine's files, configuration and code, each where it was; what is there stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.config.sources import CodeSource, ConfigSource, FilesSource
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.config_restore import state_of
from fsbackup_tui.operations import (
    files_beside,
    files_exchange,
    files_look,
    restore_code,
    restore_config,
)
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import real_root
from fsbackup_tui.operations.host_requests import HostLinksRequest, HostPlaceRequest, HostRequest
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.restore_config import seen_token
from fsbackup_tui.operations.site_requests import (
    FilesBesideRequest,
    FilesExchangeRequest,
    FilesLookRequest,
    RestoreCodeRequest,
    RestoreConfigRequest,
)
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.reader import PointReader

_OPEN_DIRECTORY = 0o755


@dataclass
class _Placing:
    request: HostRequest
    context: JobContext
    placed: list[dict[str, object]] = field(default_factory=list)
    left: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def is_placed(self, part: str, where: str, files: object = None) -> None:
        self.placed.append({"part": part, "where": where, "files": files})
        self.context.report(Log(f"{part} is at {where}"))

    def is_left(self, part: str, where: str, why: str) -> None:
        self.left.append({"part": part, "where": where, "why": why})
        self.context.report(Log(f"{part}: {where} stays as it is: {why}"))


async def run(request: HostPlaceRequest, context: JobContext) -> dict[str, object]:
    """Put every part of the kind in its place; nothing that is there is replaced.

    Raises:
        PointDamaged, KeyUnavailable, DiskFull, ReplicaError: the rest can be done again.
    """
    refuse_if_read_only(context.loaded, "puts nothing in place")
    practised = staged(request, context)
    placing = _Placing(request, practised)
    for part in await _parts(request, practised, request.kind):
        source = practised.loaded.config.sources.get(part.source)
        practised.stage("place")
        match source:
            case FilesSource():
                await _place_files(placing, part, source)
            case ConfigSource():
                await _place_config(placing, part)
            case CodeSource():
                await _place_code(placing, part, source)
            case _:
                placing.is_left(part.source, "-", "the configuration has no such source")
    return {
        "ok": True,
        "placed": placing.placed,
        "left": placing.left,
        "notes": placing.notes,
    }


def staged(request: HostRequest, context: JobContext) -> JobContext:
    """Return the context as a drill sees it: every tree lies below its directory."""
    if not request.stage:
        return context
    stage = Path(request.stage)
    sources = {
        name: source.model_copy(update={"root": stage / name})
        if isinstance(source, FilesSource)
        else source.model_copy(update={"worktree": stage / name})
        if isinstance(source, CodeSource)
        else source
        for name, source in context.loaded.config.sources.items()
    }
    config = context.loaded.config.model_copy(update={"sources": sources})
    return replace(context, loaded=replace(context.loaded, config=config))


async def _parts(request: HostRequest, context: JobContext, kind: str) -> list[PartManifest]:
    context.stage("fetch")
    repository = open_site_repository(context.loaded, os.environ)
    found = [part for part in PointReader(repository, request.point).parts() if part.kind == kind]
    for part in found:
        await bring_here(context, repository, request.point, part=part.source)
    return found


def _make_parents(path: Path) -> None:
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=_OPEN_DIRECTORY)
            parent.chmod(_OPEN_DIRECTORY)


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


async def _place_files(placing: _Placing, part: PartManifest, source: FilesSource) -> None:
    """Extract the tree beside, and let it take its place in one step."""
    request, context, root = placing.request, placing.context, real_root(source)
    if not _is_free(root):
        placing.is_left(
            part.source,
            str(root),
            "something is there. What it lacks is put back by: fsbackup restore"
            f" {request.point} --part {part.source} --put-back --all-missing",
        )
        return
    _make_parents(root)
    if root.exists():
        root.rmdir()
    tag = context.job.rpartition("-")[2]
    beside = await files_beside.run(
        FilesBesideRequest(
            part.source, request.point, tag=tag, reason_unsigned=request.reason_unsigned
        ),
        context,
    )
    tree, inode = str(beside["tree"]), beside["inode"]
    await files_exchange.run(
        FilesExchangeRequest(
            part.source,
            request.point,
            tree=tree,
            inode=inode if isinstance(inode, int) else 0,
            tag=tag,
        ),
        context,
    )
    placing.is_placed(part.source, str(root), beside.get("files"))


async def _place_config(placing: _Placing, part: PartManifest) -> None:
    request, context = placing.request, placing.context
    if request.stage:
        target = Path(request.stage) / part.source
        await restore_config.run(
            RestoreConfigRequest(
                request.point,
                part.source,
                "beside",
                to=str(target),
                reason_unsigned=request.reason_unsigned,
            ),
            context,
        )
        placing.is_placed(part.source, str(target))
        return
    missing, there = _sorted_out(part)
    for name in there:
        placing.is_left(part.source, name, "it is there; fsbackup restore --diff compares it")
    if not missing:
        return
    for name in missing:
        _make_parents(Path(name))
    done = await restore_config.run(
        RestoreConfigRequest(
            request.point,
            part.source,
            "in-place",
            files=tuple(missing),
            seen=tuple(seen_token(name, state_of(Path(name))) for name in missing),
            reason_unsigned=request.reason_unsigned,
        ),
        context,
    )
    put = done.get("placed")
    for one in put if isinstance(put, list) else []:
        placing.is_placed(part.source, str(one["file"]))


def _sorted_out(part: PartManifest) -> tuple[list[str], list[str]]:
    """Return the captured files that are missing here, and those that are there."""
    names = list(_config_files(part))
    there = [name for name in names if Path(name).exists()]
    return [name for name in names if name not in there], there


def _config_files(part: PartManifest) -> Iterator[str]:
    if part.config is not None:
        yield from dict.fromkeys(
            entry.name for entry in part.config.entries if entry.origin == "file"
        )


async def _place_code(placing: _Placing, part: PartManifest, source: CodeSource) -> None:
    request, context, target = placing.request, placing.context, source.worktree
    if not _is_free(target):
        placing.is_left(
            part.source, str(target), "something is there: look, and move it away or keep it"
        )
        return
    _make_parents(target)
    if target.exists():
        target.rmdir()
    done = await restore_code.run(
        RestoreCodeRequest(
            request.point,
            part.source,
            to=str(target),
            reason_unsigned=request.reason_unsigned,
        ),
        context,
    )
    notes = done.get("notes")
    placing.notes.extend(map(str, notes if isinstance(notes, list) else []))
    placing.is_placed(part.source, str(target))


async def run_links(request: HostLinksRequest, context: JobContext) -> dict[str, object]:
    """Compare every tree with the point, and with the rows of the database that is live now.

    Raises:
        SafetyRefusal: the point has nothing to compare with.
    """
    practised = staged(request, context)
    parts, notes, whole = list[dict[str, object]](), list[str](), True
    for part in await _parts(request, practised, "files"):
        if part.source not in practised.loaded.config.sources:
            continue
        practised.stage("files")
        found = await files_look.run(
            FilesLookRequest(part.source, request.point, touching=False), practised
        )
        missing, rows, nowhere = _counts(found)
        # In a drill the rows are those of the live database, which is not what was restored.
        judged = missing + (0 if request.stage else nowhere)
        whole = whole and judged == 0
        parts.append({"part": part.source, "missing": missing, "rows": rows, "nowhere": nowhere})
        told = found.get("notes")
        notes += map(str, told if isinstance(told, list) else [])
    if not parts and not any(
        isinstance(source, FilesSource) for source in practised.loaded.config.sources.values()
    ):
        notes.append("The site has no files.")
    elif not parts:
        raise SafetyRefusal(
            f"NO FILES IN IT: {request.point} has no part of files.",
            fix="Choose another point, or skip this with a reason.",
        )
    return {"ok": True, "whole": whole, "parts": parts, "notes": notes}


def _counts(found: dict[str, object]) -> tuple[int, int, int]:
    rows, nowhere = 0, 0
    listed = found.get("rows")
    for fit in listed if isinstance(listed, list | tuple) else ():
        rows += int(fit.get("rows") or 0)
        nowhere += int(fit["missing"]["count"])
    missing = found.get("missing")
    return (int(missing["count"]) if isinstance(missing, dict) else 0), rows, nowhere
