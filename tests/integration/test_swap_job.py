"""A swap as the job does it: as live is, frozen as live is, marked, done once, and back again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import IdentityMismatch, LockHeld, SafetyRefusal
from fsbackup_tui.domain.events import Event
from fsbackup_tui.engines.postgres.freeze import (
    plan_everyone_out,
    plan_role_out,
    run_measure,
    undo_measure,
)
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.kept import find_kept, kept_comment, kept_name
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.recovery_requests import SwapRequest
from fsbackup_tui.operations.swap import run
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.contexts import context_of
from tests.support.incidents import as_it_stands, author, declare
from tests.support.restored_copies import trouble_on
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import address_of, session
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of

ROLE = "swap_app"


@dataclass
class Restored:
    """A site whose database was damaged after a backup, and restored beside."""

    server: ScratchServer
    site: Site
    live: str
    copy: str

    def request(self, *, kept_as: str | None = None) -> SwapRequest:
        return SwapRequest(
            part="db",
            live_oid=oid_of(self.server, self.live),
            copy=self.copy,
            copy_oid=oid_of(self.server, self.copy),
            kept_as=kept_as or kept_name(self.live, "before", "k3f9"),
        )

    async def swap(self, request: SwapRequest) -> dict[str, object]:
        events: list[Event] = []
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        return await run(request, context_of(self.site, events.append))

    def users(self, database: str | None = None) -> int:
        rows = query(self.server.url(database or self.live), "SELECT count(*) FROM users")
        return int(str(rows[0][0]))


@pytest.fixture
def restored(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Restored]:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    copy = kept_name(live, "restore", "k3f9")
    execute(
        url,
        f"DROP ROLE IF EXISTS {ROLE}",
        f"CREATE ROLE {ROLE} LOGIN",
        "CREATE TABLE users (id int PRIMARY KEY)",
        "INSERT INTO users SELECT generate_series(1, 100)",
        f"GRANT ALL ON users TO {ROLE}",
        f'REVOKE CONNECT ON DATABASE "{live}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{live}" TO {ROLE}',
        f"COMMENT ON DATABASE \"{live}\" IS 'the shop'",
    )
    site = make_site(tmp_path / "site", url)
    assert site.run("backup", "daily", "--json").exit_code == 0
    # What was set since the backup is the application's, too.
    execute(
        url, f"ALTER DATABASE \"{live}\" SET work_mem TO '7MB'", "DELETE FROM users WHERE id > 3"
    )
    assert site.run("restore", "latest", "--beside", copy, "--json").exit_code == 0
    yield Restored(server, site, live, copy)
    kept = (kept_name(live, "before", "k3f9"), kept_name(live, "after", "k3f9"))
    for name in (live, copy, *kept):
        execute(server.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    execute(server.url(), f"DROP ROLE {ROLE}")


async def test_the_copy_is_live_with_all_that_live_had_and_back_exactly(
    restored: Restored,
) -> None:
    live, kept = restored.live, kept_name(restored.live, "before", "k3f9")
    request = restored.request()
    done = await restored.swap(request)
    assert (done["ok"], done["database"], done["kept_as"]) == (True, live, kept)
    assert (restored.users(), restored.users(kept)) == (100, 3)
    as_app = restored.server.url(live, user=ROLE)
    assert query(as_app, "SELECT current_setting('work_mem'), count(*) FROM users") == [
        ("7MB", 100)
    ]
    comment = (
        f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{live}'"
    )
    assert query(restored.server.url(), comment) == [("the shop",)]
    async with session(restored.server.url()) as admin:
        (found,) = await find_kept(admin)
    assert (found.name, found.kind, found.database, found.oid) == (
        kept,
        "before",
        live,
        request.live_oid,
    )
    assert (await restored.swap(request))["closed_seconds"] is None  # done already is done, too

    execute(as_app, "INSERT INTO users VALUES (101)")
    after = kept_name(live, "after", "k3f9")
    back = SwapRequest("db", request.copy_oid, kept, request.live_oid, after, back=True)
    assert (await restored.swap(back))["kept_as"] == after
    assert (restored.users(), restored.users(after)) == (3, 101)
    async with session(restored.server.url()) as admin:
        assert [(item.name, item.kind) for item in await find_kept(admin)] == [(after, "after")]


async def test_what_was_frozen_is_frozen_after_it_until_it_is_undone(restored: Restored) -> None:
    request = restored.request()
    as_app = restored.server.url(restored.live, user=ROLE)
    async with session(restored.server.url()) as admin:
        everyone = await plan_everyone_out(admin, restored.live, app_role=ROLE)
        role = await plan_role_out(admin, restored.live, [ROLE])
        await run_measure(admin, everyone)
        await run_measure(admin, role)
        assert (await restored.swap(request))["open"] is True
        # The copy had its own right for the role, from the backup: it went with live's.
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(as_app)
        await undo_measure(admin, role.undo)
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(as_app)
        await undo_measure(admin, everyone.undo)
    psycopg.connect(as_app).close()
    assert restored.users() == 100


async def test_a_database_that_somebody_closed_to_all_stays_closed(restored: Restored) -> None:
    request = restored.request()
    closing = f'ALTER DATABASE "{restored.live}" ALLOW_CONNECTIONS'
    execute(restored.server.url(), f"{closing} false")
    assert (await restored.swap(request))["open"] is False
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        psycopg.connect(restored.server.url(restored.live))
    execute(restored.server.url(), f"{closing} true")
    assert restored.users() == 100


async def test_what_would_wait_is_refused_before_anybody_is_shut_out(restored: Restored) -> None:
    url = restored.server.url(restored.live)
    execute(url, "BEGIN", "INSERT INTO users VALUES (999)", "PREPARE TRANSACTION 'pay-772'")
    try:
        with pytest.raises(SafetyRefusal, match="NOT SWAPPED") as raised:
            await restored.swap(restored.request())
        assert "pay-772" in raised.value.why
    finally:
        execute(url, "ROLLBACK PREPARED 'pay-772'")
    assert restored.users() == 3


async def test_another_database_of_the_name_and_another_restore_are_left_alone(
    restored: Restored, make_database: MakeDatabase
) -> None:
    request = restored.request()
    async with session(restored.server.url()) as admin:
        found = await read_identity(admin, address_of(restored.server.url()))
        async with restore_lock(admin, found, "fsbackup/another"):
            with pytest.raises(LockHeld):
                await restored.swap(request)
    execute(restored.server.url(), f'DROP DATABASE "{restored.copy}"')
    make_database(restored.server, restored.copy)
    with pytest.raises(IdentityMismatch, match="is not what it was"):
        await restored.swap(request)
    assert restored.users() == 3


async def test_a_role_that_is_frozen_out_is_kept_out_of_the_copy_too_and_the_owner_is_lives(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path) as trouble:
        execute(server.url(), f'ALTER DATABASE "{trouble.live}" OWNER TO {trouble.role}')
        execute(server.url(), f'ALTER DATABASE "{trouble.live}" OWNER TO postgres')
        execute(server.url(), f'GRANT CONNECT ON DATABASE "{trouble.live}" TO {trouble.role}')
        async with session(server.url()) as admin:
            measure = await plan_role_out(admin, trouble.live, [trouble.role])
            await run_measure(admin, measure)
            done = await trouble.swap()
            assert (done["notes"], trouble.users()) == ([], 100)
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(trouble.url(user=trouble.role))
            await undo_measure(admin, measure.undo)
        # Thawed under its name, it is the one that is live now that opens; and that is how the
        # former one comes back.
        psycopg.connect(trouble.url(user=trouble.role)).close()
        await trouble.swap(trouble.back(done))
        psycopg.connect(trouble.url(user=trouble.role)).close()
        execute(server.url(), f'ALTER DATABASE "{trouble.live}" OWNER TO {trouble.role}')
        again = await trouble.swap(
            trouble.request(copy=trouble.kept("after"), copy_oid=done["database_oid"])
        )
        assert again["notes"] == []
        assert query(
            server.url(),
            f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{trouble.live}'",
        ) == [(trouble.role,)]
        execute(server.url(), f"REASSIGN OWNED BY {trouble.role} TO postgres")


async def test_where_the_database_was_dropped_the_copy_takes_its_name_once(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(matrix_server, make_database(matrix_server), tmp_path) as trouble:
        request = trouble.request(kept_as="", live_oid=0)
        with pytest.raises(IdentityMismatch, match="Nothing changed") as raised:
            await trouble.swap(request)
        assert f"Another database is called {trouble.live} now" in raised.value.why
        execute(matrix_server.url(), f'DROP DATABASE "{trouble.live}"')
        done = await trouble.swap(request)
        assert (done["database"], done["database_oid"]) == (trouble.live, request.copy_oid)
        assert (done["kept_as"], done["kept_oid"], done["slots"]) == ("", 0, [])
        as_app = trouble.url(user=trouble.role)
        assert query(
            as_app,
            "SELECT count(*), (SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = current_database()) FROM users",
        ) == [(100, "the shop")]
        execute(as_app, "INSERT INTO users VALUES (500, 'new')")
        assert (await trouble.written(done))["rows"] == 1
        assert (await trouble.swap(request))["closed_seconds"] is None
        # What an incident left is not there to go back to.
        with pytest.raises(IdentityMismatch):
            await trouble.swap(trouble.request(copy="gone", copy_oid=1, kept_as="never"))


async def test_a_drill_swaps_its_own_database_and_leaves_the_sites_alone(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path) as trouble:
        rehearsal = f"{trouble.live}__drill"
        live_oid = trouble.oid(trouble.live)
        execute(server.url(), f'CREATE DATABASE "{rehearsal}" TEMPLATE "{trouble.live}"')
        request = trouble.request(
            database=rehearsal, live_oid=trouble.oid(rehearsal), kept_as=f"{rehearsal}__before"
        )
        done = await trouble.swap(request)
        assert (done["database"], done["kept_as"]) == (rehearsal, f"{rehearsal}__before")
        assert (trouble.users(rehearsal), trouble.users(f"{rehearsal}__before")) == (100, 3)
        assert (trouble.users(), trouble.oid(trouble.live)) == (3, live_oid)


async def test_a_spare_that_is_swapped_in_is_open_and_no_spare_any_more(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(
        matrix_server, make_database(matrix_server), tmp_path, restored=False
    ) as trouble:
        kept = trouble.site.run("verify", "latest", "--keep-spare", "--json")
        assert kept.exit_code == 0, kept.stdout + kept.stderr
        trouble.copy = kept.document["spares"]["db"]["name"]
        assert "spares" in trouble.site.run("show", "latest", "--json").stdout
        mark = query(trouble.server.url(), _comment(trouble.copy))
        request = trouble.request()

        # Refused, it stands as it did, with its mark.
        execute(trouble.url(), "BEGIN", "DELETE FROM orders", "PREPARE TRANSACTION 'pay-1'")
        with pytest.raises(SafetyRefusal, match="NOT SWAPPED"):
            await trouble.swap(request)
        execute(trouble.url(), "ROLLBACK PREPARED 'pay-1'")
        assert query(trouble.server.url(), _comment(trouble.copy)) == mark

        done = await trouble.swap(request)
        as_app = trouble.url(user=trouble.role)
        assert query(as_app, "SELECT count(*) FROM users") == [(100,)]
        assert query(trouble.server.url(), _comment(trouble.live)) == [("the shop",)]
        shown = trouble.site.run("show", "latest", "--json").document
        assert not shown.get("spares")
        assert [point.get("spares", []) for point in trouble.site.points()] == [{}]
        execute(as_app, "DELETE FROM orders WHERE id <= 4")
        written = await trouble.written(done)
        assert (written["rows"], written["note"]) == (4, "")
        # A new one is kept, and does not drop what was a spare once.
        again = trouble.site.run("backup", "daily", "--json")
        assert again.exit_code == 0, again.stdout
        second = trouble.site.run("verify", "latest", "--keep-spare", "--json")
        assert second.exit_code == 0, second.stdout
        assert second.document["spares"]["db"]["replaced"] == []
        assert trouble.users() == 100
        await trouble.swap(trouble.back(done))
        assert (trouble.users(), trouble.users(trouble.kept("after"))) == (3, 100)


async def test_a_spare_that_somebody_used_is_not_swapped_in(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path, restored=False) as trouble:
        kept = trouble.site.run("verify", "latest", "--keep-spare", "--json")
        trouble.copy = kept.document["spares"]["db"]["name"]
        execute(server.url(), f'ALTER DATABASE "{trouble.copy}" ALLOW_CONNECTIONS true')
        with pytest.raises(SafetyRefusal, match="NOT SWAPPED") as raised:
            await trouble.swap()
        assert "not fenced off" in raised.value.why
        assert trouble.users() == 3


async def test_a_dropped_database_comes_back_from_its_spare_with_its_own_comment(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path, restored=False) as trouble:
        kept = trouble.site.run("verify", "latest", "--keep-spare", "--json")
        trouble.copy = kept.document["spares"]["db"]["name"]
        request = trouble.request(kept_as="", live_oid=0)
        execute(server.url(), f'DROP DATABASE "{trouble.live}" WITH (FORCE)')
        done = await trouble.swap(request)
        assert (done["kept_as"], trouble.users()) == ("", 100)
        assert query(trouble.server.url(), _comment(trouble.live)) == [("the shop",)]
        psycopg.connect(trouble.url(user=trouble.role)).close()

        # So does a copy that a recovery restored, whose mark stands in the comment's place.
        copy = kept_name(trouble.live, "restore", "again")
        mark = kept_comment("restore", trouble.live, "2026-11-22T02:00:00Z", "a-job")
        execute(
            server.url(),
            f'ALTER DATABASE "{trouble.live}" RENAME TO "{copy}"',
            f"COMMENT ON DATABASE \"{copy}\" IS '{mark}'",
        )
        journal = declare(trouble.site)
        frozen = {"what": f"{trouble.role} in {trouble.live}", "grade": "role", "undo": ["GRANT"]}
        journal.append("frozen", frozen, author(), epoch=1)
        trouble.incident = journal.directory
        await trouble.swap(trouble.request(copy=copy, kept_as="", live_oid=0, point=trouble.point))
        assert query(trouble.server.url(), _comment(trouble.live)) == [("the shop",)]
        # The freeze went with the database that is gone: nobody may believe that it holds.
        psycopg.connect(trouble.url(user=trouble.role)).close()
        assert as_it_stands(journal).freezes == ()


async def test_a_pooler_that_is_down_keeps_nobody_from_swapping(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    source = {"poolers": ["postgresql://admin:pw@127.0.0.1:1/pgbouncer", "${NOT_SET_EITHER}"]}
    with trouble_on(server, make_database(server), tmp_path, source=source) as trouble:
        done = await trouble.swap()
        assert (done["paused"], trouble.users()) == ([], 100)
        assert any("127.0.0.1:1" in note and "not paused" in note for note in done["notes"])
        assert any("NOT_SET_EITHER" in note for note in done["notes"])


async def test_the_plan_goes_on_after_a_swap_and_what_holds_the_copy_is_named(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path) as trouble:
        url = trouble.url(trouble.copy)
        execute(url, "BEGIN", "DELETE FROM orders", "PREPARE TRANSACTION 'in-the-copy'")
        with pytest.raises(SafetyRefusal, match="NOT SWAPPED") as raised:
            await trouble.swap()
        assert "in-the-copy" in raised.value.why
        assert trouble.copy in raised.value.why
        execute(url, "ROLLBACK PREPARED 'in-the-copy'")
        done = await trouble.swap()
        for expected in (100, 3):
            backup = trouble.site.run("backup", "daily", "--json")
            assert backup.exit_code == 0, backup.stdout + backup.stderr
            assert _rows(trouble.site, backup.document["point"], "public.users") == expected
            if expected == 100:
                await trouble.swap(trouble.back(done))


def _comment(database: str) -> str:
    return (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
        f" WHERE datname = '{database}'"
    )


def _rows(site: Site, point: str, table: str) -> int | None:
    """Return a table's rows as a point's manifest has them."""
    facts = PointReader(open_repository(site.repository), point).part("db").postgres
    assert facts is not None
    return {found.qualified: found.rows for found in facts.tables}[table]
