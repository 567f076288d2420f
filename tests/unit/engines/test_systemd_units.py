"""What is written for systemd: calendars, gaps of the clock, quoting, and our mark."""

from __future__ import annotations

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.schedule import parse_schedule
from fsbackup_tui.domain.scheduled import Caller, Scheduled
from fsbackup_tui.engines.systemd_units import (
    GAP_YEARS,
    calendar_lines,
    gap_runs,
    mark_of,
    service_text,
    timer_text,
    unit_name,
)

BERLIN = ZoneInfo("Europe/Berlin")
CALLER = Caller(
    "shop",
    "/etc/fsbackup/sites/shop.yaml",
    ("/opt/fsbackup/bin/python", "-P", "-m", "fsbackup_tui"),
    "root",
    (("HOME", "/root"),),
    nice=7,
)
DAILY = Scheduled("backup", "daily", parse_schedule("02:00"), ("backup", "daily"))
CHECK = Scheduled("check", "", parse_schedule("hourly"), ("check", "--notify"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("03:30", ["*-*-* 03:30:00 Europe/Berlin"]),
        (
            "Mon-Wed,Sun 04:00, 14:05",
            [
                "Mon,Tue,Wed,Sun *-*-* 04:00:00 Europe/Berlin",
                "Mon,Tue,Wed,Sun *-*-* 14:05:00 Europe/Berlin",
            ],
        ),
        ("hourly", ["*-*-* *:00:00 UTC"]),
        ("monthly 1 04:00", ["*-*-01 04:00:00 Europe/Berlin"]),
        ("monthly 28 04:00", ["*-*-28 04:00:00 Europe/Berlin"]),
        (
            "monthly 29 04:00",
            ["*-01,03..12-29 04:00:00 Europe/Berlin", "*-02~01 04:00:00 Europe/Berlin"],
        ),
        (
            "monthly 30 04:00",
            ["*-01,03..12-30 04:00:00 Europe/Berlin", "*-02~01 04:00:00 Europe/Berlin"],
        ),
        ("monthly 31 04:00", ["*-*~01 04:00:00 Europe/Berlin"]),
    ],
)
def test_calendars(text: str, lines: list[str]) -> None:
    found = calendar_lines(parse_schedule(text), zone=BERLIN, zone_name="Europe/Berlin", year=2026)
    assert list(found) == lines


def test_what_the_clock_skips_is_named_as_a_moment_of_its_own() -> None:
    lines = calendar_lines(
        parse_schedule("02:00, 03:00"), zone=BERLIN, zone_name="Europe/Berlin", year=2026
    )
    # On that day 02:00 falls on 03:00, which systemd knows.
    assert list(lines) == ["*-*-* 02:00:00 Europe/Berlin", "*-*-* 03:00:00 Europe/Berlin"]

    lines = calendar_lines(
        parse_schedule("02:00"), zone=BERLIN, zone_name="Europe/Berlin", year=2026
    )
    assert lines[:3] == (
        "*-*-* 02:00:00 Europe/Berlin",
        "2026-03-29 01:00:00 UTC",
        "2027-03-28 01:00:00 UTC",
    )
    assert len(lines) == 1 + GAP_YEARS
    assert gap_runs(parse_schedule("Mon 02:00"), BERLIN, 2026) == []
    assert gap_runs(parse_schedule("02:00"), UTC, 2026) == []


def test_without_a_zone_of_its_own_the_machine_s_is_meant() -> None:
    assert calendar_lines(parse_schedule("04:00"), zone=UTC, zone_name="", year=2026) == (
        "*-*-* 04:00:00",
    )


def test_a_timer_catches_up_and_is_not_spread() -> None:
    text = timer_text(DAILY, CALLER, zone=BERLIN, zone_name="Europe/Berlin", year=2026)
    lines = text.splitlines()
    for line in (
        "[Timer]",
        "OnCalendar=*-*-* 02:00:00 Europe/Berlin",
        "Persistent=true",
        "RandomizedDelaySec=0",
        "WantedBy=timers.target",
    ):
        assert line in lines
    assert mark_of(text) == {
        "Config": "/etc/fsbackup/sites/shop.yaml",
        "Entry": "backup.daily",
        "Year": "2026",
    }


def test_a_service_is_the_program_in_full() -> None:
    text = service_text(DAILY, CALLER, user=False, year=2026)
    assert (
        "\nExecStart=/opt/fsbackup/bin/python -P -m fsbackup_tui "
        "--config /etc/fsbackup/sites/shop.yaml backup daily\n"
    ) in text
    for line in ("Environment=HOME=/root", "KillMode=mixed", "Type=oneshot", "UMask=0077"):
        assert f"\n{line}\n" in text
    assert "Nice=" not in text  # the worker takes limits.nice itself
    assert "After=network-online.target" in text
    assert "PrivateTmp" not in text  # a server's socket may lie in /tmp


def test_a_user_s_service_can_call_sudo_and_knows_no_system_units() -> None:
    text = service_text(DAILY, CALLER, user=True, year=2026)
    assert "network-online" not in text
    # Any of these would mean NoNewPrivileges there.
    assert "Restrict" not in text
    assert "LockPersonality" not in text


def test_a_check_is_nice_and_a_warning_is_no_failure() -> None:
    text = service_text(CHECK, CALLER, user=False, year=2026)
    assert "\nNice=7\n" in text
    assert "\nSuccessExitStatus=1\n" in text
    assert unit_name("shop", CHECK.id) == "fsbackup-shop.check"


def test_odd_paths_are_quoted() -> None:
    odd = Caller("shop", '/srv/my $x 5%/a"b\\c.yaml', ("/usr/bin/python3",), "root")
    text = service_text(DAILY, odd, user=False, year=2026)
    assert 'ExecStart=/usr/bin/python3 --config "/srv/my $$x 5%%/a\\"b\\\\c.yaml" backup' in text
    assert mark_of(text)["Config"] == odd.config


def test_names_of_two_sites_never_meet() -> None:
    assert unit_name("a-backup", "backup.b") != unit_name("a", "backup.backup-b")


def test_others_units_have_no_mark() -> None:
    assert mark_of("[Unit]\nDescription=mine\n\n[Timer]\nOnCalendar=daily\n") == {}


def test_the_gaps_named_reach_on_for_years() -> None:
    [first, *_, last] = gap_runs(parse_schedule("02:30"), BERLIN, 2026)
    assert last - first > timedelta(days=365 * (GAP_YEARS - 2))
