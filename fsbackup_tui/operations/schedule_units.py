"""A site's systemd timers: what there should be, what there is, and putting the one for the other.

A unit counts as ours when its mark names this configuration; no other file is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.scheduled import Caller, Scheduled
from fsbackup_tui.engines.systemd_units import (
    GAP_YEARS,
    mark_of,
    service_text,
    timer_text,
    unit_name,
)
from fsbackup_tui.engines.timers import (
    WANTS,
    TimerPlaces,
    is_enabled,
    read_text,
    systemctl,
    touching,
    unit_states,
    write_public,
)

State = Literal["ok", "missing", "different", "foreign", "disabled", "stopped"]
_LEAST_YEARS = 2
"""Gaps of the clock are named for so many years at least, or the timer counts as different."""


@dataclass(frozen=True, slots=True)
class Times:
    """The zone of a site's times: ``name`` is empty where it is the machine's own, ``machine``."""

    zone: tzinfo
    name: str
    machine: tzinfo


@dataclass(frozen=True, slots=True)
class Found:
    """How an entry is installed: the state, where, and what of it is not as it should be."""

    state: State
    where: str
    why: str = ""


def wanted_units(
    entries: Sequence[Scheduled], caller: Caller, times: Times, places: TimerPlaces, now: datetime
) -> dict[Path, str]:
    """Return the unit files there should be, timer and service of each entry, with their texts."""
    wanted: dict[Path, str] = {}
    for entry in entries:
        timer, service = _paths(places, caller.site, entry.id)
        year = _year(read_text(timer), now)
        wanted[timer] = timer_text(entry, caller, zone=times.zone, zone_name=times.name, year=year)
        wanted[service] = service_text(entry, caller, user=places.of_user, year=year)
    return wanted


async def look_at_units(
    entries: Sequence[Scheduled], caller: Caller, times: Times, places: TimerPlaces, now: datetime
) -> dict[str, Found]:
    """Return how each entry is installed with systemd, by its id."""
    wanted = wanted_units(entries, caller, times, places, now)
    names = [_paths(places, caller.site, entry.id)[0].name for entry in entries]
    states = await unit_states(places, names)
    return {entry.id: _found(entry, caller, places, wanted, states) for entry in entries}


def our_units(places: TimerPlaces, config: str) -> list[Path]:
    """Return the unit files whose mark names a configuration."""
    with touching(places.units):
        if not places.units.is_dir():
            return []
        found = [
            path
            for path in sorted(places.units.glob("fsbackup-*"))
            if path.suffix in {".timer", ".service"} and path.is_file() and not path.is_symlink()
        ]
    return [path for path in found if mark_of(read_text(path) or "").get("Config") == config]


async def install_units(
    wanted: Mapping[Path, str], caller: Caller, places: TimerPlaces
) -> tuple[list[Path], list[Path]]:
    """Make the units be those wanted; returns what was written, and what was taken away.

    Raises:
        SafetyRefusal: a file of that name is somebody else's; nothing was changed.
    """
    foreign = [path for path in wanted if _is_foreign(read_text(path), caller.config)]
    if foreign:
        raise SafetyRefusal(
            f"NOT OURS: {', '.join(str(path) for path in foreign)}.",
            why="A file of that name was not written by fsbackup for this configuration.",
            fix="Move it away, or give the site another name, then: fsbackup schedule install",
        )
    surplus = [path for path in our_units(places, caller.config) if path not in wanted]
    await _take_away(surplus, places)
    written = []
    for path, text in wanted.items():
        if read_text(path) != text:
            write_public(path, text)
            written.append(path)
    timers = [path.name for path in wanted if path.suffix == ".timer"]
    _enable(places, timers)
    if places.systemd_runs:
        await systemctl(places, "daemon-reload")
        await systemctl(places, "restart", *timers)
    return written, surplus


async def remove_units(config: str, places: TimerPlaces) -> list[Path]:
    """Take away the units of a configuration, and nothing else; returns them."""
    ours = our_units(places, config)
    await _take_away(ours, places)
    if ours and places.systemd_runs:
        await systemctl(places, "daemon-reload")
    return ours


async def _take_away(units: Sequence[Path], places: TimerPlaces) -> None:
    timers = [path.name for path in units if path.suffix == ".timer"]
    if timers and places.systemd_runs:
        await systemctl(places, "stop", *timers)
    for path in units:
        with touching(path):
            (places.units / WANTS / path.name).unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _enable(places: TimerPlaces, timers: Sequence[str]) -> None:
    """Make the links of ``systemctl enable``, which needs no running systemd."""
    directory = places.units / WANTS
    with touching(directory):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in timers:
            if not is_enabled(places, name):
                (directory / name).symlink_to(places.units / name)


def _found(
    entry: Scheduled,
    caller: Caller,
    places: TimerPlaces,
    wanted: Mapping[Path, str],
    states: Mapping[str, str],
) -> Found:
    paths = _paths(places, caller.site, entry.id)
    where = str(paths[0])
    texts = {path: read_text(path) for path in paths}
    for path, text in texts.items():
        if _is_foreign(text, caller.config):
            return Found("foreign", where, f"{path} was not written for {caller.config}")
    if lost := [path for path, text in texts.items() if text is None]:
        return Found("missing", where, f"there is no {lost[0]}")
    if changed := [path for path, text in texts.items() if text != wanted[path]]:
        return Found("different", where, f"{changed[0]} is not what the configuration asks for")
    if not is_enabled(places, paths[0].name):
        return Found("disabled", where, "the timer is not enabled: it does not start at boot")
    if states and (state := states.get(paths[0].name)) != "active":
        return Found("stopped", where, f"the timer is {state or 'not loaded'}")
    return Found("ok", where)


def _is_foreign(text: str | None, config: str) -> bool:
    return text is not None and mark_of(text).get("Config") != config


def _paths(places: TimerPlaces, site: str, entry: str) -> tuple[Path, Path]:
    name = unit_name(site, entry)
    return places.units / f"{name}.timer", places.units / f"{name}.service"


def _year(text: str | None, now: datetime) -> int:
    """Return the first year of a timer: that of the one there is, as long as it reaches on."""
    word = mark_of(text or "").get("Year", "")
    if word.isascii() and word.isdigit():
        year = int(word)
        if year <= now.year <= year + GAP_YEARS - _LEAST_YEARS:
            return year
    return now.year
