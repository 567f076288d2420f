"""NOW.txt followed by hand: the program is gone, and stock psql opens live and brings it back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import NOW
from tests.support.by_hand import by_hand
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until
from tests.support.walking import declare_at, do, look, walk

ROLE = "now_app"
ANSWERS: dict[str, Answer | str] = {
    "keep-evidence": "public.videos",
    "freeze": "role",
    "preserve": "",
}


@dataclass
class Shop:
    """A site whose videos were deleted after a backup; ``role`` is the application's."""

    server: ScratchServer
    site: Site
    live: str
    point: str

    def videos(self, database: str | None = None) -> int:
        ((count,),) = query(self.server.url(database or self.live), "SELECT count(*) FROM videos")
        return int(str(count))

    def may_write(self) -> bool:
        """Whether the application's role can connect to live and write."""
        try:
            with psycopg.connect(self.server.url(self.live, user=ROLE)) as connection:
                connection.execute("INSERT INTO videos VALUES (0)")
                connection.rollback()
        except psycopg.Error:
            return False
        return True

    def databases(self) -> list[str]:
        rows = query(self.server.url(), "SELECT datname FROM pg_database")
        return sorted(str(name) for (name,) in rows if str(name).startswith(self.live))


@pytest.fixture
def shop(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Iterator[Shop]:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(
        url,
        f"DROP ROLE IF EXISTS {ROLE}",
        f"CREATE ROLE {ROLE} LOGIN",
        "CREATE TABLE videos (id int PRIMARY KEY)",
        "INSERT INTO videos SELECT generate_series(1, 500)",
        f"GRANT ALL ON videos TO {ROLE}",
    )
    settings = {"environment": "test", "recovery": {"app_role": ROLE}}
    site = make_site(tmp_path / "site", url, settings=settings)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    execute(url, "DELETE FROM videos WHERE id > 7")
    there = Shop(server, site, live, done.document["point"])
    yield there
    for name in there.databases():
        execute(server.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    execute(server.url(), f"DROP ROLE IF EXISTS {ROLE}")


def lead_to(shop: Shop, step: str) -> RecoverySession:
    """Lead a real incident to before a step, the application's role frozen out."""
    session = declare_at(shop.site, "rows", runbook="data-loss")
    reason = "the test's only point"
    chosen = {"choose-point": Answer(shop.point, reason), "choose-way": Answer("swap", reason)}
    walk(session, {**ANSWERS, **chosen}, until=step)
    return session


def killed(session: RecoverySession) -> str:
    """Let the program be gone; returns what it left for whoever finds the directory."""
    session.leave()
    text = (session.journal.directory / NOW).read_text()
    assert f"fsbackup recover --resume {session.journal.id}" in text
    return text


def test_a_proven_copy_takes_the_place_and_the_former_one_is_kept(shop: Shop) -> None:
    text = killed(lead_to(shop, "swap"))
    by_hand(text, "FROZEN")
    by_hand(text, "To let it take")
    assert shop.videos() == 500
    (kept,) = re.findall(r'RENAME TO "(\S+__before_\S+)"', text)
    assert shop.videos(kept) == 7


def test_a_swap_is_taken_back(shop: Shop) -> None:
    session = lead_to(shop, "swap")
    do(session, "swap")
    text = killed(session)
    assert shop.videos() == 500
    by_hand(text, "FROZEN")
    assert shop.may_write()
    by_hand(text, "To go back by hand")
    assert shop.videos() == 7
    (newer,) = re.findall(r'RENAME TO "(\S+__after_\S+)"', text)
    assert shop.videos(newer) == 500


def test_a_swap_that_nobody_saw_the_end_of_is_looked_at_and_taken_back(shop: Shop) -> None:
    session = lead_to(shop, "swap")
    look(session)
    session.begin("swap", Answer(typed=shop.live))
    assert session.watch is not None
    job = session.watch

    def ended() -> bool:
        job.read()
        return job.ended

    wait_until(ended, timeout=60)
    text = killed(session)
    assert "BEGUN, AND NOBODY WROTE HOW IT ENDED." in text
    (told,) = re.findall(r"It is done if (\S+) has OID (\d+);", text)
    rows = query(
        shop.server.url(), f"SELECT oid::text FROM pg_database WHERE datname = '{told[0]}'"
    )
    assert rows == [(told[1],)]
    by_hand(text, "If it is done, to go back by hand")
    assert shop.videos() == 7


def test_once_all_is_done_and_closed_nothing_is_to_be_done(shop: Shop) -> None:
    session = lead_to(shop, "swap")
    do(session, "swap")
    do(session, "migrations")
    do(session, "thaw")
    text = killed(session)
    assert "FROZEN    nothing" in text
    assert shop.may_write()
    assert shop.videos() == 500
