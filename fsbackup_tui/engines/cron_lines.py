"""The lines of a crontab. Nothing is read or written here.

cron knows neither a site's zone nor what was missed. So a line stands for every time of this
machine's clock at which an entry can be due in the course of the years, and what it starts
(``schedule run-due``) looks whether it is; one more line looks for all of them every ten minutes,
which catches up what was missed while the machine was off.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from fsbackup_tui.domain.schedule import ALL_DAYS, Schedule, runs_between
from fsbackup_tui.domain.scheduled import Caller, Scheduled

_BEGINS = "# >>> fsbackup "
RUN_DUE = ("schedule", "run-due")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOOKED_AT = timedelta(days=371)
_EVERY_DAY = 7


def block(
    entries: Iterable[Scheduled],
    caller: Caller,
    *,
    zone: tzinfo,
    machine: tzinfo,
    year: int,
    with_user: bool,
) -> str:
    """Return all lines for a site, between marks; ``with_user``: for a file of /etc/cron.d.

    ``zone`` is the site's, ``machine`` that of cron; ``year`` is when the years begin.
    """
    user = f"{caller.user} " if with_user else ""
    lines = [begin_mark(caller.config, year)]
    for entry in entries:
        lines.append(f"# {entry.title}: {entry.schedule}")
        command = _command(caller, (*RUN_DUE, entry.id))
        lines += [
            f"{times} {user}{command}" for times in cron_times(entry.schedule, zone, machine, year)
        ]
    lines.append("# what was missed while the machine was off")
    lines.append(f"*/10 * * * * {user}{_command(caller, RUN_DUE)}")
    lines.append(end_mark(caller.config))
    return "".join(f"{line}\n" for line in lines)


def begin_mark(config: str, year: int) -> str:
    """Return the line above ours."""
    return f'{_BEGINS}{year} {config} (by "fsbackup schedule install"; no changes here)'


def end_mark(config: str) -> str:
    """Return the line below ours."""
    return f"# <<< fsbackup {config}"


def cron_times(schedule: Schedule, zone: tzinfo, machine: tzinfo, year: int) -> list[str]:
    """Return the five fields of each line that an entry needs."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    if schedule.hourly:
        moments = (start + timedelta(days=day) for day in range(0, 366, 28))
        minutes = sorted({moment.astimezone(machine).minute for moment in moments})
        return [f"{','.join(map(str, minutes))} * * * *"]
    days: dict[tuple[int, int], set[int]] = {}
    for run in runs_between(schedule, start, start + _LOOKED_AT, zone):
        local = run.astimezone(machine)
        days.setdefault((local.minute, local.hour), set()).add(local.isoweekday() % 7)
    every_day = schedule.month_day is not None
    lines: dict[tuple[int, frozenset[int]], list[int]] = {}
    for (minute, hour), weekdays in sorted(days.items()):
        its_days = ALL_DAYS if every_day else frozenset(weekdays)
        lines.setdefault((minute, its_days), []).append(hour)
    return [
        f"{minute} {','.join(map(str, hours))} * * {_days(its_days)}"
        for (minute, its_days), hours in lines.items()
    ]


def _days(days: frozenset[int]) -> str:
    return "*" if len(days) == _EVERY_DAY else ",".join(map(str, sorted(days)))


def _command(caller: Caller, arguments: tuple[str, ...]) -> str:
    """Return a shell's command line as cron takes it: there, % is the end of the line."""
    environment = {"PATH": _PATH, **dict(caller.environment)}
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    words = shlex.join([*caller.program, "--config", caller.config, *arguments])
    return f"{given} {words}".replace("%", "\\%")


def find_block(text: str, config: str) -> tuple[int, int] | None:
    """Return the lines (from, up to without) of a configuration's block; None where there is none.

    Raises:
        ValueError: its end was cut off.
    """
    lines = text.splitlines()
    begins = [
        number
        for number, line in enumerate(lines)
        if line.startswith(_BEGINS) and f" {config} (by " in line
    ]
    if not begins:
        return None
    for number in range(begins[0], len(lines)):
        if lines[number] == end_mark(config):
            return begins[0], number + 1
    raise ValueError(f"its line '{end_mark(config)}' is missing")


def block_year(block_text: str) -> int | None:
    """Return the year that the first line of a block tells."""
    word = block_text.removeprefix(_BEGINS).split(" ", 1)[0]
    return int(word) if word.isascii() and word.isdigit() else None


def with_block(text: str, config: str, block_text: str) -> str:
    """Return a crontab with that block for a configuration in it (empty: none), else as it was.

    Raises:
        ValueError: the block that is there has lost its end.
    """
    found = find_block(text, config)
    lines = text.splitlines(keepends=True)
    if found is None:
        if text and block_text and not text.endswith("\n"):
            text += "\n"
        return text + block_text
    return "".join(lines[: found[0]]) + block_text + "".join(lines[found[1] :])


def entries_of(block_text: str) -> set[str]:
    """Return the ids of the entries that a block has lines for."""
    found = set()
    for line in block_text.splitlines():
        words = line.split()
        if not line.startswith("#") and words[-3:-1] == list(RUN_DUE):
            found.add(words[-1])
    return found
