"""Rows and the files they name: recorded at capture, shown at proof, looked for in live."""

from __future__ import annotations

import asyncio
import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyrage
import pytest

from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.live_links import missing_in_live, open_live_links
from fsbackup_tui.recovery.express import ExpressPlan, open_express, prepare
from fsbackup_tui.repository.manifest import PART_NAME
from fsbackup_tui.repository.reader import PointReader
from tests.support.code_sites import git
from tests.support.in_process import declare_real
from tests.support.proving import Bench, make_bench
from tests.support.recovering import do_step
from tests.support.resealing import reseal
from tests.support.servers import MakeDatabase, execute, query

LINKS: tuple[Mapping[str, object], ...] = (
    {"table": "videos", "column": "path", "strip": ["/uploads/"], "size": "bytes"},
    {"table": "public.users", "column": "faces", "where": "id < 100"},
    {"table": "published", "column": "poster", "path": "posters/{poster}.png"},
    {"table": "storage.objects", "column": "name"},
    {"table": "no_such_table", "column": "path"},
)
FILES = {
    "a.mp4": 3,
    "b c.mp4": 3,
    "faces/1.jpg": 1,
    "faces/2.jpg": 1,
    "posters/one.png": 1,
    "avatars/ana/face.png/0f1e": 4,
    "nobody.txt": 1,
}
TABLES = (
    "CREATE TABLE videos (id int PRIMARY KEY, path text, bytes bigint)",
    "INSERT INTO videos VALUES (1, '/uploads/a.mp4', 3), (2, 'b%20c.mp4', 3), (3, NULL, NULL)",
    "CREATE TABLE users (id int PRIMARY KEY, faces text[])",
    "INSERT INTO users VALUES (1, '{faces/1.jpg,faces/2.jpg}'), (2, '{}'), (100, '{not/asked}')",
    "CREATE VIEW published AS SELECT id, 'one'::text AS poster FROM videos WHERE id = 1",
    "CREATE SCHEMA storage",
    "CREATE TABLE storage.objects (id int PRIMARY KEY, bucket_id text, name text, version text,"
    " metadata jsonb)",
    "INSERT INTO storage.objects VALUES (1, 'avatars', 'ana/face.png', '0f1e', '{\"size\": 4}')",
)


def make_site(
    directory: Path,
    url: str,
    *,
    links: tuple[Mapping[str, object], ...] = LINKS,
    files: Mapping[str, object] | None = None,
    code: Mapping[str, object] | None = None,
    **settings: object,
) -> tuple[Bench, Path]:
    """Return a site of a database and a tree of files that its rows name."""
    root = directory / "storage"
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    execute(url, *TABLES)
    uploads = {"kind": "files", "root": str(root), **(files or {})}
    sources: dict[str, Mapping[str, object]] = {
        "uploads": uploads,
        "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
    }
    if code is not None:
        sources["code"] = code
    # The files are named first, and captured last all the same.
    plans = {"daily": {"sources": list(sources)}}
    linked = [{"files": "uploads", **link} for link in links]
    more = {"sources": sources, "plans": plans, "links": linked, **settings}
    return make_bench(directory / "site", url, settings=more), root


def links_of(bench: Bench, point: str) -> tuple[LinkFacts, ...]:
    manifest = PointReader(bench.repository, point).manifest
    assert manifest is not None
    return manifest.links


def part_trust(bench: Bench, point: str, part: str) -> str:
    (found,) = [each for each in bench.site.points() if each["id"] == point]
    return str(next(each["trust"] for each in found["parts"] if each["source"] == part))


def warnings(bench: Bench) -> list[str]:
    return [event.text for event in bench.told if isinstance(event, Warned)]


async def test_rows_and_files_that_fit_are_proven_and_a_tree_in_their_place_is_not(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    bench, root = make_site(tmp_path, url)
    point = str((await bench.back_up())["point"])
    told = warnings(bench)
    found = links_of(bench, point)
    assert [link.rows for link in found] == [2, 2, 1, 1, 0]
    assert not any(link.missing.count or link.differing.count for link in found)
    assert [link.unnamed for link in found[:4]] == [1, 1, 1, 1]
    assert [link.known for link in found] == [True, True, True, True, False]
    assert told == ["Link no_such_table.path in uploads not read: there is no table no_such_table"]
    document = await bench.verify(point)
    assert (document["ok"], document["trust"]) == (True, "proven"), document["problems"]
    assert document["proofs"]["db"]["links"] == {"equal": 4, "unknown": 1}
    assert part_trust(bench, point, "uploads") == "proven"
    shown = bench.site.run("show", point)
    assert "videos.path: 2 rows, every one has its file in uploads" in shown.stdout

    # Another tree, sound in itself, in its place: whole by every hash, and not what was captured.
    (root / "a.mp4").unlink()
    (root / "b c.mp4").write_bytes(b"longer")
    later = str((await bench.back_up())["point"])
    part = bench.point_directory(point) / "uploads"
    shutil.rmtree(part)
    shutil.copytree(bench.point_directory(later) / "uploads", part)
    reseal(bench.repository, point, believing=PART_NAME)
    document = await bench.verify(point)
    assert not document["ok"]
    (problem,) = document["problems"]
    assert problem["part"] == "uploads"
    assert problem["what"] == (
        "link videos.path: 1 rows have no file, 0 at capture, like /uploads/a.mp4; 1 rows have"
        " another file than they say, 0 at capture, like b%20c.mp4"
    )
    assert part_trust(bench, point, "db") == "proven"


async def test_what_goes_away_in_between_is_told_apart(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """The hook runs when the rows were read, and before the files are."""
    url = make_database(server)
    erase = ["rm", str(tmp_path / "storage" / "a.mp4")]
    bench, root = make_site(tmp_path, url, links=LINKS[:1], files={"before": erase})
    (root / "b c.mp4").unlink()
    execute(url, "INSERT INTO videos VALUES (4, '../../etc/passwd', NULL)")
    point = str((await bench.back_up())["point"])
    (link,) = links_of(bench, point)
    assert link.rows == 3
    assert (link.missing.count, link.vanished.names) == (3, ("/uploads/a.mp4",))
    assert sorted(link.missing.names) == ["../../etc/passwd", "/uploads/a.mp4", "b%20c.mp4"]
    assert link.note == "1 lead out of its root"
    assert warnings(bench)[-1] == (
        "Link videos.path in uploads: 3 of 3 rows have no file; of these 1 were there when the "
        "rows were read"
    )
    # It was so at capture, and is told; the point is what it was.
    document = await bench.verify(point)
    assert (document["ok"], document["trust"]) == (True, "proven"), document["problems"]
    assert "uploads: link videos.path: 3 rows, 3 without a file" in document["notes"]
    exported = tmp_path / "lost.csv"
    assert bench.site.run("show", point, "--rows-lost", str(exported)).exit_code == 0
    with exported.open(newline="") as file:
        rows = list(csv.reader(file))
    assert ["videos", "path", "uploads", "missing", "/uploads/a.mp4"] in rows
    assert len(rows) == 4


async def test_live_tells_what_its_rows_miss(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """And a machine that can't read its own backups records the links all the same."""
    url = make_database(server)
    identity = pyrage.x25519.Identity.generate()
    key = {"method": "age", "recipients": [str(identity.to_public())]}
    bench, root = make_site(tmp_path, url, links=LINKS[:2], encryption=key)
    (root / "faces" / "alias.mp4").symlink_to("../a.mp4")
    execute(url, "INSERT INTO videos VALUES (4, 'faces/alias.mp4', 3)")
    point = str((await bench.back_up())["point"])
    assert [link.rows for link in links_of(bench, point)] == [3, 2]
    assert [link.missing.count for link in links_of(bench, point)] == [0, 0]
    # What an unchanged tree holds is told by itself, where its stored list can't be read.
    daily = {"sources": ["uploads", "db"], "link_unchanged": True}
    bench.site.settings = {**bench.site.settings, "plans": {"daily": daily}}
    bench.site.write_config()
    linked = PointReader(bench.repository, str((await bench.back_up())["point"])).manifest
    assert linked is not None
    assert [part.files.linked_to for part in linked.parts if part.files] == [point]
    assert [(link.rows, link.missing.count, link.note) for link in linked.links] == [
        (link.rows, link.missing.count, link.note) for link in links_of(bench, point)
    ]
    execute(url, "INSERT INTO videos VALUES (5, 'born-since.mp4', 1)")
    for name in ("b c.mp4", "nobody.txt", "faces/1.jpg"):
        (root / name).unlink()
    bench.site.settings = {
        **bench.site.settings,
        "encryption": {**key, "identity": "${AGE_IDENTITY}"},
    }
    bench.site.write_config()
    bench.site.environment["AGE_IDENTITY"] = str(identity)
    with bench.job("files-look") as context:
        reader = PointReader(bench.repository, point)
        found = await missing_in_live(context, "uploads", reader)
        assert found is not None
        videos, faces = found.links
        assert (videos.rows, videos.missing.names) == (4, ("b%20c.mp4", "born-since.mp4"))
        assert (videos.in_point.names, videos.nowhere.names) == (
            ("b%20c.mp4",),
            ("born-since.mp4",),
        )
        assert (faces.rows, faces.missing.count, faces.nowhere.count) == (2, 1, 0)
        assert found.needed_bytes == FILES["b c.mp4"] + FILES["faces/1.jpg"]
        assert found.fits_on_disk
        async with open_live_links(context, "uploads") as live:
            assert live is not None
            named = [name for name in FILES if live.named(name.encode(), FILES[name])]
            assert named == ["b c.mp4", "faces/1.jpg"]
            assert live.export_nowhere(tmp_path / "nowhere.csv") == 1
        assert "born-since.mp4" in (tmp_path / "nowhere.csv").read_text()
    bench.site.url = server.url("no_such_database")
    with bench.job("files-look") as context:
        async with open_live_links(context, "uploads") as live:
            assert live is not None
            assert len(live.unread) == 2


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ({"table": "t", "column": "c", "files": "uplods"}, "did you mean uploads?"),
        ({"table": "t", "column": "c", "files": "db"}, "no source of kind files"),
        ({"table": "t", "column": "c", "files": "uploads", "path": "{"}, "a lone {"),
        ({"table": "t", "column": "c", "files": "uploads", "source": "uploads"}, "kind postgres"),
    ],
)
def test_a_link_that_leads_nowhere_is_no_configuration(
    tmp_path: Path, link: Mapping[str, Any], what: str
) -> None:
    bench = make_bench(
        tmp_path / "site",
        "postgresql:///nowhere",
        settings={
            "sources": {
                "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
                "uploads": {"kind": "files", "root": str(tmp_path)},
            },
            "links": [link],
        },
    )
    done = bench.site.run("list", "--json")
    assert done.exit_code == 2
    assert what in done.stdout


@pytest.mark.machine
def test_a_restore_shows_before_it_whether_rows_code_and_files_fit(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """In the damage, where the point is chosen, and before the swap; of live's code, too."""
    url = make_database(server)
    code = tmp_path / "code"
    added = "INSERT INTO _prisma_migrations VALUES (gen_random_uuid(), now(), '{}', now(), NULL)"
    execute(
        url,
        "CREATE TABLE _prisma_migrations (id text PRIMARY KEY, started_at timestamptz,"
        " migration_name text, finished_at timestamptz, rolled_back_at timestamptz)",
        added.format("20260101_first"),
    )
    commit_migration(code, "20260101_first")
    tree = {"kind": "code", "worktree": str(code), "plaintext": True}
    bench, root = make_site(tmp_path, url, links=LINKS[:1], code=tree, environment="test")
    (root / "b c.mp4").unlink()
    point = str(asyncio.run(bench.back_up())["point"])
    commit_migration(code, "20260202_later")
    execute(url, added.format("20260202_later"), "DELETE FROM videos")

    without = "rows of videos.path: 1 of 2 have no file in uploads"
    together = "db with it: database and code fit: both are at 20260101_first"
    looked = declare_real(bench.site, "db", "rows")
    do_step(looked, "damage")
    question = looked.card("choose-point").question
    assert question is not None
    (option,) = question.options
    assert without in option.detail
    damage = looked.card("damage").shows
    looked.close("only looked")

    plan = ExpressPlan("db", point, reason="the only one")
    session = open_express(looked.desk, plan)
    try:
        for shown in (damage, prepare(session, plan).shows):
            told = "\n".join(shown)
            assert f"  {without}" in told
            assert f"  {together}" in told
            assert "LIVE'S CODE IS AT ANOTHER COMMIT" in told
    finally:
        session.leave()
        live = session.read().facts.live_name
        for (name,) in query(server.url(), "SELECT datname::text FROM pg_database"):
            if str(name).startswith(f"{live}__"):
                execute(server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


def commit_migration(code: Path, name: str) -> None:
    """Commit one more migration, in a repository that is made where there is none."""
    is_new = not code.exists()
    path = code / "prisma" / "migrations" / name / "migration.sql"
    path.parent.mkdir(parents=True)
    path.write_text("SELECT 1;\n")
    if is_new:
        git(code, "init", "--quiet")
    git(code, "add", "--all")
    git(code, "commit", "--quiet", f"--message={name}")
