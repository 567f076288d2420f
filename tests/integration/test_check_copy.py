"""A restored copy is proven before it may take live's place, and tried as the application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.copy_check import CopyCheck
from fsbackup_tui.domain.errors import IdentityMismatch, SafetyRefusal
from fsbackup_tui.engines.postgres.freeze import plan_everyone_out, plan_role_out, run_measure
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.restored_copies import Trouble, trouble_on
from tests.support.servers import MakeDatabase, execute
from tests.support.sessions import session

QUERY = {"name": "orders", "sql": "SELECT count(*) FROM orders", "expect": {"value": 300}}


@pytest.fixture
def trouble(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Trouble]:
    with trouble_on(
        matrix_server,
        make_database(matrix_server),
        tmp_path,
        settings={
            "integrity": [QUERY],
            "commands": {"verify_integrity": ["psql", "-XqAtc", "SELECT 1 / count(*) FROM users"]},
        },
    ) as trouble:
        yield trouble


def parsed(document: dict[str, Any]) -> CopyCheck:
    assert document.pop("ok") is True
    return TypeAdapter(CopyCheck).validate_python(document)


def found(check: CopyCheck) -> set[tuple[str, str, str]]:
    return {(finding.sort, finding.name, finding.state) for finding in check.differences}


async def test_a_copy_as_captured_is_proven_and_works_for_the_application(
    trouble: Trouble,
) -> None:
    check = parsed(await trouble.check())
    assert (check.verdict, check.differences) == ("proven", ())
    assert (check.copy, check.copy_oid) == (trouble.copy, trouble.oid(trouble.copy))
    assert (check.tables, check.rows, check.point) == (2, 400, trouble.point)
    assert check.role == trouble.role
    assert not any("impersonated" in note for note in check.notes)


async def test_each_thing_that_differs_is_told_by_its_name(trouble: Trouble) -> None:
    execute(
        trouble.url(trouble.copy),
        "UPDATE orders SET total = total + 1 WHERE id = 7",
        "DELETE FROM orders WHERE id = 300",
        "DROP VIEW busy",
        "ALTER SEQUENCE orders_id_seq RESTART WITH 5",
    )
    check = parsed(await trouble.check())
    assert check.verdict == "different"
    assert found(check) >= {
        ("table", "public.orders", "different"),
        ("schema", "definitions", "different"),
        ("sequence", "public.orders_id_seq", "different"),
        ("query", "orders", "different"),
    }
    assert any(sort == "entry" and "busy" in name for sort, name, _state in found(check))
    (rows,) = [f for f in check.differences if f.name == "public.orders"]
    assert rows.detail == "299 rows restored, 300 captured"


async def test_the_sites_own_check_runs_against_the_copy(trouble: Trouble) -> None:
    execute(trouble.url(), "TRUNCATE users CASCADE")  # it would fail in live
    assert parsed(await trouble.check()).verdict == "proven"
    execute(trouble.url(trouble.copy), "TRUNCATE users CASCADE")
    check = parsed(await trouble.check())
    assert ("command", "psql", "different") in found(check)


async def test_rights_that_the_application_has_in_live_alone_are_missing(
    trouble: Trouble,
) -> None:
    execute(
        trouble.url(),
        f"REVOKE pg_read_all_data FROM {trouble.role}",
        "CREATE TABLE later (id int)",
        f"GRANT ALL ON later TO {trouble.role}",  # not in the copy at all: no right is missing
    )
    assert parsed(await trouble.check()).verdict == "proven"
    execute(
        trouble.url(trouble.copy),
        f"REVOKE INSERT ON users FROM {trouble.role}",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )
    check = parsed(await trouble.check())
    assert check.verdict == "different"
    assert found(check) >= {
        ("role", "schema public", "different"),
        ("role", "table public.users", "different"),
    }
    execute(
        trouble.url(trouble.copy),
        f'REVOKE CONNECT ON DATABASE "{trouble.copy}" FROM {trouble.role}',
    )
    assert ("role", "CONNECT", "different") in found(parsed(await trouble.check()))


async def test_what_the_application_cannot_read_through_a_policy_or_view_is_told(
    trouble: Trouble,
) -> None:
    policy = (
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON users USING (id = mine())",
    )
    execute(trouble.url(trouble.copy), *policy, "REVOKE EXECUTE ON FUNCTION mine() FROM PUBLIC")
    execute(trouble.url(), *policy)
    check = parsed(await trouble.check())
    assert found(check) >= {
        ("role", "function public.mine()", "different"),
        ("role", "table public.users", "different"),
    }
    # Refused in live just the same, it is no difference.
    execute(trouble.url(), "REVOKE EXECUTE ON FUNCTION mine() FROM PUBLIC")
    check = parsed(await trouble.check())
    assert not [f for f in check.differences if f.sort == "role"]
    assert any("in live neither" in note for note in check.notes)


async def test_a_frozen_or_missing_live_does_not_keep_the_copy_from_being_proven(
    trouble: Trouble,
) -> None:
    async with session(trouble.server.url()) as admin:
        out = await plan_role_out(admin, trouble.live, [trouble.role])
        await run_measure(admin, out)
        assert parsed(await trouble.check()).verdict == "proven"
        everyone = await plan_everyone_out(admin, trouble.live)
        await run_measure(admin, everyone)
        # Our own administrator still gets in, so the grants are compared with live's.
        assert parsed(await trouble.check()).verdict == "proven"
    execute(trouble.server.url(), f'DROP DATABASE "{trouble.live}"')
    check = parsed(await trouble.check())
    assert check.verdict == "proven"
    assert any("the archive" in note for note in check.notes)
    # With other definitions nothing tells whether the grants are right.
    execute(trouble.url(trouble.copy), "CREATE TABLE more (id int)")
    assert ("role", "grants", "blocked") in found(parsed(await trouble.check()))


async def test_another_database_and_a_closed_one_are_refused(
    trouble: Trouble, make_database: MakeDatabase
) -> None:
    oid = trouble.oid(trouble.copy)
    execute(trouble.server.url(), f'ALTER DATABASE "{trouble.copy}" ALLOW_CONNECTIONS false')
    with pytest.raises(SafetyRefusal, match="lets nobody in"):
        await trouble.check()
    execute(trouble.server.url(), f'DROP DATABASE "{trouble.copy}"')
    with pytest.raises(IdentityMismatch, match="ANOTHER DATABASE") as raised:
        await trouble.check(copy_oid=oid)
    assert "renamed or dropped" in raised.value.why
    make_database(trouble.server, trouble.copy)
    with pytest.raises(IdentityMismatch, match="ANOTHER DATABASE") as raised:
        await trouble.check(copy_oid=oid)
    assert "made anew" in raised.value.why


async def test_what_can_not_be_compared_leaves_it_restored(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(
        server,
        make_database(server),
        tmp_path,
        source={"fingerprints": "counts"},
        settings={"commands": {"verify_integrity": ["/no/such/check"]}},
    ) as trouble:
        check = parsed(await trouble.check())
        assert check.verdict == "restored"
        assert {state for _sort, _name, state in found(check)} == {"blocked"}
        assert ("command", "/no/such/check", "blocked") in found(check)


async def test_an_application_role_of_another_name_is_tried_by_taking_its_place(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE ROLE web NOLOGIN")
    try:
        settings = {"recovery": {"app_role": "web"}}
        with trouble_on(server, url, tmp_path, settings=settings) as trouble:
            check = parsed(await trouble.check())
            assert check.role == "web"
            assert check.verdict == "proven"
            execute(
                trouble.url(), "GRANT SELECT ON users TO web", "GRANT USAGE ON SCHEMA public TO web"
            )
            check = parsed(await trouble.check())
            assert ("role", "table public.users", "different") in found(check)
            execute(trouble.url(), "DROP OWNED BY web")
    finally:
        execute(server.url(), "DROP ROLE IF EXISTS web")


async def test_a_spare_is_proven_by_nobody_having_been_in_it(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    with trouble_on(server, make_database(server), tmp_path, restored=False) as trouble:
        kept = trouble.site.run("verify", "latest", "--keep-spare", "--json")
        assert kept.exit_code == 0, kept.stdout + kept.stderr
        trouble.copy = kept.document["spares"]["db"]["name"]
        check = parsed(await trouble.check())
        assert (check.verdict, check.differences, check.rows) == ("proven", (), 400)
        assert any("nobody was in it" in note for note in check.notes)
        second = trouble.site.run("backup", "daily", "--json").document["point"]
        with pytest.raises(IdentityMismatch, match="ANOTHER POINT"):
            await trouble.check(point=second)
        for statement in ("true", "false"):
            if statement == "false":
                execute(trouble.url(trouble.copy), "DELETE FROM orders")
            execute(
                trouble.server.url(),
                f'ALTER DATABASE "{trouble.copy}" ALLOW_CONNECTIONS {statement}',
            )
        check = parsed(await trouble.check())
        assert (check.verdict, found(check)) == (
            "different",
            {("spare", trouble.copy, "different")},
        )
