"""What recoveries left: found, told with who holds it, dropped by name, OID and typed answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.leftovers import Leftover, Leftovers
from fsbackup_tui.engines.postgres.kept import KeptKind, kept_comment, kept_name
from fsbackup_tui.engines.postgres.merge.staging import create_staging, staging_name
from fsbackup_tui.engines.postgres.schema_marks import Mark, MarkKind, Memory
from fsbackup_tui.engines.postgres.schema_side import create_beside
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import unfinished_comment
from fsbackup_tui.engines.postgres.spare import spare_comment
from fsbackup_tui.operations.leftovers import run, run_drop
from fsbackup_tui.operations.recovery_requests import DropLeftoverRequest, LeftoversRequest
from fsbackup_tui.repository.evidence import find_evidence, new_evidence
from fsbackup_tui.repository.incidents import Author, IncidentJournal, open_incident
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.lock import Holder, Lock
from tests.support.contexts import context_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of
from tests.support.tty import Tty

AT = "2026-11-20T02:00:00.000Z"
JOB = "20261120T020000Z-swap-k3f9"
AUTHOR = Author("ana", "db1", lambda: datetime.now(UTC))


class Scene:
    """A site whose past recoveries left this and that."""

    def __init__(self, server: ScratchServer, make: MakeDatabase, directory: Path) -> None:
        self.server, self._make = server, make
        self.url = make(server)
        self.live = self.url.partition("?")[0].rpartition("/")[2]
        self.site: Site = make_site(directory / "site", self.url)
        repository = open_repository(self.site.repository)
        self.state = self.site.state / repository.id
        self.state.mkdir(parents=True, mode=0o700)

    def leave(self, kind: KeptKind, *, job: str = JOB, database: str = "") -> str:
        name = kept_name(self.live, kind, job[-4:])
        self._make(self.server, name)
        comment = kept_comment(kind, database or self.live, AT, job)
        execute(self.server.url(), f"COMMENT ON DATABASE \"{name}\" IS '{comment}'")
        return name

    def leave_unfinished(self, job: str) -> str:
        name = f"{self.live}__x__unfinished"
        self._make(self.server, name)
        execute(self.server.url(), f"COMMENT ON DATABASE \"{name}\" IS '{unfinished_comment(job)}'")
        return name

    def incident(self) -> IncidentJournal:
        return open_incident(
            self.state,
            AUTHOR,
            site="face-swap",
            source="db",
            seen="rows",
            last_right=None,
            zone=UTC,
        )

    def close(self, journal: IncidentJournal) -> None:
        journal.append("closed", {"why": "done"}, AUTHOR, epoch=1)

    async def look(self) -> Leftovers:
        events: list[Event] = []
        document = await run(LeftoversRequest("db"), context_of(self.site, events.append))
        return TypeAdapter(Leftovers).validate_python(document)

    async def items(self) -> dict[str, Leftover]:
        return {item.name: item for item in (await self.look()).items}

    async def drop(
        self, name: str, oid: int | None = None, *, incident: Path | None = None
    ) -> dict[str, object]:
        events: list[Event] = []
        context = context_of(self.site, events.append, incident=incident)
        if oid is None:
            oid = (await self.items())[name].oid
        return await run_drop(DropLeftoverRequest("db", name=name, oid=oid), context)

    def databases(self) -> set[str]:
        return {
            str(name) for (name,) in query(self.server.url(), "SELECT datname FROM pg_database")
        }


@pytest.fixture
def scene(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(server, make_database, tmp_path)
    yield scene
    execute(server.url(), f'ALTER DATABASE "{scene.live}" ALLOW_CONNECTIONS true')


async def test_every_kind_is_listed_and_nothing_that_is_none(scene: Scene) -> None:
    names = {kind: scene.leave(kind) for kind in ("before", "after", "restore", "drill")}
    unfinished = scene.leave_unfinished("20261119T020000Z-restore-aaaa")
    other = scene.leave("before", job="20261120T020000Z-swap-zzzz", database="another_shop")
    spare = f"{scene.live}__spare_abcd"
    scene._make(scene.server, spare)
    comment = spare_comment("20261120-020000-daily-abcd", "db", AT, "r")
    execute(scene.server.url(), f"COMMENT ON DATABASE \"{spare}\" IS '{comment}'")
    journal = scene.incident()
    scene.close(journal)
    async with session(scene.url) as live:
        await create_staging(live, journal.id)
    place = new_evidence(
        scene.state, journal.directory, None, job=JOB, database=scene.live, now=datetime.now(UTC)
    )
    (place / "files").write_bytes(b"x" * 100_000)
    found = await scene.look()
    assert found.notes == ()
    items = {item.name: item for item in found.items}
    assert {item.name: item.kind for item in found.items} == {
        **{name: kind for kind, name in names.items()},
        unfinished: "unfinished",
        staging_name(journal.id): "staging",
        f"{journal.id}/evidence/{JOB}": "evidence",
    }
    assert other not in items
    before = items[names["before"]]
    assert before.oid == oid_of(scene.server, names["before"])
    assert (before.of, before.since) == (JOB, datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert (before.size_bytes or 0) > 1_000_000
    assert before.what == f"{scene.live} as it was before a swap"
    evidence = items[f"{journal.id}/evidence/{JOB}"]
    assert (evidence.size_bytes or 0) >= 100_000
    assert items[staging_name(journal.id)].since is None
    assert {item.held_by for item in found.items} == {""}
    sinces = [item.since for item in found.items if item.since is not None]
    assert sinces == sorted(sinces)

    for name in list(items):
        assert (await scene.drop(name))["dropped"] == name
    assert (await scene.look()).items == ()
    assert {scene.live, spare, other} <= scene.databases()
    assert not scene.databases() & set(names.values())
    assert not place.exists()
    assert query(scene.url, "SELECT 1 FROM pg_namespace WHERE nspname ~ '^fsbackup'") == []


async def test_what_an_open_incident_needs_is_kept_until_it_is_closed(scene: Scene) -> None:
    journal = scene.incident()
    journal.append("intent", {"step": "swap", "job": JOB}, AUTHOR, epoch=1)
    journal.append("done", {"step": "swap", "job": JOB}, AUTHOR, epoch=1)
    before, restore = scene.leave("before"), scene.leave("restore")
    by_hand = scene.leave("before", job="20261120T030000Z-swap-hand")
    items = await scene.items()
    assert (items[before].of, items[restore].of) == (journal.id, journal.id)
    for name in (before, restore, by_hand):
        assert f"incident {journal.id} is open" in items[name].held_by
        with pytest.raises(SafetyRefusal, match="is held"):
            await scene.drop(name)
    # In the incident itself a copy may go that can be made again; what it goes back to may not.
    assert (await scene.drop(restore, incident=journal.directory))["dropped"] == restore
    with pytest.raises(SafetyRefusal, match="is held"):
        await scene.drop(before, incident=journal.directory)
    scene.close(journal)
    assert (await scene.drop(before))["dropped"] == before


async def test_what_somebody_uses_is_kept_and_who_is_told(scene: Scene) -> None:
    name = scene.leave("before")
    with psycopg.connect(scene.server.url(name), application_name="shop app"):
        held = (await scene.items())[name].held_by
        assert held.startswith("shop app of postgres, pid ")
        with pytest.raises(SafetyRefusal) as raised:
            await scene.drop(name)
        assert "shop app of postgres" in raised.value.why
    slot = f"slot_{scene.live}"
    execute(
        scene.server.url(name),
        f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')",
    )
    try:
        assert f"the replication slot {slot} reads from it" in (await scene.items())[name].held_by
    finally:
        execute(scene.server.url(), f"SELECT pg_drop_replication_slot('{slot}')")
    # A session that a dead job of this site left keeps nobody from it.
    job = "20261119T020000Z-check-copy-bbbb"
    (scene.state / "jobs" / job).mkdir(parents=True)
    with psycopg.connect(scene.server.url(name), application_name=f"fsbackup/{job}"):
        assert (await scene.drop(name))["dropped"] == name
    other = scene.leave("after")
    with psycopg.connect(
        scene.server.url(other), application_name="fsbackup/20261119T020000Z-merge-cccc"
    ):
        assert "the job 20261119T020000Z-merge-cccc" in (await scene.items())[other].held_by
    assert other in scene.databases()


async def test_another_thing_of_the_name_is_not_dropped(scene: Scene) -> None:
    name = scene.leave("before")
    with pytest.raises(SafetyRefusal, match="is not what it was"):
        await scene.drop(name, oid=7)
    with pytest.raises(UsageError, match="NO SUCH LEFTOVER"):
        await scene.drop(scene.live, oid=oid_of(scene.server, scene.live))
    assert {name, scene.live} <= scene.databases()


async def test_fences_that_outlived_their_incident_are_told_and_undone(scene: Scene) -> None:
    execute(
        scene.url,
        "CREATE TABLE t (n int)",
        "ALTER TABLE t SET (autovacuum_enabled = off)",
        f'ALTER DATABASE "{scene.live}" CONNECTION LIMIT 0',
    )
    journal = scene.incident()
    for what, undo in (
        ("autovacuum of public.t", ["ALTER TABLE public.t RESET (autovacuum_enabled);"]),
        (f"everybody in {scene.live}", [f'ALTER DATABASE "{scene.live}" CONNECTION LIMIT -1;']),
        ("the application", ["systemctl start shop"]),
    ):
        journal.append("frozen", {"what": what, "undo": undo}, AUTHOR, epoch=1)
    items = await scene.items()
    name = f"{journal.id}/everybody in {scene.live}"
    assert f"incident {journal.id} is open" in items[name].held_by
    scene.close(journal)
    items = await scene.items()
    assert {item.kind for item in items.values()} == {"fence"}
    assert len(items) == 3
    by_hand = items[f"{journal.id}/the application"]
    assert by_hand.held_by == "undo it by hand: systemctl start shop"
    for fence in (name, f"{journal.id}/autovacuum of public.t"):
        assert items[fence].held_by == ""
        await scene.drop(fence)
    limit = f"SELECT datconnlimit FROM pg_database WHERE datname = '{scene.live}'"
    assert query(scene.server.url(), limit) == [(-1,)]
    assert query(scene.url, "SELECT reloptions FROM pg_class WHERE relname = 't'") == [(None,)]
    incident = journal.read()
    assert incident is not None
    assert [freeze.what for freeze in incident.freezes] == ["the application"]


async def test_a_live_database_that_is_closed_and_nobody_says_why(scene: Scene) -> None:
    execute(scene.server.url(), f'ALTER DATABASE "{scene.live}" ALLOW_CONNECTIONS false')
    found = await scene.look()
    (item,) = found.items
    assert (item.kind, item.name) == ("fence", f"{scene.live} is closed")
    assert "no incident here says why" in item.what
    assert any("Schemas that were left in live can't be seen" in note for note in found.notes)
    await scene.drop(item.name)
    assert query(scene.url, "SELECT 1") == [(1,)]


async def test_a_freeze_is_undone_in_the_database_that_was_put_aside_with_it(scene: Scene) -> None:
    kept = scene.leave("before")
    for name in (scene.live, kept):
        execute(
            scene.server.url(name),
            "CREATE TABLE t (n int)",
            "ALTER TABLE t SET (autovacuum_enabled = off)",
        )
    journal = scene.incident()
    what = "autovacuum of public.t"
    frozen = {
        "what": what,
        "grade": "vacuum",
        "place": "live",
        "database": scene.live,
        "undo": ["ALTER TABLE public.t RESET (autovacuum_enabled);"],
    }
    for oid, more in ((oid_of(scene.server, kept), {"kept_in": kept}), (1, {"kept_in": "gone"})):
        journal.append("frozen", {**frozen, "oid": oid}, AUTHOR, epoch=1)
        journal.append("thawed", {**frozen, "oid": oid, **more}, AUTHOR, epoch=1)
    journal.append("frozen", {**frozen, "oid": oid_of(scene.server, scene.live)}, AUTHOR, epoch=1)
    scene.close(journal)
    fences = {name: item for name, item in (await scene.items()).items() if item.kind == "fence"}
    live, aside, gone = (f"{journal.id}/{what}{end}" for end in ("", f" in {kept}", " in gone"))
    assert set(fences) == {live, aside, gone}
    assert fences[aside].what == f"still frozen in {kept}, which was put aside: {what}"

    def off(database: str) -> bool:
        options = query(
            scene.server.url(database), "SELECT reloptions FROM pg_class WHERE relname = 't'"
        )
        return options != [(None,)]

    await scene.drop(aside)
    assert (off(kept), off(scene.live)) == (False, True)
    assert set(await scene.items()) == {kept, live, gone}
    await scene.drop(gone)
    await scene.drop(live)
    assert not off(scene.live)
    assert set(await scene.items()) == {kept}


async def test_a_kept_database_that_lets_nobody_in_can_be_opened(scene: Scene) -> None:
    kept, evidence = scene.leave("before"), scene.leave("evidence")
    other = scene.leave("after")
    for name, how in (
        (kept, "ALLOW_CONNECTIONS false"),
        (evidence, "ALLOW_CONNECTIONS false"),
        (other, "CONNECTION LIMIT 0"),
    ):
        execute(scene.server.url(), f'ALTER DATABASE "{name}" {how}')
    items = await scene.items()
    fences = {name: item for name, item in items.items() if item.kind == "fence"}
    assert set(fences) == {f"{kept} is closed", f"{other} is closed"}
    assert f"{kept} lets nobody in (ALLOW_CONNECTIONS false)" in fences[f"{kept} is closed"].what
    for name in fences:
        await scene.drop(name)
    assert query(scene.server.url(kept), "SELECT 1") == [(1,)]
    limits = "SELECT DISTINCT datconnlimit FROM pg_database WHERE datname = '" + other + "'"
    assert query(scene.server.url(), limits) == [(-1,)]
    assert {item.kind for item in (await scene.items()).values()} == {"before", "after", "evidence"}


async def test_schemas_that_swaps_of_schemas_left_are_told_and_dropped(scene: Scene) -> None:
    journal = scene.incident()
    journal.append("intent", {"step": "swap", "job": JOB}, AUTHOR, epoch=1)
    alive = "20261120T020000Z-schema-copy-cccc"
    kinds: dict[str, tuple[MarkKind, str]] = {
        "app__before_k3f9": ("before", JOB),
        "app__after_k3f9": ("after", JOB),
        "app__r_k3f9": ("restored", JOB),
        "app__r_cccc": ("unfinished", alive),
    }
    async with session(scene.url) as live:
        marks = {name: Mark(kind, "app", AT, job, Memory()) for name, (kind, job) in kinds.items()}
        await create_beside(live, marks)
    execute(
        scene.url,
        "CREATE SCHEMA app",
        'CREATE TABLE "app__before_k3f9".t (n int PRIMARY KEY)',
        "CREATE SCHEMA app__before_mine",
    )
    lock = Lock(scene.state / "jobs" / alive / "lock", what="the job")
    (scene.state / "jobs" / alive).mkdir(parents=True)
    with lock.acquire(1, Holder("ana", "db1", 1, alive, datetime.now(UTC))):
        items = await scene.items()
    names = {f"{scene.live}.{name}": name for name in kinds}
    assert set(items) == set(names)
    assert {item.kind for item in items.values()} == {"schema"}
    before = items[f"{scene.live}.app__before_k3f9"]
    assert before.what == f"the schema app of {scene.live} as it was before a swap"
    assert (before.of, before.since) == (journal.id, datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert (before.size_bytes or 0) > 0
    assert f"incident {journal.id} is open" in before.held_by
    filling = items[f"{scene.live}.app__r_cccc"]
    assert filling.held_by == f"the job {alive} is filling it"

    # In its own incident a copy can be made again; what was live can't.
    copy = f"{scene.live}.app__r_k3f9"
    with pytest.raises(SafetyRefusal, match="is held"):
        await scene.drop(before.name, incident=journal.directory)
    assert (await scene.drop(copy, incident=journal.directory))["kind"] == "schema"
    scene.close(journal)
    with pytest.raises(SafetyRefusal, match="is not what it was"):
        await scene.drop(before.name, oid=1)
    execute(
        scene.url,
        "CREATE TABLE app.hangs_on (n int REFERENCES app__before_k3f9.t)",
    )
    with pytest.raises(SafetyRefusal, match="SCHEMA IN USE"):
        await scene.drop(before.name)
    execute(scene.url, "DROP TABLE app.hangs_on")
    for name in set(names) - {copy}:
        await scene.drop(name)
    left = query(
        scene.url, "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^app' ORDER BY 1"
    )
    assert left == [("app",), ("app__before_mine",)]


async def test_evidence_is_removed_through_no_link(scene: Scene, tmp_path: Path) -> None:
    journal = scene.incident()
    scene.close(journal)
    place = new_evidence(
        scene.state, journal.directory, None, job=JOB, database=scene.live, now=datetime.now(UTC)
    )
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert find_evidence(scene.state, None) == []
    assert await scene.items() == {}
    assert (elsewhere / "evidence.json").is_file()


async def test_the_command_lists_and_asks_for_the_typed_name(scene: Scene) -> None:
    name, other = scene.leave("before"), scene.leave("after")
    listed = scene.site.run("leftovers", "--json")
    assert listed.exit_code == 0, listed.stderr
    assert listed.document["notes"] == []
    first = next(item for item in listed.document["leftovers"] if item["name"] == name)
    keys = {"kind", "name", "oid", "of", "since", "bytes", "what", "held_by", "part"}
    assert set(first) == keys
    assert first["part"] == "db"
    told = scene.site.run("leftovers")
    assert name in told.stdout
    assert "as it was before a swap" in told.stdout

    unconfirmed = scene.site.run("leftovers", "--drop", name, "--json")
    assert (unconfirmed.exit_code, unconfirmed.error["kind"]) == (4, "confirmation-needed")
    wrong = scene.site.run("leftovers", "--drop", name, "--confirm", other)
    assert wrong.exit_code == 4
    assert {name, other} <= scene.databases()
    done = scene.site.run("leftovers", "--drop", name, "--confirm", name, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["dropped"] == name
    assert name not in scene.databases()
    missing = scene.site.run("leftovers", "--drop", name, "--confirm", name)
    assert missing.exit_code == 2
    assert "NO SUCH LEFTOVER" in missing.stderr

    for typed, code in (("\r", 4), (f"{other}x\r", 4), (f"{other}\r", 0)):
        screen = Tty(
            scene.site.command("leftovers", "--drop", other),
            scene.site.environ(),
            scene.site.directory,
        )
        try:
            screen.until_text("Type its name", "name:")
            screen.type(typed)
            assert screen.wait() == code
        finally:
            screen.close()
        assert (other in scene.databases()) is (code == 4)
