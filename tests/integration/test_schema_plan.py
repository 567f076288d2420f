"""The weekly schema backup: definitions alone, with the Prisma schema beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import make_site

PRISMA = 'datasource db {\n  provider = "postgresql"\n}\nmodel User {\n  id Int @id\n}\n'


def test_it_is_taken_proven_shown_and_brought_back(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)",
        "INSERT INTO users VALUES (1, 'a row that is not wanted')",
        "CREATE VIEW names AS SELECT name FROM users",
        "CREATE TABLE _prisma_migrations (id text PRIMARY KEY, migration_name text,"
        " started_at timestamptz, finished_at timestamptz, rolled_back_at timestamptz)",
        "INSERT INTO _prisma_migrations VALUES ('1', '20260101_init', now(), now())",
    )
    prisma = tmp_path / "schema.prisma"
    prisma.write_text(PRISMA)
    site = make_site(
        tmp_path / "site",
        url,
        settings={
            "sources": {
                "schema": {
                    "kind": "postgres",
                    "url": "${DATABASE_URL}",
                    "scope": "schema",
                    "also": [str(prisma)],
                }
            },
            "plans": {"weekly-schema": {"sources": ["schema"], "verify": "proven"}},
        },
    )
    taken = site.run("backup", "weekly-schema", "--json")
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    assert taken.document["trust"] == "proven"
    (listed,) = site.points()
    assert listed["parts"][0]["schema_only"] is True
    point = site.repository / "points" / listed["id"]
    assert (point / "schema" / "also" / "schema.prisma").read_text() == PRISMA
    stored = [path for path in (point / "schema").rglob("*") if path.is_file()]
    assert not [path for path in stored if b"a row that is not wanted" in path.read_bytes()]
    shown = site.run("show", listed["id"]).stdout
    for words in ("scope schema", "also/schema.prisma", "20260101_init"):
        assert words in shown
    recover = (point / "RECOVER.md").read_text()
    assert "`schema/also/schema.prisma`" in recover
    assert "the tables are empty" in recover
    assert "The last migration it has had is `20260101_init`" in recover
    done = site.run("restore", listed["id"], "--beside", "from_the_schema", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    copy = server.url("from_the_schema")
    try:
        assert query(copy, "SELECT count(*) FROM users") == [(0,)]
        assert query(copy, "SELECT count(*) FROM names") == [(0,)]
    finally:
        execute(server.url(), 'DROP DATABASE "from_the_schema"')
    # Where the file is named and not there, nothing half is kept.
    prisma.unlink()
    failed = site.run("backup", "weekly-schema", "--json")
    assert (failed.exit_code, "schema.prisma" in failed.error["what"]) == (1, True)
    assert len(site.points()) == 1
    sums = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=point, capture_output=True, check=False
    )
    assert sums.returncode == 0, sums.stderr
