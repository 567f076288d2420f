"""What no copy may have comes to life again in the restored database: by the step, or by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.operations import rearm, swap
from fsbackup_tui.operations.recovery_requests import RearmRequest, SwapRequest
from fsbackup_tui.recovery.report import report_markdown
from fsbackup_tui.recovery.report_follow import follow_ups
from fsbackup_tui.recovery.session import RecoverySession
from tests.support.contexts import context_of
from tests.support.servers import FreshServer, binaries, execute, query
from tests.support.shop import Shop, open_shop
from tests.support.stand_ins import with_stand_ins
from tests.support.swapping import oid_of
from tests.support.waiting import wait_until
from tests.support.walking import declare_at, do, undo, walk

# As pg_cron's own script has it, as far as a dump and a restore meet it.
_PG_CRON = """
CREATE SCHEMA cron;
CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (jobid bigint PRIMARY KEY DEFAULT nextval('cron.jobid_seq'),
    schedule text NOT NULL, command text NOT NULL, database text NOT NULL
    DEFAULT current_database(), active boolean NOT NULL DEFAULT true, jobname text);
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
"""
_SUBSCRIBED = (
    "SELECT 1 FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid"
    " WHERE d.datname = current_database()"
)
_NEWS = "SELECT id FROM news ORDER BY id"


@pytest.fixture
def subscriber(tmp_path: Path) -> Iterator[ScratchServer]:
    """A server of its own that knows pg_cron."""
    place = tmp_path / "programs"
    programs = with_stand_ins(binaries(18), place, {"pg_cron": ("1.6", _PG_CRON)})
    server = start_scratch_server(
        tmp_path / "server",
        bin_directory=programs,
        # Else a subscription whose slot is still taken tries again after five seconds.
        settings={"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"},
    )
    yield server
    server.remove()


@dataclass
class Subscribed:
    """A shop that gets news from a publisher, has cron jobs, and watches its own definitions."""

    shop: Shop
    publisher: ScratchServer

    def publish(self, number: int) -> None:
        execute(self.publisher.url(), f"INSERT INTO news VALUES ({number})")

    def news(self, database: str | None = None) -> list[int]:
        return [number for (number,) in self.shop.query(_NEWS, database)]

    def slots(self) -> list[tuple[object, ...]]:
        return query(self.publisher.url(), "SELECT slot_name::text FROM pg_replication_slots")

    def watched(self) -> list[tuple[Any, ...]]:
        return self.shop.query(
            "SELECT evtname::text, evtenabled::text FROM pg_event_trigger ORDER BY 1"
        )

    def recover(self) -> RecoverySession:
        session = declare_at(self.shop.site, "rows", runbook="data-loss")
        walk(session, {"choose-way": "swap"}, until="resume-jobs")
        return session

    def kept(self, session: RecoverySession) -> str:
        return str(session.read().facts.document("swapped")["kept_as"])


@pytest.fixture
def subscribed(
    subscriber: ScratchServer, fresh_server: FreshServer, tmp_path: Path
) -> Iterator[Subscribed]:
    publisher = fresh_server(tcp=True, settings={"wal_level": "logical"})
    news = "CREATE TABLE news (id int PRIMARY KEY)"
    execute(publisher.url(), news, "CREATE PUBLICATION news FOR TABLE news")
    settings = {"commands": {"resume_jobs": ["touch", "resumed"]}}
    with open_shop(tmp_path, subscriber, settings) as shop:
        scene = Subscribed(shop, publisher)
        shop.execute(
            news,
            f"CREATE SUBSCRIPTION news CONNECTION '{publisher.url()}' PUBLICATION news",
            "COMMENT ON SUBSCRIPTION news IS 'of the others'",
            "CREATE EXTENSION pg_cron",
            "INSERT INTO cron.job (schedule, command) VALUES ('5 3 * * *', 'VACUUM users')",
            "INSERT INTO cron.job (schedule, command, active) VALUES ('@daily', 'SELECT 1', false)",
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER watched ON ddl_command_end EXECUTE FUNCTION watch()",
            "CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION watch()",
            "CREATE EVENT TRIGGER asleep ON ddl_command_end EXECUTE FUNCTION watch()",
            "ALTER EVENT TRIGGER always ENABLE ALWAYS",
            "ALTER EVENT TRIGGER asleep DISABLE",
        )
        scene.publish(1)
        wait_until(lambda: scene.news() == [1])
        try:
            yield scene
        finally:
            for name in shop.databases():
                if shop.query(_SUBSCRIBED, name):
                    execute(
                        shop.url(name),
                        "ALTER SUBSCRIPTION news DISABLE",
                        "ALTER SUBSCRIPTION news SET (slot_name = NONE)",
                        "DROP SUBSCRIPTION news",
                    )


def test_all_is_armed_again_by_the_step_and_laid_down_by_its_undo(subscribed: Subscribed) -> None:
    shop = subscribed.shop
    shop.back_up()
    watched = subscribed.watched()
    assert len(watched) == 3
    subscribed.publish(2)
    wait_until(lambda: subscribed.news() == [1, 2])
    shop.execute("DELETE FROM users")
    session = subscribed.recover()
    kept = subscribed.kept(session)
    # An event trigger is no more than a definition: the copy has it as it was.
    assert subscribed.watched() == watched
    assert shop.query(_SUBSCRIBED) == []
    subscribed.publish(3)
    wait_until(lambda: subscribed.news(kept) == [1, 2, 3])
    assert any("stayed with" in line for line in follow_ups(session.read()))
    runs = "\n".join(session.card("resume-jobs").runs)
    assert f"{kept}: ALTER SUBSCRIPTION news DISABLE" in runs
    assert "CREATE EXTENSION pg_cron" in runs
    assert "touch resumed" in runs

    do(session, "resume-jobs")
    assert (shop.site.directory / "resumed").exists()
    subscribed.publish(4)
    # It goes on where its slot stands: what was confirmed before is in the kept database alone.
    wait_until(lambda: 4 in subscribed.news())
    assert 2 not in subscribed.news()
    assert subscribed.news(kept) == [1, 2, 3]
    assert subscribed.slots() == [("news",)]
    jobs = shop.query("SELECT schedule, command, active FROM cron.job ORDER BY jobid")
    assert jobs == [("5 3 * * *", "VACUUM users", True), ("@daily", "SELECT 1", False)]
    assert shop.query("SELECT nextval('cron.jobid_seq')") == [(3,)]
    reading = session.read()
    assert reading.facts.document("rearmed")["by_hand"] == []
    report = report_markdown(reading, session.journal.entries())
    assert "Armed again in live: subscription news; it goes on where its slot stands" in report
    assert "Armed again in live: pg_cron; 2 jobs, as the point has them" in report
    assert not any("subscription" in line.lower() for line in follow_ups(reading))

    undo(session, "resume-jobs")
    subscribed.publish(5)
    wait_until(lambda: 5 in subscribed.news(kept))
    assert 5 not in subscribed.news()
    assert shop.query("SELECT 1 FROM pg_extension WHERE extname = 'pg_cron'") == []
    session.close("recovered")


async def test_what_can_not_be_armed_is_left_to_a_person_with_its_commands(
    subscribed: Subscribed,
) -> None:
    shop, site = subscribed.shop, subscribed.shop.site
    done = site.run("backup", "daily", "--json")
    point = str(done.document["point"])
    copy, kept = f"{shop.live}__restore_k3f9", f"{shop.live}__before_k3f9"
    beside = site.run("restore", point, "--beside", copy, "--json")
    assert beside.exit_code == 0, beside.stdout
    assert {"EXTENSION pg_cron", "SUBSCRIPTION news"} <= set(beside.document["deferred"])
    live_oid, copy_oid = (oid_of(shop.server, name) for name in (shop.live, copy))
    request = SwapRequest("db", live_oid, copy, copy_oid, kept)
    swapped = await swap.run(request, context_of(site, lambda _event: None))
    # The table of the news is not there, nor can pg_cron be made, as where it serves another.
    execute(shop.url(), "DROP TABLE news", "CREATE SCHEMA cron")
    asked = RearmRequest(
        "db",
        point=point,
        live_oid=copy_oid,
        kept_as=kept,
        kept_oid=live_oid,
        subscriptions=("news",),
        cron=True,
    )
    left = await rearm.run(asked, context_of(site, lambda _event: None))
    assert left["armed"] == []
    by_hand = left["by_hand"]
    assert isinstance(by_hand, list)
    assert [each["what"] for each in by_hand] == ["subscription news", "pg_cron"]
    assert 'relation "public.news" does not exist' in by_hand[0]["why"]
    # Nothing was stopped: it goes on in the kept database.
    subscribed.publish(7)
    await asyncio.to_thread(wait_until, lambda: subscribed.news(kept) == [1, 7])
    # The commands that it says do it; the swap's own are the same.
    told = swapped["follow_up"]
    assert isinstance(told, list)
    assert set(by_hand[0]["lines"]) <= set(told)
    execute(shop.url(), "CREATE TABLE news (id int PRIMARY KEY)", "DROP SCHEMA cron")
    for each in by_hand:
        follow(shop, kept, each["lines"])
    subscribed.publish(8)
    await asyncio.to_thread(wait_until, lambda: 8 in subscribed.news())
    assert shop.query("SELECT extname::text FROM pg_extension WHERE extname = 'pg_cron'")


def follow(shop: Shop, kept: str, lines: list[str]) -> None:
    """Run each line where it says; one that prints a statement is followed by running that."""
    printed: list[str] = []
    for line in lines:
        place, _colon, statement = line.strip().partition(": ")
        database = {shop.live: shop.live, kept: kept}[place]
        if statement.startswith("what "):
            execute(shop.url(database), *(text for text in printed if "cron.schedule" not in text))
        elif statement.startswith("SELECT format"):
            printed = [str(row[0]) for row in shop.query(statement, database)]
            assert printed
        else:
            execute(shop.url(database), statement)
