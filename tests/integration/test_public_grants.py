"""Restoring grants on ``public`` as a plain owner, whose it is not on PostgreSQL 14."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, binaries, execute, query
from tests.support.sites import CommandResult, Site, make_site

OWNER, READER = f"public_owner_{os.getpid()}", f"public_reader_{os.getpid()}"


@dataclass
class Owned:
    """A database whose owner, who is no superuser, backs it up and restores it beside."""

    server: ScratchServer
    site: Site
    name: str

    @property
    def is_the_superusers(self) -> bool:
        return self.server.version_num < 150000

    def restore(self, *grants: str) -> CommandResult:
        execute(self.server.url(self.name), *grants)
        done = self.site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        return self.site.run("restore", "latest", "--beside", f"{self.name}_copy", "--json")

    def may(self, role: str, privilege: str, database: str) -> object:
        return query(
            self.server.url(database),
            f"SELECT has_schema_privilege('{role}', 'public', '{privilege}')",
        )[0][0]


@pytest.fixture
def owned(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Owned]:
    server = matrix_server
    name = make_database(server).partition("?")[0].rpartition("/")[2]
    execute(
        server.url(),
        f"CREATE ROLE {OWNER} LOGIN CREATEDB",
        f"CREATE ROLE {READER} LOGIN",
        f'ALTER DATABASE "{name}" OWNER TO {OWNER}',
    )
    execute(server.url(name, user=OWNER), "CREATE TABLE t (n int)")
    settings = {"clients": [str(binaries(server.version_num // 10000))]}
    site = make_site(tmp_path / "site", server.url(name, user=OWNER), settings=settings)
    yield Owned(server, site, name)
    for database in (f"{name}_copy", f"{name}_copy__unfinished", name):
        execute(server.url(), f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    execute(server.url(), f"DROP ROLE {OWNER}, {READER}")


def test_a_grant_that_all_have_anyway_is_not_lost(owned: Owned) -> None:
    done = owned.restore(f"GRANT USAGE ON SCHEMA public TO {READER}")
    assert done.exit_code == 0, done.stdout
    entries = done.document["entries"]
    assert entries["lost"] == 0
    assert entries["benign"] == (1 if owned.is_the_superusers else 0)
    assert owned.may(READER, "USAGE", f"{owned.name}_copy") is True


def test_a_right_that_was_taken_from_all_is_lost_where_nobody_may_take_it(owned: Owned) -> None:
    done = owned.restore("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if not owned.is_the_superusers:
        assert done.exit_code == 0, done.stdout
        assert owned.may("public", "CREATE", f"{owned.name}_copy") is False
        return
    assert done.exit_code == 1
    why = done.error["why"]
    assert why.startswith("ACL SCHEMA public: it is not in the copy: there public is postgres's")
    # Its administrator may, and nothing is lost.
    owned.site.source = {"admin": {"url": owned.server.url()}}
    owned.site.write_config()
    again = owned.site.run("restore", "latest", "--beside", f"{owned.name}_copy", "--json")
    assert again.exit_code == 0, again.stdout
    assert owned.may("public", "CREATE", f"{owned.name}_copy") is False
