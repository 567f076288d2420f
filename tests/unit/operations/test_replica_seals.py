"""The seal of a point before it is sent: once in a job, ahead of its turn, given up at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import LockHeld
from fsbackup_tui.operations.replica_seals import Seals, sealed_by
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader
from tests.support.contexts import context_of
from tests.support.points import START, flip_byte, make_point, verify_record
from tests.support.sites import Site, make_site

SEAL_JOB = "job-of-the-seal"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, "postgresql://h/d")


def opened(site: Site) -> Repository:
    return open_repository(site.repository)


def damaged(site: Site) -> str:
    point = make_point(opened(site), content=b"dump" * 900).id
    flip_byte(site.repository / "points" / point / "db" / "database.dump")
    return point


def job_of(site: Site, point: str) -> str:
    record = verify_record(opened(site), point, "sealed")
    return record.job


async def test_every_byte_is_read_before_a_point_goes(site: Site) -> None:
    point = damaged(site)
    seals = Seals(context_of(site, lambda _event: None, job=SEAL_JOB), opened(site))
    assert any("database.dump" in problem for problem in await seals.problems(point))


async def test_what_this_job_has_verified_is_not_read_again(site: Site) -> None:
    point = damaged(site)
    context = context_of(site, lambda _event: None, job=job_of(site, point))
    assert await Seals(context, opened(site)).problems(point) == []
    # Another job's word is not taken for it.
    other = context_of(site, lambda _event: None, job=SEAL_JOB)
    assert await Seals(other, opened(site)).problems(point)


async def test_only_the_newest_word_about_all_parts_counts(site: Site) -> None:
    repository = opened(site)
    point = make_point(repository).id
    job = job_of(site, point)
    assert sealed_by(repository, point, ["db"], job)
    assert not sealed_by(repository, point, ["db", "uploads"], job)
    verify_record(repository, point, "sealed", ok=False, now=START + timedelta(hours=1))
    assert not sealed_by(repository, point, ["db"], job)


async def test_the_next_point_is_checked_ahead_under_its_lock(site: Site) -> None:
    repository = opened(site)
    first = make_point(repository).id
    second = damaged(site)
    context = context_of(site, lambda _event: None, job=SEAL_JOB)
    seals = Seals(context, repository)
    assert await seals.problems(first, ahead=second) == []
    assert await seals.problems(second)
    lock = Lock(repository.use_lock(first), what="point")
    async with lock.acquire_async(0, context.holder(), shared=False):
        seals.look_ahead(first)
        with pytest.raises(LockHeld):
            await seals.problems(first)
    await seals.close()


async def test_a_check_nobody_waits_for_ends_within_the_file(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = opened(site)
    point = make_point(repository).id
    begun, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(self: PointReader, source: str, report: object, *, beside_parts: bool) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert callable(report)
        try:
            while True:
                report(None)
        finally:
            loop.call_soon_threadsafe(ended.set)

    monkeypatch.setattr(PointReader, "check_sealed", endless)
    seals = Seals(context_of(site, lambda _event: None, job=SEAL_JOB), repository)
    seals.look_ahead(point)
    await begun.wait()
    await seals.close()
    await ended.wait()
