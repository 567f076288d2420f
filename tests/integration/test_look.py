"""A look at what stands around the live database: with it, without it, closed, and as who."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.errors import IdentityMismatch
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.engines.postgres.kept import kept_comment, kept_name
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import unfinished_comment
from fsbackup_tui.engines.postgres.spare import spare_comment, spare_name
from fsbackup_tui.operations.look import run
from fsbackup_tui.operations.recovery_requests import LookRequest
from tests.support.contexts import context_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of


@dataclass
class Looking:
    """A site, and the look at its database."""

    server: ScratchServer
    site: Site
    live: str

    async def look(self, **changes: object) -> Standing:
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        request = replace(LookRequest(part="db"), **changes)  # type: ignore[arg-type]
        result = await run(request, context_of(self.site, lambda _event: None))
        assert result.pop("ok") is True
        return TypeAdapter(Standing).validate_python(result)


@pytest.fixture
def looking(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Looking]:
    url = make_database(matrix_server)
    live = url.partition("?")[0].rpartition("/")[2]
    yield Looking(matrix_server, make_site(tmp_path / "site", url), live)
    for name, *_ in query(matrix_server.url(), "SELECT datname FROM pg_database"):
        if str(name).startswith(f"{live}__"):
            execute(matrix_server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_what_belongs_to_live_is_told_apart_by_mark_and_name(
    looking: Looking, make_database: MakeDatabase
) -> None:
    live = looking.live
    before = kept_name(live, "before", "k3f9")
    comments = {
        before: kept_comment("before", live, "2026-11-22T02:00:00Z", "job-1"),
        f"{live}__of_another": kept_comment("before", "another", "2026-11-22T02:00:00Z", "job-1"),
        spare_name(live, "ab12"): spare_comment("P", "db", "2026-11-22T02:00:00Z", "R"),
        f"{live}__torn": unfinished_comment("job-2"),
        f"{live}__mine": None,
    }
    for name, comment in comments.items():
        execute(looking.server.url(), f'CREATE DATABASE "{name}" TEMPLATE template0')
        if comment is not None:
            execute(looking.server.url(), f"COMMENT ON DATABASE \"{name}\" IS '{comment}'")
    make_database(looking.server)  # has nothing to do with it
    execute(looking.server.url(), f'ALTER DATABASE "{before}" ALLOW_CONNECTIONS false')
    standing = await looking.look()
    assert standing.live is not None
    assert (standing.live.name, standing.live.oid) == (live, oid_of(looking.server, live))
    assert (standing.live.kind, standing.live.open) == ("live", True)
    assert standing.live.size_bytes is not None
    ours = {d.name: d.kind for d in standing.databases if d.name.startswith(live)}
    assert ours == {
        before: "before",
        f"{live}__of_another": "other",
        spare_name(live, "ab12"): "spare",
        f"{live}__torn": "unfinished",
        f"{live}__mine": "other",
    }
    kept = standing.database(before, oid_of(looking.server, before))
    assert kept is not None
    assert (kept.open, kept.comment) == (False, comments[before])
    assert standing.can_rename
    assert standing.environment == "test"
    assert standing.environment_from == f"the word test in the database's name, {live}"


async def test_who_is_in_live_and_writes_comes_first(looking: Looking) -> None:
    url = looking.site.url
    execute(url, "CREATE TABLE t (id int)")
    with (
        closing(psycopg.connect(url, application_name="idler", autocommit=True)),
        closing(psycopg.connect(url, application_name="writer")) as writer,
        closing(psycopg.connect(url, application_name="fsbackup/another", autocommit=True)),
    ):
        writer.execute("INSERT INTO t VALUES (1)")
        standing = await looking.look()
        assert [(s.application, s.writes) for s in standing.sessions] == [
            ("writer", True),
            ("idler", False),
        ]
        first = standing.sessions[0]
        assert (first.pid, first.state) == (writer.info.backend_pid, "idle in transaction")
        assert first.since is not None
        assert first.can_be_ended
        assert standing.live is not None
        assert standing.live.sessions == 3
        writer.rollback()


async def test_fifty_sessions_are_told_and_the_others_counted(looking: Looking) -> None:
    connections = [psycopg.connect(looking.site.url, autocommit=True) for _ in range(52)]
    try:
        standing = await looking.look()
    finally:
        for connection in connections:
            connection.close()
    assert (len(standing.sessions), standing.sessions_more) == (50, 2)


async def test_what_hangs_on_live_is_told(looking: Looking) -> None:
    url, slot = looking.site.url, f"slot_{looking.live}"
    execute(url, "CREATE TABLE t (id int)")
    # The slot first: making one waits for prepared transactions.
    execute(url, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    execute(
        url,
        f"CREATE SUBSCRIPTION sub_{looking.live} CONNECTION 'host=nowhere.invalid' PUBLICATION p"
        " WITH (connect = false)",
    )
    execute(url, "BEGIN", "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'pay-77'")
    try:
        standing = await looking.look()
    finally:
        execute(
            url,
            "ROLLBACK PREPARED 'pay-77'",
            f"SELECT pg_drop_replication_slot('{slot}')",
            f"ALTER SUBSCRIPTION sub_{looking.live} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION sub_{looking.live}",
        )
    assert len(standing.prepared) == 1
    assert "pay-77" in standing.prepared[0]
    assert standing.slots == (slot,)
    assert standing.subscriptions == (f"sub_{looking.live}",)
    assert standing.standbys == ()


async def test_live_may_be_gone_or_closed(looking: Looking, make_database: MakeDatabase) -> None:
    live = looking.live
    execute(looking.server.url(), f'ALTER DATABASE "{live}" ALLOW_CONNECTIONS false')
    closed = await looking.look()
    assert closed.live is not None
    assert not closed.live.open
    assert f"{live} lets nobody in." in closed.notes
    execute(
        looking.server.url(),
        f'ALTER DATABASE "{live}" ALLOW_CONNECTIONS true',
        f'ALTER DATABASE "{live}" RENAME TO "{live}__gone"',
    )
    gone = await looking.look()
    assert gone.live is None
    assert [d.kind for d in gone.databases if d.name == f"{live}__gone"] == ["other"]
    assert gone.sessions == ()
    drill = make_database(looking.server).partition("?")[0].rpartition("/")[2]
    practised = await looking.look(database=drill)
    assert practised.live is not None
    assert (practised.live_name, practised.live.name) == (drill, drill)


async def test_the_setting_of_the_database_tells_its_environment(looking: Looking) -> None:
    name = f"{looking.live}__prod"
    execute(looking.server.url(), f'CREATE DATABASE "{name}" TEMPLATE template0')
    named = await looking.look(database=name)
    assert named.environment == "production"
    assert named.environment_from == f"the word prod in the database's name, {name}"
    execute(looking.server.url(), f"ALTER DATABASE \"{name}\" SET fsbackup.environment = 'staging'")
    said = await looking.look(database=name)
    assert said.environment == "staging"
    assert said.environment_from == "the database's setting fsbackup.environment"


async def test_a_plain_role_sees_what_it_may_not_do(looking: Looking) -> None:
    role, url = f"r_{looking.live}", looking.site.url
    execute(looking.server.url(), f"CREATE ROLE {role} LOGIN")
    looking.site.url = looking.server.url(looking.live, user=role)
    try:
        with (
            closing(psycopg.connect(url, autocommit=True)),
            closing(psycopg.connect(looking.site.url, autocommit=True)),
        ):
            standing = await looking.look()
            assert not standing.can_rename
            assert any("no CREATEDB" in note for note in standing.notes)
            assert any("pg_read_all_stats" in note for note in standing.notes)
            may = {s.role: s.can_be_ended for s in standing.sessions}
            assert may == {role: True, "postgres": False}
        execute(looking.server.url(), f"ALTER ROLE {role} CREATEDB")
        execute(looking.server.url(), f'ALTER DATABASE "{looking.live}" OWNER TO {role}')
        assert (await looking.look()).can_rename
    finally:
        execute(looking.server.url(), f'ALTER DATABASE "{looking.live}" OWNER TO postgres')
        execute(looking.server.url(), f"DROP ROLE {role}")


async def test_another_server_than_the_one_seen_is_refused(looking: Looking) -> None:
    seen = (await looking.look()).server
    assert (await looking.look(target=seen)).server == seen
    with pytest.raises(IdentityMismatch):
        await looking.look(target=replace(seen, system_identifier="1"))
