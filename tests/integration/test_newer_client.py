"""Restoring with a client newer than the server: what that one sets, this one need not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.one_job import ONCE_MORE
from tests.support.servers import PACKAGES, MakeDatabase, execute, package_binaries, query
from tests.support.sites import Site, make_site

_NEWEST = package_binaries(PACKAGES[18])
_TABLES = tuple(
    f"CREATE TABLE t{number} AS SELECT generate_series(1, {number * 10}) AS id"
    for number in range(1, 7)
)


class Newer:
    """A site whose only client is of 18, on a server of any major."""

    def __init__(self, server: ScratchServer, url: str, directory: Path) -> None:
        self.server = server
        self.url = url
        self.name = url.partition("?")[0].rpartition("/")[2]
        self.site: Site = make_site(directory / "site", url)
        self.site.environment["FSBACKUP_CLIENTS"] = str(_NEWEST)

    @property
    def copy(self) -> str:
        return f"{self.name}_copy"

    def drop(self) -> None:
        for name in (self.copy, f"{self.copy}__unfinished"):
            execute(self.server.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def newer(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Newer]:
    scene = Newer(matrix_server, make_database(matrix_server), tmp_path)
    yield scene
    scene.drop()


@pytest.mark.parametrize("kind", ["custom", "plain"])
def test_nothing_is_lost_by_a_setting_that_the_server_does_not_know(
    newer: Newer, kind: str
) -> None:
    execute(newer.url, *_TABLES, "CREATE INDEX ON t6 (id)")
    newer.site.source = {"format": kind}
    newer.site.write_config()
    done = newer.site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    for jobs in ("4", "1") if kind == "custom" else ("1",):
        beside = newer.site.run(
            "restore", "latest", "--beside", newer.copy, "--jobs", jobs, "--json"
        )
        assert beside.exit_code == 0, beside.stdout + beside.stderr
        assert beside.document["entries"]["lost"] == 0
        assert ONCE_MORE not in beside.stdout
        rows = query(newer.server.url(newer.copy), "SELECT count(*) FROM t6")
        assert rows == [(60,)]
        newer.drop()


def test_what_is_lost_beside_it_is_still_found(newer: Newer) -> None:
    execute(
        newer.url,
        *_TABLES,
        "INSERT INTO t1 VALUES (1)",
        "CREATE INDEX t1_id ON t1 (id)",
        "UPDATE pg_index SET indisunique = true WHERE indexrelid = 't1_id'::regclass",
    )
    done = newer.site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    beside = newer.site.run("restore", "latest", "--beside", newer.copy, "--jobs", "4", "--json")
    assert beside.exit_code == 1
    assert beside.error["what"].startswith("RESTORE INCOMPLETE: 1 of the archive's entries")
    assert beside.error["why"].startswith("INDEX public.t1_id: it is not in the copy")
    assert "transaction_timeout" not in beside.stdout
