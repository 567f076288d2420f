"""Lines of cron: every time an entry can be due by the machine's clock, quoting, and the block."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.schedule import parse_schedule, runs_between
from fsbackup_tui.domain.scheduled import Caller, Scheduled
from fsbackup_tui.engines.cron_lines import (
    block,
    block_year,
    cron_times,
    entries_of,
    find_block,
    with_block,
)

BERLIN = ZoneInfo("Europe/Berlin")
CALLER = Caller(
    "shop", "/etc/shop.yaml", ("/opt/python", "-P", "-m", "fsbackup_tui"), "ana",
    (("HOME", "/home/ana"),),
)  # fmt: skip
DAILY = Scheduled("backup", "daily", parse_schedule("02:00"), ("backup", "daily"))


def lines_for(caller: Caller = CALLER, *, with_user: bool = False) -> str:
    return block((DAILY,), caller, zone=UTC, machine=UTC, year=2026, with_user=with_user)


@pytest.mark.parametrize(
    ("text", "machine", "lines"),
    [
        ("02:00", UTC, ["0 0,1 * * *"]),
        ("02:00", BERLIN, ["0 2 * * *", "0 3 * * 0"]),
        ("04:10", BERLIN, ["10 4 * * *"]),
        ("04:10, 16:10, 16:40", BERLIN, ["10 4,16 * * *", "40 16 * * *"]),
        ("Sun 00:30", UTC, ["30 22,23 * * 6"]),
        ("Mon-Fri 04:00", BERLIN, ["0 4 * * 1,2,3,4,5"]),
        ("hourly", UTC, ["0 * * * *"]),
        ("hourly", ZoneInfo("Asia/Kolkata"), ["30 * * * *"]),
        ("hourly", ZoneInfo("Australia/Lord_Howe"), ["0,30 * * * *"]),
        ("monthly 31 04:00", BERLIN, ["0 4 * * *"]),
        ("04:00", ZoneInfo("Asia/Kathmandu"), ["45 7,8 * * *"]),
    ],
)
def test_times_of_the_machine_s_clock(text: str, machine: tzinfo, lines: list[str]) -> None:
    assert cron_times(parse_schedule(text), BERLIN, machine, 2026) == lines


@pytest.mark.parametrize("text", ["02:30", "Sun 00:15, 23:45", "monthly 30 03:00", "hourly"])
@pytest.mark.parametrize("machine", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_every_run_of_the_next_years_has_a_line(text: str, machine: str) -> None:
    schedule = parse_schedule(text)
    fields = [line.split() for line in cron_times(schedule, BERLIN, ZoneInfo(machine), 2026)]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for run in runs_between(schedule, start, start + timedelta(days=3 * 365), BERLIN):
        local = run.astimezone(ZoneInfo(machine))
        wanted = (local.minute, local.hour, local.isoweekday() % 7)
        assert any(
            all(
                field == "*" or str(value) in field.split(",")
                for field, value in zip((minute, hour, day), wanted, strict=True)
            )
            for minute, hour, _, _, day in fields
        ), run


def test_what_was_missed_is_looked_for_every_ten_minutes() -> None:
    lines = lines_for().splitlines()
    assert lines[-2].startswith("*/10 * * * * ")
    assert lines[-2].endswith("--config /etc/shop.yaml schedule run-due")


def test_a_line_says_all_that_cron_does_not() -> None:
    line = lines_for().splitlines()[2]
    minute, hour, *_, command = line.split(" ", 5)
    assert (minute, hour) == ("0", "2")
    words = shlex.split(command)
    assert words[0].startswith("PATH=/usr/local/sbin:")
    assert words[1:] == [
        *("HOME=/home/ana", "/opt/python", "-P", "-m", "fsbackup_tui"),
        *("--config", "/etc/shop.yaml", "schedule", "run-due", "backup.daily"),
    ]


def test_in_cron_d_the_user_stands_before_the_command() -> None:
    assert "0 2 * * * ana PATH=" in lines_for(with_user=True)


def test_a_percent_sign_does_not_end_the_line() -> None:
    odd = Caller("shop", "/srv/5% off/shop.yaml", ("/opt/python",), "ana")
    assert "--config '/srv/5\\% off/shop.yaml' schedule" in lines_for(odd)


def test_the_rest_of_a_crontab_stays_as_it_was() -> None:
    others = "MAILTO=ops@example.org\n5 4 * * * /usr/bin/true # fsbackup\n"
    block_text = lines_for()
    once = with_block(others, CALLER.config, block_text)
    assert once == others + block_text
    assert with_block(once, CALLER.config, block_text) == once
    more = once + "@daily /usr/bin/false"
    assert with_block(more, CALLER.config, "") == others + "@daily /usr/bin/false"
    assert with_block("# no newline", CALLER.config, block_text).startswith("# no newline\n# >>>")


def test_two_sites_in_one_crontab() -> None:
    other = Caller("blog", "/etc/blog.yaml", ("/opt/python",), "ana")
    both = with_block(lines_for(), other.config, lines_for(other))
    assert with_block(both, CALLER.config, "") == lines_for(other)
    assert with_block(both, other.config, "") == lines_for()
    longer = Caller("blog", "/etc/blog.yaml.old", ("/opt/python",), "ana")
    assert find_block(lines_for(longer), other.config) is None


def test_a_block_without_its_end_is_not_guessed_at() -> None:
    cut = "\n".join(lines_for().splitlines()[:-1])
    with pytest.raises(ValueError, match="is missing"):
        with_block(cut, CALLER.config, "")


def test_what_a_block_has_is_read_back() -> None:
    assert entries_of(lines_for()) == {"backup.daily"}
    assert block_year(lines_for()) == 2026
