"""Backups in an incident wait for a restore, say that they are of it, and answer nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import LockHeld, UsageError
from fsbackup_tui.domain.events import Event, Log
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.backup import back_up
from fsbackup_tui.operations.recovery_wait import wait_for_restores
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.repository.holds import hold_repository, release_repository
from fsbackup_tui.repository.incidents import Author, IncidentJournal
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.manifest import parse_manifest
from tests.support.incidents import author, declare, incident_context
from tests.support.servers import MakeDatabase, execute
from tests.support.sessions import APPLICATION, address_of, session
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until_async


@dataclass
class Shop:
    """A site with one good point, and an incident that may hold its repository."""

    server: ScratchServer
    site: Site
    journal: IncidentJournal
    good: str

    @property
    def repository(self) -> Repository:
        return open_repository(self.site.repository)

    def hold(self) -> None:
        hold_repository(self.repository, self.journal, author())

    def release(self) -> None:
        release_repository(self.repository, self.journal)

    def back_up(self) -> str:
        done = self.site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        return str(done.document["point"])

    def latest(self) -> str:
        shown = self.site.run("verify", "latest", "--level", "sealed", "--json")
        return str(shown.document["point"])


@pytest.fixture
def shop(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Shop:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE videos (id int PRIMARY KEY)",
        "INSERT INTO videos SELECT generate_series(1, 1000)",
    )
    site = make_site(tmp_path / "site", url)
    shop = Shop(server, site, declare(site), "")
    shop.good = shop.back_up()
    return shop


def test_a_point_of_an_incident_says_so_and_answers_nothing_until_it_is_cleared(
    shop: Shop,
) -> None:
    shop.hold()
    taken = shop.site.run("backup", "daily")
    assert f"IN INCIDENT {shop.journal.id}: it is not 'latest' until cleared" in taken.stdout
    points = {point["id"]: point for point in shop.site.points()}
    (point,) = (point for point in points if point != shop.good)
    assert points[point]["in_incident"] == shop.journal.id
    assert points[shop.good]["in_incident"] is None
    assert shop.latest() == shop.good
    listed = shop.site.run("list").stdout
    assert "IN INCIDENT sealed" in listed
    assert f"taken in the incident {shop.journal.id}: what it holds may be damaged" in listed
    shown = shop.site.run("show", point).stdout
    assert "  IN INCIDENT taken in the incident" in shown
    assert shop.site.run("show", point, "--json").document["in_incident"] == shop.journal.id
    manifest = shop.repository.point_directory(point) / "manifest.json"
    assert json.loads(manifest.read_bytes())["in_incident"] == shop.journal.id
    assert "taken in the incident" in (manifest.parent / "RECOVER.md").read_text()
    # Looked up anew it is the same: the catalogue is a cache.
    for cache in shop.site.state.rglob("catalogue.sqlite*"):
        cache.unlink()
    assert shop.latest() == shop.good
    cleared = shop.site.run("clear", point, "--reason", "checked by ana after the repair")
    assert "taken in the incident" in cleared.stdout
    assert shop.latest() == point
    assert shop.site.points()[0]["in_incident"] is None
    shop.release()
    # Closed while the repository was out of reach: its hold must not count for ever.
    here = Author("ana", socket.gethostname(), author().now)
    stale = declare(shop.site, shop.site.state / shop.repository.id, by=here)
    hold_repository(shop.repository, stale, here)
    stale.append("closed", {"why": "over"}, here, epoch=1)
    assert shop.site.run("show", shop.back_up(), "--json").document["in_incident"] is None
    assert shop.repository.holds_open() == []


async def test_its_own_backup_of_what_it_recovered_is_a_good_one(shop: Shop) -> None:
    shop.hold()

    async def taken(journal: IncidentJournal | None) -> str | None:
        context = incident_context(shop.site, journal)
        manifest, _trust = await back_up(BackupRequest("daily"), context, shop.repository)
        return manifest.in_incident

    mine = shop.journal
    assert await taken(mine) == mine.id  # nothing is recovered yet
    mine.append("intent", {"step": "swap", "job": "j"}, author(), epoch=1)
    facts = {"swapped": {"database": "shop", "kept_as": "shop__before_1"}}
    mine.append("done", {"step": "swap", "job": "j", "facts": facts}, author(), epoch=1)
    assert await taken(mine) is None
    assert await taken(None) == mine.id  # by the clock meanwhile: nobody looked at what it holds
    other = hold_repository(
        shop.repository, IncidentJournal(mine.directory.with_name("x")), author()
    )
    assert await taken(mine) == other.stem
    release_repository(shop.repository, IncidentJournal(mine.directory.with_name("x")))
    undone = {"step": "swap", "facts": {"swapped": None}}
    mine.append("undone", undone, author(), epoch=1)
    assert await taken(mine) == mine.id
    mine.append(
        "done", {"step": "merge", "facts": {"merged": {"set_number": 1}}}, author(), epoch=1
    )
    assert await taken(mine) is None
    assert shop.latest() != shop.good


def test_what_was_lost_in_an_incident_is_not_what_the_next_point_is_measured_by(
    shop: Shop,
) -> None:
    shop.hold()
    execute(shop.site.url, "DELETE FROM videos WHERE id <= 200")
    during = shop.site.run("show", shop.back_up(), "--json").document
    assert during["suspect"] == []  # a fifth is no sharp fall
    shop.release()
    execute(shop.site.url, "DELETE FROM videos WHERE id <= 400")
    after = shop.site.run("show", shop.back_up(), "--json").document
    assert after["suspect"] == ["videos 1000 to 600"]


def test_it_never_replaces_a_spare(shop: Shop) -> None:
    shop.hold()
    point = shop.back_up()
    done = shop.site.run("verify", point, "--level", "proven", "--keep-spare", "--json")
    assert "IN INCIDENT" in done.stdout
    assert "What may be damaged never replaces a spare." in done.stdout


async def test_an_incident_that_is_declared_in_mid_backup_counts(shop: Shop) -> None:
    def declare_meanwhile(event: Event) -> None:
        if isinstance(event, Log) and event.text.startswith("db: "):
            shop.hold()

    context = incident_context(shop.site, None, Declaring(declare_meanwhile))
    manifest, _trust = await back_up(BackupRequest("daily"), context, shop.repository)
    assert manifest.in_incident == shop.journal.id


class Declaring(list[Event]):
    """Events that somebody listens to."""

    def __init__(self, hear: object) -> None:
        super().__init__()
        self._hear = hear

    def append(self, event: Event) -> None:
        super().append(event)
        assert callable(self._hear)
        self._hear(event)


def test_a_manifest_of_before_is_read(shop: Shop) -> None:
    path = shop.repository.point_directory(shop.good) / "manifest.json"
    document = json.loads(path.read_bytes())
    del document["in_incident"]
    assert parse_manifest(path, json.dumps(document).encode()).in_incident is None


async def test_a_backup_waits_for_a_restore_and_says_for_whose(shop: Shop) -> None:
    process = None
    async with session(shop.server.url()) as admin:
        identity = await read_identity(admin, address_of(shop.server.url()))
        async with restore_lock(admin, identity, APPLICATION):
            process = shop.site.start("backup", "daily", "--json")
            try:
                await wait_until_async(lambda: waits(shop.site), timeout=60)
            except BaseException:
                process.kill()
                raise
            assert len(shop.site.points()) == 1
    stdout, stderr = await asyncio.to_thread(process.communicate, None, 120)
    assert process.returncode == 0, stdout + stderr
    assert len(shop.site.points()) == 2


def waits(site: Site) -> bool:
    journals = site.state.rglob("jobs/*/journal.jsonl")
    said = f"Waiting: a restore runs on this server: {APPLICATION} (postgres) from this machine"
    return any(said in journal.read_text() for journal in journals)


async def test_it_waits_no_longer_than_it_was_told_and_takes_nothing(shop: Shop) -> None:
    async with session(shop.server.url()) as admin:
        identity = await read_identity(admin, address_of(shop.server.url()))
        async with restore_lock(admin, identity, APPLICATION):
            context = incident_context(shop.site, None)
            with pytest.raises(LockHeld, match="NOT BACKED UP") as raised:
                await back_up(BackupRequest("daily", wait_seconds=0.01), context, shop.repository)
            assert APPLICATION in raised.value.why
            assert [each.name for each in shop.repository.points.iterdir()] == [shop.good]
        # It only looked: nobody's restore was refused because of it.
        async with restore_lock(admin, identity, APPLICATION):
            await admin.execute("SELECT 1")


async def test_a_server_that_does_not_tell_keeps_no_backup_from_being_taken(shop: Shop) -> None:
    site = make_site(
        shop.site.directory.parent / "second",
        shop.site.url,
        source={"admin": {"maintenance_database": "nowhere"}},
    )
    events: list[Event] = []
    context = incident_context(site, None, events)
    await wait_for_restores(context, "db", 1.0)
    (told,) = (event.text for event in events if isinstance(event, Log))
    assert told.startswith("Not looked for restores on the server of db: DATABASE MISSING")
    manifest, _trust = await back_up(
        BackupRequest("daily"), incident_context(site, None), open_repository(site.repository)
    )
    assert manifest.in_incident is None


def test_none_is_begun_for_a_source_that_there_is_not(shop: Shop) -> None:
    with pytest.raises(UsageError, match="NO SUCH SOURCE"):
        asyncio.run(
            back_up(
                BackupRequest("daily", sources=("moon",)),
                incident_context(shop.site, None),
                shop.repository,
            )
        )
