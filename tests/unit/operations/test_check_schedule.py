"""What should run by itself and is not installed to is an alarm, until it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fsbackup_tui.engines.timers import TimerPlaces
from fsbackup_tui.operations import schedule
from fsbackup_tui.operations.check import PROBES
from fsbackup_tui.operations.schedule import How, install, remove
from tests.support.checking import NOW, Watched, healthy

TIMERS = tuple(probe for probe in PROBES if probe.name == "schedule")
AT = ', at: "02:00"'


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TimerPlaces:
    place = TimerPlaces(tmp_path / "units", tmp_path / "nothing", tmp_path / "cron.d", False)
    monkeypatch.setattr(schedule, "all_places", lambda environ: (place,))
    return place


def told(site: Watched) -> list[tuple[str, str, str, str]]:
    return [
        (finding.id, finding.what.partition(":")[0], finding.why, finding.fix)
        for finding in site.check(probes=TIMERS).findings
    ]


@pytest.mark.parametrize("how", ["systemd", "cron"])
def test_it_rings_until_all_is_installed_as_configured(
    tmp_path: Path, places: TimerPlaces, how: How
) -> None:
    site = healthy(tmp_path, plan=AT)
    ((identifier, what, _, fix),) = told(site)
    assert (identifier, what) == ("schedule", "NOTHING RUNS BY ITSELF")
    assert fix == "fsbackup schedule install"

    asyncio.run(install(site.loaded, site.environ, how=how, of_user=False, now=NOW, place=places))
    assert told(site) == []

    site.configure(plan=AT, more="check: {at: hourly}\n")
    ((_, what, why, fix),) = told(site)
    assert (what, fix) == ("SCHEDULE NOT AS CONFIGURED", "fsbackup schedule show")
    assert "check: missing (" in why

    site.configure()
    ((_, what, why, _),) = told(site)
    assert what == "SCHEDULE NOT AS CONFIGURED"
    assert "asked for no more" in why
    asyncio.run(remove(site.loaded, site.environ, places=[places]))
    assert told(site) == []


def test_where_nothing_has_a_time_or_it_only_looks_there_is_nothing_to_install(
    tmp_path: Path, places: TimerPlaces
) -> None:
    site = healthy(tmp_path)
    assert told(site) == []
    site.configure(plan=AT)
    assert told(site) != []
    site.configure(plan=AT, more="read_only: true\n")
    assert told(site) == []


def test_it_is_among_the_looks_that_check_takes() -> None:
    assert len(TIMERS) == 1
