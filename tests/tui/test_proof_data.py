"""What the screens get of proofs: from records in a real repository, and from a real server."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import PointNotFound
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.layout import Repository, create_repository
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.jobs import make_site
from tests.support.points import START, make_point, part, table, verify_record
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import make_site as make_real_site
from tests.tui.fakes import make_app
from tests.tui.made import make_point as some_point
from tests.tui.proofs import make_proof
from tests.tui.screens import press, screen_text, until, until_gone, until_text

NOW = START + timedelta(days=2)
ENVIRON = {"DATABASE_URL": "postgresql://app@db1/face_swap", "HOME": "/nonexistent"}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path, more="timezone: UTC\n")


@pytest.fixture
def repository(loaded: LoadedConfig) -> Repository:
    return create_repository(loaded.config.repository, "shop", START)


def proof_record(
    repository: Repository, point: str, level: str, *, ok: bool | None, minutes: int = 5
) -> None:
    """Record a trial restore with its proof, as a verification does."""
    proof = make_proof(some_point(0)).proof
    outcome: dict[str, object] = {
        "ok": ok,
        "problems": [],
        "blocked": [],
        "proof": proof.document(),
    }
    write_record(
        repository,
        point,
        "verified",
        {"level": level, "ok": ok, "parts": {"db": outcome}, "seconds": 21.0},
        now=START + timedelta(minutes=minutes),
        job="20261120T010500Z-verify-v1ab",
        operator="ana",
    )


def test_the_newest_proof_of_each_part_and_every_check_are_read(
    loaded: LoadedConfig, repository: Repository
) -> None:
    point = make_point(repository)
    verify_record(repository, point.id, "sealed")
    proof_record(repository, point.id, "restored", ok=True, minutes=6)
    proof_record(repository, point.id, "proven", ok=False, minutes=7)
    verify_record(repository, point.id, "sealed", now=START + timedelta(minutes=9))
    site = LiveSite(loaded, ENVIRON, now=lambda: NOW)
    site.overview()
    shown = site.proof(point.id)
    assert [(one.source, one.level) for one in shown.parts] == [("db", "proven")]
    assert shown.parts[0].proof == make_proof(some_point(0)).proof
    assert Path(shown.parts[0].record).is_file()
    assert [(one.level, one.ok) for one in shown.history] == [
        ("sealed", True),
        ("proven", False),
        ("restored", True),
        ("sealed", True),
    ]
    assert shown.summary.levels["proven"].ok is False
    with pytest.raises(PointNotFound):
        site.proof("20200101T000000Z-daily-aaaa")
    site.close()


def test_a_record_that_was_altered_or_is_of_another_version_shows_less(
    loaded: LoadedConfig, repository: Repository
) -> None:
    point = make_point(repository)
    proof_record(repository, point.id, "proven", ok=True)
    write_record(
        repository,
        point.id,
        "verified",
        {"level": "proven", "ok": True, "parts": {"db": {"ok": True, "proof": {"place": 7}}}},
        now=START + timedelta(minutes=8),
        job="job-3",
        operator="ana",
    )
    [first, _second] = sorted((repository.records / point.id).iterdir())
    site = LiveSite(loaded, ENVIRON, now=lambda: NOW)
    site.overview()
    assert [one.level for one in site.proof(point.id).parts] == ["proven"]
    body = json.loads(first.read_text())
    body["document"]["parts"]["db"]["proof"]["tables"] = []
    first.write_text(json.dumps(body))
    shown = site.proof(point.id)
    assert shown.parts == ()
    assert len(shown.history) == 1
    assert "it was altered after it was written" in shown.worthless[0]
    site.close()


def test_plans_say_how_far_and_how_often(tmp_path: Path) -> None:
    loaded = make_site(tmp_path, more="timezone: UTC\nscratch: {on: live}\n")
    create_repository(loaded.config.repository, "shop", START)
    site = LiveSite(loaded, ENVIRON, now=lambda: NOW)
    overview = site.overview()
    assert {name: (one.level, one.every) for name, one in overview.wanted.items()} == {
        "daily": (Trust.SEALED, None)
    }
    assert overview.trial == "in a database beside the live one"
    site.close()


def test_a_picture_has_a_plans_points_by_day(loaded: LoadedConfig, repository: Repository) -> None:
    for day in range(5):
        rows = 5340 + day
        make_point(
            repository, part(tables=[table("videos", rows)]), created=START + timedelta(days=day)
        )
    make_point(repository, plan="weekly", created=START)
    now = START + timedelta(days=4, hours=3)
    site = LiveSite(loaded, ENVIRON, now=lambda: now)
    site.overview()
    picture = site.picture("daily", None, 10)
    assert picture.unit == timedelta(days=1)
    shown = [None if one is None else one.told.rows for one in picture.buckets]
    assert shown == [None] * 5 + [5340, 5341, 5342, 5343, 5344]
    assert picture.oldest == START
    empty = site.picture("nothing", None, 10)
    assert set(empty.buckets) == {None}
    assert sum(one.count for one in site.picture("daily", timedelta(days=7), 9).buckets if one) == 5
    site.close()


async def test_a_real_proof_is_shown_table_by_table(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, mail text)",
        "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 500) i",
        "CREATE VIEW mails AS SELECT mail FROM users",
        "CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users)",
        "INSERT INTO orders SELECT i, 1 + i % 500 FROM generate_series(1, 900) i",
    )
    real = make_real_site(tmp_path / "site", url)
    assert real.run("backup", "daily", "--json").exit_code == 0
    done = real.run("verify", "latest", "--level", "proven", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    environ = real.environ()
    site = LiveSite(load_config(real.config, environ), environ)
    app = make_app(open_site=lambda: site)
    with contextlib.closing(site):
        await _look_at_the_proof(app)


async def _look_at_the_proof(app: FsbackupApp) -> None:
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.checked)
        await press(pilot, "3")
        await until_text(pilot, "PROVEN")
        await until_gone(pilot, "reading")
        await press(pilot, "enter")
        await until_text(pilot, "public.users")
        lines = [line.split() for line in screen_text(app).splitlines()]
        assert ["public.users", "500", "500", "equal", "equal"] in lines
        assert ["public.orders", "900", "900", "equal", "equal"] in lines
        assert "2 tables: 2 equal" in screen_text(app)
        assert "restored ok  proven ok" in screen_text(app)
        await press(pilot, "tab", "tab")
        await until_text(pilot, "0 LOST")
