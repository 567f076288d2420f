"""A replica's own retention on real servers: marked first, removed later, finished when killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import ConfirmationNeeded, SafetyRefusal, UsageError, WriterRetired
from fsbackup_tui.domain.point import Copy
from fsbackup_tui.engines.remote.removal import RemovingRemote
from fsbackup_tui.operations import replica_retain
from fsbackup_tui.operations.replica_retain import run
from fsbackup_tui.operations.replica_send import Far as Place
from fsbackup_tui.operations.replicate import run as run_replicate
from fsbackup_tui.operations.requests import ReplicateRequest
from fsbackup_tui.operations.retain_requests import RetainReplicaRequest
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.pins import write_pin
from fsbackup_tui.repository.summary import summarise
from fsbackup_tui.repository.trash import Who, free, move_to_trash, take_back
from fsbackup_tui.repository.writers import Retirement, retirement_content, writers
from tests.support.contexts import context_of
from tests.support.points import flip_byte, make_point, verify_record
from tests.support.replicas import ACCESS_KEY, SECRET_KEY, ssh_server
from tests.support.replicating import KINDS, described, far_away, tree
from tests.support.sites import Site, make_site

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ME = Who("ana", "db1", "job-9", NOW)


class Far:
    """A site of so many nights whose points are all on the replica ``far``."""

    def __init__(self, directory: Path, place: dict[str, object], there: Path, **more: Any) -> None:
        self.there = there
        keep: object = more.pop("keep", {"last": 3})
        rules = {} if keep is None else {"keep": keep}
        self.site: Site = make_site(
            directory / "site",
            "postgresql://nowhere",
            settings={
                "replicas": {"far": {**place, **rules, **more.pop("replica", {})}},
                "plans": {"daily": {"sources": ["db"], "replicas": ["far"]}},
                "retention": {"most_share": "100 %", **more},
            },
        )
        self.repository = open_repository(self.site.repository)
        self.now = NOW
        self.ids: list[str] = []

    async def nights(self, count: int) -> None:
        for number in reversed(range(count)):
            self.take(NOW - number * DAY - timedelta(hours=1))
        await self.replicate()

    def take(self, created: datetime) -> str:
        point = make_point(self.repository, created=created, content=created.isoformat().encode())
        verify_record(self.repository, point.id, "sealed", now=created + timedelta(minutes=1))
        self.ids.append(point.id)
        return point.id

    @property
    def context(self) -> Any:
        context = context_of(self.site, lambda _event: None, job="20261122T030000Z-retain-k3f9")
        return replace(context, now=lambda: self.now)

    async def replicate(self) -> dict[str, Any]:
        result = await run_replicate(ReplicateRequest(("far",)), self.context)
        assert result["ok"], result
        replicas: Any = result["replicas"]
        return dict(replicas["far"])

    async def retain(
        self, points: tuple[str, ...] | None = None, *, confirmed: bool = False
    ) -> dict[str, Any]:
        return await run(RetainReplicaRequest("far", points, confirmed), self.context)

    def standing(self) -> list[str]:
        """The points that are whole there, by their manifests."""
        return sorted(path.parent.name for path in self.there.glob("points/*/manifest.json"))

    def marks(self) -> list[str]:
        return sorted(path.stem for path in self.there.glob("removals/*.json"))

    def left(self, point: str) -> list[str]:
        return [path for path in tree(self.there) if point in path]

    def copy(self, point: str) -> Copy | None:
        copies = summarise(self.repository, point).copies
        return next((copy for copy in copies if copy.replica == "far"), None)


@contextmanager
def far_site(kind: str, tmp_path: Path, **settings: Any) -> Iterator[Far]:
    with far_away(kind, tmp_path / "far") as (place, there):
        yield Far(tmp_path, place, there, **settings)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_no_rule_keeps_there_is_marked_and_removed_after_the_grace(
    kind: str, tmp_path: Path
) -> None:
    with far_site(kind, tmp_path) as far:
        await far.nights(5)
        here = tree(far.site.repository / "points")
        first = await far.retain()
        assert (first["ok"], first["marked"]) == (True, far.ids[1::-1])
        assert (far.marks(), first["removed"]) == (far.ids[:2], [])
        assert far.standing() == far.ids
        mark = json.loads((far.there / "removals" / f"{far.ids[0]}.json").read_bytes())
        assert (mark["operator"], mark["at"]) == ("somebody", "2026-11-22T03:00:00.000Z")

        far.now = NOW + 6 * DAY
        far.take(far.now - timedelta(hours=1))
        await far.replicate()
        second = await far.retain()
        # One more leaves since; its own grace begins now.
        assert (second["marked"], second["removed"]) == ([far.ids[2]], [])

        far.now = NOW + 7 * DAY
        third = await far.retain()
        assert (third["ok"], third["removed"]) == (True, far.ids[:2])
        assert third["removed_bytes"] > 0
        assert far.standing() == far.ids[2:]
        assert far.marks() == [far.ids[2]]
        for point in far.ids[:2]:
            assert far.left(point) == []
            # Empty directories of it would be listed as points by who looks there by hand.
            assert not (far.there / "points" / point).exists()
            assert not (far.there / "records" / point).exists()
        assert tree(far.site.repository / "points").items() >= here.items()

        # The repository knows it, and does not send it again.
        removed = far.copy(far.ids[0])
        assert removed is not None
        assert (removed.state, removed.why) == ("removed", "no rule keeps it there: last 3")
        sent = await far.replicate()
        assert sent["sent"] == []
        assert far.standing() == far.ids[2:]
        told = far.site.run("show", far.ids[0]).stdout
        assert "copy on far: removed there" in told
        assert "no rule keeps it there: last 3" in " ".join(told.split())


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_at_every_step_the_next_run_finishes_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = replica_retain._open
    with far_site(kind, tmp_path, grace="0 s") as far:
        await far.nights(3)
        older: list[str] = []
        # A call over SSH takes long: every step there is, is met on one of them.
        for step in range(40) if kind == "s3" else (1, 5, 40):
            far.now += DAY
            newest = far.take(far.now - timedelta(hours=1))
            await far.replicate()
            victim = far.standing()[0]
            older.append(victim)
            whole = {path: far.there / path for path in far.left(victim)}

            async def dying(*given: Any, step: int = step) -> Any:
                remote = Dying((await opened(*given))[1], step)
                settings = far.context.loaded.config.replicas["far"]
                return Place("far", settings, remote), remote

            monkeypatch.setattr(replica_retain, "_open", dying)
            try:
                await far.retain()
                died = False
            except Died:
                died = True
            monkeypatch.setattr(replica_retain, "_open", opened)
            stands = victim in far.standing()
            if stands:
                assert all(path.is_file() for path in whole.values())
            # Whatever was cut off, nothing is sent again, and nothing is told to be wrong there.
            sent = await far.replicate()
            assert sent["sent"] == []
            assert sent["mended"] == []
            assert sent["read_back"]["wrong"] == []
            finished = await far.retain()
            assert finished["ok"], finished
            assert far.left(victim) == []
            assert newest in far.standing()
            assert len(far.standing()) == 3
            assert not set(older) & {path.split("/")[1] for path in tree(far.there) if "/" in path}
            if not died:
                break
        else:
            pytest.fail("it never got through")
        assert step >= 12


class Died(Exception):
    """The process ended here."""


class Dying:
    """A replica whose caller dies around its nth call: before it, half-way, or after it."""

    def __init__(self, remote: RemovingRemote, step: int) -> None:
        self._remote = remote
        self._left = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    def _dies(self) -> bool:
        self._left -= 1
        return self._left < 0

    async def put(self, *given: Any, **named: Any) -> None:
        if given[1] and self._dies():
            raise Died
        await self._remote.put(*given, **named)

    async def remove(self, paths: Sequence[str]) -> None:
        if paths and self._dies():
            raise Died
        if len(paths) > 1 and self._dies():
            await self._remote.remove(paths[: len(paths) // 2])
            raise Died
        await self._remote.remove(paths)
        if paths and self._dies():
            raise Died

    async def remove_directories(self, directories: Sequence[str]) -> None:
        if self._dies():
            await self._remote.remove_directories(directories[:1])
            raise Died
        await self._remote.remove_directories(directories)


async def test_what_stays_after_all_loses_its_mark_and_a_pin_counts(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path) as far:
        await far.nights(5)
        await far.retain()
        assert far.marks() == far.ids[:2]
        # The pin is known here alone: nothing was replicated since.
        said = {"now": NOW, "job": "-", "operator": "ana"}
        write_pin(far.repository, far.ids[0], "the audit", **said)  # type: ignore[arg-type]
        far.now = NOW + 7 * DAY
        result = await far.retain(confirmed=True)
        assert (result["unmarked"], result["removed"]) == ([far.ids[0]], [far.ids[1]])
        assert far.standing() == [far.ids[0], *far.ids[2:]]
        assert far.marks() == []
        verdicts = {point["id"]: point["keeps"] for point in result["points"]}
        assert "pinned: the audit" in verdicts[far.ids[0]]


async def test_only_what_was_shown_leaves(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, grace="0 s") as far:
        await far.nights(5)
        result = await far.retain((far.ids[1],))
        assert (result["marked"], result["removed"]) == ([far.ids[1]], [far.ids[1]])
        assert far.standing() == [far.ids[0], *far.ids[2:]]


async def test_a_point_that_is_gone_here_leaves_there_by_the_replicas_rules(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, grace="0 s") as far:
        await far.nights(5)
        for point in far.ids[:4]:
            move_to_trash(far.repository, point, "old", ME, grace=DAY)
        free(far.repository, [far.ids[0]], ME)
        result = await far.retain()
        assert result["removed"] == far.ids[:2]
        assert far.standing() == far.ids[2:]
        # What comes back out of the trash here is not taken for lost there.
        take_back(far.repository, far.ids[1], ME)
        removed = far.copy(far.ids[1])
        assert removed is not None
        assert removed.state == "removed"
        sent = await far.replicate()
        assert (sent["sent"], sent["read_back"]["wrong"]) == ([], [])


async def test_what_is_not_whole_there_counts_for_nothing_and_stays(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, grace="0 s", keep={"last": 2}) as far:
        await far.nights(5)
        for name in ("database.dump", "globals.sql"):
            path = far.there / "points" / far.ids[3] / "db" / name
            if path.exists():
                path.unlink()
        result = await far.retain()
        # Three nights had to be looked at to find two that are whole.
        assert result["removed"] == far.ids[:2]
        verdicts = {point["id"]: point for point in result["points"]}
        assert verdicts[far.ids[3]]["good"] is False
        assert "not whole there: db/database.dump is missing" in verdicts[far.ids[3]]["keeps"]
        assert verdicts[far.ids[2]]["keeps"] != []


async def test_the_only_good_one_stays_where_the_one_here_is_damaged(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, grace="0 s") as far:
        await far.nights(5)
        flip_byte(far.site.repository / "points" / far.ids[0] / "db" / "database.dump")
        verify_record(
            far.repository, far.ids[0], "sealed", ok=False, problems=("altered",), now=NOW
        )
        result = await far.retain()
        assert result["removed"] == [far.ids[1]]
        verdicts = {point["id"]: point["keeps"] for point in result["points"]}
        assert verdicts[far.ids[0]] == ["the one here is damaged"]


async def test_nothing_leaves_while_an_incident_is_open_or_too_much_would(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, most_share="10 %") as far:
        await far.nights(6)
        with pytest.raises(ConfirmationNeeded) as refused:
            await far.retain()
        assert "fsbackup retain --replica far --apply --confirm face-swap" in refused.value.fix
        before = tree(far.there)
        holds = far.repository.root / "holds"
        holds.mkdir(exist_ok=True)
        hold = holds / "20261122-01.json"
        hold.write_text(json.dumps({"incident": "20261122-01", "host": "db9"}))
        with pytest.raises(SafetyRefusal) as stopped:
            await far.retain(confirmed=True)
        assert "An incident is open: 20261122-01." in stopped.value.why
        assert tree(far.there) == before
        hold.unlink()
        assert (await far.retain(confirmed=True))["marked"] == far.ids[2::-1]


async def test_a_host_that_was_retired_removes_nothing(tmp_path: Path) -> None:
    with far_site("sftp", tmp_path, grace="0 s") as far:
        await far.nights(5)
        (writer,) = writers(far.repository)
        other = Retirement(writer.id, writer.host, "db2", NOW, "its machine was lost")
        name, content = retirement_content(other)
        (far.there / "writers" / name).write_bytes(content)
        before = tree(far.there)
        with pytest.raises(WriterRetired):
            await far.retain()
        assert tree(far.there) == before


async def test_an_account_that_may_not_remove_is_told_what_keeps_it(tmp_path: Path) -> None:
    there = tmp_path / "far" / "far"
    (tmp_path / "far").mkdir()
    with ssh_server(tmp_path / "far", forced=f"rrsync -no-del -no-overwrite {there}") as host:
        far = Far(tmp_path, described(host.rsync("/")), there, grace="0 s")
        await far.nights(5)
        result = await far.retain()
        assert (result["ok"], result["removed"]) == (False, [])
        (problem,) = result["problems"]
        assert "LETS NOTHING BE REMOVED" in problem["what"]
        assert "retain_with" in problem["fix"]
        assert far.standing() == far.ids
        # What was sent meanwhile is whole there, too.
        far.take(NOW)
        assert (await far.replicate())["sent"] == [far.ids[-1]]


async def test_without_rules_of_its_own_nothing_ever_leaves(tmp_path: Path) -> None:
    with far_away("sftp", tmp_path / "far") as (place, there):
        far = Far(tmp_path, place, there, keep=None)
        await far.nights(5)
        with pytest.raises(UsageError, match="NO RULES"):
            await far.retain()
        refused = far.site.run("retain", "--replica", "far")
        assert refused.exit_code == 2
        assert "NO RULES: every point on far stays." in refused.stderr
        assert far.standing() == far.ids


async def test_it_only_shows_without_apply_and_says_when(tmp_path: Path) -> None:
    with far_site("s3", tmp_path) as far:
        await far.nights(5)
        before = tree(far.there)
        shown = far.site.run("retain", "--replica", "far")
        assert shown.exit_code == 0, shown.stderr
        assert "5 points on far" in shown.stdout
        assert f"LEAVES  {far.ids[0]}" in shown.stdout
        assert "no rule keeps it; to be marked" in shown.stdout
        assert "To do it: fsbackup retain --replica far --apply" in shown.stdout
        assert tree(far.there) == before
        done = far.site.run("retain", "--replica", "far", "--apply", "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        assert done.document["marked"] == far.ids[1::-1]
        again = far.site.run("retain", "--replica", "far")
        assert "no rule keeps it; marked, to go from" in again.stdout
        audit = far.site.run("audit", "--json")
        assert "retain-replica" in audit.stdout


async def test_other_keys_may_be_needed_to_remove(tmp_path: Path) -> None:
    keys = {"access_key": "${ADMIN_ACCESS}", "secret_key": "${ADMIN_SECRET}"}
    with far_site("s3", tmp_path, grace="0 s", replica={"retain_with": keys}) as far:
        await far.nights(5)
        missing = far.site.run("retain", "--replica", "far")
        assert missing.exit_code != 0
        assert "ADMIN_ACCESS" in missing.stderr
        far.site.environment.update({"ADMIN_ACCESS": ACCESS_KEY, "ADMIN_SECRET": SECRET_KEY})
        done = far.site.run("retain", "--replica", "far", "--apply", "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        assert done.document["removed"] == far.ids[:2]
