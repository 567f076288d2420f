"""A replica's points by the command line: sent by a plan, listed, verified, drilled, restored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.points import flip_byte
from tests.support.replicas import s3_server
from tests.support.replicating import described, far_away, tree
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site

# Real servers beside whatever else the machine does: only what hangs is to be ended.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]


def shop_site(tmp_path: Path, url: str, place: dict[str, object]) -> Site:
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, mail text)",
        "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 500) i",
    )
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "a.txt").write_text("an upload\n")
    settings = {
        "replicas": {"far": place},
        "sources": {
            "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
            "uploads": {"kind": "files", "root": str(uploads)},
        },
        "plans": {"daily": {"sources": ["db", "uploads"], "replicas": ["far"]}},
    }
    return make_site(tmp_path / "site", url, settings=settings)


@pytest.mark.parametrize("kind", ["s3", "rsync"])
def test_points_are_used_from_the_replica_alone(
    kind: str, tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    with far_away(kind, tmp_path / "far") as (place, there):
        site = shop_site(tmp_path, url, place)
        taken = site.run("backup", "daily", "--json")
        assert taken.exit_code == 0, taken.stdout + taken.stderr
        assert taken.document["stages"]["replicate"]["ok"]
        point = str(taken.document["point"])
        (listed,) = site.points()
        assert [copy["replica"] for copy in listed["copies"]] == ["far"]
        assert "copy on far: whole since" in site.run("show", point).stdout

        # What lies here is damaged: what is on the replica serves in its place.
        flip_byte(site.repository / "points" / point / "db" / "database.dump")
        before = tree(there)
        far = site.run("list", "--replica", "far", "--json")
        assert [one["id"] for one in far.document["points"]] == [point]
        shown = site.run("show", "latest", "--replica", "far", "--json")
        assert shown.document["id"] == point, shown.stdout
        assert site.run("verify", point, "--level", "sealed").exit_code == 1
        here = site.run("restore", point, "--part", "db", "--beside", "from_here", "--json")
        assert "far has it whole" in here.error["fix"], here.stdout
        doctor = site.run("doctor", "--json").stdout
        assert "replica far:" in doctor
        verified = site.run("verify", point, "--replica", "far", "--json")
        assert verified.exit_code == 0, verified.stdout + verified.stderr
        drilled = site.run("drill", "--replica", "far", "--json")
        assert drilled.exit_code == 0, drilled.stdout + drilled.stderr
        assert drilled.document["trust"] == "proven"
        assert drilled.document["replica"] == "far"
        beside = ("restore", point, "--part", "db", "--beside", f"from_{kind}", "--replica", "far")
        restored = site.run(*beside, "--json")
        assert restored.exit_code == 0, restored.stdout + restored.stderr
        copy = url.rpartition("/")[0] + f"/from_{kind}"
        if "?" in url:
            copy += "?" + url.partition("?")[2]
        assert query(copy, "SELECT count(*) FROM users") == [(500,)]
        to = str(tmp_path / "out")
        files = ("restore", point, "--part", "uploads", "--to", to, "--replica", "far")
        assert site.run(*files).exit_code == 0
        assert (tmp_path / "out" / "a.txt").read_text() == "an upload\n"
        swap = site.run("restore", point, "--part", "db", "--swap", "--replica", "far")
        assert swap.exit_code == 2
        assert tree(there) == before
        # Nothing of the artifacts stays behind.
        assert not list(site.state.rglob("database.dump"))


def test_a_damaged_copy_is_never_restored(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    with s3_server(tmp_path / "far") as bucket:
        site = shop_site(tmp_path, url, described(bucket.replica()))
        point = str(site.run("backup", "daily", "--json").document["point"])
        flip_byte(bucket.files / "site" / "points" / point / "db" / "database.dump")
        verified = site.run("verify", point, "--replica", "far", "--json")
        assert verified.exit_code == 1
        assert verified.document["trust"] == "damaged"
        beside = ("restore", point, "--part", "db", "--beside", "from_damaged", "--replica", "far")
        restored = site.run(*beside, "--json")
        assert restored.error["kind"] == "point-damaged", restored.stdout
        # The point as it lies here is not blamed for it.
        assert site.points()[0]["trust"] != "damaged"
        (bucket.files / "site" / "points" / point / "manifest.json").unlink()
        gone = site.run("verify", point, "--replica", "far", "--json")
        assert gone.exit_code in (1, 2)
        assert gone.document["ok"] is False


def test_the_host_s_repository_may_be_gone(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    with s3_server(tmp_path / "far") as bucket:
        site = shop_site(tmp_path, url, described(bucket.replica()))
        point = str(site.run("backup", "daily", "--json").document["point"])
        shutil.rmtree(site.repository)
        listed = site.run("list", "--replica", "far", "--json")
        assert listed.exit_code == 0, listed.stdout + listed.stderr
        verified = site.run("verify", point, "--replica", "far", "--json")
        assert verified.exit_code == 0, verified.stdout + verified.stderr
