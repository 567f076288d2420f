"""A real PgBouncer in between: where it keeps no session nothing is set in any, and it is said."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.pooler import running_pooler
from tests.support.servers import MakeDatabase, execute
from tests.support.sessions import session
from tests.support.sites import make_site

pytestmark = pytest.mark.machine


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_what_keeps_no_session_is_refused_and_nothing_of_ours_reaches_the_application(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, mode: str
) -> None:
    database = make_database(server).partition("?")[0].rpartition("/")[2]
    entries = {"app": database}
    with (
        running_pooler(server, tmp_path / "pooler", entries, mode=mode) as pooler,
        psycopg.connect(pooler.url("app"), autocommit=True, prepare_threshold=None) as app,
    ):
        before = app.execute("SHOW search_path").fetchall()
        site = make_site(tmp_path / "site", pooler.url("app"))
        for command in (("backup", "daily"), ("verify", "--live")):
            refused = site.run(*command, "--json")
            assert refused.exit_code == 3, refused.stdout
            assert "TRANSACTION POOLER" in refused.error["what"]
            assert "DIRECT_URL" in refused.error["fix"]
        told = site.run("doctor", "--json")
        assert told.exit_code == 1
        assert "TRANSACTION POOLER" in told.stdout
        assert [app.execute("SHOW search_path").fetchall() for _ in range(5)] == [before] * 5


async def test_what_one_database_of_a_pooler_keeps_says_nothing_of_another(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    database = make_database(server).partition("?")[0].rpartition("/")[2]
    entries = {"kept": f"{database} pool_mode=session", "app": f"{database} pool_mode=transaction"}
    with running_pooler(server, tmp_path / "pooler", entries) as pooler:
        async with session(pooler.url("kept")):
            pass
        with pytest.raises(SafetyRefusal, match="TRANSACTION POOLER"):
            async with session(pooler.url("app")):
                pass


def test_a_session_pooler_serves(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE users (id int PRIMARY KEY)", "INSERT INTO users VALUES (1)")
    entries = {"app": url.partition("?")[0].rpartition("/")[2]}
    with running_pooler(server, tmp_path / "pooler", entries, mode="session") as pooler:
        site = make_site(tmp_path / "site", pooler.url("app"))
        backed_up = site.run("backup", "daily", "--json")
        assert backed_up.exit_code == 0, backed_up.stdout
        assert site.points()[0]["trust"] == "sealed"
