"""Schemas swapped on real servers by a plain owner: what holds on to them goes over, and back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, TableLocked
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.schema_pairs import SchemaPair, SchemaSwap, standing
from fsbackup_tui.engines.postgres.schema_side import rename_out
from fsbackup_tui.engines.postgres.schema_swap import swap_schemas
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.schemas import OWNER, READER, Shop, make_shop, open_session, pairs_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.waiting import wait_until


@pytest.fixture
def shop(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Shop]:
    name = make_database(matrix_server).partition("?")[0].rpartition("/")[2]
    made = make_shop(matrix_server, name, tmp_path)
    yield made
    execute(matrix_server.url(), f'DROP DATABASE "{made.copy}" WITH (FORCE)')


def damage(shop: Shop) -> None:
    """Lose most users, and everything that hangs on them; write some since."""
    execute(
        shop.url,
        "DELETE FROM public.users WHERE id > 20",
        "INSERT INTO public.users (email, name) VALUES ('late@example.org', 'late')",
        "ALTER TABLE public.users ADD COLUMN added_since int",
        "DELETE FROM crm.notes WHERE user_id IS NULL",
    )


async def test_all_that_holds_on_to_it_means_the_restored_schema_and_then_the_old_one_again(
    shop: Shop,
) -> None:
    whole, proper = shop.content(), shop.definitions()
    damage(shop)
    damaged, damaged_definitions = shop.content(), shop.definitions()
    point = shop.site.points()[0]["id"]
    copied = await shop.run_copy(schemas=("public",), point=point)
    assert copied["entries"]["lost"] == 0
    assert [item["schema"] for item in copied["schemas"]] == ["public"]
    # Nobody saw any of it yet, and the side database is as it was.
    assert (shop.content(), shop.definitions()) == (damaged, damaged_definitions)
    assert shop.ask("SELECT count(*) FROM public.users", database=shop.copy) == 200

    swapped = await shop.run_swap(copied)
    assert swapped["closed_seconds"] is not None
    assert swapped["unchecked"] == []
    after = shop.content()
    assert {name: rows for name, rows in after.items() if name.startswith('"public"')} == {
        name: rows for name, rows in whole.items() if name.startswith('"public"')
    }
    assert after['"crm"."notes"'] == damaged['"crm"."notes"']
    assert shop.definitions() == proper
    assert shop.ask("SELECT count(*) FROM reports.totals", role=READER) == 200
    assert shop.ask("SELECT reports.users_by_body()") == 200
    assert shop.ask("SELECT reports.users_by_text()") == 200
    assert shop.ask("SELECT count(*) FROM crm.notes", role=READER) == 20
    execute(shop.url, "INSERT INTO crm.notes (user_id, body) VALUES (150, 'of a restored one')")
    assert shop.ask("SELECT touched FROM crm.notes WHERE user_id = 150") == 200
    assert (
        shop.ask("SELECT count(*) FROM public.users WHERE lower(email::text) = 'u7@example.org'")
        == 1
    )
    # What is kept neither changes with other schemas' rows nor keeps them from changing.
    kept = swapped["schemas"][0]["kept_as"]
    before = shop.ask(f'SELECT count(*) FROM "{kept}".orders')
    execute(shop.url, "DELETE FROM crm.shops WHERE id = 3")
    assert shop.ask(f'SELECT count(*) FROM "{kept}".orders') == before
    assert shop.ask("SELECT count(*) FROM public.orders") == 480
    execute(
        shop.url,
        "INSERT INTO crm.shops VALUES (3, 'shop 3')",
        "DELETE FROM crm.notes WHERE user_id = 150",
    )
    again = await shop.run_swap(copied)
    assert again["closed_seconds"] is None  # done already is done, too

    back = await shop.run_back(swapped)
    assert shop.content() == damaged
    assert shop.definitions() == damaged_definitions
    assert back["schemas"][0]["kept_as"] == "public__after_k3f9"
    assert shop.ask('SELECT count(*) FROM "public__after_k3f9".orders') == 480


@dataclass
class Client:
    """An application's session that prepares its statements, and never leaves by itself."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    pids: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, prepare_threshold=0) as session:
                    self.pids.add(session.info.backend_pid)
                    while not self.stop.is_set():
                        session.execute("INSERT INTO users (name) VALUES (%s)", ["busy"])
                        self.rows += 1
                        session.execute("SELECT id, name FROM users WHERE id = %s", [self.rows])
            except psycopg.Error as error:
                self.errors.append(str(error))


async def test_a_busy_application_keeps_its_sessions_and_loses_no_row(shop: Shop) -> None:
    copied = await shop.run_copy(schemas=("public",))
    clients = [Client(shop.url) for _ in range(3)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        await asyncio.to_thread(wait_until, lambda: all(c.rows > 20 for c in clients))
        swapped = await shop.run_swap(copied, end_sessions=False)
        assert any("Restart the application" in note for note in swapped["notes"])
        so_far = [client.rows for client in clients]
        await asyncio.to_thread(
            wait_until, lambda: all(c.rows > n + 20 for c, n in zip(clients, so_far, strict=True))
        )
        await shop.run_back(swapped, end_sessions=False)
        so_far = [client.rows for client in clients]
        await asyncio.to_thread(
            wait_until, lambda: all(c.rows > n + 20 for c, n in zip(clients, so_far, strict=True))
        )
    finally:
        for client in clients:
            client.stop.set()
        for thread in threads:
            thread.join()
    assert [client.errors for client in clients] == [[], [], []]
    assert [len(client.pids) for client in clients] == [1, 1, 1]
    stored = [
        shop.ask(f"SELECT count(*) FROM {schema}.users WHERE name = 'busy'")
        for schema in ("public", "public__after_k3f9")
    ]
    assert sum(stored) == sum(client.rows for client in clients)
    assert all(stored)


async def test_statements_that_return_a_type_of_the_schemas_own_are_prepared_anew(
    shop: Shop,
) -> None:
    copied = await shop.run_copy(schemas=("public",))
    with psycopg.connect(shop.url, autocommit=True, prepare_threshold=0) as kept:
        kept.execute("SELECT state FROM orders WHERE id = 1")
        with psycopg.connect(shop.url, autocommit=True, prepare_threshold=0) as ended:
            swapped = await shop.run_swap(copied)
            assert swapped["sessions_ended"] == 2
            for session in (kept, ended):
                with pytest.raises(psycopg.OperationalError):
                    session.execute("SELECT state FROM orders WHERE id = 1")
    with psycopg.connect(shop.url, autocommit=True, prepare_threshold=0) as session:
        session.execute("SELECT state FROM orders WHERE id = 1")
        await shop.run_back(swapped, end_sessions=False)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
            session.execute("SELECT state FROM orders WHERE id = 1")
        assert session.execute("SELECT count(*) FROM orders").fetchone() == (600,)


async def test_who_holds_a_table_is_named_and_ended_only_if_asked(shop: Shop) -> None:
    copied = await shop.run_copy(schemas=("public",))
    with psycopg.connect(shop.url, application_name="nightly report") as other:
        other.execute("INSERT INTO users (name) VALUES ('not committed')")
        with pytest.raises(TableLocked, match="Nothing changed") as raised:
            await shop.run_swap(copied, patience_seconds=0.0)
        assert f"nightly report of {OWNER}, pid {other.info.backend_pid}" in raised.value.why
        assert other.execute("SELECT count(*) FROM users").fetchone() == (201,)
        swapped = await shop.run_swap(copied, end_blockers=True)
        assert swapped["sessions_ended"] == 1
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
    assert shop.ask("SELECT count(*) FROM public.users") == 200


async def test_what_cannot_go_over_is_named_before_anything_is_copied(shop: Shop) -> None:
    execute(
        shop.url,
        "CREATE MATERIALIZED VIEW reports.daily AS SELECT count(*) FROM public.users",
        "CREATE TABLE crm.bills (id int, state public.status)",
    )
    before = shop.definitions()
    with pytest.raises(SafetyRefusal, match="Nothing changed") as raised:
        await shop.run_copy(schemas=("public",))
    assert "materialized view reports.daily" in raised.value.why
    assert "column state of table crm.bills depends on type public.status" in raised.value.why
    assert shop.definitions() == before
    # All of them together need nothing of each other re-pointed.
    copied = await shop.run_copy(schemas=("public", "crm", "reports"))
    assert copied["repoints"] == [
        "publication feed of crm.shops",
        "publication feed of public.users",
    ]


def kill_when_only_the_commit_is_left(shop: Shop, pair: SchemaPair) -> None:
    script = Path(__file__).parents[1] / "support" / "swap_schemas_until_killed.py"
    with subprocess.Popen(
        [sys.executable, str(script), shop.admin_url, *map(str, astuple(pair))],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as swapping:
        assert swapping.stdout is not None
        assert swapping.stdout.readline() == b"ready\n"
        swapping.send_signal(signal.SIGKILL)


async def test_ended_or_killed_when_only_the_commit_is_left_it_is_wholly_the_old(
    shop: Shop,
) -> None:
    damage(shop)
    copied = await shop.run_copy(schemas=("public",))
    before, definitions = shop.content(), shop.definitions()
    swap = SchemaSwap(pairs_of(copied), "before", "2026-11-22T02:00:00Z", "job")

    async def end_the_mover() -> None:
        execute(
            shop.server.url(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{shop.name}' AND state = 'idle in transaction'",
        )

    async def open_one() -> Connection:
        return await open_session(shop.admin_url)

    with pytest.raises(PostgresError, match="SWAP UNSURE"):
        await swap_schemas(open_one, swap, on_ready=end_the_mover)
    async with await open_one() as session:
        assert await standing(session, swap) == "before"
    assert (shop.content(), shop.definitions()) == (before, definitions)

    await asyncio.to_thread(kill_when_only_the_commit_is_left, shop, pairs_of(copied)[0])
    assert (shop.content(), shop.definitions()) == (before, definitions)
    swapped = await shop.run_swap(copied)
    assert swapped["closed_seconds"] is not None
    assert shop.ask("SELECT count(*) FROM public.users") == 200


async def test_what_a_killed_copy_left_is_put_right_by_the_next(shop: Shop) -> None:
    before = shop.definitions()
    side = shop.server.url(shop.copy)
    async with await open_session(side) as copy:
        await rename_out(copy, {"public": "public__r_k3f9"})
    copied = await shop.run_copy()
    assert [item["schema"] for item in copied["schemas"]] == ["crm", "public", "reports"]
    assert query(side, "SELECT count(*) FROM public.users") == [(200,)]
    again = await shop.run_copy()
    assert (again["schemas"], again["entries"]) == (copied["schemas"], None)
    await shop.run_swap(again)
    assert shop.definitions() == before


async def test_rows_that_miss_their_parents_now_are_told_and_new_ones_are_checked(
    shop: Shop,
) -> None:
    execute(shop.url, "DELETE FROM crm.shops WHERE id = 2")
    damaged, definitions = shop.content(), shop.definitions()
    swapped = await shop.run_swap(await shop.run_copy(schemas=("public",)))
    (text,) = swapped["unchecked"]
    assert text.startswith("orders_shop_id_fkey on public.orders holds for new rows only")
    assert "(shop_id)=(2) is not present" in text
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        execute(shop.url, "INSERT INTO public.orders (user_id, shop_id) VALUES (1, 77)")
    await shop.run_back(swapped)
    after = shop.content()
    del after['"public"."orders_id_seq"'], damaged['"public"."orders_id_seq"']
    assert (after, shop.definitions()) == (damaged, definitions)


async def test_a_schema_that_is_gone_comes_back_with_all_that_fell_with_it(shop: Shop) -> None:
    whole, definitions = shop.content(), shop.definitions()
    execute(shop.url, "DROP SCHEMA crm, reports CASCADE")
    copied = await shop.run_copy()
    gone = {item["schema"] for item in copied["schemas"] if item["live_oid"] == 0}
    assert gone == {"crm", "reports"}
    await shop.run_swap(copied)
    assert (shop.content(), shop.definitions()) == (whole, definitions)


@pytest.mark.parametrize("superuser", [True, False])
async def test_an_extension_inside_stays_in_the_schema_that_has_the_name(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, superuser: bool
) -> None:
    name = make_database(matrix_server).partition("?")[0].rpartition("/")[2]
    superuser = superuser or matrix_server.version_num < 150000  # see make_shop
    # Only a superuser may move what a trusted extension made: else the content changes places.
    source = {"admin": {"url": matrix_server.url()}} if superuser else {}
    shop = make_shop(matrix_server, name, tmp_path, source=source, extension_in="public")
    try:
        whole, proper = shop.content(), shop.definitions()
        damage(shop)
        damaged, definitions = shop.content(), shop.definitions()
        copied = await shop.run_copy(schemas=("public",), point=shop.site.points()[0]["id"])
        assert shop.ask("SELECT count(*) FROM public.users", database=shop.copy) == 200
        swapped = await shop.run_swap(copied)
        assert ("extension citext" in swapped["repointed"]) is superuser
        assert any("can't leave public" in note for note in swapped["notes"]) is not superuser
        assert shop.definitions() == proper
        assert shop.content()['"public"."users"'] == whole['"public"."users"']
        wanted = "SELECT count(*) FROM public.users WHERE email = 'u7@EXAMPLE.org'"
        assert shop.ask(wanted) == 1
        assert (await shop.run_swap(copied))["closed_seconds"] is None
        await shop.run_back(swapped)
        assert (shop.content(), shop.definitions()) == (damaged, definitions)
    finally:
        execute(matrix_server.url(), f'DROP DATABASE "{shop.copy}" WITH (FORCE)')
