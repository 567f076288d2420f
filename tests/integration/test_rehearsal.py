"""A drill's database: restored, marked, closed to others, and damaged as the scenario says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.domain.events import Event
from fsbackup_tui.engines.postgres.kept import find_kept
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.recovery_requests import RehearsalRequest
from fsbackup_tui.operations.rehearsal import run
from tests.support.contexts import context_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of

ROLE = "drill_app"
JOB = "20261122T020000Z-rehearsal-k3f9"


class Practice:
    """A site with a point, and the database that a drill makes of it."""

    def __init__(self, server: ScratchServer, site: Site, live: str) -> None:
        self.server, self.site, self.live = server, site, live
        self.name = f"{live}__drill_k3f9"
        self.point = str(site.points()[0]["id"])

    async def rehearse(self, scenario: str) -> dict[str, object]:
        events: list[Event] = []
        request = RehearsalRequest("db", point=self.point, scenario=scenario)
        return await run(request, context_of(self.site, events.append, job=JOB))

    def rows(self, table: str, database: str | None = None) -> int:
        found = query(self.server.url(database or self.name), f"SELECT count(*) FROM {table}")
        return int(str(found[0][0]))


@pytest.fixture
def practice(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Practice]:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(
        url,
        f"DROP ROLE IF EXISTS {ROLE}",
        f"CREATE ROLE {ROLE} LOGIN",
        "CREATE TABLE users (id int PRIMARY KEY, name text, age int)",
        "CREATE TABLE videos (id int PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE)",
        "CREATE TABLE log (id int, line text)",
        "CREATE INDEX log_line ON log (line)",
        "CREATE TABLE small (id int)",
        "INSERT INTO users SELECT n, 'user ' || n, n % 90 FROM generate_series(1, 3000) AS n",
        "INSERT INTO videos SELECT n, 1 + n % 3000 FROM generate_series(1, 6000) AS n",
        "INSERT INTO log SELECT n, 'line ' || n FROM generate_series(1, 9000) AS n",
        "INSERT INTO small VALUES (1)",
        "CREATE VIEW logged AS SELECT count(*) AS n FROM log",
    )
    site = make_site(tmp_path / "site", url, settings={"recovery": {"app_role": ROLE}})
    assert site.run("backup", "daily", "--json").exit_code == 0
    practice = Practice(server, site, live)
    yield practice
    execute(server.url(), f'DROP DATABASE IF EXISTS "{practice.name}" WITH (FORCE)')
    execute(server.url(), f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


async def test_it_is_marked_closed_to_others_and_live_is_untouched(practice: Practice) -> None:
    made = await practice.rehearse("data-loss")
    assert (made["ok"], made["database"]) == (True, practice.name)
    assert made["oid"] == oid_of(practice.server, practice.name)
    async with session(practice.server.url()) as admin:
        (kept,) = [kept for kept in await find_kept(admin) if kept.name == practice.name]
    assert (kept.kind, kept.database, kept.job) == ("drill", practice.live, JOB)
    assert query(practice.server.url(practice.name, user=ROLE), "SELECT 1") == [(1,)]
    execute(
        practice.server.url(), "DROP ROLE IF EXISTS drill_other", "CREATE ROLE drill_other LOGIN"
    )
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(practice.server.url(practice.name, user="drill_other"))
    finally:
        execute(practice.server.url(), "DROP ROLE drill_other")
    for table, rows in (("users", 3000), ("videos", 6000), ("log", 9000), ("small", 1)):
        assert practice.rows(table, practice.live) == rows


async def test_data_loss_empties_one_table_and_drops_another(practice: Practice) -> None:
    damage = str((await practice.rehearse("data-loss"))["damage"])
    assert "All 9000 rows of public.log are deleted" in damage
    assert "DROP TABLE public.videos: 6000 rows" in damage
    assert practice.rows("log") == 0
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert query(practice.server.url(practice.name), tables) == [("log",), ("small",), ("users",)]
    assert practice.rows("users") == 3000


async def test_partial_loss_takes_a_parent_with_its_children_and_spoils_a_column(
    practice: Practice,
) -> None:
    damage = str((await practice.rehearse("partial-loss"))["damage"])
    users = practice.rows("users")
    assert 3000 * 0.01 < 3000 - users < 3000 * 0.06
    assert f"DELETE of {3000 - users} of 3000 rows of public.users" in damage
    assert "by CASCADE what belonged to them in public.videos" in damage
    assert practice.rows("videos") == 2 * users
    changed = practice.rows("log WHERE line !~ '^line [0-9]+$'")
    assert changed > 0
    assert f"UPDATE of {changed} rows of public.log: line written backwards" in damage


async def test_corruption_takes_a_block_and_an_index_and_says_that_it_is_not_physical(
    practice: Practice,
) -> None:
    damage = str((await practice.rehearse("corruption"))["damage"])
    assert damage.startswith("Nothing is physically damaged")
    lost = 3000 - practice.rows("users")
    assert 0 < lost < 400
    assert f"public.users ({lost}) were taken out; rows that refer to them" in damage
    orphans = "videos WHERE user_id NOT IN (SELECT id FROM users)"
    assert practice.rows(orphans) == 2 * lost
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert query(practice.server.url(practice.name), invalid) == [("log_line",)]
    assert "public.log_line is marked invalid" in damage


async def test_what_can_not_be_practised_leaves_nothing(
    practice: Practice, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="NO SUCH DRILL: fire"):
        await practice.rehearse("fire")
    url = make_database(practice.server)
    site = make_site(tmp_path / "empty", url)
    assert site.run("backup", "daily", "--json").exit_code == 0
    empty = Practice(practice.server, site, url.partition("?")[0].rpartition("/")[2])
    with pytest.raises(PostgresError, match="NOTHING TO DAMAGE"):
        await empty.rehearse("data-loss")
    names = [name for (name,) in query(practice.server.url(), "SELECT datname FROM pg_database")]
    assert empty.name not in names
    assert not [name for name in names if str(name).startswith(empty.name)]
