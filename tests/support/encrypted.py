"""A site whose points are encrypted, and a look for what must lie in plain nowhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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


def encrypted_site(
    directory: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    encryption: Mapping[str, object],
) -> Site:
    """Return a site of one database with canaries in it, and in the file beside it."""
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)",
        f"INSERT INTO users SELECT g, '{CANARY}' || md5(g::text) FROM generate_series(1, {ROWS}) g",
        "CREATE VIEW names AS SELECT name FROM users",
    )
    beside = directory / "schema.prisma"
    beside.write_text(f"// {CANARY}")
    site = make_site(
        directory / "site",
        url,
        source={"also": [str(beside)]},
        settings={"encryption": dict(encryption)},
    )
    place = site.directory / "tmp"
    place.mkdir()
    site.environment |= {"TMPDIR": str(place)}
    return site


SAME = "SELECT count(*), md5(string_agg(name, ',' ORDER BY id)) FROM users"
"""What tells whether two databases hold the same users."""
