"""The texts of systemd timers and services. Nothing is read or written here.

systemd passes over a time of day that the clock skips (tried with 252: 02:00 in Berlin does not
come on the day that summer time begins), so each such run of the next years is named as a moment
of its own. Of an hour that comes twice it takes the first, as we do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from fsbackup_tui.domain.schedule import ALL_DAYS, DAY_NAMES, Schedule, runs_between
from fsbackup_tui.domain.scheduled import Caller, Scheduled

GAP_YEARS = 10
"""For how many years the runs are named that fall into a gap of the clock."""

SECTION = "[X-Fsbackup]"
"""systemd reads no section whose name begins with X-."""

_WEEK = timedelta(days=7)


def unit_name(site: str, entry: str) -> str:
    """Return the name of an entry's units, without ``.timer`` and ``.service``."""
    return f"fsbackup-{site}.{entry}"


def timer_text(entry: Scheduled, caller: Caller, *, zone: tzinfo, zone_name: str, year: int) -> str:
    """Return the timer; ``zone_name`` is empty for the machine's own zone.

    ``year`` is the first whose gaps are named; it is kept in the unit.
    """
    lines = calendar_lines(entry.schedule, zone=zone, zone_name=zone_name, year=year)
    calendar = "".join(f"OnCalendar={line}\n" for line in lines)
    return f"""{_head(caller)}
[Unit]
Description={_plain(f"Times of fsbackup for {caller.site}: {entry.title}")}

[Timer]
{calendar}Persistent=true
AccuracySec=1s
RandomizedDelaySec=0

[Install]
WantedBy=timers.target

{_mark(entry, caller, year)}"""


def service_text(entry: Scheduled, caller: Caller, *, user: bool, year: int) -> str:
    """Return the service that the timer starts; ``user``: for a user's own systemd.

    Little is locked away: a dump may go through a socket in /tmp, commands of the site make
    snapshots, mount them and call sudo, and a drill makes a server of its own.
    """
    words = [*caller.program, "--config", caller.config, *entry.arguments]
    environment = "".join(
        f"Environment={_word(f'{name}={value}')}\n" for name, value in caller.environment
    )
    after = "" if user else "Wants=network-online.target\n"
    after += "" if user else "After=network-online.target postgresql.service\n"
    locked = "" if user else "LockPersonality=true\nRestrictRealtime=true\n"
    is_check = entry.kind == "check"
    # A backup's worker sees to limits.nice itself; a check has none.
    manners = f"Nice={caller.nice}\n" if caller.nice and is_check else ""
    # A warning was found and told: that is no failure of the unit.
    manners += "SuccessExitStatus=1\n" if is_check else ""
    return f"""{_head(caller)}
[Unit]
Description={_plain(f"fsbackup for {caller.site}: {entry.title}")}
{after}
[Service]
Type=oneshot
ExecStart={" ".join(_word(word) for word in words)}
WorkingDirectory=/
{environment}{manners}UMask=0077
LimitCORE=0
OOMScoreAdjust=300
TimeoutStartSec=infinity
KillMode=mixed
TimeoutStopSec=10min
{locked}
{_mark(entry, caller, year)}"""


def calendar_lines(
    schedule: Schedule, *, zone: tzinfo, zone_name: str, year: int
) -> tuple[str, ...]:
    """Return what systemd's ``OnCalendar=`` takes for a schedule (systemd.time(7))."""
    if schedule.hourly:
        return ("*-*-* *:00:00 UTC",)
    suffix = f" {zone_name}" if zone_name else ""
    days = ""
    if schedule.days != ALL_DAYS:
        days = ",".join(DAY_NAMES[day] for day in sorted(schedule.days)) + " "
    return (
        *(
            f"{days}{date} {moment:%H:%M}:00{suffix}"
            for moment in schedule.times
            for date in _dates(schedule.month_day)
        ),
        *(f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in gap_runs(schedule, zone, year)),
    )


def gap_runs(schedule: Schedule, zone: tzinfo, year: int) -> list[datetime]:
    """Return the runs, from that year on, that come at the end of a gap of the clock."""
    week = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + GAP_YEARS, 1, 1, tzinfo=UTC)
    found: list[datetime] = []
    while week < end:
        # No zone changes its clock and back within a week.
        if week.astimezone(zone).utcoffset() != (week + _WEEK).astimezone(zone).utcoffset():
            found.extend(
                run
                for run in runs_between(schedule, week, week + _WEEK, zone)
                if run.astimezone(zone).time().replace(fold=0) not in schedule.times
            )
        week += _WEEK
    return found


def _dates(month_day: int | None) -> tuple[str, ...]:
    """Return the dates of a calendar line; a month that is too short runs on its last day."""
    if month_day is None:
        return ("*-*-*",)
    if month_day <= 28:
        return (f"*-*-{month_day:02}",)
    if month_day == 31:
        return ("*-*~01",)
    return (f"*-01,03..12-{month_day}", "*-02~01")


def _head(caller: Caller) -> str:
    return (
        f'# Written by "fsbackup schedule install" for {caller.config}\n'
        '# It is written anew by the next one; "fsbackup schedule remove" takes it away.\n'
    )


def _mark(entry: Scheduled, caller: Caller, year: int) -> str:
    return f"{SECTION}\nConfig={caller.config}\nEntry={entry.id}\nYear={year}\n"


def mark_of(text: str) -> dict[str, str]:
    """Return what the mark in a unit of ours says (Config, Entry, Year); empty for another's."""
    _, found, after = text.partition(f"\n{SECTION}\n")
    if not found:
        return {}
    pairs = (line.partition("=") for line in after.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _plain(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """Return one word of a command line, as systemd.service(5) quotes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = all(letter.isalnum() or letter in "-_./=:@,+%$" for letter in escaped)
    return escaped if plain and escaped else f'"{escaped}"'
