"""Encrypted points: nothing in plain on any disk, proven and restored with the key alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site

CANARY = "canary-row-of-the-database"
PASSPHRASE = "canary-passphrase: Straße & 'quotes'"
ROWS = 20_000


@contextmanager
def watched(*places: Path) -> Iterator[list[str]]:
    """Look for the canaries in every file below the places, again and again, until the end."""
    found: list[str] = []
    done = threading.Event()

    def look() -> None:
        wanted = (CANARY.encode(), PASSPHRASE.encode())
        while True:
            last = done.is_set()
            for place in places:
                for directory, _names, files in os.walk(place):
                    for name in files:
                        path = Path(directory, name)
                        try:
                            content = path.read_bytes()
                        except OSError:
                            continue
                        found.extend(str(path) for word in wanted if word in content)
            if last:
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


@pytest.fixture
def site(tmp_path: Path, server: ScratchServer, make_database: MakeDatabase) -> Site:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)",
        f"INSERT INTO users SELECT g, '{CANARY}' || md5(g::text) FROM generate_series(1, {ROWS}) g",
        "CREATE VIEW names AS SELECT name FROM users",
    )
    (tmp_path / "schema.prisma").write_text(f"// {CANARY}")
    made = make_site(
        tmp_path / "site",
        url,
        source={"also": [str(tmp_path / "schema.prisma")]},
        settings={"encryption": {"method": "age", "hint": "the safe in the office"}},
    )
    (made.directory / "tmp").mkdir()
    made.environment |= {"FSBACKUP_PASSPHRASE": PASSPHRASE, "TMPDIR": str(made.directory / "tmp")}
    return made


def test_a_point_is_encrypted_proven_and_restored(
    site: Site, server: ScratchServer, make_database: MakeDatabase
) -> None:
    with watched(site.repository, site.state, site.directory / "tmp") as seen:
        taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    assert not seen
    point = site.repository / "points" / site.points()[0]["id"]
    stored = sorted(path.name for path in (point / "db").rglob("*") if path.is_file())
    assert [name for name in stored if not name.endswith(".zst.age")] == [
        "SHA256SUMS",
        "part.json",
    ], stored
    verified = site.run("verify", "latest", "--level", "proven", "--json")
    assert verified.exit_code == 0, verified.stderr + verified.stdout
    assert verified.document["trust"] == "proven"
    restored = site.run("restore", "latest", "--part", "db", "--beside", "copy_of_it", "--json")
    assert restored.exit_code == 0, restored.stderr + restored.stdout
