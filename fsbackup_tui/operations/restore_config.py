"""Restoring a configuration: compared by names, written beside, or put back file by file."""

from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path

from fsbackup_tui.domain.config_change import EntryChange, compare_config
from fsbackup_tui.domain.errors import KeyUnavailable, SafetyRefusal, ToolError, UsageError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.config_digest import DigestKey, config_facts, why_whole
from fsbackup_tui.engines.config_files import ConfigItem, chosen, matches
from fsbackup_tui.engines.config_restore import (
    Placed,
    is_as_captured,
    is_kept_only,
    placed_before,
    put_in_place,
    state_of,
    write_beside,
)
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.digest_key import known_digest_key
from fsbackup_tui.operations.live_config import (
    LiveConfig,
    config_source,
    plain_path,
    read_config,
)
from fsbackup_tui.operations.open_part import OpenPart, open_part
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.site_requests import RestoreConfigRequest
from fsbackup_tui.operations.verify_config import read_items


async def run(request: RestoreConfigRequest, context: JobContext) -> dict[str, object]:
    """Do what the request asks; returns the document of ``fsbackup restore`` for this kind.

    Raises:
        UsageError: nothing in the part answers to ``files``; the directory is there already.
        SafetyRefusal: a live file was written to since it was shown, is none of the
            configuration's, or this user may not replace it. Nothing was changed.
        KeyUnavailable, PointDamaged.
    """
    started = time.monotonic()
    if request.mode == "in-place":
        refuse_if_read_only(context.loaded, "puts nothing in place")
    context.stage("check")
    context = await borrowing(context, request.replica, request.point)
    async with open_part(
        context, request.point, request.part, "config", reason_unsigned=request.reason_unsigned
    ) as opened:
        if request.mode == "diff":
            document = await _diff(request, context, opened)
        else:
            items = chosen(await read_items(opened.reader, opened.part, opened.keys), request.files)
            if not items:
                raise _nothing_chosen(request)
            if request.mode == "beside":
                document = await _beside(request, context, items)
            else:
                document = await _in_place(request, context, items)
    return {
        "ok": True,
        "point": request.point,
        "part": request.part,
        "mode": request.mode,
        **document,
        "seconds": round(time.monotonic() - started, 3),
        "problems": [],
    }


async def compare(request: RestoreConfigRequest, context: JobContext) -> dict[str, object]:
    """Compare with live to measure a damage: an unsigned point, too, since nothing is restored.

    Raises:
        KeyUnavailable, PointDamaged.
    """
    async with open_part(context, request.point, request.part, "config", restores=False) as opened:
        return await _diff(request, context, opened)


def _nothing_chosen(request: RestoreConfigRequest) -> UsageError:
    wanted = " ".join(request.files)
    return UsageError(
        f"NOTHING CHOSEN: no entry of {request.part} answers to {wanted}. Nothing was written.",
        fix=f"fsbackup show {request.point}   lists what is in it",
    )


async def _diff(
    request: RestoreConfigRequest, context: JobContext, opened: OpenPart
) -> dict[str, object]:
    """Compare by names: what live has beyond the point, lacks of it, or has otherwise."""
    context.stage("compare")
    facts = opened.part.config
    if facts is None:
        raise UsageError(f"NOTHING TO COMPARE: {request.part} tells nothing of its entries.")
    live = await read_config(context, config_source(context.loaded, request.part), strict=False)
    notes = list(live.problems)
    here = list(live.items)
    try:
        items = await read_items(opened.reader, opened.part, opened.keys)
        # Both are at hand: a key for this once compares them, whoever captured the point.
        key = DigestKey.new()
        facts = config_facts(items, key, facts.absent)
        here += items
    except KeyUnavailable as error:
        found = known_digest_key(context, opened.repository)
        key = found or DigestKey.new()
        if key.id != facts.digest_key:
            notes.append(f"values are not compared: {error.what.removesuffix('.')}")
    changes = compare_config(facts, config_facts(live.items, key, live.absent))
    changes = tuple(
        change for change in changes if not request.files or matches(change.name, request.files)
    )
    if request.files and not changes:
        raise _nothing_chosen(request)
    differing = {change.name for change in changes if change.change == "changed"}
    notes += [
        f"{item.name} is compared as a whole: {why}"
        for item in here
        if item.name in differing and (why := why_whole(item))
    ]
    return {
        "entries": [_entry_document(change, live) for change in changes],
        "notes": list(dict.fromkeys(notes)),
    }


def _entry_document(change: EntryChange, live: LiveConfig) -> dict[str, object]:
    state = state_of(Path(change.name)) if change.origin == "file" else ""
    return {**change.document(), "live": state}


async def _beside(
    request: RestoreConfigRequest, context: JobContext, items: tuple[ConfigItem, ...]
) -> dict[str, object]:
    context.stage("write")
    try:
        names = await asyncio.to_thread(write_beside, items, Path(request.to))
    except OSError as error:
        raise ToolError(f"NOT WRITTEN: {request.to}.", why=f"{error.strerror}.") from error
    context.report(Log(f"Wrote {len(names)} files to {request.to}"))
    return {"target": request.to, "written": names}


async def _in_place(
    request: RestoreConfigRequest, context: JobContext, items: tuple[ConfigItem, ...]
) -> dict[str, object]:
    context.stage("compare")
    files = tuple(item for item in items if item.origin == "file")
    if not request.files or not files:
        raise UsageError(
            "WHICH FILES? Only files that are named are put in place.",
            why="A variable, or what a command printed, has no place to be put.",
            fix=f"fsbackup restore {request.point} --part {request.part} --in-place --files .env",
        )
    source = config_source(context.loaded, request.part)
    configured = {str(plain_path(path)) for path in (*source.files, *source.optional)}
    for item in files:
        if item.name not in configured:
            raise SafetyRefusal(
                f"NOT PUT IN PLACE: {item.name} is none of this site's files. Nothing was changed.",
                why=f"{context.loaded.path} does not name it: only what it names is replaced.",
                fix=f"Write it beside, and put it where it belongs: --to DIR --files {item.name}",
            )
    _refuse_changed(request, files)
    context.stage("write")
    changing = tuple(item for item in files if not is_as_captured(item))
    try:
        placed = await asyncio.to_thread(
            put_in_place,
            changing,
            context.now(),
            _command(request, context),
            tag=request.tag,
        )
    except OSError as error:
        raise ToolError(
            "NOT ALL PUT IN PLACE: the system refused one of the files.",
            why=f"{error.filename}: {error.strerror}.",
            fix="Those that were replaced lie beside as .before-…-NAME~: compare, run it again.",
        ) from error
    placed += _placed_before(request, files, changing)
    for one in placed:
        kept = f", the former one is {one.kept}" if one.kept else ""
        context.report(Log(f"Put in place: {one.name}{kept}"))
    put = {one.name for one in placed}
    return {
        "placed": [_placed_document(one) for one in placed],
        "same": [item.name for item in files if item.name not in put],
    }


def _placed_before(
    request: RestoreConfigRequest, files: tuple[ConfigItem, ...], changing: tuple[ConfigItem, ...]
) -> list[Placed]:
    """Return what an attempt put in place that was killed, so that it can be taken back."""
    seen = _states_seen(request)
    already = (item for item in files if item not in changing)
    found = (placed_before(item, request.tag, seen.get(item.name, "")) for item in already)
    return [one for one in found if one is not None]


def _states_seen(request: RestoreConfigRequest) -> dict[str, str]:
    pairs = (token.rpartition("=") for token in request.seen)
    return {name: state for name, _, state in pairs}


def _refuse_changed(request: RestoreConfigRequest, files: tuple[ConfigItem, ...]) -> None:
    seen = _states_seen(request)
    for item in files:
        before = seen.get(item.name, "")
        went_on = is_kept_only(item, request.tag, before) or placed_before(
            item, request.tag, before
        )
        if state_of(Path(item.name)) != before and not went_on:
            raise SafetyRefusal(
                f"STOPPED: {item.name} was written to since it was compared. Nothing was changed.",
                fix="Look at the differences again, then confirm.",
            )


def seen_token(name: str, state: str) -> str:
    """Return what a request carries of a live file as it was shown."""
    return f"{name}={state}"


def _command(request: RestoreConfigRequest, context: JobContext) -> str:
    words = ["fsbackup", "restore", request.point, "--part", request.part, "--in-place"]
    words += ["--files", ",".join(request.files), "--confirm", context.loaded.config.site]
    return shlex.join(words)


def _placed_document(one: Placed) -> dict[str, str | None]:
    return {"file": one.name, "kept": one.kept or None}
