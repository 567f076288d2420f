"""``retain``, ``pin``, ``unpin`` on a real repository: what leaves, what stays, what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.cli.retain import applied, freed
from fsbackup_tui.domain.errors import ConfirmationNeeded, LockHeld, SafetyRefusal
from fsbackup_tui.domain.events import Event, Warned
from fsbackup_tui.operations.retain import retain_plan, run, run_empty, run_take_back
from fsbackup_tui.operations.retain_look import look, proof_ages
from fsbackup_tui.operations.retain_requests import (
    EmptyTrashRequest,
    RetainRequest,
    TakeBackRequest,
)
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.drills import newest_drills
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.pins import write_pin
from fsbackup_tui.repository.records import read_records, scan_sequences, write_record
from fsbackup_tui.repository.trash import list_trash
from tests.support.contexts import context_of
from tests.support.points import make_point, part, table, verify_record
from tests.support.sites import Site, make_site

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Nights:
    """A site whose backups ran every night; ``ids`` are its points, the oldest first."""

    def __init__(self, site: Site, count: int, now: datetime) -> None:
        self.site = site
        self.repository: Repository = open_repository(site.repository)
        self.ids = [self.take(now - n * DAY - timedelta(hours=1)) for n in reversed(range(count))]
        self.now = now
        self.events: list[Event] = []

    def take(self, created: datetime, *, plan: str = "daily", good: bool = True) -> str:
        suspect = () if good else ("videos 5340 to 0",)
        described = part(tables=[table("videos", 5340 if good else 0)], suspect=suspect)
        point = make_point(self.repository, described, created=created, plan=plan)
        verify_record(self.repository, point.id, "sealed", now=created + timedelta(minutes=1))
        return point.id

    @property
    def context(self) -> Any:
        context = context_of(self.site, self.events.append, job="20261122T030000Z-retain-k3f9")
        return replace(context, now=lambda: self.now)

    def standing(self) -> list[str]:
        return sorted(each.name for each in self.repository.points.iterdir())

    def trashed(self) -> list[str]:
        return [each.id for each in list_trash(self.repository)]

    async def retain(self, *, confirmed: bool = False) -> dict[str, Any]:
        return await run(RetainRequest(confirmed=confirmed), self.context)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Nights]:
    def made(
        count: int,
        keep: dict[str, object] | None = None,
        now: datetime = NOW,
        **retention: object,
    ) -> Nights:
        plan = {"sources": ["db"], "keep": keep or {"last": 6}}
        settings = {"plans": {"daily": plan}, "retention": retention}
        site = make_site(tmp_path / "site", "postgresql://nowhere", settings=settings)
        return Nights(site, count, now)

    return made


async def test_what_no_rule_keeps_goes_to_the_trash_with_its_records(
    make: Callable[..., Nights],
) -> None:
    nights = make(8)
    sequences = scan_sequences(nights.repository)
    result = await nights.retain()
    assert (result["ok"], result["applied"]) == (True, True)
    assert result["removed"] == nights.ids[:2]
    assert nights.standing() == nights.ids[2:]
    assert nights.trashed() == nights.ids[:2]
    gone = nights.repository.trash / nights.ids[0]
    assert (gone / "point" / "manifest.json").is_file()
    assert len(list((gone / "records").glob("*.json"))) == 1
    assert not (nights.repository.records / nights.ids[0]).exists()
    why = json.loads((gone / "why.json").read_text())
    assert (why["operator"], why["why"]) == ("somebody", "no rule keeps it: last 6")
    assert (why["at"], why["until"]) == ("2026-11-22T03:00:00.000Z", "2026-11-29T03:00:00.000Z")
    # The numbers that were given are never given again.
    assert scan_sequences(nights.repository) == sequences
    # What the inventory knows follows.
    with Catalogue.of_copy(nights.repository) as catalogue:
        assert [point.id for point in catalogue.points()] == nights.ids[:1:-1]


async def test_what_comes_back_is_whole_known_and_pinned(make: Callable[..., Nights]) -> None:
    nights = make(8)
    await nights.retain()
    point = nights.ids[0]
    result = await run_take_back(TakeBackRequest(point[:16]), nights.context)
    assert result["point"] == point
    assert result["pinned"] == "taken back out of the trash"
    assert nights.trashed() == nights.ids[1:2]
    assert not (nights.repository.trash / point).exists()
    kinds = [record.kind for record in read_records(nights.repository, point) if record.counts]
    assert kinds == ["verified", "pinned"]
    assert (await nights.retain())["removed"] == []
    assert point in nights.standing()


async def test_space_is_freed_after_the_grace_alone(make: Callable[..., Nights]) -> None:
    nights = make(8)
    await nights.retain()
    assert (await run_empty(EmptyTrashRequest(), nights.context))["freed"] == []
    nights.now = NOW + 7 * DAY + timedelta(seconds=1)
    result = await run_empty(EmptyTrashRequest(), nights.context)
    assert (result["freed"], result["trash"]) == (nights.ids[:2], [])
    freed = result["bytes"]
    assert isinstance(freed, int)
    assert freed > 0
    assert list(nights.repository.trash.iterdir()) == []


async def test_the_last_good_points_are_not_freed(make: Callable[..., Nights]) -> None:
    nights = make(8)
    await nights.retain()
    # All that stand turn out to be damaged, but one.
    for point in nights.ids[2:-1]:
        verify_record(nights.repository, point, "sealed", ok=False, now=NOW)
    nights.now = NOW + 8 * DAY
    result = await run_empty(EmptyTrashRequest(), nights.context)
    assert (result["freed"], nights.trashed()) == ([], nights.ids[:2])
    assert result["held"] == ["daily has only 1 good: what was removed of it stays in the trash"]
    assert "--take-back" in freed(result)[1]
    # With good ones enough, what is past its grace goes as ever.
    nights.take(nights.now)
    assert (await run_empty(EmptyTrashRequest(), nights.context))["freed"] == nights.ids[:2]


async def test_bytes_that_are_shared_are_not_counted_as_free(make: Callable[..., Nights]) -> None:
    nights = make(8)
    for point in nights.ids[:2]:
        large = nights.repository.point_directory(point) / "db" / "large"
        if point == nights.ids[0]:
            large.write_bytes(b"x" * 400_000)
        else:
            large.hardlink_to(nights.repository.point_directory(nights.ids[0]) / "db" / "large")
    preview = look(nights.context.loaded, nights.site.environ(), nights.repository, NOW)
    both = preview.document(nights.repository)["bytes"]
    assert isinstance(both, int)
    assert 400_000 <= both < 700_000
    # Of one whose twin stays nothing of that comes free.
    write_record(
        nights.repository, nights.ids[1], "pinned", {"reason": "r"}, now=NOW, job="-", operator="a"
    )
    alone = look(nights.context.loaded, nights.site.environ(), nights.repository, NOW)
    one = alone.document(nights.repository)["bytes"]
    assert isinstance(one, int)
    assert one < 100_000


async def test_a_point_in_use_stays(make: Callable[..., Nights]) -> None:
    nights = make(8)
    lock = Lock(nights.repository.use_lock(nights.ids[0]))
    with lock.acquire(0, nights.context.holder(), shared=True):
        result = await nights.retain()
    assert result["removed"] == nights.ids[1:2]
    assert nights.ids[0] in nights.standing()


async def test_while_a_newer_point_is_verified_nothing_older_goes(
    make: Callable[..., Nights],
) -> None:
    nights = make(8)
    lock = Lock(nights.repository.use_lock(nights.ids[-1]))
    with lock.acquire(0, nights.context.holder(), shared=True):
        assert (await nights.retain())["removed"] == []
    assert (await nights.retain())["removed"] == nights.ids[:2]


async def test_an_incident_stops_removing_and_freeing(make: Callable[..., Nights]) -> None:
    nights = make(8)
    await nights.retain()
    nights.now = NOW + 8 * DAY
    hold = nights.repository.holds / "20261122-01.json"
    hold.write_text(json.dumps({"incident": "20261122-01", "host": "db9"}))
    nights.take(nights.now - timedelta(hours=1))
    with pytest.raises(SafetyRefusal, match="every point stays") as refused:
        await nights.retain(confirmed=True)
    assert "An incident is open: 20261122-01." in refused.value.why
    with pytest.raises(SafetyRefusal, match="NOT FREED"):
        await run_empty(EmptyTrashRequest(), nights.context)
    told = await retain_plan(nights.context, nights.repository, "daily")
    assert (told["removed"], told["freed"]) == ([], [])
    assert nights.trashed() == nights.ids[:2]


async def test_many_at_once_want_the_sites_name(make: Callable[..., Nights]) -> None:
    nights = make(8, {"last": 2})
    with pytest.raises(ConfirmationNeeded) as needed:
        await nights.retain()
    assert "75% of the points would leave, and 50% may" in needed.value.why
    assert "fsbackup retain --apply --confirm face-swap" in needed.value.fix
    # A run of the plan tells it, and is no failure.
    told = await retain_plan(nights.context, nights.repository, "daily")
    assert told["removed"] == []
    assert [each["kind"] for each in told["refusals"]] == ["share"]  # type: ignore[attr-defined]
    assert any(
        "No point of daily was removed" in e.text for e in nights.events if isinstance(e, Warned)
    )
    assert (await nights.retain(confirmed=True))["removed"] == nights.ids[:6]


async def test_a_clock_that_was_wrong_is_looked_at_once(make: Callable[..., Nights]) -> None:
    nights = make(8)
    # A night's backup by a clock a year ahead; then it was set right.
    late = nights.take(NOW + 365 * DAY)
    for hour in range(2):
        nights.take(NOW + timedelta(hours=hour))
    nights.now = NOW + timedelta(hours=3)
    with pytest.raises(ConfirmationNeeded, match="every point stays") as needed:
        await nights.retain()
    assert "The clock was set back" in needed.value.why
    assert (await nights.retain(confirmed=True))["removed"] == nights.ids[:5]
    nights.take(nights.now)
    nights.now += timedelta(hours=1)
    assert (await nights.retain())["removed"] == [nights.ids[5]]
    assert late in nights.standing()


async def test_suspect_nights_push_out_nothing(make: Callable[..., Nights]) -> None:
    nights = make(8, {"within": "30d"})
    for n in range(31):
        nights.now = NOW + (n + 1) * DAY
        nights.take(nights.now - timedelta(hours=1), good=False)
        await retain_plan(nights.context, nights.repository, "daily")
    assert set(nights.ids) <= set(nights.standing())


async def test_a_point_that_was_pinned_meanwhile_stays(
    make: Callable[..., Nights], monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = make(8)
    from fsbackup_tui.operations import retain

    def look_then_pin(*arguments: Any, **named: Any) -> Any:
        found = look(*arguments, **named)
        assert nights.site.run("pin", nights.ids[0], "--reason", "the audit").exit_code == 0
        return found

    monkeypatch.setattr(retain, "look", look_then_pin)
    result = await nights.retain()
    assert result["removed"] == nights.ids[1:2]
    assert "it was pinned meanwhile" in result["problems"][0]["what"]


async def test_a_pin_at_the_very_moment_of_the_move_counts(
    make: Callable[..., Nights], monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = make(8)
    from fsbackup_tui.operations import retain

    def refuse_then_pin(repository: Repository, point: Any) -> None:
        refuse(repository, point)
        if point.id == nights.ids[0]:
            assert nights.site.run("pin", point.id, "--reason", "the audit").exit_code == 0

    refuse = retain._refuse_changed
    monkeypatch.setattr(retain, "_refuse_changed", refuse_then_pin)
    result = await nights.retain()
    assert result["removed"] == nights.ids[1:2]
    assert "it was pinned meanwhile: the audit" in result["problems"][0]["what"]
    assert nights.ids[0] in nights.standing()


async def test_a_pinned_point_is_not_freed_and_one_in_the_trash_not_pinned(
    make: Callable[..., Nights],
) -> None:
    nights = make(8)
    first, second = nights.ids[:2]
    await nights.retain()
    said: Any = {"now": nights.now, "job": "-", "operator": "ana"}
    with pytest.raises(SafetyRefusal, match="went to the trash"):
        write_pin(nights.repository, first, "the audit", **said)
    # As an older version could leave it: written beside the move.
    standing, there = nights.repository.points / first, nights.repository.trash / first / "point"
    there.rename(standing)
    write_record(nights.repository, first, "pinned", {"reason": "the audit"}, **said)
    standing.rename(there)
    nights.now = NOW + 7 * DAY + timedelta(seconds=1)
    result = await run_empty(EmptyTrashRequest(), nights.context)
    assert result["freed"] == [second]
    assert f"{first} is PINNED: the audit" in str(result["problems"])
    assert there.is_dir()


async def test_the_point_of_the_last_drill_stays(make: Callable[..., Nights]) -> None:
    """What it has measured is known by that record alone."""
    nights = make(8)
    for point in nights.ids[:2]:
        document = {"outcome": "ok", "seconds": 61.0}
        write_record(
            nights.repository, point, "drill", document, now=nights.now, job="j", operator="ana"
        )
        nights.now += timedelta(minutes=1)
    assert (await nights.retain())["removed"] == nights.ids[:1]
    assert len(newest_drills(nights.repository, limit=5)) == 1


async def test_a_partial_backup_pushes_out_no_whole_one(make: Callable[..., Nights]) -> None:
    nights = make(3, {"last": 2})
    config = nights.site.settings
    assert isinstance(config, dict)
    config["sources"] = {
        "db": {"kind": "postgres", "url": "postgresql://nowhere"},
        "extra": {"kind": "postgres", "url": "postgresql://nowhere"},
    }
    config["plans"]["daily"]["sources"] = ["db", "extra"]
    nights.site.write_config()
    both = (part(tables=[table("videos", 1)]), part("extra", tables=[table("videos", 1)]))
    whole = []
    for n in range(2):
        point = make_point(nights.repository, *both, created=NOW + timedelta(minutes=n))
        verify_record(nights.repository, point.id, "sealed", sources=("db", "extra"), now=NOW)
        whole.append(point.id)
    for n in range(3):
        nights.take(NOW + timedelta(minutes=10 + n))
    nights.now = NOW + timedelta(hours=1)
    await nights.retain(confirmed=True)
    assert set(whole) <= set(nights.standing())


async def test_a_proof_is_stale_by_what_the_plan_says(make: Callable[..., Nights]) -> None:
    nights = make(3)
    settings = nights.site.settings
    assert isinstance(settings, dict)
    plans = settings["plans"]
    plans["weekly"] = {"sources": ["db"], "at": "Sun 03:00"}
    plans["monthly"] = {"sources": ["db"], "at": "monthly 31 03:00"}
    plans["told"] = {"sources": ["db"], "at": "02:00", "verify_every": "3d"}
    nights.site.write_config()
    ages = proof_ages(nights.context.loaded.config, NOW, UTC)
    assert ages["daily"] == ages["weekly"] == 8 * DAY
    assert ages["monthly"] == 32 * DAY
    assert ages["told"] == 3 * DAY


async def test_one_run_at_a_time(
    make: Callable[..., Nights], monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = make(8)
    monkeypatch.setattr("fsbackup_tui.operations.retain._LOCK_SECONDS", 0.0)
    with (
        Lock(nights.repository.retain_lock()).acquire(0, nights.context.holder()),
        pytest.raises(LockHeld, match="retention is in use"),
    ):
        await nights.retain()


async def test_half_a_year_on_a_real_directory(make: Callable[..., Nights]) -> None:
    """Real manifests, real moves: a month of failing nights, an emptied database, two weeks off."""
    nights = make(1, {"within": "14d", "weekly": 6, "monthly": 3})
    taken: dict[str, tuple[datetime, bool]] = {nights.ids[0]: (nights.now, True)}
    for day in range(1, 180):
        nights.now = NOW + day * DAY
        failing, off, emptied = 40 <= day < 70, 90 <= day < 104, 120 <= day < 127
        if off:
            continue
        if not failing:
            created = nights.now - timedelta(hours=1)
            taken[nights.take(created, good=not emptied)] = (created, not emptied)
        before = nights.standing()
        told = await retain_plan(nights.context, nights.repository, "daily")
        removed = told["removed"]
        assert isinstance(removed, list)
        assert told["problems"] == []
        assert sorted([*nights.standing(), *removed]) == before
        good = [point for point in before if taken[point][1]]
        assert not set(good[-2:]) & set(removed)
        assert not (emptied and set(good) & set(removed))
        for point in removed:
            assert nights.now - taken[point][0] > 14 * DAY
        trashed = set(nights.trashed())
        assert set(removed) <= trashed
        assert all(nights.now - taken[each][0] > 14 * DAY for each in trashed)
    standing = nights.standing()
    assert len(standing) <= 15 + 6 + 3
    assert len(nights.trashed()) <= 8
    assert all(taken[point][1] for point in standing)
    # What was freed is gone whole: no records, no locks, no remains.
    known = {*standing, *nights.trashed()}
    for place in (nights.repository.records, nights.repository.locks / "use"):
        assert {path.name.removesuffix(".lock") for path in place.iterdir()} <= known
    assert nights.site.run("list", "--json").exit_code == 0


def test_the_commands(make: Callable[..., Nights]) -> None:
    nights = make(8, {"last": 2})
    site = nights.site
    # The clock of these is the machine's: the points lie in the past or the future of it.
    shown = site.run("retain", "--json")
    assert shown.exit_code == 0
    document = shown.document
    assert document["applied"] is False
    assert document["leaving"] == nights.ids[5::-1]
    assert [point["id"] for point in document["points"]] == nights.ids[::-1]
    assert document["points"][0]["keeps"][0] == "last 1 of 2"
    assert {"what", "why", "fix"} <= set(document["refusals"][0])
    text = site.run("retain").stdout
    assert f"LEAVES  {nights.ids[0]}" in text
    assert "NOT NOW: " in text
    # Commands are never broken; the path of this configuration stands in them.
    assert all(len(line) <= 80 for line in text.splitlines() if "--config" not in line)

    assert site.run("retain", "--confirm", "face-swap").exit_code == 2
    refused = site.run("retain", "--apply", "--confirm", "other", "--json")
    assert (refused.exit_code, refused.error["kind"]) == (4, "confirmation-needed")
    assert site.run("retain", "--take-back", nights.ids[0]).exit_code == 2
    assert nights.standing() == nights.ids

    assert site.run("pin", nights.ids[0]).exit_code == 2
    assert site.run("pin", nights.ids[0], "--reason", " ").exit_code == 2
    pinned = site.run("pin", nights.ids[0], "--reason", "before the release", "--json")
    assert pinned.document["pinned"] == "before the release"
    listed = {point["id"]: point["pinned"] for point in site.points()}
    assert listed[nights.ids[0]] == "before the release"
    assert listed[nights.ids[1]] is None
    assert "pinned: before the release" in site.run("list").stdout
    assert "before the release" in site.run("show", nights.ids[0]).stdout
    assert nights.ids[0] not in site.run("retain", "--json").document["leaving"]
    assert site.run("unpin", nights.ids[0], "--json").document["was"] == "before the release"
    assert "was not pinned" in site.run("unpin", nights.ids[0]).stdout
    assert nights.ids[0] in site.run("retain", "--json").document["leaving"]

    site.settings = {**site.settings, "read_only": True}
    site.write_config()
    for words in (
        ("pin", nights.ids[0], "--reason", "r"),
        ("unpin", nights.ids[0]),
        ("retain", "--apply"),
        ("retain", "--empty"),
        ("retain", "--take-back", nights.ids[0]),
    ):
        assert site.run(*words).exit_code == 3, words
    assert site.run("retain").exit_code == 0


def test_the_jobs_of_the_commands(make: Callable[..., Nights]) -> None:
    nights = make(8, {"last": 2}, datetime.now(UTC).replace(microsecond=0))
    site = nights.site
    needed = site.run("retain", "--apply", "--json")
    assert (needed.exit_code, needed.error["kind"]) == (4, "confirmation-needed")
    applied = site.run("retain", "--apply", "--confirm", "face-swap", "--json")
    assert (applied.exit_code, applied.document["applied"]) == (0, True), applied.stderr
    assert applied.document["removed"] == nights.ids[:6]
    assert [point["id"] for point in applied.document["trash"]] == nights.ids[:6]
    jobs = site.run("jobs", "--json").document["jobs"]
    assert [(job["operation"], job["state"]) for job in jobs] == [("retain", "ok")]
    text = site.run("retain").stdout
    assert "In the trash: 6;" in text
    assert f"  {nights.ids[0]}" in text
    gone = site.run("show", nights.ids[3], "--json")
    assert (gone.exit_code, gone.error["what"]) == (2, f"IN THE TRASH: {nights.ids[3]}.")
    back = site.run("retain", "--take-back", nights.ids[3])
    assert back.exit_code == 0
    assert f"Back: {nights.ids[3]}" in back.stdout
    assert "pinned: taken back out of the trash" in back.stdout
    assert "No point leaves." in site.run("retain", "--apply").stdout
    assert "Freed: 0 points" in site.run("retain", "--empty").stdout
    config = site.settings
    assert isinstance(config, dict)
    config["retention"] = {"grace": "0s"}
    site.write_config()
    freed = site.run("retain", "--empty", "--json")
    assert (freed.exit_code, len(freed.document["freed"])) == (0, 5), freed.stderr
    assert nights.standing() == [nights.ids[3], *nights.ids[6:]]


def test_what_could_not_be_removed_is_no_point_that_stays_by_the_rules() -> None:
    result = {"removed": [], "problems": [{"what": "p1: DISK FULL"}], "freed": []}
    assert applied(result) == ["No point was removed; 1 should be:", "  p1: DISK FULL"]
    assert applied({**result, "problems": []}) == ["No point leaves."]
