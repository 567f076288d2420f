"""Freezing and thawing as jobs of an incident: journaled first, undone in the right database."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import (
    PostgresError,
    RightsMissing,
    SafetyRefusal,
    StaleLeader,
    UsageError,
)
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.engines.postgres.kept import kept_name
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.supervisor import start_job
from fsbackup_tui.operations import end_sessions, freeze, live_server, swap, thaw
from fsbackup_tui.operations.recovery_requests import (
    EndSessionsRequest,
    FreezeRequest,
    Grade,
    SwapRequest,
    ThawRequest,
)
from fsbackup_tui.repository.incidents import IncidentJournal
from tests.support.incidents import as_it_stands, author, declare, incident_context
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of
from tests.support.waiting import wait_until

APP, OTHER = "frozen_app", "frozen_other"
USERS = "public.users"


@dataclass
class Scene:
    """A site in an incident, whose application connects as a role of its own."""

    server: ScratchServer
    site: Site
    live: str
    journal: IncidentJournal

    @property
    def incident(self) -> Incident:
        return as_it_stands(self.journal)

    @property
    def as_app(self) -> str:
        return self.server.url(self.live, user=APP)

    async def freeze(
        self, grade: Grade, *names: str, end: bool = False, database: str = ""
    ) -> dict[str, Any]:
        request = FreezeRequest("db", grade=grade, names=names, end_sessions=end, database=database)
        return await freeze.run(request, incident_context(self.site, self.journal))

    async def thaw(self, *what: str) -> dict[str, Any]:
        return await thaw.run(
            ThawRequest("db", what=what), incident_context(self.site, self.journal)
        )

    async def end(self, *pids: int) -> dict[str, Any]:
        request = EndSessionsRequest("db", pids=pids)
        return await end_sessions.run(request, incident_context(self.site, self.journal))

    def write(self) -> None:
        execute(self.as_app, "INSERT INTO users DEFAULT VALUES")

    def refused(self, match: str) -> None:
        with pytest.raises(psycopg.Error, match=match):
            self.write()

    def restore_beside(self) -> str:
        copy = kept_name(self.live, "restore", "k3f9")
        assert self.site.run("restore", "latest", "--beside", copy, "--json").exit_code == 0
        return copy

    async def swap_in(self, copy: str, kept_as: str, *, back: bool = False) -> None:
        request = SwapRequest(
            "db",
            oid_of(self.server, self.live),
            copy,
            oid_of(self.server, copy),
            kept_as,
            back=back,
        )
        assert (await swap.run(request, incident_context(self.site, self.journal)))["ok"] is True


@pytest.fixture
def scene(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Iterator[Scene]:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(
        url,
        f"DROP ROLE IF EXISTS {APP}, {OTHER}",
        f"CREATE ROLE {APP} LOGIN",
        f"CREATE ROLE {OTHER} LOGIN",
        "CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        "CREATE TABLE likes (id int)",
        "INSERT INTO users SELECT FROM generate_series(1, 100)",
        f"GRANT ALL ON users, likes TO {APP}",
        f"GRANT SELECT ON users TO {OTHER}",
    )
    site = make_site(
        tmp_path / "site", url, settings={"recovery": {"app_role": APP}, "plans": PLANS}
    )
    yield Scene(server, site, live, declare(site))
    for kind in ("restore", "before", "after"):
        name = kept_name(live, kind, "k3f9")
        execute(server.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    execute(url, f"DROP OWNED BY {APP}, {OTHER}", f"DROP ROLE {APP}, {OTHER}")


def as_list(document: Mapping[str, object], name: str) -> list[Any]:
    value = document[name]
    assert isinstance(value, list)
    return value


PLANS = {"daily": {"sources": ["db"]}}


async def test_a_table_is_frozen_as_the_incident_says_and_let_go_of_again(scene: Scene) -> None:
    done = await scene.freeze("table", USERS)
    assert [measure["what"] for measure in done["measures"]] == [f"writing to {USERS}"]
    assert done["still_writing"] == []
    scene.refused("permission denied for table users")
    (found,) = scene.incident.freezes
    assert (found.grade, found.place, found.database) == ("table", "live", scene.live)
    assert found.oid == oid_of(scene.server, scene.live)
    assert f'GRANT INSERT ON "public"."users" TO "{APP}";' in found.undo
    assert list(found.undo) == done["measures"][0]["undo"]
    again = await scene.freeze("table", USERS)  # the undo it has is the one that is right
    assert again["measures"][0]["undo"] == list(found.undo)
    assert (await scene.thaw())["thawed"] == [f"writing to {USERS}"]
    scene.write()
    assert scene.incident.freezes == ()
    assert await scene.thaw() == {
        "ok": True,
        "thawed": [],
        "left": [],
        "notes": [],
        "problems": [],
    }
    assert (await scene.thaw(f"writing to {USERS}"))["thawed"] == [f"writing to {USERS}"]
    with pytest.raises(UsageError, match="NOT FROZEN: the moon"):
        await scene.thaw("the moon")


async def test_autovacuum_is_no_freeze_of_writes_and_a_table_that_is_gone_no_obstacle(
    scene: Scene,
) -> None:
    execute(scene.server.url(scene.live), "DELETE FROM users", "SELECT pg_stat_force_next_flush()")
    with pytest.raises(UsageError, match="NO TABLE NAMED") as raised:
        await scene.freeze("vacuum")
    assert "public.users (100 deleted, 0 changed)" in raised.value.why
    done = await scene.freeze("vacuum", "public.gone", USERS)
    assert [measure["what"] for measure in done["measures"]] == [f"autovacuum of {USERS}"]
    assert [missed["name"] for missed in done["missed"]] == ["public.gone"]
    scene.write()
    incident = scene.incident
    assert len(incident.freezes) == 1
    assert incident.frozen_for(incident.opened) is None
    with pytest.raises(PostgresError, match="TABLE MISSING"):
        await scene.freeze("vacuum", "public.gone")
    options = "SELECT reloptions::text FROM pg_class WHERE relname = 'users'"
    url = scene.server.url(scene.live)
    assert query(url, options) == [("{autovacuum_enabled=off}",)]
    await scene.freeze("vacuum", USERS)
    await scene.thaw()
    assert query(url, options) == [(None,)]


async def test_the_application_s_role_is_out_and_who_was_in_is_told_and_ended(
    scene: Scene,
) -> None:
    with (
        psycopg.connect(scene.as_app) as inside,
        psycopg.connect(scene.server.url(scene.live, user=OTHER)) as other,
    ):
        inside.execute("INSERT INTO users DEFAULT VALUES")
        done = await scene.freeze("role")
        (session,) = done["still_writing"]
        assert (session["pid"], session["role"], session["writes"]) == (
            inside.info.backend_pid,
            APP,
            True,
        )
        scene.refused("permission denied for database")
        done = await scene.freeze("role", end=True)
        assert [one["pid"] for one in done["ended"]] == [inside.info.backend_pid]
        assert done["still_writing"] == []
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
        other.execute("SELECT 1")
    assert scene.incident.frozen_for(scene.incident.opened) is not None
    await scene.thaw()
    scene.write()


async def test_everybody_is_out_and_our_own_jobs_get_in(scene: Scene) -> None:
    with psycopg.connect(scene.as_app) as inside:
        done = await scene.freeze("everyone", end=True)
        assert [one["pid"] for one in done["ended"]] == [inside.info.backend_pid]
    scene.refused("too many connections")
    context = incident_context(scene.site, scene.journal)
    found = await live_server.find_live_server(ThawRequest("db"), context)
    async with found.in_live() as live:
        await live.execute("UPDATE public.users SET id = DEFAULT WHERE id < 3")
    assert (await scene.freeze("table", USERS))["ok"] is True  # the one on top of the other
    assert len(scene.incident.freezes) == 2
    assert (await scene.thaw())["thawed"] == [f"writing to {USERS}", f"everybody in {scene.live}"]
    scene.write()


async def test_a_source_of_the_application_s_own_role_is_no_way_in_and_needs_none(
    scene: Scene,
) -> None:
    """The source's address is the application's; recovery goes in as the administrator."""
    admin = {"admin": {"url": scene.server.url()}}
    site = make_site(
        scene.site.directory.parent / "second", scene.as_app, source=admin, settings={}
    )
    journal = declare(site)
    context = incident_context(site, journal)
    done = await freeze.run(FreezeRequest("db", grade="role"), context)
    assert [one["what"] for one in as_list(done, "measures")] == [f"{APP} in {scene.live}"]
    scene.refused("permission denied for database")
    context = incident_context(site, journal)
    assert (await freeze.run(FreezeRequest("db", grade="table", names=(USERS,)), context))["ok"]
    found = await live_server.find_live_server(ThawRequest("db"), context)
    async with found.in_live() as live:
        await live.execute("DELETE FROM public.users WHERE id = 1")
    context = incident_context(site, journal)
    done = await thaw.run(ThawRequest("db"), context)
    assert done["thawed"] == [f"writing to {USERS}", f"{APP} in {scene.live}"]
    scene.write()


async def test_nothing_is_frozen_that_would_be_forgotten_or_shut_us_out(scene: Scene) -> None:
    request = FreezeRequest("db", grade="everyone")
    with pytest.raises(SafetyRefusal, match="belongs to no incident"):
        await freeze.run(request, incident_context(scene.site, None))
    with pytest.raises(SafetyRefusal, match="NOT KEPT OUT: postgres is whom fsbackup"):
        await scene.freeze("role", "postgres")
    with pytest.raises(PostgresError, match="ROLE MISSING: nobody"):
        await scene.freeze("role", "nobody")
    with pytest.raises(StaleLeader):
        await freeze.run(request, incident_context(scene.site, scene.journal, epoch=7))
    site = make_site(scene.site.directory.parent / "second", scene.server.url(scene.live))
    with pytest.raises(SafetyRefusal, match="NOT KEPT OUT: the application's role postgres"):
        await freeze.run(request, incident_context(site, declare(site)))
    assert scene.incident.freezes == ()
    scene.write()


async def test_what_the_server_refuses_is_not_frozen_and_not_said_to_be(scene: Scene) -> None:
    site = make_site(
        scene.site.directory.parent / "second", scene.server.url(scene.live, user=OTHER)
    )
    journal = declare(site)
    for grade, names in (("vacuum", (USERS,)), ("table", (USERS,)), ("role", (APP,))):
        request = FreezeRequest("db", grade=grade, names=names)  # type: ignore[arg-type]
        with pytest.raises(RightsMissing):
            await freeze.run(request, incident_context(site, journal))
        kinds = [entry.kind for entry in journal.entries()][-2:]
        assert kinds == ["frozen", "thawed"]
    assert as_it_stands(journal).freezes == ()
    scene.write()


async def test_undo_that_fails_is_left_with_the_reason_and_the_way_by_hand(scene: Scene) -> None:
    await scene.freeze("table", USERS)
    site = make_site(
        scene.site.directory.parent / "second", scene.server.url(scene.live, user=OTHER)
    )
    context = incident_context(site, scene.journal)
    done = await thaw.run(ThawRequest("db"), context)
    assert done["ok"] is False
    (left,) = as_list(done, "left")
    assert "no privileges were granted" in left["why"] or "permission denied" in left["why"]
    assert f'GRANT INSERT ON "public"."users" TO "{APP}";' in left["fix"]
    assert len(scene.incident.freezes) == 1
    assert (await scene.thaw())["ok"] is True
    scene.write()


async def test_killed_between_journal_and_measure_it_is_thawed_or_frozen_all_the_same(
    scene: Scene, tmp_path: Path
) -> None:
    """A worker waits for a lock when it is killed: the incident knows of what was never done."""
    state = tmp_path / "state"
    journal = declare(scene.site, state)
    loaded = load_config(scene.site.config, scene.site.environ())
    with psycopg.connect(scene.server.url(scene.live)) as holder:
        holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        job = await asyncio.to_thread(
            start_job,
            FreezeRequest("db", grade="vacuum", names=(USERS,)),
            loaded,
            environ=scene.site.environ(),
            state=state,
            operator="somebody",
            incident=journal.id,
            epoch=1,
        )
        await asyncio.to_thread(wait_until, lambda: as_it_stands(journal).freezes != ())
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
    options = "SELECT reloptions::text FROM pg_class WHERE relname = 'users'"
    url = scene.server.url(scene.live)
    context = incident_context(scene.site, journal)
    assert (await freeze.run(FreezeRequest("db", grade="vacuum", names=(USERS,)), context))["ok"]
    assert query(url, options) == [("{autovacuum_enabled=off}",)]
    context = incident_context(scene.site, journal)
    assert (await thaw.run(ThawRequest("db"), context))["ok"]
    assert query(url, options) == [(None,)]
    assert as_it_stands(journal).freezes == ()


@pytest.mark.parametrize("grade", ["role", "everyone"])
async def test_after_a_swap_the_new_live_is_opened_and_the_kept_one_stays_closed(
    scene: Scene, grade: Grade
) -> None:
    assert scene.site.run("backup", "daily", "--json").exit_code == 0
    execute(scene.server.url(scene.live), "DELETE FROM users")
    copy, kept = scene.restore_beside(), kept_name(scene.live, "before", "k3f9")
    await scene.freeze(grade)
    await scene.swap_in(copy, kept)
    scene.refused("permission denied|too many connections")
    done = await scene.thaw()
    assert (done["ok"], len(done["thawed"])) == (True, 1)
    assert done["notes"] == [f"{kept}, which was live when it was frozen, stays closed as it was."]
    scene.write()
    assert query(scene.as_app, "SELECT count(*) FROM users") == [(101,)]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(scene.server.url(kept, user=APP))
    # Swapped back it is as open as what it takes the place of.
    await scene.swap_in(kept, kept_name(scene.live, "after", "k3f9"), back=True)
    scene.write()


async def test_a_table_stays_frozen_in_the_kept_database_until_that_is_live_again(
    scene: Scene,
) -> None:
    assert scene.site.run("backup", "daily", "--json").exit_code == 0
    copy, kept = scene.restore_beside(), kept_name(scene.live, "before", "k3f9")
    await scene.freeze("table", USERS)
    await scene.freeze("vacuum", USERS)
    await scene.swap_in(copy, kept)
    # It is another table now, which nobody froze: from here on nobody is told that it is.
    scene.write()
    incident = scene.incident
    assert incident.freezes == ()
    assert {freeze.kept_in for freeze in incident.kept_freezes} == {kept}
    assert (await scene.thaw())["thawed"] == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(scene.server.url(kept, user=APP), "DELETE FROM users")
    # A way back that is refused changes nothing of that.
    execute(scene.server.url(kept), "BEGIN", "DELETE FROM users", "PREPARE TRANSACTION 'p-9'")
    with pytest.raises(SafetyRefusal):
        await scene.swap_in(kept, kept_name(scene.live, "after", "k3f9"), back=True)
    execute(scene.server.url(kept), "ROLLBACK PREPARED 'p-9'")
    assert list(scene.incident.freezes) == []
    await scene.swap_in(kept, kept_name(scene.live, "after", "k3f9"), back=True)
    assert len(scene.incident.freezes) == 2  # nobody has to remember it
    scene.refused("permission denied for table users")
    assert len((await scene.thaw())["thawed"]) == 2
    scene.write()
    assert scene.incident.kept_freezes == ()


async def test_in_the_kept_database_it_is_undone_when_it_is_named(scene: Scene) -> None:
    assert scene.site.run("backup", "daily", "--json").exit_code == 0
    copy, kept = scene.restore_beside(), kept_name(scene.live, "before", "k3f9")
    await scene.freeze("table", USERS)
    await scene.swap_in(copy, kept)
    await scene.thaw()
    await scene.thaw(f"writing to {USERS}")
    execute(scene.server.url(kept, user=APP), "INSERT INTO users DEFAULT VALUES")
    assert scene.incident.kept_freezes == ()


async def test_a_drill_s_copy_is_frozen_in_place_of_live(
    scene: Scene, make_database: MakeDatabase
) -> None:
    copy = make_database(scene.server).partition("?")[0].rpartition("/")[2]
    done = await scene.freeze("everyone", database=copy)
    assert [measure["what"] for measure in done["measures"]] == [f"everybody in {copy}"]
    scene.write()
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        psycopg.connect(scene.server.url(copy, user=APP))
    context = incident_context(scene.site, scene.journal)
    assert (await thaw.run(ThawRequest("db", database=copy), context))["ok"] is True
    psycopg.connect(scene.server.url(copy, user=APP)).close()


async def test_sessions_of_this_database_alone_are_ended_and_never_our_own(scene: Scene) -> None:
    ours = f"{scene.as_app}&application_name=fsbackup/another"
    with (
        psycopg.connect(scene.as_app) as app,
        psycopg.connect(scene.server.url(user=APP)) as elsewhere,
        psycopg.connect(ours) as own,
    ):
        pids = [one.info.backend_pid for one in (app, elsewhere, own)]
        done = await scene.end(*pids)
        assert [one["pid"] for one in done["ended"]] == pids[:1]
        assert {left["pid"]: left["why"] for left in done["left"]} == {
            pids[1]: "no session of this database has that pid now",
            pids[2]: "it is fsbackup's own (fsbackup/another)",
        }
        elsewhere.execute("SELECT 1")
        own.execute("SELECT 1")
        with psycopg.connect(scene.as_app) as second:
            done = await scene.end()
            assert [one["pid"] for one in done["ended"]] == [second.info.backend_pid]
            assert done["left"] == []


async def test_another_leader_s_thaw_is_the_one_that_counts(scene: Scene) -> None:
    await scene.freeze("table", USERS)
    scene.journal.take_over(author("ben"), "gone to bed", expected=1)
    with pytest.raises(StaleLeader):
        await scene.thaw()
    events: list[Event] = []
    context = incident_context(scene.site, scene.journal, events, epoch=2)
    assert (await thaw.run(ThawRequest("db"), context))["ok"] is True
    scene.write()
    assert scene.incident.freezes == ()
