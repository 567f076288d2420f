"""What is kept and asked before a swap: the rows that only live has, and whom a loss concerns."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import affected, export
from fsbackup_tui.operations.merge_requests import ExportRequest
from fsbackup_tui.operations.recovery_requests import AffectedRequest
from tests.support.contexts import context_of
from tests.support.merging import make_pair, merging
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    'CREATE TABLE "odd/../name" (a text, b int, note bytea, PRIMARY KEY (a, b))',
    "CREATE TABLE same (id int PRIMARY KEY)",
    "INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 100) AS n",
    """INSERT INTO "odd/../name" VALUES ('x', 1, 'y')""",
    "INSERT INTO same VALUES (1)",
)
SINCE = (
    "INSERT INTO users VALUES (101, 'with \"quotes\", and' || chr(10) || 'a line'), (102, NULL)",
    "DELETE FROM users WHERE id <= 50",
    """INSERT INTO "odd/../name" VALUES ('x', 2, '\\x00ff')""",
)


@dataclass
class Kept:
    """A site whose live database has rows that its copy has not."""

    site: Site
    copy: str
    incident: Path

    async def export(self, staging: str) -> dict[str, Any]:
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        context = replace(context_of(self.site, lambda _event: None), incident=self.incident)
        return await export.run(ExportRequest(part="db", staging=staging), context)

    async def ask(self, copy: str | None = None) -> dict[str, Any]:
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        self.site.write_config()
        request = AffectedRequest(part="db", copy=self.copy if copy is None else copy)
        return await affected.run(request, context_of(self.site, lambda _event: None))


async def test_rows_that_are_only_in_live_are_kept_as_files(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    pair = make_pair(make_database, matrix_server, *SHOP)
    pair.damage(*SINCE)
    incident = tmp_path / "incident"
    incident.mkdir(mode=0o700)
    kept = Kept(make_site(tmp_path / "site", pair.live), "", incident)
    async with merging(pair) as merge:
        staging = merge.staging.schema
    done = await kept.export(staging)
    assert done["directory"] == str(incident / "evidence" / "only-in-live")
    files = {item["table"]: (item["rows"], Path(item["file"])) for item in done["tables"]}
    assert {table: rows for table, (rows, _file) in files.items()} == {
        "public.users": 2,
        "public.odd/../name": 1,
    }
    users = files["public.users"][1]
    with users.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "name"],
            ["101", 'with "quotes", and\na line'],
            ["102", ""],
        ]
    odd = files["public.odd/../name"][1]
    assert odd.parent == users.parent
    assert odd.read_text() == "a,b,note\nx,2,\\x00ff\n"
    assert {S_IMODE(file.stat().st_mode) for _rows, file in files.values()} == {0o600}
    execute(pair.live, "DELETE FROM users WHERE id = 102")
    again = await kept.export(staging)
    assert {item["table"]: item["rows"] for item in again["tables"]}["public.users"] == 1
    names = sorted(path.name for path in users.parent.iterdir())
    assert names == [
        "public.odd_.._name-2.csv",
        "public.odd_.._name.csv",
        "public.users-2.csv",
        "public.users.csv",
    ]
    with pytest.raises(SafetyRefusal, match="NOT OURS"):
        await kept.export("public")


async def test_an_export_needs_an_incident(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site", make_database(server))
    with pytest.raises(UsageError, match="no incident"):
        await export.run(ExportRequest(part="db"), context_of(site, lambda _event: None))


async def test_whom_it_concerns_is_asked_of_the_copy_alone(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    live, copy = make_database(matrix_server), make_database(matrix_server)
    name = copy.partition("?")[0].rpartition("/")[2]
    execute(copy, "CREATE TABLE users (id int, email text)")
    execute(copy, "INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 1001) AS n")
    site = make_site(tmp_path / "site", live)
    kept = Kept(site, name, tmp_path)

    def with_sql(text: str) -> None:
        site.settings = {"recovery": {"affected_users": text}}

    with_sql("SELECT id, email, NULL AS id FROM users ORDER BY 1")
    answer = await kept.ask()
    assert answer["columns"] == ["id", "email", "id"]
    assert (len(answer["rows"]), answer["more"]) == (1000, True)
    assert answer["rows"][0] == ["1", "u1", None]
    with_sql("SELECT id FROM users WHERE id < 3 ORDER BY id")
    assert await kept.ask() == {
        "ok": True,
        "columns": ["id"],
        "rows": [["1"], ["2"]],
        "more": False,
    }
    for refused in (
        "DELETE FROM users RETURNING id",
        "WITH d AS (DELETE FROM users RETURNING id) SELECT * FROM d",
        "SELECT 1; COMMIT; DELETE FROM users",
        "SELECT no_such_column FROM users",
    ):
        with_sql(refused)
        with pytest.raises(PostgresError, match="NO ANSWER"):
            await kept.ask()
    assert query(copy, "SELECT count(*) FROM users") == [(1001,)]


async def test_what_is_asked_too_long_is_given_up(
    server: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_database(server)
    site = make_site(
        tmp_path / "site", url, settings={"recovery": {"affected_users": "SELECT pg_sleep(60)"}}
    )
    kept = Kept(site, url.partition("?")[0].rpartition("/")[2], tmp_path)
    monkeypatch.setattr(affected, "_SECONDS", 0.05)
    with pytest.raises(PostgresError, match="NO ANSWER") as raised:
        await kept.ask()
    assert raised.value.why == "It took longer than 0.05 s."
    with pytest.raises(UsageError, match="no restored copy"):
        await kept.ask(copy="")
    site.settings = {}
    with pytest.raises(UsageError, match="nothing says whom"):
        await kept.ask()
