"""What an incident asks of live goes on while the application's role, or everybody, is kept out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.damage import DamageReport
from fsbackup_tui.domain.leftovers import Leftovers
from fsbackup_tui.domain.preserve import Preserved, Salvaged
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import (
    affected,
    damage,
    export,
    freeze,
    leftovers,
    live_health,
    merge,
    migration,
    preserve,
    salvage,
    thaw,
)
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.merge_documents import choices_text, read_merged, read_proposed
from fsbackup_tui.operations.merge_requests import ExportRequest, MergePlanRequest, MergeRequest
from fsbackup_tui.operations.recovery_requests import (
    AffectedRequest,
    DamageRequest,
    FreezeRequest,
    Grade,
    LeftoversRequest,
    MigrationRequest,
    PreserveRequest,
    SalvageRequest,
    ThawRequest,
)
from fsbackup_tui.operations.requests import LiveHealthRequest
from fsbackup_tui.repository.incidents import IncidentJournal
from fsbackup_tui.repository.layout import open_repository
from tests.support.incidents import declare, incident_context
from tests.support.merge_jobs import make_copy
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of

APP, DBA = "shut_out_app", "shut_out_dba"
SHOP = (
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.users (id int PRIMARY KEY, name text)",
    "INSERT INTO shop.users SELECT n, 'u' || n FROM generate_series(1, 100) AS n",
    "CREATE TABLE shop._prisma_migrations (id varchar(36) PRIMARY KEY, migration_name"
    " varchar(255), finished_at timestamptz, rolled_back_at timestamptz, started_at timestamptz)",
    "INSERT INTO shop._prisma_migrations VALUES ('1', '20260101_init', now(), NULL, now())",
)


@dataclass
class Shut:
    """A site whose own URL is the application's, in an incident, frozen for it or for all."""

    server: ScratchServer
    site: Site
    live: str
    copy: str
    journal: IncidentJournal

    @property
    def context(self) -> JobContext:
        return incident_context(self.site, self.journal)

    def as_app(self) -> str:
        return self.server.url(self.live, user=APP)

    async def freeze(self, grade: Grade) -> None:
        done = await freeze.run(FreezeRequest("db", grade=grade, end_sessions=True), self.context)
        assert done["ok"] is True
        with pytest.raises(psycopg.OperationalError, match=r"permission denied|too many conn"):
            query(self.as_app(), "SELECT 1")


def _shut(
    server: ScratchServer, make_database: MakeDatabase, directory: Path, admin: str
) -> Iterator[Shut]:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(
        url,
        f"DROP ROLE IF EXISTS {APP}, {DBA}",
        f"CREATE ROLE {APP} LOGIN",
        f"CREATE ROLE {DBA} LOGIN CREATEDB IN ROLE {APP}",
        f'ALTER DATABASE "{live}" OWNER TO {DBA}',
        f'GRANT CREATE ON DATABASE "{live}" TO {APP}',
        f"SET ROLE {APP}",
        *SHOP,
    )
    copy = f"{live}__restore_k3f9"
    make_copy(server, make_database, live, copy)
    execute(server.url(), f'ALTER DATABASE "{copy}" OWNER TO {DBA}')
    site = make_site(
        directory / "site",
        # Where Prisma's migrations are, the site's own URL tells alone.
        f"{server.url(live, user=APP)}&schema=shop",
        source={"admin": {"url": server.url("postgres", user=admin)}},
        settings={"recovery": {"affected_users": "SELECT name FROM shop.users WHERE id > 98"}},
    )
    assert site.run("backup", "daily", "--json").exit_code == 0
    execute(
        url, "DELETE FROM shop.users WHERE id <= 10", "INSERT INTO shop.users VALUES (101, 'n')"
    )
    state = site.state / open_repository(site.repository).id
    yield Shut(server, site, live, copy, declare(site, state))
    salvaged = query(server.url(), f"SELECT datname FROM pg_database WHERE datname ~ '^{live}__'")
    execute(server.url(), *(f'DROP DATABASE "{name}" WITH (FORCE)' for (name,) in salvaged))
    execute(server.url(), f'ALTER DATABASE "{live}" OWNER TO postgres')
    execute(url, f"DROP OWNED BY {APP}, {DBA}", f"DROP ROLE {APP}, {DBA}")


@pytest.fixture
def shut(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Shut]:
    yield from _shut(matrix_server, make_database, tmp_path, request.param)


def frozen(*admins: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shut", admins, indirect=True)


@frozen("postgres", DBA)
@pytest.mark.parametrize("grade", ["role", "everyone"])
async def test_live_is_looked_at_kept_and_merged_into(shut: Shut, grade: Grade) -> None:
    await shut.freeze(grade)

    looked = await damage.run(DamageRequest("db"), shut.context)
    looked.pop("ok")
    report = TypeAdapter(DamageReport).validate_python(looked)
    assert (report.live, report.migration_head_live) == ("there", "20260101_init")
    assert [(t.name, t.point_rows, t.live_rows) for t in report.worst] == [("users", 100, 91)]

    health = await live_health.run(LiveHealthRequest("db"), shut.context)
    assert health["findings"] == []
    assert health["unchecked"] == []

    kept = await preserve.run(PreserveRequest("db", rungs=("tables",)), shut.context)
    preserved = TypeAdapter(Preserved).validate_python(kept)
    assert {(t.table, t.verdict, t.rows) for t in preserved.tables} == {
        ("shop.users", "whole", 91),
        ("shop._prisma_migrations", "whole", 1),
    }

    plan = await merge.run_plan(
        MergePlanRequest("db", copy=shut.copy, copy_oid=oid_of(shut.server, shut.copy)),
        shut.context,
    )
    staging = str(plan["staging"])
    exported = await export.run(ExportRequest("db", staging=staging), shut.context)
    assert [(t["table"], t["rows"]) for t in as_list(exported["tables"])] == [("shop.users", 1)]
    proposed = read_proposed(json.loads(json.dumps(plan["proposed"])))
    done = await merge.run(
        MergeRequest(
            "db",
            staging=staging,
            choices=choices_text(tuple(each.choice for each in proposed)),
            expected=json.dumps(plan["preview"]),
        ),
        shut.context,
    )
    merged = read_merged(json.loads(json.dumps(done["merged"])))
    assert merged is not None
    assert [effect.inserted for effect in merged.effects] == [10]
    head = await migration.run(MigrationRequest("db"), shut.context)
    assert head["head"] == "20260101_init"
    whom = await affected.run(AffectedRequest("db", copy=shut.copy), shut.context)
    assert whom["rows"] == [["u99"], ["u100"]]
    left = await leftovers.run(LeftoversRequest("db"), shut.context)
    left.pop("ok")
    found = TypeAdapter(Leftovers).validate_python(left)
    assert found.notes == ()
    assert {item.kind for item in found.items} == {"staging", "evidence", "fence"}

    assert (await thaw.run(ThawRequest("db"), shut.context))["ok"] is True
    assert query(shut.as_app(), "SELECT count(*) FROM shop.users") == [(101,)]


@frozen("postgres")
@pytest.mark.parametrize("grade", ["role", "everyone"])
async def test_what_can_be_read_is_salvaged(shut: Shut, grade: Grade) -> None:
    await shut.freeze(grade)
    beside = f"{shut.live}__restore_read"
    done = await salvage.run(SalvageRequest("db", beside=beside), shut.context)
    done.pop("ok")
    salvaged = TypeAdapter(Salvaged).validate_python(done)
    assert {(t.table, t.verdict, t.rows) for t in salvaged.tables} == {
        ("shop.users", "whole", 91),
        ("shop._prisma_migrations", "whole", 1),
    }
    assert query(shut.server.url(beside), "SELECT count(*) FROM shop.users") == [(91,)]


@frozen(DBA)
async def test_an_administrator_who_may_read_less_is_not_asked_while_the_source_gets_in(
    shut: Shut,
) -> None:
    execute(shut.server.url(), f"REVOKE {APP} FROM {DBA}")
    looked = await damage.run(DamageRequest("db"), shut.context)
    rows = {table["name"]: table["live_rows"] for table in as_list(looked["tables"])}
    assert rows == {"users": 91, "_prisma_migrations": 1}


def as_list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value
