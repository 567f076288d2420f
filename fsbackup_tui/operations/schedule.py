"""Installing, removing and looking at what a site does by itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal

from fsbackup_tui.config.load import LoadedConfig, load_config, site_environment
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.shape import leaves
from fsbackup_tui.config.template import BadTemplate, MissingVariable, expand
from fsbackup_tui.config.yaml_reader import read_yaml
from fsbackup_tui.domain.errors import ConfigError, SecretUnavailable, UsageError
from fsbackup_tui.domain.schedule import next_run, previous_run
from fsbackup_tui.domain.scheduled import Caller, Scheduled
from fsbackup_tui.engines.timers import TimerPlaces, timer_places
from fsbackup_tui.operations.schedule_cron import (
    cron_file,
    install_lines,
    lines_of_ours,
    look_at_lines,
    wanted_block,
    where_text,
)
from fsbackup_tui.operations.schedule_due import Asked
from fsbackup_tui.operations.schedule_entries import caller, scheduled
from fsbackup_tui.operations.schedule_units import (
    Found,
    Times,
    install_units,
    look_at_units,
    our_units,
    remove_units,
    wanted_units,
)
from fsbackup_tui.operations.status import machine_zone, site_zone

How = Literal["systemd", "cron"]
GRACE = timedelta(minutes=15)
"""So long after its time an entry that was not begun is overdue."""

_LINGER = Path("/var/lib/systemd/linger")
_CRON_DAEMONS = ("cron", "crond", "busybox")


@dataclass(frozen=True, slots=True)
class LastRun:
    """How an entry ran last: when it began, and ``ok``, ``failed``, ``running``, …"""

    started: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class EntryState:
    """One entry as ``schedule show`` tells it; ``installed`` is None where nothing is."""

    entry: Scheduled
    next: datetime
    due: datetime
    last: LastRun | None
    overdue: bool
    installed: Found | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What runs by itself and what should; ``surplus`` is installed and asked for no more."""

    how: tuple[How, ...]
    entries: tuple[EntryState, ...]
    surplus: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def matches(self) -> bool:
        """Whether all that the configuration asks for is installed as it asks, and nothing else."""
        installed = (state.installed for state in self.entries)
        as_asked = all(found is not None and found.state == "ok" for found in installed)
        return as_asked and not self.surplus and len(self.how) < 2


@dataclass(frozen=True, slots=True)
class Installed:
    """What an installation did; ``texts`` is what was, or with ``--print`` would be, written."""

    how: How
    where: str
    entries: tuple[str, ...]
    written: tuple[str, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)


def site_times(loaded: LoadedConfig) -> Times:
    """Return the zone of the site's schedule; without a name it is the machine's own.

    A TZ in somebody's shell is not looked at: what runs by itself does not see it.
    """
    machine = machine_zone({})
    name = loaded.config.timezone or ""
    return Times(site_zone(loaded) if name else machine, name, machine)


async def survey(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    *,
    now: datetime,
    last: Mapping[str, LastRun],
    asked: Mapping[str, Asked],
    places: Sequence[TimerPlaces] | None = None,
) -> Survey:
    """Return how every entry is installed, and when it ran, runs, and should have run.

    ``last`` and ``asked`` are by the entries' ids; ``places`` default to the system's and the
    calling user's.
    """
    entries, times = scheduled(loaded.config), site_times(loaded)
    found: dict[str, Found] = {}
    surplus: list[str] = []
    ways: list[How] = []
    for place in all_places(environ) if places is None else places:
        who = _caller_of(loaded, environ, place)
        config = who.config
        units = our_units(place, config)
        if units:
            ways.append("systemd")
            found |= await look_at_units(entries, who, times, place, now)
            wanted = wanted_units(entries, who, times, place, now)
            surplus += [str(path) for path in units if path not in wanted]
        lines = await look_at_lines(entries, who, times, place, now)
        in_crontab = await lines_of_ours(who.site, config, place)
        if lines or in_crontab:
            ways.append("cron")
            found |= lines
            known = {entry.id for entry in entries}
            where = where_text(place, who.site)
            surplus += [f"{extra} in {where}" for extra in sorted(in_crontab - known)]
    states = (
        _state(entry, found.get(entry.id), times.zone, now, last.get(entry.id), asked)
        for entry in entries
    )
    return Survey(tuple(ways), tuple(states), tuple(surplus), tuple(_remarks(ways)))


async def install(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    *,
    how: How | None,
    of_user: bool,
    now: datetime,
    only_print: bool = False,
    place: TimerPlaces | None = None,
) -> Installed:
    """Make what runs by itself be what the configuration asks for; running it again is no change.

    Without ``how``: systemd where it runs, else cron where there is one, else systemd's units.

    Raises:
        UsageError: no entry has a time, or the configuration does not load without this shell.
        SafetyRefusal: a file that would be written is not ours.
    """
    entries, times = scheduled(loaded.config), site_times(loaded)
    if not entries:
        raise UsageError(
            f"NOTHING TO SCHEDULE: nothing in {loaded.path} has a time.",
            why="read_only: true runs no backups by itself." if loaded.config.read_only else "",
            fix='Give a plan its times, as in at: "02:00"; or take away what is installed: '
            "fsbackup schedule remove",
        )
    place = place or timer_places(environ, of_user=of_user)
    who = caller(loaded, environ)
    way: How = how or _best_way(place)
    notes = alone_notes(loaded, environ)
    if way == "systemd":
        texts = {
            str(path): text for path, text in wanted_units(entries, who, times, place, now).items()
        }
        where = str(place.units)
    else:
        where = where_text(place, who.site)
        texts = {where: await wanted_block(entries, who, times, place, now)}
    ids = tuple(entry.id for entry in entries)
    if only_print:
        return Installed(way, where, ids, (), (), tuple(notes), texts)
    if way == "systemd":
        by_path = {Path(path): text for path, text in texts.items()}
        files, surplus = await install_units(by_path, who, place)
        written, removed = [str(path) for path in files], [str(path) for path in surplus]
        if await _drop_lines(who, place):
            removed.append(f"the lines in {where_text(place, who.site)}")
        notes += _unit_notes(place, who, [path.name for path in by_path if path.suffix == ".timer"])
    else:
        changed = await install_lines(texts[where], who, place)
        written = [where] if changed else []
        removed = [str(path) for path in await remove_units(who.config, place)]
        notes += _remarks(["cron"])
    return Installed(way, where, ids, tuple(written), tuple(removed), tuple(notes), texts)


async def remove(
    loaded: LoadedConfig, environ: Mapping[str, str], *, places: Sequence[TimerPlaces] | None = None
) -> list[str]:
    """Take away all that runs by itself for a configuration, and nothing else; returns it."""
    removed: list[str] = []
    for place in all_places(environ) if places is None else places:
        who = caller(loaded, environ)
        removed += [str(path) for path in await remove_units(who.config, place)]
        if await _drop_lines(who, place):
            removed.append(f"the lines in {where_text(place, who.site)}")
    return removed


def all_places(environ: Mapping[str, str]) -> tuple[TimerPlaces, ...]:
    """Return where timers of the system and of the calling user lie."""
    return timer_places(environ, of_user=False), timer_places(environ, of_user=True)


def alone_notes(loaded: LoadedConfig, environ: Mapping[str, str]) -> list[str]:
    """Return what the configuration lacks once it is used without this shell's variables.

    Raises:
        UsageError: it can't even be loaded then.
    """
    bare = {name: environ[name] for name in ("HOME",) if name in environ}
    try:
        alone = load_config(loaded.path, bare)
    except ConfigError as error:
        raise UsageError(
            "WOULD NOT RUN BY ITSELF: without the variables of this shell the configuration "
            "can't be loaded.",
            why=error.why,
            fix="Put them into the env_file, then: fsbackup schedule install",
        ) from error
    try:
        known = site_environment(alone, bare)
        here = site_environment(loaded, environ)
    except SecretUnavailable as error:
        return [error.what]
    document = read_yaml(loaded.text, str(loaded.path)).value
    missing: set[str] = set()
    for leaf in leaves(SiteConfig, document):
        if leaf.role == "secret":
            missing |= _lacking(leaf.value, known) - _lacking(leaf.value, here)
    if not missing:
        return []
    names = ", ".join(sorted(missing))
    return [
        f"Set in this shell alone, and not known to what runs by itself: {names}. "
        "Put them into the env_file."
    ]


def _lacking(value: object, environment: Mapping[str, str]) -> set[str]:
    """Return the variables that a secret's description needs and an environment has not."""
    if isinstance(value, str):
        try:
            expand(value, environment)
        except MissingVariable as missing:
            return set(missing.names)
        except BadTemplate:
            return set()
    if isinstance(value, Mapping) and isinstance(name := value.get("env"), str):
        return set() if environment.get(name) else {name}
    return set()


async def _drop_lines(who: Caller, place: TimerPlaces) -> bool:
    path = cron_file(place, who.site)
    if path is not None and not path.exists():
        return False
    return await install_lines("", who, place)


def _caller_of(loaded: LoadedConfig, environ: Mapping[str, str], place: TimerPlaces) -> Caller:
    """Return how a place's timers start fsbackup: those of the system as their files' owner."""
    if place.of_user:
        return caller(loaded, environ)
    files = [*our_units(place, str(loaded.path))]
    path = cron_file(place, loaded.config.site)
    if path is not None and path.is_file():
        files.append(path)
    return caller(loaded, environ, files[0].stat().st_uid if files else None)


def _best_way(place: TimerPlaces) -> How:
    if place.systemd_runs or not _has_cron():
        return "systemd"
    return "cron"


def _has_cron() -> bool:
    return any(shutil.which(name) for name in _CRON_DAEMONS[:2])


def _remarks(ways: Sequence[How]) -> list[str]:
    notes = []
    if "cron" in ways and not _has_cron():
        notes.append("No cron is installed here: nothing starts these lines.")
    if len(ways) > 1:
        notes.append(
            "Installed twice: everything runs twice. fsbackup schedule remove, then install."
        )
    return notes


def _unit_notes(place: TimerPlaces, who: Caller, timers: Sequence[str]) -> list[str]:
    notes = []
    if not place.systemd_runs:
        tell = "systemctl --user" if place.of_user else "systemctl"
        notes += [
            "systemd does not run here. The timers start when it does; where it runs already:",
            f"{tell} daemon-reload && {tell} start {' '.join(timers)}",
        ]
    if place.of_user and not (_LINGER / who.user).exists():
        notes.append(
            f"Timers of a user run while {who.user} is logged in; always: "
            f"loginctl enable-linger {who.user}"
        )
    return notes


def _state(
    entry: Scheduled,
    found: Found | None,
    zone: tzinfo,
    now: datetime,
    last: LastRun | None,
    asked: Mapping[str, Asked],
) -> EntryState:
    due = previous_run(entry.schedule, now, zone)
    known = asked.get(entry.id)
    seen = [moment for moment in (last and last.started, known and known.since) if moment]
    late = previous_run(entry.schedule, now - GRACE, zone)
    # Somebody's clock, or a job begun a moment early, is no reason to call it overdue.
    overdue = bool(seen) and max(seen) < late - GRACE / 15
    return EntryState(entry, next_run(entry.schedule, now, zone), due, last, overdue, found)
