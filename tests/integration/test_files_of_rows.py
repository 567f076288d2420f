"""Files back where links tell: what a live row names comes back, what users erased stays erased."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.engines.link_book import TreeFile, tree_files
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.site_requests import FilesLookRequest, FilesPutBackRequest
from fsbackup_tui.repository.reader import PointReader
from tests.support.file_sites import FileSite
from tests.support.proving import make_bench
from tests.support.servers import MakeDatabase, execute

NAMES = ("a.jpg", "b.jpg", "deep/c.jpg", "erased.jpg")


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))[1:]


async def test_only_what_a_row_names_comes_back(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url, root = make_database(server), tmp_path / "storage"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    execute(
        url,
        "CREATE TABLE videos (id int PRIMARY KEY, path text)",
        "INSERT INTO videos VALUES (1, 'a.jpg'), (2, 'b.jpg'), (3, 'deep/c.jpg')",
    )
    link = {"table": "videos", "column": "path", "files": "uploads"}
    settings = {
        "sources": {
            "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
            "uploads": {"kind": "files", "root": str(root)},
        },
        "plans": {"daily": {"sources": ["db", "uploads"]}},
        "links": [link, {**link, "table": "no_such_table"}],
    }
    bench = make_bench(tmp_path / "site", url, settings=settings)
    point = str((await bench.back_up())["point"])
    files = FileSite(bench.site, root, point)
    for name in NAMES[1:]:
        (root / name).unlink()
    (root / "deep").rmdir()
    execute(url, "INSERT INTO videos VALUES (4, 'after.jpg'), (5, NULL)")

    look = await files.ask(FilesLookRequest("uploads", point, touching=False))
    assert look["missing"]["count"] == 3
    assert look["wanted"]["names"] == ["b.jpg", "deep/c.jpg"]
    assert look["unnamed"]["names"] == ["erased.jpg"]
    known, unknown = look["rows"]
    assert (known["rows"], known["missing"]["count"], known["in_point"]["count"]) == (4, 3, 2)
    assert known["nowhere"]["names"] == ["after.jpg"]
    assert (unknown["rows"], unknown["note"] != "") == (None, True)

    done = await files.ask(FilesPutBackRequest("uploads", point))
    assert done["put_back"]["names"] == ["b.jpg", "deep/c.jpg"]
    assert done["unnamed"]["names"] == ["erased.jpg"]
    assert not (root / "erased.jpg").exists()
    assert rows_of(Path(done["nowhere_list"])) == [["videos", "path", "after.jpg"]]
    assert any("no_such_table" in note for note in done["notes"])

    all_of_it = await files.ask(FilesPutBackRequest("uploads", point, all_missing=True, tag="all"))
    assert all_of_it["put_back"]["names"] == ["erased.jpg"]
    (root / "a.jpg").unlink()
    execute(url, "DROP TABLE videos")
    with pytest.raises(SafetyRefusal, match="not known"):
        await files.ask(FilesPutBackRequest("uploads", point))
    assert not (root / "a.jpg").exists()
    named = FilesPutBackRequest("uploads", point, patterns=("a*",), tag="named")
    assert (await files.ask(named))["put_back"]["names"] == ["a.jpg"]


async def test_a_symlink_that_a_row_names_comes_back_with_its_file(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url, root = make_database(server), tmp_path / "storage"
    (root / "deep").mkdir(parents=True)
    for name in ("v8.mp4", "kept.mp4", "other.mp4"):
        (root / name).write_text(name)
    links = {
        "v7.mp4": "v8.mp4",
        "deep/far.mp4": "../v7.mp4",
        "seen.mp4": "kept.mp4",
        "dangling.mp4": "gone.mp4",
        "nobody.mp4": "other.mp4",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    rows = ", ".join(f"('{name}')" for name in list(links)[1:-1])
    execute(url, "CREATE TABLE videos (path text)", f"INSERT INTO videos VALUES {rows}")
    settings = {
        "sources": {
            "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
            "uploads": {"kind": "files", "root": str(root)},
        },
        "plans": {"daily": {"sources": ["db", "uploads"]}},
        "links": [{"table": "videos", "column": "path", "files": "uploads"}],
    }
    bench = make_bench(tmp_path / "site", url, settings=settings)
    point = str((await bench.back_up())["point"])
    manifest = PointReader(bench.repository, point).manifest
    assert manifest is not None
    (link,) = manifest.links
    assert (link.rows, link.missing.names, link.unnamed) == (3, ("dangling.mp4",), 1)
    document = await bench.verify(point)
    assert (document["ok"], document["trust"]) == (True, "proven"), document["problems"]

    files = FileSite(bench.site, root, point)
    for name in (*links, "v8.mp4", "other.mp4"):
        (root / name).unlink()
    wanted = ["deep/far.mp4", "seen.mp4", "v7.mp4", "v8.mp4"]
    look = await files.ask(FilesLookRequest("uploads", point, touching=False))
    assert sorted(look["wanted"]["names"]) == wanted
    assert look["rows"][0]["nowhere"]["names"] == ["dangling.mp4"]
    done = await files.ask(FilesPutBackRequest("uploads", point))
    assert sorted(done["put_back"]["names"]) == wanted
    assert sorted(done["unnamed"]["names"]) == ["dangling.mp4", "nobody.mp4", "other.mp4"]
    assert (root / "deep" / "far.mp4").read_text() == "v8.mp4"
    assert (root / "v7.mp4").readlink() == Path("v8.mp4")

    # Where the symlinks are there still, their file is what is missing.
    (root / "v8.mp4").unlink()
    done = await files.ask(FilesPutBackRequest("uploads", point, tag="file"))
    assert done["put_back"]["names"] == ["v8.mp4"]
    look = await files.ask(FilesLookRequest("uploads", point, touching=False))
    assert (look["wanted"]["count"], look["rows"][0]["missing"]["count"]) == (0, 1)


async def test_a_point_of_before_symlinks_counted_is_proven(
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, root = make_database(server), tmp_path / "storage"
    root.mkdir()
    (root / "v8.mp4").touch()
    (root / "v7.mp4").symlink_to("v8.mp4")
    execute(url, "CREATE TABLE videos (path text)", "INSERT INTO videos VALUES ('v7.mp4')")
    settings = {
        "sources": {
            "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
            "uploads": {"kind": "files", "root": str(root)},
        },
        "plans": {"daily": {"sources": ["db", "uploads"]}},
        "links": [{"table": "videos", "column": "path", "files": "uploads"}],
    }
    bench = make_bench(tmp_path / "site", url, settings=settings)

    def files_alone(entries: Iterable[IndexEntry]) -> Iterator[TreeFile]:
        return (each for each in tree_files(entries) if each.leads is None)

    with monkeypatch.context() as before:
        before.setattr("fsbackup_tui.operations.links.tree_files", files_alone)
        point = str((await bench.back_up())["point"])
    manifest = PointReader(bench.repository, point).manifest
    assert manifest is not None
    assert manifest.links[0].missing.names == ("v7.mp4",)
    document = await bench.verify(point)
    assert (document["ok"], document["trust"]) == (True, "proven"), document["problems"]
    assert "uploads: link videos.path: 1 rows, 1 without a file" in document["notes"]
