"""Copies elsewhere on real servers: whole or plainly not, checked by their bytes, mended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Event, Progress
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.records import write_record
from tests.support.points import START, begin_point, flip_byte, part, write_part
from tests.support.replicating import KINDS, copies, far_away, made, replicate, site_with, tree

# Real servers beside whatever else the machine does: only what hangs is to be ended.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_point_is_whole_there_recorded_and_sent_once(kind: str, tmp_path: Path) -> None:
    with far_away(kind, tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        events: list[Event] = []
        result = await replicate(site, events=events)
        assert result["ok"], result
        far = result["replicas"]["far"]
        assert far["sent"] == [point]
        here = tree(site.repository / "points")
        assert tree(there / "points") == here
        assert json.loads((there / "fsbackup.json").read_bytes())["site"] == "face-swap"
        # The fact that it was copied lies there, too.
        assert tree(there / "records") == tree(site.repository / "records")
        assert copies(site, point)["far"].state == "whole"
        done = [event for event in events if isinstance(event, Progress)]
        assert done
        assert not any("canary" in str(event) for event in events)
        times = {path: path.stat().st_mtime_ns for path in there.rglob("*") if path.is_file()}
        again = await replicate(site)
        assert (again["replicas"]["far"]["sent"], again["replicas"]["far"]["whole"]) == ([], 1)
        assert again["replicas"]["far"]["bytes"] == 0
        assert {path: path.stat().st_mtime_ns for path in times} == times
        # Nothing but the replica's own layout: no lock, no trash, no half file.
        assert {path.name for path in there.iterdir()} == {
            *("fsbackup.json", "RECOVER.md", "points", "records", "writers")
        }


async def test_the_text_at_the_root_tells_stock_commands_that_fetch_it(tmp_path: Path) -> None:
    with far_away("rsync", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        made(site)
        await replicate(site)
        text = (there / "RECOVER.md").read_text()
        assert f"rsync -a -e 'ssh -p {place['port']}' " in text
        assert text.index("## 0. Fetch it") < text.index("## 1. Choose a recovery point")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_altered_or_missing_there_is_found_recorded_and_mended(
    kind: str, tmp_path: Path
) -> None:
    with far_away(kind, tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        first, second, third = made(site, 3)
        assert (await replicate(site))["ok"]
        flip_byte(there / "points" / first / "db" / "database.dump")
        (there / "points" / second / "db" / "database.dump").unlink()
        (there / "points" / third / "manifest.json").write_bytes(b"{}")
        found = await replicate(site, check=True)
        assert not found["ok"]
        wrong = {
            one["point"]: one["what"] for one in found["replicas"]["far"]["read_back"]["wrong"]
        }
        assert wrong[first] == ["db/database.dump: altered (its SHA-256 differs)"]
        assert wrong[second] == ["db/database.dump: missing"]
        assert wrong[third][0].startswith("manifest.json: 2 bytes, should be")
        states = {point: copies(site, point)["far"].state for point in (first, second, third)}
        assert set(states.values()) == {"wrong"}
        assert "altered" in copies(site, first)["far"].why
        # A check changes nothing there.
        assert (there / "points" / third / "manifest.json").read_bytes() == b"{}"
        mended = await replicate(site)
        assert mended["ok"], mended
        assert set(mended["replicas"]["far"]["mended"]) == {first, second, third}
        assert tree(there / "points") == tree(site.repository / "points")
        checked = await replicate(site, check=True)
        assert checked["ok"]
        assert all(copies(site, one)["far"].checked_at for one in (first, second, third))


async def test_a_file_of_a_former_run_is_not_taken_for_right_by_its_size(tmp_path: Path) -> None:
    for kind in KINDS:
        with far_away(kind, tmp_path / kind) as (place, there):
            site = site_with(tmp_path / f"{kind}-site", far=place)
            (point,) = made(site)
            shutil.copytree(site.repository / "points", there / "points")
            flip_byte(there / "points" / point / "db" / "database.dump")
            (there / "points" / point / "manifest.json").unlink()
            result = await replicate(site)
            assert result["ok"], (kind, result)
            assert tree(there / "points") == tree(site.repository / "points")


async def test_a_share_is_read_back_each_time_and_all_of_it_within_a_few(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far={**place, "read_back": {"share": "34%", "every": "30d"}})
        points = made(site, 4, os.urandom(50_000))
        (victim,) = points[2:3]
        assert (await replicate(site))["ok"]
        flip_byte(there / "points" / victim / "db" / "database.dump")
        for _run in range(3):
            result = await replicate(site)
            read = result["replicas"]["far"]["read_back"]
            assert 0 < read["bytes"] < read["of_bytes"]
            if read["wrong"]:
                break
        else:
            raise AssertionError("three thirds did not find it")
        assert [one["point"] for one in read["wrong"]] == [victim]
        assert result["ok"]
        assert result["replicas"]["far"]["mended"] == [victim]
        assert tree(there / "points") == tree(site.repository / "points")


async def test_one_replica_that_fails_does_not_stop_the_other(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        wrong = {**place, "secret_key": "canary-wrong-secret-0123456789"}
        site = site_with(tmp_path, bad=wrong, good=place)
        (point,) = made(site)
        result = await replicate(site)
        assert not result["ok"]
        assert result["replicas"]["bad"]["problem"]["kind"] == "replica-refused"
        assert result["replicas"]["good"]["sent"] == [point]
        assert set(copies(site, point)) == {"good"}
        assert "canary-wrong" not in json.dumps(result)
        assert (there / "points" / point / "manifest.json").is_file()


async def test_what_is_plain_damaged_or_unfinished_does_not_go(tmp_path: Path) -> None:
    with far_away("rsync", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, shut={**place, "encrypted_only": True}, far=place)
        plain, damaged = made(site, 2)
        repository = open_repository(site.repository)
        unfinished = begin_point(repository, created=START + timedelta(days=5))
        write_part(unfinished, part())
        flip_byte(site.repository / "points" / damaged / "db" / "database.dump")
        result = await replicate(site)
        assert not result["ok"]
        shut, far = result["replicas"]["shut"], result["replicas"]["far"]
        assert shut["sent"] == []
        assert any("IN PLAIN" in one["what"] for one in shut["refused"])
        assert far["sent"] == [plain]
        assert [one["point"] for one in far["refused"]] == [damaged]
        assert "not as it was sealed" in far["refused"][0]["what"]
        assert [path.parent.name for path in (there / "points").glob("*/manifest.json")] == [plain]
        assert copies(site, damaged) == {}


async def test_a_damage_found_on_the_way_stops_what_travels(tmp_path: Path) -> None:
    content = b"0123456789abcdef" * (4 << 20)
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far={**place, "bandwidth": "1MB"})
        (damaged,) = made(site, content=content)
        flip_byte(site.repository / "points" / damaged / "db" / "database.dump")
        # A whole minute is what sending all of it would take.
        async with asyncio.timeout(40):
            result = await replicate(site)
        assert [one["point"] for one in result["replicas"]["far"]["refused"]] == [damaged]
        assert "database.dump" not in {path.name for path in there.rglob("*")}
        assert not list(there.rglob("manifest.json"))
        assert copies(site, damaged) == {}


async def test_what_is_damaged_here_replaces_nothing_there(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        assert (await replicate(site))["ok"]
        before = tree(there / "points")
        shutil.rmtree(site.repository / "records")
        dump = site.repository / "points" / point / "db" / "database.dump"
        flip_byte(dump)
        assert not (await replicate(site))["ok"]
        dump.write_bytes(dump.read_bytes() + b"more")
        assert not (await replicate(site))["ok"]
        assert tree(there / "points") == before


async def test_another_repository_s_place_is_refused(tmp_path: Path) -> None:
    with far_away("sftp", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        made(site)
        assert (await replicate(site))["ok"]
        before = tree(there)
        other = site_with(tmp_path / "other", far=place)
        made(other)
        result = await replicate(other)
        assert result["replicas"]["far"]["problem"]["kind"] == SafetyRefusal.kind
        assert "ANOTHER REPOSITORY" in result["replicas"]["far"]["problem"]["what"]
        assert tree(there) == before


async def test_later_facts_follow(tmp_path: Path) -> None:
    with far_away("s3", tmp_path / "far") as (place, there):
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        await replicate(site)
        write_record(
            open_repository(site.repository),
            point,
            "verified",
            {"level": "sealed", "ok": True, "parts": {}, "seconds": 1.0},
            now=START + timedelta(days=1),
            job="j",
            operator="ana",
        )
        result = await replicate(site)
        # What was read back by lot may be a fact of its own.
        assert result["replicas"]["far"]["records"] >= 1
        assert any("verified" in name for name in tree(there / "records"))
        assert tree(there / "records") == tree(site.repository / "records")


async def test_replicas_and_points_that_there_are_not(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    made(site)
    with pytest.raises(UsageError, match="NO REPLICAS"):
        await replicate(site)
    site = site_with(tmp_path / "two", far={"rsync": "h:/x"})
    with pytest.raises(UsageError, match="NO SUCH REPLICA: fra"):
        await replicate(site, "fra")
