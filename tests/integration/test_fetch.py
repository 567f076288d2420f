"""A point comes back from a replica on real servers: what was lost or damaged here."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import PointDamaged, PointNotFound, SafetyRefusal
from fsbackup_tui.operations.fetch_point import run
from fsbackup_tui.operations.requests import FetchRequest
from tests.support.contexts import context_of
from tests.support.points import flip_byte
from tests.support.replicating import far_away, made, replicate, site_with, tree
from tests.support.sites import Site
from tests.support.waiting import wait_until_async

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]


async def fetch(site: Site, point: str) -> dict[str, Any]:
    return await run(FetchRequest(point, "far"), context_of(site, lambda _event: None, job="job-8"))


@pytest.mark.parametrize("kind", ["s3", "sftp", "rsync"])
async def test_what_is_lost_or_damaged_here_is_as_it_was(kind: str, tmp_path: Path) -> None:
    with far_away(kind, tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        lost, damaged, fine = made(site, 3)
        assert (await replicate(site))["ok"]
        points, far = tree(site.repository / "points"), tree(there)
        home = site.repository / "points"
        shutil.rmtree(home / lost)
        shutil.rmtree(site.repository / "records" / lost)
        flip_byte(home / damaged / "db" / "database.dump")
        (home / damaged / "site.yaml").unlink()

        came = await fetch(site, lost)
        assert (came["fetched"], came["trust"], came["was"]) == (True, "sealed", ["it is not here"])
        mended = await fetch(site, damaged)
        assert (mended["fetched"], mended["trust"]) == (True, "sealed")
        assert any("database.dump" in what for what in mended["was"])
        assert (await fetch(site, fine))["fetched"] is False
        assert tree(home) == points
        assert tree(there) == far
        assert not (site.repository / ".fetched").exists()
        assert {point["id"]: point["trust"] for point in site.points()} == {
            lost: "sealed",
            damaged: "sealed",
            fine: "unverified",
        }


async def test_what_is_altered_there_changes_nothing_here(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        assert (await replicate(site))["ok"]
        flip_byte(site.repository / "points" / point / "db" / "part.json")
        before = tree(site.repository / "points")
        flip_byte(there / "points" / point / "db" / "database.dump")
        with pytest.raises(PointDamaged, match="on far"):
            await fetch(site, point)
        assert tree(site.repository / "points") == before
        (there / "points" / point / "manifest.json").unlink()
        with pytest.raises(PointNotFound):
            await fetch(site, point)
        assert tree(site.repository / "points") == before


async def test_another_point_of_that_name_does_not_take_its_place(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        assert (await replicate(site))["ok"]
        shutil.rmtree(site.repository / "records")
        home = site.repository / "points" / point
        forged = tmp_path / "forged"
        shutil.copytree(there / "points" / point, forged)
        (other,) = made(site_with(tmp_path / "other", far=place), content=b"another" * 900)
        theirs = tmp_path / "other" / "site"
        source = next(path for path in theirs.rglob(other) if path.parent.name == "points")
        shutil.rmtree(there / "points" / point)
        shutil.copytree(source, there / "points" / point)
        flip_byte(home / "db" / "database.dump")
        before = tree(home)
        with pytest.raises((SafetyRefusal, PointDamaged)):
            await fetch(site, point)
        assert tree(home) == before


async def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, _there):
        site = site_with(tmp_path, far={**place, "bandwidth": "2MB"})
        (point,) = made(site, content=b"0123456789abcdef" * (1 << 19))
        assert (await replicate(site))["ok"]
        before = tree(site.repository / "points")
        shutil.rmtree(site.repository / "points" / point)
        fetching = asyncio.create_task(fetch(site, point))
        staged = site.repository / ".fetched"
        await wait_until_async(
            lambda: any(path.is_file() for path in staged.rglob("*")), timeout=60
        )
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert tree(site.repository / "points") == {}
        assert (await fetch(site, point))["fetched"] is True
        assert tree(site.repository / "points") == before
        assert not staged.exists()


async def test_a_read_only_site_gets_nothing(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, _there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        assert (await replicate(site))["ok"]
        shutil.rmtree(site.repository / "points" / point)
        site.settings = {**site.settings, "read_only": True}
        site.write_config()
        with pytest.raises(SafetyRefusal, match="READ ONLY"):
            await fetch(site, point)
        assert tree(site.repository / "points") == {}


def test_the_command_says_what_came_and_what_is_next(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, _there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        assert site.run("replicate", "--json").exit_code == 0
        refused = site.run("restore", point, "--part", "db", "--swap", "--replica", "far")
        assert f" fetch {point} --replica far" in refused.stderr
        flip_byte(site.repository / "points" / point / "db" / "database.dump")
        done = site.run("fetch", "latest")
        assert done.exit_code == 0, done.stdout + done.stderr
        assert f"{point} came back from far: sealed." in done.stdout
        again = site.run("fetch", point, "--replica", "far")
        assert "is whole here: nothing was fetched" in again.stdout
        assert site.run("fetch", "19990101T000000Z-daily-aaaa", "--replica", "far").exit_code == 2
        assert site.run("fetch", point, "--replica", "nobody").exit_code == 2
