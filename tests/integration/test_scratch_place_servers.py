"""Trial restores on a configured server or beside live: nothing else is changed there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import LockHeld, ScratchUnavailable
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import connect
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import newborn_name, restore_lock
from fsbackup_tui.operations.scratch_place import ScratchPlace, prepare_roles, scratch_place
from fsbackup_tui.operations.trial_database import trial_database
from tests.support.servers import FreshServer, MakeDatabase, execute, query
from tests.support.sessions import address_of
from tests.support.transfers import client_of, dump
from tests.support.trials import JOB, make_context, part_of

GLOBALS = """
CREATE ROLE trial_owner;
ALTER ROLE trial_owner WITH NOSUPERUSER INHERIT CREATEROLE NOCREATEDB LOGIN PASSWORD 'md5secret';
CREATE ROLE trial_there;
ALTER ROLE trial_there WITH SUPERUSER LOGIN;
CREATE ROLE trial_admin;
ALTER ROLE trial_admin WITH SUPERUSER LOGIN;
ALTER ROLE postgres WITH NOSUPERUSER;
GRANT trial_owner TO trial_there WITH ADMIN OPTION;
GRANT trial_owner TO trial_reader WITH ADMIN OPTION GRANTED BY trial_admin;
CREATE TABLESPACE fast OWNER postgres LOCATION '/nonexistent/fast';
DROP TABLE everything;
"""
ATTRIBUTES = (
    "SELECT rolname::text, rolsuper, rolcanlogin, rolcreaterole FROM pg_roles"
    " WHERE rolname LIKE 'trial\\_%' ORDER BY 1"
)
MEMBERS = (
    "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members"
    " WHERE roleid::regrole::text LIKE 'trial\\_%' AND member::regrole::text LIKE 'trial\\_%'"
)


def nobody_alive(_job: str) -> bool:
    return False


def databases(url: str) -> list[str]:
    rows = query(url, "SELECT datname::text FROM pg_database WHERE datname LIKE 'fsbackup-%'")
    return [str(name) for (name,) in rows]


@pytest.fixture
def other(fresh_server: FreshServer) -> ScratchServer:
    """A scratch server of 18 with a role of its own that the dump names too."""
    server = fresh_server(18)
    execute(server.url(), "CREATE ROLE trial_there")
    return server


async def facts_of(url: str, server: ScratchServer, directory: Path) -> PostgresFacts:
    return (await dump(url, await client_of(server), directory / "part")).facts


async def test_missing_roles_are_made_and_no_other_is_changed(
    server: ScratchServer, other: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await facts_of(url, server, tmp_path)
    facts = replace(facts, roles=("trial_owner", "trial_there"), owner="trial_owner")
    told = tmp_path / "globals.sql"
    told.write_text(GLOBALS)
    context, _told = make_context(tmp_path, url, settings={"scratch": {"url": other.url()}})
    before = query(other.url(), "SELECT * FROM pg_authid ORDER BY oid")
    async with scratch_place(context, part_of(facts)) as place:
        assert place.kind == "server"
        notes = await prepare_roles(place, context, facts, told, owners=["trial_reader"])
    assert notes == [f"roles made on {place.text}, where they stay: trial_owner, trial_reader"]
    assert query(other.url(), ATTRIBUTES) == [
        ("trial_owner", False, False, True),
        ("trial_reader", False, False, False),
        ("trial_there", False, False, False),
    ]
    assert query(other.url(), MEMBERS) == [("trial_owner", "trial_reader", True)]
    made = "rolname IN ('trial_owner', 'trial_reader')"
    assert query(other.url(), f"SELECT * FROM pg_authid WHERE NOT {made} ORDER BY oid") == before
    passwords = f"SELECT 1 FROM pg_authid WHERE {made} AND rolpassword IS NOT NULL"
    assert query(other.url(), passwords) == []
    assert query(other.url(), "SELECT 1 FROM pg_tablespace WHERE spcname = 'fast'") == []


async def test_an_own_server_gets_all_roles_as_they_are(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await facts_of(url, server, tmp_path)
    facts = replace(facts, roles=("trial_reader", "pg_not_yet_known"))
    told = tmp_path / "globals.sql"
    told.write_text(GLOBALS)
    context, _told = make_context(tmp_path, url)
    async with scratch_place(context, part_of(facts), where="own") as place:
        at = place.address.url().reveal()
        notes = await prepare_roles(place, context, facts, told)
        assert len(notes) == 1
        assert notes[0].startswith("role pg_not_yet_known could not be made")
        assert query(at, ATTRIBUTES) == [
            ("trial_admin", True, True, False),
            ("trial_owner", False, True, True),
            ("trial_reader", False, False, False),
            ("trial_there", True, True, False),
        ]
        assert sorted(map(str, query(at, MEMBERS))) == [
            "('trial_owner', 'trial_reader', True)",
            "('trial_owner', 'trial_there', True)",
        ]
        assert query(at, "SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'") == [(True,)]
        assert query(at, "SELECT 1 FROM pg_tablespace WHERE spcname = 'fast'") == [(1,)]
        assert await prepare_roles(place, context, facts, tmp_path / "none.sql") == [
            "none.sql could not be read: No such file or directory",
            notes[0],
        ]


async def test_a_role_without_superuser_rights_may_own_for_those_it_made(
    server: ScratchServer, other: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    execute(other.url(), "CREATE ROLE helper LOGIN CREATEDB CREATEROLE")
    url = make_database(server)
    facts = replace(await facts_of(url, server, tmp_path), roles=("trial_owner",))
    address = other.url(user="helper")
    context, _told = make_context(tmp_path, url, settings={"scratch": {"url": address}})
    async with scratch_place(context, part_of(facts)) as place:
        await prepare_roles(place, context, replace(facts, owner="trial_owner"), None)
        async with trial_database(
            context, place, replace(facts, owner="trial_owner"), is_alive=nobody_alive
        ) as database:
            assert database.created.notes == ()
            owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = '{}'"
            assert query(address, owner.format(database.name)) == [("trial_owner",)]
    assert databases(other.url()) == []


async def refusal(
    tmp_path: Path, url: str, facts: PostgresFacts, scratch: Mapping[str, object]
) -> ScratchUnavailable:
    context, _told = make_context(tmp_path, url, settings={"scratch": scratch})
    with pytest.raises(ScratchUnavailable) as caught:
        async with scratch_place(context, part_of(facts)):
            raise AssertionError("it is no place for a trial")
    assert caught.value.lacks
    assert caught.value.fix
    return caught.value


async def test_servers_that_are_no_place_for_a_trial(
    server: ScratchServer,
    server17: ScratchServer,
    other: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
) -> None:
    url = make_database(server)
    facts = await facts_of(url, server, tmp_path)
    execute(other.url(), "CREATE ROLE nobody_much LOGIN")
    refused = [
        await refusal(tmp_path / str(number), url, facts, scratch)
        for number, scratch in enumerate(
            (
                {"url": server.url()},
                {"url": server17.url()},
                {"url": other.url(user="nobody_much")},
                {"url": other.url(user="not_there")},
                {"url": f"postgresql://x@/y?host={tmp_path}"},
                {"on": "server"},
                {"on": "server", "url": "${SCRATCH_URL:-}"},
                {"on": "server", "url": "${SCRATCH_URL}"},
            )
        )
    ]
    beginnings = [error.what.split(":")[0] for error in refused]
    assert beginnings == [
        "NOT A SCRATCH SERVER",
        "SCRATCH SERVER TOO OLD",
        "RIGHTS MISSING",
        refused[3].what.split(":")[0],
        refused[4].what.split(":")[0],
        "NO SCRATCH SERVER",
        "NO SCRATCH SERVER",
        refused[7].what.split(":")[0],
    ]
    assert "not_there" in str(refused[3])
    assert "SCRATCH_URL" in str(refused[7])


async def test_auto_takes_the_configured_server_where_there_is_one(
    server: ScratchServer, other: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await facts_of(url, server, tmp_path)
    named, _told = make_context(tmp_path / "a", url, settings={"scratch": {"url": other.url()}})
    unset, _told = make_context(
        tmp_path / "b", url, settings={"scratch": {"url": "${SCRATCH_URL:-}"}}
    )
    async with scratch_place(named, part_of(facts)) as place:
        assert place.kind == "server"
        assert place.data_directory == other.data_directory
    async with scratch_place(unset, part_of(facts)) as place:
        assert place.kind == "own"
    async with scratch_place(named, part_of(facts), where="live") as place:
        assert place.kind == "live"
        assert place.identity.system_identifier == facts.identity.system_identifier
        assert place.data_directory == server.data_directory
        told = tmp_path / "globals.sql"
        told.write_text(GLOBALS)
        roles = query(server.url(), "SELECT * FROM pg_roles ORDER BY oid")
        assert await prepare_roles(place, named, facts, told) == []
        assert query(server.url(), "SELECT * FROM pg_roles ORDER BY oid") == roles


async def live_place(
    server: ScratchServer, url: str, tmp_path: Path
) -> tuple[ScratchPlace, PostgresFacts]:
    facts = await facts_of(url, server, tmp_path)
    context, _told = make_context(tmp_path, url)
    async with scratch_place(context, part_of(facts), where="live") as place:
        return place, facts


async def test_beside_live_a_restore_comes_first(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    place, facts = await live_place(server, url, tmp_path)
    context, _told = make_context(tmp_path / "again", url)
    admin = await connect(address_of(server.url()), application_name="fsbackup/a-restore")
    async with admin:
        async with restore_lock(admin, place.identity, "fsbackup/a-restore"):
            with pytest.raises(LockHeld, match="RESTORE RUNNING"):
                async with trial_database(context, place, facts, is_alive=nobody_alive):
                    raise AssertionError("a restore is running")
        async with trial_database(context, place, facts, is_alive=nobody_alive) as database:
            assert databases(server.url()) == [database.name] == [newborn_name(JOB)]
            # A trial of hours keeps nobody from restoring.
            async with restore_lock(admin, place.identity, "fsbackup/a-restore"):
                assert databases(server.url()) == [database.name]
    assert databases(server.url()) == []


async def test_what_dead_jobs_left_goes_and_what_lives_stays(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    place, facts = await live_place(server, url, tmp_path)
    context, told = make_context(tmp_path / "again", url)
    dead = f"20260101T000000Z-backup-{os.urandom(2).hex()}"
    ours = f"20260101T000001Z-run-plan-{os.urandom(2).hex()}"
    elsewhere = f"20260101T000002Z-drill-{os.urandom(2).hex()}"
    for job in (dead, ours, elsewhere):
        make_database(server, newborn_name(job))
    make_database(server, "fsbackup-mine")
    living = await connect(address_of(server.url()), application_name=f"fsbackup/{elsewhere}")
    async with living:
        async with trial_database(context, place, facts, is_alive=lambda job: job == ours):
            left = databases(server.url())
        assert set(left) == {
            newborn_name(JOB), newborn_name(ours), newborn_name(elsewhere), "fsbackup-mine"
        }  # fmt: skip
    assert [text for text in told.texts() if dead in text]
    async with trial_database(context, place, facts, is_alive=lambda job: job == ours):
        assert newborn_name(elsewhere) not in databases(server.url())


async def test_a_lost_session_leaves_no_database(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    place, facts = await live_place(server, url, tmp_path)
    context, told = make_context(tmp_path / "again", url)
    async with trial_database(context, place, facts, is_alive=nobody_alive) as database:
        pid = database.admin.info.backend_pid
        execute(server.url(), f"SELECT pg_terminate_backend({pid}, 5000)")
    assert databases(server.url()) == []
    assert not [text for text in told.texts() if "LEFT OVER" in text]


async def test_what_is_to_be_kept_is_kept(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    place, facts = await live_place(server, url, tmp_path)
    context, _told = make_context(tmp_path / "again", url)
    async with trial_database(context, place, facts, is_alive=nobody_alive) as database:
        database.kept = True
    assert databases(server.url()) == [database.name]
    execute(server.url(), f'DROP DATABASE "{database.name}"')


async def test_too_little_space_beside_live_is_said(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await facts_of(url, server, tmp_path)
    huge = replace(facts, identity=replace(facts.identity, size_bytes=10**15))
    error = await refusal(tmp_path, url, huge, {"on": "live"})
    assert error.what.startswith("NOT ENOUGH SPACE")
    assert str(server.data_directory) in error.why
