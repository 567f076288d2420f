"""Freezing on real servers: who is kept off, who is not, and that the undo is exact."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal
from fsbackup_tui.engines.postgres.freeze import (
    Measure,
    plan_everyone_out,
    plan_role_out,
    run_measure,
    undo_measure,
)
from fsbackup_tui.engines.postgres.freeze_tables import (
    find_table,
    plan_table_read_only,
    plan_vacuum_off,
)
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session

TABLE = 'shop."Odd; table"'


@pytest.fixture
def live(matrix_server: ScratchServer, make_database: MakeDatabase) -> Iterator[str]:
    url = make_database(matrix_server)
    execute(
        url,
        "DROP ROLE IF EXISTS freeze_app, freeze_owner, freeze_reader",
        "CREATE ROLE freeze_app LOGIN",
        "CREATE ROLE freeze_owner LOGIN",
        "CREATE ROLE freeze_reader LOGIN",
        "CREATE SCHEMA shop AUTHORIZATION freeze_owner",
        "GRANT USAGE ON SCHEMA shop TO PUBLIC",
        f"CREATE TABLE {TABLE} (id int PRIMARY KEY, note text)",
        f"ALTER TABLE {TABLE} OWNER TO freeze_owner",
        f"GRANT SELECT, INSERT ON {TABLE} TO freeze_app WITH GRANT OPTION",
        f"GRANT SELECT ON {TABLE} TO freeze_reader",
        f"GRANT UPDATE ON {TABLE} TO PUBLIC",
    )
    yield url
    execute(
        url,
        "DROP SCHEMA shop CASCADE",
        "DROP OWNED BY freeze_app, freeze_owner, freeze_reader",
        "DROP ROLE freeze_app, freeze_owner, freeze_reader",
    )


def database_of(url: str) -> str:
    return str(query(url, "SELECT current_database()")[0][0])


def at(server: ScratchServer, url: str, user: str) -> str:
    return server.url(database_of(url), user=user)


def rights(url: str) -> list[tuple[object, ...]]:
    """Return who may do what with the table, however it is written down."""
    return query(
        url,
        "SELECT a.grantee::regrole::text, a.privilege_type, a.is_grantable"
        " FROM pg_class CROSS JOIN aclexplode(coalesce(relacl, acldefault('r', relowner))) AS a"
        f" WHERE oid = '{TABLE}'::regclass ORDER BY 1, 2",
    )


async def run(url: str, measure: Measure, *, undo: bool = False) -> None:
    async with session(url) as connection:
        if undo:
            assert await undo_measure(connection, measure.undo) == []
        else:
            await run_measure(connection, measure)


async def test_a_table_is_read_only_for_all_but_superusers_and_back_exactly(
    matrix_server: ScratchServer, live: str
) -> None:
    before = rights(live)
    async with session(live) as connection:
        measure = await plan_table_read_only(connection, "shop", "Odd; table")
    assert rights(live) == before  # planning changes nothing
    await run(live, measure)
    for user in ("freeze_owner", "freeze_app"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(at(matrix_server, live, user), f"INSERT INTO {TABLE} VALUES (1)")
        assert query(at(matrix_server, live, user), f"SELECT count(*) FROM {TABLE}") == [(0,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(at(matrix_server, live, "freeze_reader"), f"UPDATE {TABLE} SET note = 'x'")
    await run(live, measure, undo=True)
    assert rights(live) == before
    execute(at(matrix_server, live, "freeze_owner"), f"INSERT INTO {TABLE} VALUES (2)")


async def test_autovacuum_is_off_for_the_table_and_its_toast_and_as_it_was_again(
    live: str,
) -> None:
    execute(live, f"ALTER TABLE {TABLE} SET (autovacuum_enabled = true, fillfactor = 70)")
    options = (
        "SELECT c.reloptions::text, t.reloptions::text FROM pg_class c JOIN pg_class t"
        f" ON t.oid = c.reltoastrelid WHERE c.oid = '{TABLE}'::regclass"
    )
    async with session(live) as connection:
        measure = await plan_vacuum_off(connection, "shop", "Odd; table")
    await run(live, measure)
    ((table, toast),) = query(live, options)
    assert "autovacuum_enabled=off" in str(table)
    assert "fillfactor=70" in str(table)
    assert "autovacuum_enabled=off" in str(toast)
    await run(live, measure, undo=True)
    ((table, toast),) = query(live, options)
    assert "autovacuum_enabled=true" in str(table)
    assert toast is None


async def test_a_role_is_kept_out_and_let_in_again(matrix_server: ScratchServer, live: str) -> None:
    database = database_of(live)
    as_reader, as_app = (at(matrix_server, live, user) for user in ("freeze_reader", "freeze_app"))
    execute(live, f'GRANT CONNECT ON DATABASE "{database}" TO freeze_app WITH GRANT OPTION')
    grants = f"SELECT datacl::text FROM pg_database WHERE datname = '{database}'"
    before = query(live, grants)
    async with session(matrix_server.url()) as admin:
        measure = await plan_role_out(admin, database, ["freeze_app"])
    await run(matrix_server.url(), measure)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(as_app)
    await run(matrix_server.url(), measure, undo=True)
    psycopg.connect(as_app).close()
    psycopg.connect(as_reader).close()
    assert sorted(str(query(live, grants)[0][0]).strip("{}").split(",")) == sorted(
        str(before[0][0]).strip("{}").split(",")
    )
    async with session(matrix_server.url()) as admin:
        with pytest.raises(SafetyRefusal, match="is a superuser"):
            await plan_role_out(admin, database, ["postgres"])
        execute(live, f'GRANT CONNECT ON DATABASE "{database}" TO freeze_owner')
        execute(live, "GRANT freeze_owner TO freeze_app")
        with pytest.raises(SafetyRefusal, match="NOT KEPT OUT") as raised:
            await plan_role_out(admin, database, ["freeze_app"])
        assert "a member of freeze_owner" in raised.value.why


async def test_everybody_but_us_is_kept_out_and_the_undo_is_stock_sql(
    matrix_server: ScratchServer, live: str
) -> None:
    database = database_of(live)
    execute(live, f'ALTER DATABASE "{database}" CONNECTION LIMIT 17')
    async with session(matrix_server.url()) as admin:
        measure = await plan_everyone_out(admin, database, app_role="freeze_app")
    await run(matrix_server.url(), measure)
    for user in ("freeze_app", "freeze_owner"):
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(at(matrix_server, live, user))
    psycopg.connect(live).close()  # a superuser repairs what is frozen
    execute(matrix_server.url(), *measure.undo)
    psycopg.connect(at(matrix_server, live, "freeze_app")).close()
    assert query(live, f"SELECT datconnlimit FROM pg_database WHERE datname = '{database}'") == [
        (17,)
    ]


async def test_an_owner_without_more_rights_keeps_all_out_but_itself(
    matrix_server: ScratchServer, live: str
) -> None:
    database = database_of(live)
    execute(
        live,
        f'ALTER DATABASE "{database}" OWNER TO freeze_owner',
        f'GRANT CONNECT ON DATABASE "{database}" TO freeze_app',
    )
    as_owner = matrix_server.url(user="freeze_owner")
    grants = f"SELECT datacl::text FROM pg_database WHERE datname = '{database}'"
    before = query(live, grants)
    async with session(as_owner) as admin:
        measure = await plan_everyone_out(admin, database, app_role="freeze_app")
        with pytest.raises(SafetyRefusal, match="NOT KEPT OUT"):
            await plan_everyone_out(admin, database, app_role="freeze_owner")
        with pytest.raises(SafetyRefusal, match="NOT KEPT OUT"):
            await plan_everyone_out(admin, database, app_role="postgres")
    await run(as_owner, measure)
    for user in ("freeze_app", "freeze_reader"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(at(matrix_server, live, user))
    psycopg.connect(at(matrix_server, live, "freeze_owner")).close()
    await run(as_owner, measure, undo=True)
    psycopg.connect(at(matrix_server, live, "freeze_reader")).close()
    assert query(live, grants) == before
    execute(live, f'ALTER DATABASE "{database}" OWNER TO postgres')


async def test_who_is_to_stay_stays_and_what_a_role_had_passed_on_comes_back(
    matrix_server: ScratchServer, live: str
) -> None:
    database = database_of(live)
    execute(live, f'GRANT CONNECT ON DATABASE "{database}" TO freeze_app WITH GRANT OPTION')
    execute(
        at(matrix_server, live, "freeze_app"),
        f'GRANT CONNECT ON DATABASE "{database}" TO freeze_owner',
    )
    async with session(matrix_server.url()) as admin:
        measure = await plan_role_out(admin, database, ["freeze_app"], keep=["freeze_reader"])
    await run(matrix_server.url(), measure)
    psycopg.connect(at(matrix_server, live, "freeze_reader")).close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(at(matrix_server, live, "freeze_app"))
    await run(matrix_server.url(), measure, undo=True)
    rows = query(
        live,
        "SELECT a.grantee::regrole::text FROM pg_database CROSS JOIN aclexplode(datacl) AS a"
        f" WHERE datname = '{database}' AND a.privilege_type = 'CONNECT' ORDER BY 1",
    )
    assert [name for (name,) in rows] == ["-", "freeze_app", "freeze_owner", "postgres"]


async def test_a_right_that_another_role_gave_is_not_overlooked(
    matrix_server: ScratchServer, live: str
) -> None:
    database = database_of(live)
    execute(live, f'GRANT CONNECT ON DATABASE "{database}" TO freeze_owner WITH GRANT OPTION')
    execute(
        at(matrix_server, live, "freeze_owner"),
        f'GRANT CONNECT ON DATABASE "{database}" TO PUBLIC',
    )
    async with session(matrix_server.url()) as admin:
        measure = await plan_role_out(admin, database, ["freeze_app"])
    with pytest.raises(PostgresError, match="NOT KEPT OUT: freeze_app"):
        await run(matrix_server.url(), measure)
    psycopg.connect(at(matrix_server, live, "freeze_reader")).close()  # nothing was changed


async def test_a_partitioned_table_is_meant_with_its_partitions(
    matrix_server: ScratchServer, live: str
) -> None:
    execute(
        live,
        "CREATE TABLE shop.parts (id int, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE shop.parts_2 PARTITION OF shop.parts FOR VALUES FROM (10) TO (20)",
        "GRANT ALL ON shop.parts, shop.parts_1 TO freeze_app",
        "GRANT SELECT, UPDATE (note) ON shop.parts_2 TO freeze_reader",
    )
    async with session(live) as connection:
        assert await find_table(connection, "shop.parts") == ("shop", "parts")
        vacuum = await plan_vacuum_off(connection, "shop", "parts")
        writes = await plan_table_read_only(connection, "shop", "parts")
    await run(live, vacuum)
    await run(live, writes)
    options = (
        "SELECT relname, reloptions::text FROM pg_class WHERE relname LIKE 'parts_%'"
        " AND relkind = 'r' ORDER BY 1"
    )
    assert query(live, options) == [
        ("parts_1", "{autovacuum_enabled=off}"),
        ("parts_2", "{autovacuum_enabled=off}"),
    ]
    refused = (
        ("freeze_app", "INSERT INTO shop.parts VALUES (1)"),
        ("freeze_app", "INSERT INTO shop.parts_1 VALUES (1)"),
        ("freeze_reader", "UPDATE shop.parts_2 SET note = 'x'"),
    )
    for user, statement in refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(at(matrix_server, live, user), statement)
    await run(live, writes, undo=True)
    await run(live, vacuum, undo=True)
    for user, statement in refused:
        execute(at(matrix_server, live, user), statement)
    assert query(live, options) == [("parts_1", None), ("parts_2", None)]


async def test_what_is_gone_by_then_keeps_nothing_else_from_being_undone(live: str) -> None:
    execute(live, "CREATE TABLE shop.gone (id int)")
    async with session(live) as connection:
        measure = await plan_vacuum_off(connection, "shop", "gone")
        stays = await plan_vacuum_off(connection, "shop", "Odd; table")
        await run_measure(connection, measure)
        await run_measure(connection, stays)
        execute(live, "DROP TABLE shop.gone")
        assert await undo_measure(connection, (*measure.undo, *stays.undo)) == list(measure.undo)
    assert query(live, f"SELECT reloptions FROM pg_class WHERE oid = '{TABLE}'::regclass") == [
        (None,)
    ]


async def test_what_can_t_be_done_changes_nothing_and_is_told(
    matrix_server: ScratchServer, live: str
) -> None:
    before = rights(live)
    async with session(live) as connection:
        with pytest.raises(PostgresError, match="TABLE MISSING"):
            await plan_table_read_only(connection, "shop", "videos")
        measure = await plan_table_read_only(connection, "shop", "Odd; table")
        vacuum = await plan_vacuum_off(connection, "shop", "Odd; table")
        with psycopg.connect(live) as busy:
            busy.execute(f"ALTER TABLE {TABLE} ADD COLUMN more int".encode())
            with pytest.raises(PostgresError, match="NOT CHANGED"):
                await run_measure(connection, vacuum, lock_timeout_seconds=0.1)
            busy.rollback()
    async with session(at(matrix_server, live, "freeze_reader")) as connection:
        for refused in (vacuum, measure):
            with pytest.raises(RightsMissing):
                await run_measure(connection, refused)
    assert rights(live) == before
