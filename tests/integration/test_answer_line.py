"""The answer line is green when a point was proven and the rights to restore were tried."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import status
from fsbackup_tui.operations.status import gather_status
from fsbackup_tui.repository.layout import create_repository
from tests.support.jobs import make_site as make_small_site
from tests.support.points import START, make_point, part, table, verify_record
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import make_site

LADDER = ("sealed", "readable", "restored", "proven")


def test_restore_to_wants_a_proven_point_and_rights_that_were_tried(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    site = make_site(tmp_path / "site", url)
    assert site.run("backup", "daily").exit_code == 0
    line = site.run("list").stdout.splitlines()[0]
    assert "NO PROVEN POINT. Best: " in line
    assert site.run("verify", "latest", "--level", "proven").exit_code == 0
    assert "PROVEN. Restore rights not known: fsbackup doctor" in site.run("list").stdout
    assert site.run("doctor").exit_code == 0
    assert "RESTORE TO " in site.run("list").stdout.splitlines()[0]
    site.write_config()
    text = site.config.read_text()
    site.config.write_text(text + "\n")
    assert "Restore rights not known" in site.run("list").stdout


@pytest.mark.parametrize("suspect", [(), ("videos 5340 to 40",)], ids=["good", "suspect"])
def test_a_proven_point_far_down_is_still_named_and_a_suspect_one_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suspect: tuple[str, ...]
) -> None:
    monkeypatch.setattr(status, "_NEWEST_LOOKED_AT", 3)
    monkeypatch.setattr(status, "_PAGE", 1)
    loaded = make_small_site(tmp_path, more="timezone: UTC\n")
    repository = create_repository(loaded.config.repository, "shop", START)
    old = make_point(repository, part(tables=[table("videos", 40)], suspect=suspect))
    for level in LADDER:
        verify_record(repository, old.id, level)
    for hour in range(1, 5):
        point = make_point(repository, created=START + timedelta(hours=hour))
        verify_record(repository, point.id, "sealed")
    found = gather_status(loaded, {"HOME": "/nonexistent"}, START + timedelta(hours=5))
    line = found.answer.line(200)
    if suspect:
        assert "NO PROVEN POINT. Best: 05:00 UTC sealed" in line
    else:
        assert "05:00 UTC not proven. Last PROVEN: 01:00 UTC, 5 h ago" in line
