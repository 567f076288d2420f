"""A site's lines in a crontab: what there should be, what there is, putting one for the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, ToolError
from fsbackup_tui.domain.scheduled import Caller, Scheduled
from fsbackup_tui.engines.cron_lines import (
    block,
    block_year,
    entries_of,
    find_block,
    with_block,
)
from fsbackup_tui.engines.timers import (
    TimerPlaces,
    read_crontab,
    read_text,
    touching,
    write_crontab,
    write_public,
)
from fsbackup_tui.operations.schedule_units import Found, Times


def cron_file(places: TimerPlaces, site: str) -> Path | None:
    """Return the file in /etc/cron.d; None where the user's own crontab is used."""
    return None if places.cron_d is None else places.cron_d / f"fsbackup-{site}"


def where_text(places: TimerPlaces, site: str) -> str:
    """Return where the lines are, for people."""
    path = cron_file(places, site)
    return "your crontab" if path is None else str(path)


async def wanted_block(
    entries: Sequence[Scheduled], caller: Caller, times: Times, places: TimerPlaces, now: datetime
) -> str:
    """Return the lines that there should be."""
    there = _block_in(await _seen(places, caller.site), caller.config)
    return _wanted(entries, caller, times, places, block_year(there) or now.year)


async def look_at_lines(
    entries: Sequence[Scheduled], caller: Caller, times: Times, places: TimerPlaces, now: datetime
) -> dict[str, Found]:
    """Return how each entry is installed with cron, by its id; empty where nothing is."""
    where = where_text(places, caller.site)
    there = _block_in(await _seen(places, caller.site), caller.config)
    if not there:
        return {}
    wanted = _wanted(entries, caller, times, places, block_year(there) or now.year)
    if there == wanted:
        return {entry.id: Found("ok", where) for entry in entries}
    known = entries_of(there)
    lines = set(there.splitlines())
    always = set(_wanted((), caller, times, places, now.year).splitlines()[1:])
    found = {}
    for entry in entries:
        its = _wanted((entry,), caller, times, places, now.year).splitlines()[1:]
        if entry.id not in known:
            found[entry.id] = Found("missing", where, "it has no line")
        elif lines.issuperset(its) and lines.issuperset(always):
            found[entry.id] = Found("ok", where)
        else:
            found[entry.id] = Found("different", where, "its lines are not what is asked for")
    return found


async def lines_of_ours(site: str, config: str, places: TimerPlaces) -> set[str]:
    """Return the ids of the entries that have lines of ours."""
    return entries_of(_block_in(await _seen(places, site), config))


async def install_lines(block_text: str, caller: Caller, places: TimerPlaces) -> bool:
    """Put the lines there (none: take them out); whether anything was changed.

    Raises:
        ToolError: there is no crontab program, or this user may not have a crontab.
        FsbackupError: the lines that are there have lost their end.
    """
    before = await (_read if block_text else _seen)(places, caller.site)
    try:
        after = with_block(before, caller.config, block_text)
    except ValueError as error:
        raise _damaged(where_text(places, caller.site), error) from None
    if after == before:
        return False
    path = cron_file(places, caller.site)
    if path is None:
        await write_crontab(after)
    elif after.strip():
        write_public(path, after)
    else:
        with touching(path):
            path.unlink(missing_ok=True)
    return True


async def _read(places: TimerPlaces, site: str) -> str:
    path = cron_file(places, site)
    return await read_crontab() if path is None else read_text(path) or ""


async def _seen(places: TimerPlaces, site: str) -> str:
    """Return what there is; who can't have a crontab has nothing of ours in it."""
    try:
        return await _read(places, site)
    except ToolError:
        return ""


def _block_in(text: str, config: str) -> str:
    try:
        found = find_block(text, config)
    except ValueError:
        return ""
    return "" if found is None else "".join(text.splitlines(keepends=True)[slice(*found)])


def _wanted(
    entries: Sequence[Scheduled], caller: Caller, times: Times, places: TimerPlaces, year: int
) -> str:
    return block(
        entries,
        caller,
        zone=times.zone,
        machine=times.machine,
        year=year,
        with_user=places.cron_d is not None,
    )


def _damaged(where: str, error: ValueError) -> FsbackupError:
    return FsbackupError(
        f"NOT CHANGED: the lines of fsbackup in {where} can't be told from the others.",
        why=f"{error}.",
        fix="Take out what begins with '# >>> fsbackup' by hand, then install again.",
    )
