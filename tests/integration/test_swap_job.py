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
from fsbackup_tui.engines.postgres.kept import find_kept, kept_name
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.recovery_requests import SwapRequest
from fsbackup_tui.operations.swap import run
from tests.support.contexts import context_of
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
