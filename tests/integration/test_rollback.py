"""The whole circle: swapped, written to, counted, rolled back exactly, and what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fsbackup_tui.domain.errors import IdentityMismatch, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.restored_copies import Trouble, trouble_on
from tests.support.servers import FreshServer, MakeDatabase, binaries, execute, query


@pytest.fixture
def trouble(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Trouble]:
    with trouble_on(matrix_server, make_database(matrix_server), tmp_path) as trouble:
        yield trouble


def by_table(written: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    return {
        table["table"]: (table["inserted"], table["updated"], table["deleted"])
        for table in written["tables"]
    }


async def test_there_and_back_exactly_with_what_was_written_counted_and_kept(
    trouble: Trouble,
) -> None:
    as_app = trouble.url(user=trouble.role)
    damaged = trouble.content()
    done = await trouble.swap()
    restored = trouble.content()
    assert restored != damaged
    assert (await trouble.written(done))["tables"] == []

    execute(
        as_app,
        "INSERT INTO users SELECT i, 'new' FROM generate_series(201, 212) i",
        "UPDATE orders SET total = 0 WHERE id <= 5",
        "DELETE FROM orders WHERE id > 297",
        "INSERT INTO orders (user_id, total) VALUES (201, 9.99)",
    )
    execute(trouble.url(), "CREATE TABLE born (id int)", "INSERT INTO born VALUES (1), (2)")
    written = await trouble.written(done)
    assert by_table(written) == {
        "public.born": (2, 0, 0),
        "public.orders": (1, 5, 3),
        "public.users": (12, 0, 0),
    }
    assert (written["rows"], written["note"]) == (23, "")

    newer = trouble.content()
    back = trouble.back(done)
    undone = await trouble.swap(back)
    assert (undone["database"], undone["kept_as"]) == (trouble.live, trouble.kept("after"))
    assert trouble.content() == damaged
    assert trouble.content(trouble.kept("after")) == newer
    assert query(as_app, "SELECT current_database()::text, count(*) FROM users") == [
        (trouble.live, 3)
    ]
    # Once more is done already; under another name it is not what was meant.
    assert (await trouble.swap(back))["closed_seconds"] is None
    with pytest.raises(IdentityMismatch, match="Nothing changed") as raised:
        await trouble.swap(trouble.back(done, kept_as=f"{trouble.live}__again"))
    assert f"is called {trouble.live} now" in raised.value.why
    assert trouble.content() == damaged

    # And forward again: the newer database, with all that was written to it.
    again = await trouble.swap(trouble.back(undone, kept_as=trouble.kept("before"), back=False))
    assert trouble.content() == newer
    assert by_table(await trouble.written(again)) == {}


async def test_numbers_that_live_gave_are_not_given_again(trouble: Trouble) -> None:
    as_app, order = trouble.url(user=trouble.role), "INSERT INTO orders (user_id, total)"
    execute(as_app, *[f"{order} SELECT min(id), {total} FROM users" for total in (1, 2, 3)])
    damaged = trouble.content()
    done = await trouble.swap()
    assert not [note for note in done["notes"] if "numbers" in note]
    execute(as_app, f"{order} VALUES (1, 4)")
    numbers = "SELECT id FROM orders WHERE total IN (1, 2, 3, 4) AND id > 300"
    assert query(as_app, numbers) == [(10_304,)]
    # Nor those that the restored one gave, when it is taken back; its rows are as they were.
    await trouble.swap(trouble.back(done))
    assert trouble.content() == damaged
    assert query(as_app, numbers) == [(301,), (302,), (303,)]
    assert trouble.last_number() == 20_304


async def test_a_kept_database_that_was_renamed_or_dropped_by_hand_is_named(
    trouble: Trouble,
) -> None:
    done = await trouble.swap()
    kept, live = done["kept_as"], trouble.live
    execute(trouble.server.url(), f'ALTER DATABASE "{kept}" RENAME TO "{live}__elsewhere"')
    with pytest.raises(IdentityMismatch, match="NOT SWAPPED") as raised:
        await trouble.swap(trouble.back(done))
    assert f"is called {live}__elsewhere now" in raised.value.why
    assert "RENAME TO" in raised.value.fix
    execute(trouble.server.url(), f'DROP DATABASE "{live}__elsewhere"')
    with pytest.raises(IdentityMismatch, match="NOT SWAPPED") as raised:
        await trouble.swap(trouble.back(done))
    assert f"{kept} (OID {done['kept_oid']}) is not on the server any more." in raised.value.why
    execute(trouble.server.url(), f'CREATE DATABASE "{kept}"')
    with pytest.raises(IdentityMismatch, match="NOT SWAPPED"):
        await trouble.swap(trouble.back(done))
    assert trouble.users() == 100
    # The name to keep the newer one under may be taken.
    execute(trouble.server.url(), f'CREATE DATABASE "{trouble.kept("after")}"')
    other = trouble.oid(kept)
    with pytest.raises(SafetyRefusal, match="Nothing changed"):
        await trouble.swap(trouble.back(done, copy=kept, copy_oid=other))
    assert trouble.users() == 100


async def test_sessions_at_work_are_told_where_their_rows_can_not_be_counted(
    trouble: Trouble,
) -> None:
    done = await trouble.swap()
    with psycopg.connect(trouble.url(user=trouble.role)) as busy:
        busy.execute("INSERT INTO users VALUES (999, 'in a transaction')")
        written = await trouble.written(done)
        assert "1 sessions are at work" in written["note"]
    assert by_table(await trouble.written(done)) == {"public.users": (1, 0, 0)}
    with pytest.raises(UsageError, match="NOT COUNTED"):
        await trouble.written({**done, "counters": ""})
    with pytest.raises(IdentityMismatch):
        await trouble.written({**done, "database_oid": done["kept_oid"]})


async def test_after_a_crash_tables_are_counted_themselves(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    server = fresh_server(settings={"fsync": "on", "synchronous_commit": "on"})
    execute(server.url(), "CREATE DATABASE shop")
    with trouble_on(server, server.url("shop"), tmp_path) as trouble:
        done = await trouble.swap()
        execute(
            trouble.url(),
            "INSERT INTO users SELECT i, 'new' FROM generate_series(201, 212) i",
            "DELETE FROM orders WHERE id > 297",
        )
        server.stop("immediate")
        server.start()
        execute(trouble.url(), "INSERT INTO users VALUES (300, 'after the crash')")
        written = await trouble.written(done)
        assert "statistics were lost" in written["note"]
        assert by_table(written) == {
            "public.orders": (0, None, 3),
            "public.users": (13, None, 0),
        }


async def test_the_counters_outlive_a_job_that_died_right_after_the_swap(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path) as trouble:
        trouble.incident = tmp_path / "incident"
        trouble.incident.mkdir(mode=0o700)
        request = trouble.request()
        await trouble.swap(request)
        execute(trouble.url(), "INSERT INTO users VALUES (300, 'at once')")
        # The same request again, as a resumed incident asks it: what it tells is the same.
        done = await trouble.swap(request)
        assert by_table(await trouble.written(done)) == {"public.users": (1, 0, 0)}
        trouble.incident = None
        done = await trouble.swap(request)
        assert any("counted only after the swap" in note for note in done["notes"])


async def test_the_circle_on_the_servers_of_the_distribution(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    assert binaries(15).exists()
    server = fresh_server(15)
    execute(server.url(), "CREATE DATABASE shop")
    with trouble_on(server, server.url("shop"), tmp_path) as trouble:
        damaged = trouble.content()
        assert (await trouble.check())["verdict"] == "proven"
        done = await trouble.swap()
        execute(trouble.url(), "INSERT INTO users VALUES (300, 'new')")
        assert by_table(await trouble.written(done)) == {"public.users": (1, 0, 0)}
        await trouble.swap(trouble.back(done))
        assert (trouble.content(), trouble.users(trouble.kept("after"))) == (damaged, 101)
