"""What runs by itself, for real: cron's lines in an empty environment, systemd's own judgement."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.schedule import next_run, parse_schedule
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.systemd_units import calendar_lines
from fsbackup_tui.engines.timers import TimerPlaces
from fsbackup_tui.operations.schedule import install
from fsbackup_tui.operations.schedule_due import asked_since
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import PROJECT, CommandResult, Site, make_site

_CRONTAB = """\
#!/bin/sh
table="$(dirname "$0")/table"
case "$1" in
-l) if [ -e "$table" ]; then cat "$table"; else echo "no crontab for ana" >&2; exit 1; fi ;;
-r) rm "$table" ;;
-) cat > "$table" ;;
esac
"""


@pytest.fixture
def site(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Site:
    """A site that every command of its own may schedule: nothing of this machine is written."""
    url = make_database(server)
    execute(url, "create table users as select 1 as id")
    env_file = tmp_path / "site.env"
    env_file.touch(mode=0o600)
    env_file.write_text(f"DATABASE_URL={url}\n")
    site = make_site(
        tmp_path / "site",
        url,
        settings={
            "timezone": "Europe/Berlin",
            "env_file": str(env_file),
            "clients": [str(server.bin_directory)],
            "plans": {"daily": {"sources": ["db"], "at": "02:00"}},
            "drills": {"monthly": {"at": "monthly 1 04:00", "point": "newest"}},
        },
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "crontab").write_text(_CRONTAB)
    (programs / "crontab").chmod(0o755)
    site.environment |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    return site


def crontab(site: Site) -> Path:
    return site.directory.parent / "programs" / "table"


def shown(site: Site, *, exit_code: int) -> dict[str, dict[str, Any]]:
    done = site.run("schedule", "show", "--json")
    assert done.exit_code == exit_code, done.stdout + done.stderr
    return {entry["id"]: entry for entry in done.document["entries"]}


def as_cron_does(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a user's crontab as cron does: sh, HOME, and nothing else but the checkout."""
    command = line.split(" ", 5)[5].replace("\\%", "%")
    home.mkdir(exist_ok=True)
    return subprocess.run(
        ["/usr/bin/env", "-i", f"PYTHONPATH={PROJECT}", "/bin/sh", "-c", command],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def a_day_passes(site: Site) -> None:
    """Let what is asked for have been asked for two days ago."""
    path = site.state / next(site.state.iterdir()).name / "schedule.json"
    text = path.read_text()
    past = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="milliseconds")
    path.write_text(re.sub(r'"since": "[^"]*"', f'"since": "{past}"', text))


def run_as_user(site: Site, *arguments: str) -> CommandResult:
    done = site.run("schedule", *arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


def test_a_line_of_cron_makes_a_backup_in_an_empty_environment(site: Site, tmp_path: Path) -> None:
    crontab(site).write_text("MAILTO=ops@example.org\n")
    run_as_user(site, "install", "--cron", "--user")
    lines = crontab(site).read_text().splitlines()
    [daily] = [line for line in lines if line.endswith("run-due backup.daily")][:1]
    entries = shown(site, exit_code=0)
    assert {entry["installed"] for entry in entries.values()} == {"ok"}
    assert entries["backup.daily"]["last"] is None

    # Nothing was missed: it was asked for a moment ago.
    done = as_cron_does(daily, tmp_path / "home")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert site.points() == []

    a_day_passes(site)
    assert shown(site, exit_code=1)["backup.daily"]["overdue"] is True
    done = as_cron_does(daily, tmp_path / "home")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [point] = site.points()
    assert (point["plan"], point["trust"]) == ("daily", "sealed")
    entry = shown(site, exit_code=1)["backup.daily"]
    assert (entry["outcome"], entry["overdue"]) == ("ok", False)

    # The drill was missed, too: the line for whatever was missed holds it, and only it.
    [missed] = [line for line in lines if line.endswith("schedule run-due")]
    done = as_cron_does(missed, tmp_path / "home")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(site.points()) == 1
    entry = shown(site, exit_code=0)["drill.monthly"]
    assert entry["outcome"] == "ok"
    [drill] = site.run("drill", "--list", "--json").document["drills"]
    assert (drill["drill"], drill["outcome"]) == ("monthly", "ok")

    done = as_cron_does(missed, tmp_path / "home")
    assert len(site.run("jobs", "--json").document["jobs"]) == 2

    run_as_user(site, "remove")
    assert crontab(site).read_text() == "MAILTO=ops@example.org\n"
    entries = shown(site, exit_code=1)
    assert {entry["installed"] for entry in entries.values()} == {"missing"}


def test_what_fails_is_printed_so_that_cron_mails_it(site: Site, tmp_path: Path) -> None:
    run_as_user(site, "install", "--cron", "--user")
    a_day_passes(site)
    (site.directory.parent / "site.env").write_text(
        "DATABASE_URL=postgresql://ana:hunter2@127.0.0.1:1/gone\n"
    )
    [line] = [line for line in crontab(site).read_text().splitlines() if "backup.daily" in line][
        -1:
    ]
    done = as_cron_does(line, tmp_path / "home")
    assert done.returncode == 1
    assert done.stderr.startswith("face-swap: backup daily ended with exit status 1.\n")
    assert "127.0.0.1" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    # It was begun: it is not begun again every ten minutes.
    done = as_cron_does(line, tmp_path / "home")
    assert (done.returncode, done.stderr) == (0, "")
    assert shown(site, exit_code=1)["backup.daily"]["outcome"] == "failed"


def test_units_of_a_user_are_written_shown_and_taken_away(site: Site, tmp_path: Path) -> None:
    printed = site.run("schedule", "install", "--systemd", "--user", "--print")
    assert printed.exit_code == 0
    assert "OnCalendar=*-*-* 02:00:00 Europe/Berlin" in printed.stdout
    units = tmp_path / "config" / "systemd" / "user"
    assert not units.exists()
    assert not list(site.state.rglob("schedule.json"))

    told = run_as_user(site, "install", "--systemd", "--user").stdout
    assert "systemctl --user daemon-reload && systemctl --user start" in told
    assert len(list(units.glob("*.timer"))) == 2
    assert {entry["installed"] for entry in shown(site, exit_code=0).values()} == {"ok"}
    told = site.run("schedule").stdout
    assert "backup daily" in told
    assert "Europe/Berlin" in told

    run_as_user(site, "remove")
    assert [path for path in units.rglob("*") if not path.is_dir()] == []
    assert not asked_since(next(site.state.iterdir()))


def test_who_may_have_no_crontab_can_have_timers_all_the_same(site: Site) -> None:
    program = crontab(site).parent / "crontab"
    program.write_text(
        "#!/bin/sh\necho 'you (ana) are not allowed to use this program' >&2; exit 1\n"
    )
    run_as_user(site, "install", "--systemd", "--user")
    assert {entry["installed"] for entry in shown(site, exit_code=0).values()} == {"ok"}
    done = site.run("schedule", "install", "--cron", "--user")
    assert done.exit_code == 1
    assert "not allowed to use this program" in done.stderr
    run_as_user(site, "remove")


def test_an_old_line_says_that_it_is_one(site: Site) -> None:
    done = site.run("schedule", "run-due", "backup.weekly")
    assert done.exit_code == 2
    assert "NOT SCHEDULED" in done.stderr
    assert "schedule install" in done.stderr


def test_options_where_they_do_not_belong(site: Site) -> None:
    for words in (
        ["show", "--cron"],
        ["remove", "backup.daily"],
        ["install", "--cron", "--systemd"],
    ):
        assert site.run("schedule", *words).exit_code == 2


def write_all(texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        Path(path).write_text(text)


@pytest.mark.machine
@pytest.mark.parametrize("of_user", [False, True], ids=["system", "user"])
async def test_systemd_accepts_the_units(tmp_path: Path, of_user: bool) -> None:
    site = make_site(
        tmp_path / "a site with $5 at 10%",
        "",
        settings={
            "timezone": "Europe/Berlin",
            "plans": {"daily": {"sources": ["db"], "at": "02:00"}},
            "check": {"at": "hourly"},
            "verify_due": {"at": "Mon-Wed,Sat 05:00, 17:30", "budget": "1h"},
            "drills": {f"d{day}": {"at": f"monthly {day} 02:30"} for day in (1, 28, 29, 30, 31)},
            "limits": {"nice": 10},
        },
    )
    units = tmp_path / "units"
    place = TimerPlaces(units, tmp_path / "nothing", None, of_user)
    done = await install(
        load_config(site.config, {}),
        {},
        how="systemd",
        of_user=of_user,
        now=datetime.now(UTC),
        only_print=True,
        place=place,
    )
    units.mkdir()
    write_all(done.texts)
    assert len(done.texts) == 16
    verified = await asyncio.create_subprocess_exec(
        *("systemd-analyze", "--user" if of_user else "--system", "--man=no"),
        *("--recursive-errors=no", "verify", *done.texts),
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await verified.communicate()
    assert (verified.returncode, said.decode()) == (0, "")


@pytest.mark.machine
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize(
    "text",
    ["02:00", "02:30, 14:00", "Sun 02:15", "Fri-Mon 00:30", "hourly", "monthly 29 02:30",
     "monthly 30 01:30", "monthly 31 23:59"],
)  # fmt: skip
async def test_systemd_reckons_as_we_do(text: str, zone: str) -> None:
    schedule, of_site = parse_schedule(text), ZoneInfo(zone)
    lines = calendar_lines(schedule, zone=of_site, zone_name=zone, year=2027)
    for start in ("2027-03-12", "2027-10-29", "2028-02-26"):
        after = datetime.fromisoformat(f"{start}T12:00:00+00:00")
        wanted = []
        moment = after
        for _ in range(4):
            moment = next_run(schedule, moment, of_site)
            wanted.append(moment)
        elapses = await asyncio.gather(*(_elapses(line, after) for line in lines))
        found = sorted({moment for each in elapses for moment in each})
        assert found[:4] == wanted


async def _elapses(calendar: str, after: datetime) -> list[datetime]:
    """Return when a calendar elapses next, by systemd."""
    process = await asyncio.create_subprocess_exec(
        "systemd-analyze", "calendar", "--iterations=4",
        f"--base-time={after:%Y-%m-%d %H:%M:%S} UTC", calendar,
        env={"TZ": "UTC", "LC_ALL": "C"},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    times = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", out.decode())
    return [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times]
