"""The damage report on real servers: what is gone, what can't be told, what each point brings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.damage import DamageReport, TableDamage
from fsbackup_tui.domain.errors import IdentityMismatch, PointNotFound
from fsbackup_tui.domain.events import Event, format_time
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import damage_reading
from fsbackup_tui.operations.damage import run
from fsbackup_tui.operations.recovery_requests import DamageRequest
from tests.support.contexts import context_of
from tests.support.relation_files import RelationFile
from tests.support.servers import FreshServer, MakeDatabase, execute, query
from tests.support.sessions import address_of, session
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until

SHOP = (
    "CREATE SCHEMA app",
    "CREATE TABLE app.users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE,"
    " plan text NOT NULL DEFAULT 'free, or so', created_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE app.videos (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES app.users"
    " ON DELETE CASCADE, title varchar(80) CHECK (title IN ('a', 'b', 'video')))",
    "CREATE INDEX videos_title ON app.videos (title)",
    "CREATE TABLE app.tags (name text PRIMARY KEY, at timestamp)",
    'CREATE TABLE app."odd, name" ("a (b" int, c numeric(8,2) DEFAULT 1.50)',
    "CREATE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'",
    "CREATE VIEW app.titles AS SELECT title FROM app.videos",
    "CREATE POLICY mine ON app.users USING (true)",
    "CREATE TYPE app.mood AS ENUM ('good')",
    "INSERT INTO app.users (email, created_at) SELECT 'u' || n || '@x',"
    " '2026-11-01 00:00Z'::timestamptz + n * interval '1 hour' FROM generate_series(1, 500) AS n",
    "INSERT INTO app.videos (user_id, title) SELECT 1 + n % 500, 'video'"
    " FROM generate_series(1, 2000) AS n",
    "INSERT INTO app.tags SELECT 'tag ' || n, '2026-11-02 03:04:05' FROM generate_series(1, 30) n",
)

_INSERTED = "SELECT sum(n_tup_ins)::int8 FROM pg_stat_user_tables WHERE schemaname = 'app'"


@dataclass
class Damaged:
    """A site with a backup, whose live database is about to be damaged."""

    server: ScratchServer
    site: Site
    live: str
    events: list[Event] = field(default_factory=list)

    def back_up(self) -> str:
        done = self.site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stderr
        return str(done.document["point"])

    def damage(self, *statements: str) -> None:
        execute(self.site.url, *statements)

    async def report(self, **changes: object) -> DamageReport:
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        request = replace(DamageRequest(part="db"), **changes)  # type: ignore[arg-type]
        result = await run(request, context_of(self.site, self.events.append))
        assert result.pop("ok") is True
        return TypeAdapter(DamageReport).validate_python(result)


@pytest.fixture
def shop(matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Damaged:
    return make_shop(matrix_server, make_database(matrix_server), tmp_path)


def make_shop(server: ScratchServer, url: str, tmp_path: Path, **source: object) -> Damaged:
    live = url.partition("?")[0].rpartition("/")[2]
    execute(url, *SHOP)
    # A session's counters come a moment after its end; what ANALYZE found would be added to.
    wait_until(lambda: query(url, _INSERTED) == [(2530,)])
    execute(url, "ANALYZE")
    settings = {"clients": [str(server.bin_directory)]}
    return Damaged(
        server, make_site(tmp_path / "site", url, source=source, settings=settings), live
    )


def table(report: DamageReport, name: str) -> TableDamage:
    return next(table for table in report.tables if table.name == name)


def schema(report: DamageReport) -> set[tuple[str, str, str]]:
    return {(one.what, one.kind, one.name) for one in report.schema}


async def test_nothing_is_wrong_where_nothing_happened(shop: Damaged) -> None:
    point = shop.back_up()
    report = await shop.report()
    assert report.point == point
    assert (report.live, report.corrupt, report.health) == ("there", False, ())
    assert report.schema == ()
    assert report.worst == ()
    assert report.sequences == ()
    assert report.born_and_gone == 0
    users = table(report, "users")
    assert (users.point_rows, users.live_rows, users.counted) == (500, 500, True)
    assert (users.newest, users.newest_column) == ("2026-11-21T20:00:00.000Z", "created_at")
    assert table(report, "tags").newest_column == ""
    (candidate,) = report.candidates
    assert (candidate.point, candidate.rows_lost, candidate.rows_back) == (point, 0, 0)
    assert candidate.doubt == "sealed, not proven"
    assert (candidate.seconds, candidate.after_damage, candidate.spare) == (None, None, "")


async def test_rows_that_are_gone_and_rows_that_are_in_neither_are_counted(shop: Damaged) -> None:
    shop.back_up()
    shop.damage(
        "INSERT INTO app.users (email) SELECT 'new' || n || '@x' FROM generate_series(1, 40) AS n",
        "DELETE FROM app.users WHERE id > 400 AND id <> 540",
        "INSERT INTO app.videos (user_id, title) VALUES (1, 'a')",
        "TRUNCATE app.tags",
    )
    report = await shop.report()
    assert [(t.name, t.point_rows, t.live_rows) for t in report.worst] == [
        ("videos", 2000, 1601),
        ("users", 500, 401),
        ("tags", 30, 0),
    ]
    gaps = {gap.table: (gap.given, gap.kept) for gap in report.sequences}
    assert gaps == {"app.users": (40, 1), "app.videos": (1, 1)}
    assert report.born_and_gone == 39
    (candidate,) = report.candidates
    assert (candidate.rows_lost, candidate.rows_back) == (0, 99 + 399 + 30)


async def test_what_is_defined_no_more_or_otherwise_is_told_without_a_restore(
    shop: Damaged,
) -> None:
    shop.back_up()
    shop.damage(
        "DROP VIEW app.titles",
        "DROP INDEX app.videos_title",
        "ALTER TABLE app.users DROP COLUMN plan, ADD COLUMN note text",
        "ALTER TABLE app.videos DROP CONSTRAINT videos_title_check, ALTER COLUMN title TYPE text",
        "ALTER TABLE app.videos ALTER COLUMN id SET DEFAULT 7",
        "CREATE OR REPLACE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n'",
        "DROP POLICY mine ON app.users",
        "DROP TABLE app.tags",
        "CREATE TABLE app.added (id int PRIMARY KEY)",
        "ALTER TYPE app.mood RENAME TO humour",
        "CREATE SEQUENCE app.more",
    )
    report = await shop.report()
    assert schema(report) == {
        ("gone", "table", "app.tags"),
        ("gone", "column", "app.users.plan"),
        ("gone", "constraint", "app.videos videos_title_check"),
        ("gone", "index", "app.videos_title"),
        ("gone", "view", "app.titles"),
        ("gone", "policy", "app.users mine"),
        ("gone", "type", "app.mood"),
        ("changed", "column", "app.videos.id"),
        ("changed", "column", "app.videos.title"),
        ("changed", "function", "app.twice(integer)"),
        # What belongs to a table that was added, or is gone, is told with it.
        ("added", "table", "app.added"),
        ("added", "column", "app.users.note"),
        ("added", "sequence", "app.more"),
        ("added", "type", "app.humour"),
    }
    details = {one.name: one.detail for one in report.schema}
    assert details["app.users.plan"] == "text DEFAULT 'free, or so'::text NOT NULL"
    assert details["app.videos.title"] == "was character varying(80); is text"
    assert "2 * n" in details["app.twice(integer)"]
    assert table(report, "tags").is_gone
    assert table(report, "added").point_rows is None


async def test_a_plain_dump_and_a_restored_copy_tell_the_same(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    shop = make_shop(server, make_database(server), tmp_path, format="plain")
    shop.back_up()
    copy = f"{shop.live}__restore_t"
    assert (await shop.report()).schema == ()
    done = shop.site.run("restore", "latest", "--beside", copy, "--json")
    assert done.exit_code == 0, done.stderr
    try:
        assert (await shop.report(copy=copy)).schema == ()
        shop.damage("ALTER TABLE app.users DROP COLUMN plan", "DROP TABLE app.videos CASCADE")
        plain = await shop.report()
        assert schema(plain) == {
            ("gone", "column", "app.users.plan"),
            ("gone", "table", "app.videos"),
            ("gone", "sequence", "app.videos_id_seq"),
            ("gone", "view", "app.titles"),
        }
        assert schema(await shop.report(copy=copy)) == schema(plain)
        gone = await shop.report(copy="no_such_database")
        assert any("Definitions were not compared" in note for note in gone.notes)
    finally:
        execute(server.url(), f'DROP DATABASE "{copy}" WITH (FORCE)')


async def test_a_spared_table_is_estimated_and_never_read(shop: Damaged) -> None:
    shop.back_up()
    shop.damage("DELETE FROM app.users WHERE id > 3")

    def told() -> tuple[object, ...]:
        return query(
            shop.site.url,
            "SELECT n_tup_del, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables"
            " WHERE relname = 'users'",
        )[0]

    wait_until(lambda: told()[0] == 497)
    before = told()[1]
    report = await shop.report(spare_tables=("app.users", "app.videos"))
    users = table(report, "users")
    assert (users.live_rows, users.counted, users.deleted) == (3, False, 497)
    assert users.newest == ""
    assert not users.is_gone
    assert told()[1] == before
    assert report.worst[0].name == "videos"
    assert any(note.startswith("Estimated") and "app.users" in note for note in report.notes)


async def test_a_spared_partition_is_not_read_through_its_parent(shop: Damaged) -> None:
    shop.damage(
        "CREATE TABLE app.logs (id bigserial PRIMARY KEY, what text) PARTITION BY RANGE (id)",
        "CREATE TABLE app.logs_1 PARTITION OF app.logs FOR VALUES FROM (1) TO (100)",
        "CREATE TABLE app.logs_2 PARTITION OF app.logs FOR VALUES FROM (100) TO (1000)",
        "INSERT INTO app.logs (what) SELECT 'x' FROM generate_series(1, 150)",
    )
    shop.back_up()
    shop.damage("INSERT INTO app.logs (what) VALUES ('new')", "DELETE FROM app.logs WHERE id > 120")
    scans = (
        "SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_user_tables"
        " WHERE relname = 'logs_2'"
    )
    deleted = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'logs_2'"
    wait_until(lambda: query(shop.site.url, deleted) == [(31,)])
    before = query(shop.site.url, scans)
    by_itself = await shop.report(spare_tables=("app.logs_2",))
    assert table(by_itself, "logs_1").counted
    assert not table(by_itself, "logs_2").counted
    assert [(gap.table, gap.given, gap.kept) for gap in by_itself.sequences] == [
        ("app.logs", 1, None)
    ]
    assert by_itself.born_and_gone == 1
    by_parent = await shop.report(spare_tables=("app.logs",))
    assert not table(by_parent, "logs_1").counted
    assert not table(by_parent, "logs_2").counted
    assert query(shop.site.url, scans) == before


async def test_what_would_take_too_long_is_estimated(
    shop: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.back_up()
    shop.damage("CREATE INDEX ON app.users (created_at)")
    monkeypatch.setattr(damage_reading, "_ALL_TABLES_SECONDS", 0.0)
    report = await shop.report()
    users = table(report, "users")
    assert (users.live_rows, users.counted, users.note) == (500, False, "")
    assert users.newest == "2026-11-21T20:00:00.000Z"  # an index tells it at once


async def test_a_database_that_is_gone_or_closed_or_empty_is_a_result(shop: Damaged) -> None:
    point = shop.back_up()
    url = shop.server.url()
    execute(url, f'ALTER DATABASE "{shop.live}" ALLOW_CONNECTIONS false')
    closed = await shop.report()
    assert closed.live == "unreadable"
    assert not any(t.is_gone for t in closed.tables)
    assert closed.candidates[0].rows_lost is None
    execute(url, f'ALTER DATABASE "{shop.live}" ALLOW_CONNECTIONS true')
    shop.damage("DROP SCHEMA app CASCADE")
    empty = await shop.report()
    assert empty.live == "there"
    assert {t.name for t in empty.tables if t.is_gone} >= {"users", "videos", "tags"}
    assert (empty.candidates[0].rows_lost, empty.candidates[0].rows_back) == (0, 2530)
    execute(url, f'DROP DATABASE "{shop.live}"')
    gone = await shop.report()
    assert (gone.live, gone.point) == ("gone", point)
    assert [t.name for t in gone.worst] == ["videos", "users", "tags", "odd, name"]
    assert (gone.candidates[0].rows_lost, gone.candidates[0].rows_back) == (0, 2530)
    assert gone.schema == ()


async def test_without_any_point_live_is_told_alone(shop: Damaged) -> None:
    report = await shop.report()
    assert (report.point, report.candidates) == ("", ())
    assert table(report, "users").live_rows == 500
    assert "There is no good point to compare with." in report.notes
    with pytest.raises(PointNotFound):
        await shop.report(point="20260101T000000Z-daily-none")


async def test_a_point_taken_after_the_damage_is_doubted(shop: Damaged) -> None:
    first = shop.back_up()
    last_right = datetime.now(UTC) + timedelta(seconds=1)
    shop.damage("DELETE FROM app.videos WHERE id > 1900")
    wait_until(lambda: datetime.now(UTC) > last_right + timedelta(seconds=1))
    second = shop.back_up()
    assert shop.site.run("verify", first, "--level", "proven", "--json").exit_code == 0
    report = await shop.report(last_right=format_time(last_right))
    assert report.point == first
    after, before = report.candidates
    assert (after.point, after.after_damage) == (second, True)
    assert after.doubt == "taken after the damage; sealed, not proven"
    assert (after.rows_lost, after.rows_back) == (0, 0)
    assert (before.point, before.trust, before.doubt) == (first, "proven", "")
    assert (before.after_damage, before.rows_back) == (False, 100)
    assert before.seconds is not None
    assert (await shop.report()).point == second
    assert (await shop.report(point=first[:16])).point == first


async def test_the_spare_that_stands_ready_is_named(shop: Damaged) -> None:
    point = shop.back_up()
    done = shop.site.run("verify", point, "--level", "proven", "--keep-spare", "--json")
    assert done.exit_code == 0, done.stdout
    (name, oid), *_ = query(
        shop.server.url(),
        "SELECT datname::text, oid::int8 FROM pg_database"
        f" WHERE datname LIKE '{shop.live}\\_\\_spare%'",
    )
    try:
        (candidate,) = (await shop.report()).candidates
        assert (candidate.spare, candidate.spare_oid) == (name, oid)
        (of_drill,) = (await shop.report(database=shop.live)).candidates
        assert of_drill.spare == ""
    finally:
        execute(shop.server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_a_corrupt_table_ends_nothing(fresh_server: FreshServer, tmp_path: Path) -> None:
    server = fresh_server(18)
    execute(server.url(), "CREATE DATABASE broken")
    shop = make_shop(server, server.url("broken"), tmp_path)
    shop.back_up()
    shop.damage("DELETE FROM app.tags WHERE name = 'tag 1'", "CHECKPOINT")
    page = RelationFile.of(server, shop.site.url, "app.videos")
    server.stop()
    page.spoil_header(3)
    server.start()
    report = await shop.report()
    videos = table(report, "videos")
    assert videos.corrupt
    assert videos.live_rows is None
    assert not videos.is_gone
    assert videos.note.startswith("it can't be read: invalid page in block 3")
    assert report.corrupt
    assert any("app.videos" in sentence for sentence in report.health)
    assert table(report, "users").live_rows == 500
    assert (table(report, "tags").point_rows, table(report, "tags").live_rows) == (30, 29)


async def test_another_server_than_the_one_seen_is_refused(shop: Damaged) -> None:
    async with session(shop.server.url()) as admin:
        seen = await read_identity(admin, address_of(shop.server.url()))
    assert (await shop.report(target=seen)).live == "there"
    with pytest.raises(IdentityMismatch):
        await shop.report(target=replace(seen, system_identifier="1"))
