"""Files back where links tell: what a live row names comes back, what users erased stays erased."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.site_requests import FilesLookRequest, FilesPutBackRequest
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
