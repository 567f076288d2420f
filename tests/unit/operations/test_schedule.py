"""Installing and looking: what matches, what does not, whose it is, two sites, taking it away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, UsageError
from fsbackup_tui.engines.timers import TimerPlaces
from fsbackup_tui.operations.schedule import (
    How,
    Installed,
    LastRun,
    Survey,
    install,
    remove,
    survey,
)
from fsbackup_tui.operations.schedule_due import Asked
from tests.unit.config.support import write_config

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TEXT = """\
site: {site}
timezone: Europe/Berlin
repository: {directory}/repo
sources:
  db: {{kind: postgres, url: "postgresql://ana@db1/shop"}}
plans:
  daily: {{sources: [db], at: "02:00"}}
  by-hand: {{sources: [db]}}
drills:
  monthly: {{at: "monthly 1 04:00"}}
check: {{at: hourly}}
verify_due: {{at: "Sat 05:00", budget: 90m}}
"""
ENTRIES = ("backup.daily", "drill.monthly", "verify-due", "check")


class Machine:
    """A machine on which no systemd runs, and a site on it."""

    def __init__(self, base: Path, site: str = "shop", text: str = TEXT) -> None:
        self.base = base
        self.places = TimerPlaces(base / "units", base / "nothing", base / "cron.d", False)
        self.text = text
        self.site = site
        self.environ: dict[str, str] = {"HOME": str(base)}
        self.loaded = self.load()

    def load(self, text: str | None = None) -> LoadedConfig:
        written = (text or self.text).format(directory=self.base, site=self.site)
        path = write_config(self.base / self.site, written)
        self.loaded = load_config(path, self.environ)
        return self.loaded

    async def install(self, how: How = "systemd", *, only_print: bool = False) -> Installed:
        return await install(
            self.loaded,
            self.environ,
            how=how,
            of_user=False,
            now=NOW,
            only_print=only_print,
            place=self.places,
        )

    async def survey(
        self,
        now: datetime = NOW,
        last: Mapping[str, LastRun] | None = None,
        asked: Mapping[str, Asked] | None = None,
    ) -> Survey:
        return await survey(
            self.loaded,
            self.environ,
            now=now,
            last=last or {},
            asked=asked or {},
            places=[self.places],
        )

    async def states(self) -> dict[str, str]:
        found = await self.survey()
        return {
            state.entry.id: "-" if state.installed is None else state.installed.state
            for state in found.entries
        }

    async def remove(self) -> list[str]:
        return await remove(self.loaded, self.environ, places=[self.places])

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.base)): "link" if path.is_symlink() else path.read_text()
            for directory in (self.places.units, self.base / "cron.d")
            for path in sorted(directory.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def all_of(state: str) -> dict[str, str]:
    return dict.fromkeys(ENTRIES, state)


@pytest.mark.parametrize("how", ["systemd", "cron"])
async def test_what_is_installed_matches_and_again_is_no_change(machine: Machine, how: How) -> None:
    assert await machine.states() == all_of("-")
    assert not (await machine.survey()).matches

    done = await machine.install(how)
    assert done.entries == ENTRIES
    assert done.written
    found = await machine.survey()
    assert await machine.states() == all_of("ok")
    assert found.matches
    assert found.how == (how,)

    before = machine.files()
    again = await machine.install(how)
    assert (again.written, again.removed) == ((), ())
    assert machine.files() == before


async def test_one_timer_and_service_each_enabled_for_the_next_boot(machine: Machine) -> None:
    done = await machine.install()
    names = {path for path in machine.files() if "wants" not in path}
    assert names == {
        f"units/fsbackup-shop.{entry}.{kind}" for entry in ENTRIES for kind in ("timer", "service")
    }
    for entry in ENTRIES:
        link = machine.places.units / "timers.target.wants" / f"fsbackup-shop.{entry}.timer"
        assert link.resolve() == machine.places.units / link.name
    texts = machine.files()
    assert " backup daily\n" in texts["units/fsbackup-shop.backup.daily.service"]
    assert " drill monthly\n" in texts["units/fsbackup-shop.drill.monthly.service"]
    assert " verify --due --budget 5400s\n" in texts["units/fsbackup-shop.verify-due.service"]
    assert " check --notify\n" in texts["units/fsbackup-shop.check.service"]
    assert any("systemd does not run here" in note for note in done.notes)


@pytest.mark.parametrize("how", ["systemd", "cron"])
async def test_a_changed_configuration_shows_until_it_is_installed(
    machine: Machine, how: How
) -> None:
    await machine.install(how)
    machine.load(
        TEXT.replace('"02:00"', '"03:30"')
        .replace("by-hand: {{sources: [db]}}", 'by-hand: {{sources: [db], at: "Sun 04:00"}}')
        .replace('drills:\n  monthly: {{at: "monthly 1 04:00"}}\n', "")
    )
    found = await machine.survey()
    assert await machine.states() == {
        "backup.daily": "different",
        "backup.by-hand": "missing",
        "verify-due": "ok",
        "check": "ok",
    }
    assert not found.matches
    assert found.surplus
    assert all("drill.monthly" in extra for extra in found.surplus)

    await machine.install(how)
    assert (await machine.survey()).matches
    assert not any("drill" in text for text in (*machine.files(), *machine.files().values()))


async def test_what_somebody_changed_disabled_or_deleted_is_seen(machine: Machine) -> None:
    await machine.install()
    units = machine.places.units
    timer = units / "fsbackup-shop.backup.daily.timer"
    timer.write_text(timer.read_text().replace("02:00", "05:00"))
    (units / "timers.target.wants/fsbackup-shop.check.timer").unlink()
    (units / "fsbackup-shop.verify-due.service").unlink()
    assert await machine.states() == {
        "backup.daily": "different",
        "drill.monthly": "ok",
        "verify-due": "missing",
        "check": "disabled",
    }
    await machine.install()
    assert await machine.states() == all_of("ok")


async def test_a_masked_or_strange_unit_is_not_ours_and_nothing_is_touched(
    machine: Machine,
) -> None:
    await machine.install()
    units = machine.places.units
    (units / "fsbackup-shop.check.timer").unlink()
    (units / "fsbackup-shop.check.timer").symlink_to("/dev/null")
    (units / "fsbackup-shop.drill.monthly.service").write_text("[Service]\nExecStart=/bin/true\n")
    states = await machine.states()
    assert (states["check"], states["drill.monthly"]) == ("foreign", "foreign")
    machine.load(TEXT.replace('"02:00"', '"03:30"'))
    before = machine.files()
    with pytest.raises(SafetyRefusal, match=r"NOT OURS: .*drill.monthly.service"):
        await machine.install()
    assert machine.files() == before
    await machine.remove()
    assert set(machine.files()) == {
        "units/fsbackup-shop.check.timer",
        "units/fsbackup-shop.drill.monthly.service",
        "units/timers.target.wants/fsbackup-shop.check.timer",
    }


@pytest.mark.parametrize("how", ["systemd", "cron"])
async def test_two_sites_on_one_machine(tmp_path: Path, how: How) -> None:
    shop, blog = Machine(tmp_path, "shop"), Machine(tmp_path, "blog")
    await shop.install(how)
    await blog.install(how)
    assert await shop.states() == all_of("ok")
    assert await blog.states() == all_of("ok")

    await shop.remove()
    assert await shop.states() == all_of("-")
    assert await blog.states() == all_of("ok")
    assert all("blog" in path for path in blog.files())


async def test_a_second_configuration_of_the_same_site_is_refused(tmp_path: Path) -> None:
    first = Machine(tmp_path)
    await first.install()
    second = Machine(tmp_path)
    second.loaded = load_config(
        write_config(tmp_path / "elsewhere", TEXT.format(directory=tmp_path, site="shop")), {}
    )
    with pytest.raises(SafetyRefusal, match="NOT OURS"):
        await second.install()
    assert await first.states() == all_of("ok")


@pytest.mark.parametrize("how", ["systemd", "cron"])
async def test_removal_leaves_what_is_not_ours(machine: Machine, how: How) -> None:
    machine.places.units.mkdir()
    other = machine.places.units / "fsbackup-notes.timer"
    other.write_text("[Timer]\nOnCalendar=daily\n")
    (machine.base / "cron.d").mkdir()
    lines = machine.base / "cron.d" / "fsbackup-shop"
    lines.write_text("MAILTO=ops@example.org\n5 4 * * * root /usr/bin/true\n")
    before = machine.files()

    await machine.install(how)
    removed = await machine.remove()
    assert removed
    assert machine.files() == before
    assert await machine.remove() == []


async def test_a_cron_file_of_ours_alone_goes_with_its_lines(machine: Machine) -> None:
    await machine.install("cron")
    path = machine.base / "cron.d" / "fsbackup-shop"
    assert path.stat().st_mode & 0o777 == 0o644
    await machine.remove()
    assert not path.exists()


async def test_the_other_way_takes_the_first_one_s_place(machine: Machine) -> None:
    await machine.install("cron")
    done = await machine.install("systemd")
    assert any("cron.d" in what for what in done.removed)
    assert (await machine.survey()).how == ("systemd",)
    await machine.install("cron")
    found = await machine.survey()
    assert (found.how, found.matches) == (("cron",), True)
    assert not any(path.startswith("units") for path in machine.files())


async def test_installed_in_two_ways_is_said(machine: Machine) -> None:
    await machine.install("cron")
    lines = (machine.base / "cron.d" / "fsbackup-shop").read_text()
    await machine.install("systemd")
    (machine.base / "cron.d" / "fsbackup-shop").write_text(lines)
    found = await machine.survey()
    assert found.how == ("systemd", "cron")
    assert not found.matches
    assert any("Installed twice" in note for note in found.notes)


async def test_lines_whose_end_was_cut_off_are_not_touched(machine: Machine) -> None:
    await machine.install("cron")
    path = machine.base / "cron.d" / "fsbackup-shop"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    before = path.read_text()
    assert await machine.states() == all_of("-")
    with pytest.raises(FsbackupError, match="can't be told from the others"):
        await machine.install("cron")
    assert path.read_text() == before


@pytest.mark.parametrize("how", ["systemd", "cron"])
async def test_printing_writes_nothing(machine: Machine, how: How) -> None:
    done = await machine.install(how, only_print=True)
    assert machine.files() == {}
    assert len(done.texts) == (8 if how == "systemd" else 1)
    assert all(str(machine.loaded.path) in text for text in done.texts.values())


async def test_nothing_with_a_time_is_nothing_to_install(machine: Machine) -> None:
    machine.load(
        "site: {site}\nrepository: {directory}/repo\n"
        'sources: {{db: {{kind: postgres, url: "x"}}}}\nplans: {{daily: {{sources: [db]}}}}\n'
    )
    with pytest.raises(UsageError, match="NOTHING TO SCHEDULE") as caught:
        await machine.install()
    assert 'at: "02:00"' in caught.value.fix


async def test_what_only_looks_backs_nothing_up_by_itself(machine: Machine) -> None:
    machine.load(TEXT + "read_only: true\n")
    assert (await machine.install()).entries == ("check",)


async def test_what_only_this_shell_knows_is_said(machine: Machine) -> None:
    machine.environ |= {"DATABASE_URL": "postgresql://ana@db1/shop", "KEY": "hunter2"}
    text = TEXT.replace('"postgresql://ana@db1/shop"', '"${{DATABASE_URL}}"')
    text += "encryption: {{method: age, passphrase: {{env: KEY}}}}\n"
    machine.load(text)
    [note] = (await machine.install(only_print=True)).notes
    assert "DATABASE_URL, KEY" in note
    assert "hunter2" not in note

    env_file = machine.base / "shop.env"
    env_file.write_text("DATABASE_URL=postgresql://ana@db1/shop\nKEY=hunter2\n")
    env_file.chmod(0o600)
    machine.load(text + f"env_file: {env_file}\n")
    assert (await machine.install(only_print=True)).notes == ()


async def test_a_configuration_that_needs_this_shell_to_load_is_refused(machine: Machine) -> None:
    machine.environ["WHERE"] = str(machine.base)
    machine.load(TEXT.replace("{directory}/repo", "${{WHERE}}/repo"))
    with pytest.raises(UsageError, match="WOULD NOT RUN BY ITSELF") as caught:
        await machine.install()
    assert "WHERE" in caught.value.why
    assert machine.files() == {}


async def test_a_state_directory_of_the_shell_is_handed_on(machine: Machine) -> None:
    machine.environ["XDG_STATE_HOME"] = "/srv/state"
    texts = (await machine.install(only_print=True)).texts
    service = next(text for path, text in texts.items() if path.endswith("daily.service"))
    assert "Environment=XDG_STATE_HOME=/srv/state" in service


async def test_a_timer_whose_gaps_end_soon_asks_to_be_written_anew(machine: Machine) -> None:
    await machine.install()
    for years, state in ((7, "ok"), (9, "different")):
        later = await machine.survey(NOW + timedelta(days=366 * years))
        [daily] = [entry for entry in later.entries if entry.entry.id == "backup.daily"]
        assert daily.installed is not None
        assert daily.installed.state == state


async def test_overdue_is_what_was_asked_for_and_did_not_begin(machine: Machine) -> None:
    def of_daily(found: Survey) -> tuple[bool, datetime, datetime]:
        [state] = [state for state in found.entries if state.entry.id == "backup.daily"]
        return state.overdue, state.due, state.next

    due = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)  # 02:00 in Berlin
    day = timedelta(days=1)
    assert of_daily(await machine.survey()) == (False, due, due + day)
    yesterday = {"backup.daily": LastRun(due - day, "ok")}
    today = {"backup.daily": LastRun(due + timedelta(seconds=2), "failed")}
    long_since = {"backup.daily": Asked(due - 2 * day)}
    just_now = {"backup.daily": Asked(due + timedelta(hours=1))}
    for last, asked, overdue in (
        (yesterday, {}, True),
        (today, {}, False),
        ({}, long_since, True),
        (yesterday, just_now, False),
        (today, long_since, False),
    ):
        found = await machine.survey(last=last, asked=asked)
        assert of_daily(found)[0] is overdue
    early = await machine.survey(due + timedelta(minutes=5), last=yesterday)
    assert of_daily(early)[0] is False
    # That the next one is due a moment ago does not make the missed ones before it good.
    still = await machine.survey(due + timedelta(minutes=5), last={}, asked=long_since)
    assert of_daily(still)[0] is True
