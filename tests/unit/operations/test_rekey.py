"""Rekeying: the same content under another key, and a whole point wherever it is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from fsbackup_tui.cli.rekey import summary
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import Event, Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.chain import Chain, Sink, read_artifact, write_artifact
from fsbackup_tui.engines.encryption import age_passphrase
from fsbackup_tui.engines.encryption.age import new_identity
from fsbackup_tui.operations import rekey as rekeying
from fsbackup_tui.operations.keys import encryption_key, reading_keys
from fsbackup_tui.operations.rekey import run
from fsbackup_tui.operations.requests import RekeyRequest
from fsbackup_tui.operations.signatures import point_signing, signature_in
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.rekeyed import rekeyed_as
from fsbackup_tui.repository.spares import KIND, Spare, all_spares, spares_of
from fsbackup_tui.repository.summary import summarise
from fsbackup_tui.repository.trash import Who, free, move_to_trash
from fsbackup_tui.repository.writer import PointWriter
from tests.support.contexts import context_of
from tests.support.signing_keys import make_ssh_keys
from tests.support.sites import Site, make_site

TAKEN = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
CONTENT = b"the canary of the site\n" * 5_000
OLD, OLD_RECIPIENT = new_identity()
NEW, NEW_RECIPIENT = new_identity()
ON_DISK = {"os.rename", "os.link", "os.mkdir", "os.remove"}


def rekeyed_to_new(site: Site) -> None:
    site.settings = {
        "encryption": {
            "method": "age",
            "recipients": [NEW_RECIPIENT],
            "identity": NEW.reveal(),
            "former": [{"identity": OLD.reveal()}],
        }
    }
    site.write_config()


def pour(sink: Sink) -> None:
    sink.write(CONTENT)


async def take(site: Site) -> str:
    """Make a point of one encrypted and one plain part, and a record of it."""
    context = context_of(site, lambda _event: None)
    repository = open_repository(site.repository)
    key = await encryption_key(context, repository)
    assert key is not None
    writer = PointWriter.begin(
        repository,
        plan="daily",
        job="20261120T020000Z-backup-aaaa",
        now=TAKEN,
        reason="before the move",
        operator="ana",
        host="db1",
        tool_version="1",
        site_yaml="site: face-swap",
        space_needed=None,
    )
    for source, chain in (("env", Chain("zstd:3", key)), ("public", Chain("gzip:6", None))):
        directory = writer.part_directory(source)
        name = f"content{chain.suffix}"
        written = await write_artifact(directory / name, chain, pour)
        part = PartManifest(
            source=source,
            kind="copy",
            started=TAKEN,
            finished=TAKEN + timedelta(seconds=3),
            artifacts=(written.artifact(directory, name, "also"),),
            restore_commands=(),
            key=chain.key.facts if chain.key else None,
        )
        writer.commit_part(source, part)
    signing = await point_signing(context)
    finished = TAKEN + timedelta(seconds=4)
    manifest = await asyncio.to_thread(writer.finish, {"copy": 1.0}, now=finished, sign=signing)
    write_record(
        repository,
        manifest.id,
        "pinned",
        {"reason": "the move"},
        now=TAKEN,
        job="j",
        operator="ana",
    )
    return manifest.id


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(
        tmp_path / "site",
        "postgresql://nobody@127.0.0.1:1/none",
        settings={
            "encryption": {
                "method": "age",
                "recipients": [OLD_RECIPIENT],
                "identity": OLD.reveal(),
            }
        },
    )


async def content_of(site: Site, point: str, part: str) -> bytes:
    context = context_of(site, lambda _event: None)
    reader = PointReader(open_repository(site.repository), point)
    assert reader.check_sealed(part, lambda _event: None) == []
    artifact = reader.part(part).artifacts[0]
    keys = await reading_keys(context, reader)
    path = reader.artifact_path(part, artifact)
    return await read_artifact(path, artifact, keys, lambda stream: stream.read(len(CONTENT)))


def points_of(site: Site) -> list[str]:
    return sorted(p.name for p in (site.repository / "points").iterdir() if p.name[0] != ".")


async def rekey(site: Site, *points: str) -> dict[str, object]:
    return await run(RekeyRequest(points), context_of(site, lambda _event: None))


async def test_content_time_and_what_is_known_of_it_stay_the_key_changes(site: Site) -> None:
    former = await take(site)
    repository = open_repository(site.repository)
    before = PointReader(repository, former).manifest
    assert before is not None
    rekeyed_to_new(site)
    result = await rekey(site)
    assert result["ok"] is True, result
    (successor,) = points_of(site)
    assert result["rekeyed"] == [{"point": former, "became": successor}]
    assert (site.repository / "trash" / former / "point" / "manifest.json").is_file()

    after = PointReader(repository, successor).manifest
    assert after is not None
    assert after.replaces == former
    told = ("sequence", "plan", "reason", "host", "operator", "started", "finished", "job")
    assert [getattr(after, name) for name in told] == [getattr(before, name) for name in told]
    env, public = after.parts
    assert env.key is not None
    assert env.key.recipients == (NEW_RECIPIENT,)
    assert env.artifacts[0].sha256 != before.parts[0].artifacts[0].sha256
    assert env.artifacts[0].plain_sha256 == before.parts[0].artifacts[0].plain_sha256
    assert public == before.parts[1]
    records = read_records(repository, successor)
    assert [record.kind for record in records if record.counts] == ["pinned", "rekeyed", "verified"]
    assert records[0].at == TAKEN
    assert summarise(repository, successor).trust is Trust.SEALED

    # A person may have written down the former id, however often it was rekeyed since.
    shown = site.run("show", former, "--json")
    assert (shown.exit_code, shown.document["id"]) == (0, successor), shown.stderr
    said = " ".join(shown.stderr.split())
    assert f"{former} was encrypted anew since: it is {successor} now." in said
    # The new key alone opens it; the old one has done its service.
    site.settings = {
        "encryption": {
            "method": "age",
            "recipients": [NEW_RECIPIENT],
            "identity": NEW.reveal(),
        }
    }
    site.write_config()
    assert await content_of(site, successor, "env") == CONTENT
    assert await content_of(site, successor, "public") == CONTENT
    assert (await rekey(site))["rekeyed"] == []
    back: dict[str, object] = {"recipients": [OLD_RECIPIENT], "identity": OLD.reveal()}
    back["former"] = [{"identity": NEW.reveal()}]
    site.settings = {"encryption": {"method": "age", **back}}
    site.write_config()
    await rekey(site)
    (third,) = points_of(site)
    assert rekeyed_as(repository, former) == (former, third)
    assert rekeyed_as(repository, former[:-1]) == (former, third)
    assert rekeyed_as(repository, successor) == (successor, third)
    assert rekeyed_as(repository, third) is None

    # Its pin went over to the one in its place, and holds that alone.
    assert summarise(repository, third).pinned
    who = Who("ana", "db1", "job-9", TAKEN)
    assert free(repository, [former], who) > 0
    assert not (repository.trash / former).exists()
    with pytest.raises(SafetyRefusal, match="it was pinned meanwhile"):
        move_to_trash(repository, third, "old", who, grace=timedelta(days=7))


async def test_a_pin_that_did_not_go_over_keeps_the_former(site: Site) -> None:
    former = await take(site)
    repository = open_repository(site.repository)
    with pytest.raises(SafetyRefusal, match="it was pinned meanwhile"):
        move_to_trash(
            repository,
            former,
            "encrypted anew",
            Who("ana", "db1", "job-9", TAKEN),
            grace=timedelta(days=7),
            successor="20261120T020000Z-daily-none",
        )
    assert points_of(site) == [former]


async def test_the_spare_of_a_point_is_that_of_the_one_in_its_place(site: Site) -> None:
    """Nobody would have dropped it else: its record went to the trash with the point's."""
    former = await take(site)
    repository = open_repository(site.repository)
    proven = "2026-11-20T03:00:00.000Z"
    old = Spare(former, "db", "shop__spare_old", 4, "m4", "db1:5432", None, proven, {})
    spare = Spare(former, "db", "shop__spare_k3f9", 5, "mark 5", "db1:5432", None, proven, {"a": 1})
    for document in (old.document(), spare.document(), old.document(gone="replaced")):
        write_record(repository, former, KIND, document, now=TAKEN, job="j", operator="ana")
    rekeyed_to_new(site)
    result = await rekey(site)
    (successor,) = points_of(site)
    assert (result["ok"], result["notes"]) == (True, [])
    carried = replace(spare, point=successor)
    assert all_spares(repository, "db") == [carried]
    assert spares_of(repository, successor) == (carried,)


def by_passphrase(site: Site, passphrase: str, *former: str) -> None:
    site.settings = {
        "encryption": {"method": "age", "former": [{"passphrase": text} for text in former]}
    }
    site.environment["FSBACKUP_PASSPHRASE"] = passphrase
    site.write_config()


async def test_no_key_is_made_where_nothing_here_opens_any_point(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the present key from then on, and the right passphrase that of a former one."""
    monkeypatch.setattr(age_passphrase, "WORK_FACTOR", 4)
    by_passphrase(site, "the first")
    point = await take(site)
    keys = sorted((site.repository / "keys").iterdir())
    by_passphrase(site, "the second", "not the first")
    result = await rekey(site)
    assert (result["ok"], result["key"], result["rekeyed"]) == (False, None, [])
    (problem,) = cast("list[dict[str, str]]", result["problems"])
    assert problem["point"] == point
    assert "another passphrase than is known here" in problem["what"]
    assert "former" in problem["fix"]
    assert result["notes"] == ["No new key was begun: nothing here opens any of the points"]
    assert "No new key was begun" in "\n".join(summary(result))
    assert sorted((site.repository / "keys").iterdir()) == keys
    to_nobody: dict[str, object] = {"method": "age", "recipients": [NEW_RECIPIENT]}
    site.settings = {"encryption": to_nobody}
    site.write_config()
    del site.environment["FSBACKUP_PASSPHRASE"]
    assert (await rekey(site))["ok"] is False
    assert sorted((site.repository / "keys").iterdir()) == keys
    by_passphrase(site, "the second", "the first")
    assert (await rekey(site))["ok"] is True
    assert len(list((site.repository / "keys").glob("*.json"))) == 2


@pytest.mark.parametrize("as_is", ["another key's", "no base64"])
async def test_a_damaged_check_of_a_key_shuts_no_point(site: Site, as_is: str) -> None:
    """It is a convenience: whether a key is the right one, the point itself tells."""
    point = await take(site)
    (check,) = (site.repository / "keys").glob("*.age")
    content = check.read_bytes()
    at = content.index(b"-> X25519 ") + 12
    other = b"A" if content[at : at + 1] != b"A" else b"B"
    check.write_bytes(content[:at] + (other if "key" in as_is else b"{") + content[at + 1 :])
    told: list[Event] = []
    reader = PointReader(open_repository(site.repository), point)
    keys = await reading_keys(context_of(site, told.append), reader)
    assert keys.age is not None
    (warned,) = [event.text for event in told if isinstance(event, Warned)]
    assert str(check) in warned
    assert await content_of(site, point, "env") == CONTENT
    site.settings = {
        "encryption": {
            "method": "age", "recipients": [OLD_RECIPIENT], "identity": NEW.reveal()
        }
    }  # fmt: skip
    site.write_config()
    keys = await reading_keys(context_of(site, told.append), reader)
    assert keys.age is None
    assert "needs the private key" in keys.reason
    if as_is == "no base64":
        return
    # Neither is it taken for a wrong key where it is the part that is damaged.
    path = site.repository / "points" / point / "env" / "content.zst.age"
    path.write_bytes(path.read_bytes()[:100])
    assert (await reading_keys(context_of(site, told.append), reader)).age is None


async def test_what_can_not_be_opened_or_is_damaged_stays_and_is_told(site: Site) -> None:
    former = await take(site)
    rekeyed_to_new(site)
    path = site.repository / "points" / former / "env" / "content.zst.age"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    result = await rekey(site)
    assert result["ok"] is False
    assert points_of(site) == [former]
    path.write_bytes(good)
    site.settings = {"encryption": {"method": "age", "recipients": [NEW_RECIPIENT]}}
    site.write_config()
    result = await rekey(site)
    assert "needs the private key" in str(result["problems"])
    assert points_of(site) == [former]
    assert not list((site.repository / "points").glob(".*"))


def rekey_until_killed(site: Site, step: int) -> bool:
    """Rekey in a child that kills itself before its n-th change of names; whether it did."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in ON_DISK and "/repository/" in str(arguments[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            asyncio.run(rekey(site))
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_killed_at_every_step_it_leaves_a_whole_point_and_the_next_run_ends_it(
    site: Site, tmp_path: Path
) -> None:
    former = await take(site)
    rekeyed_to_new(site)
    shutil.copytree(site.repository, tmp_path / "before")
    seen: set[str] = set()
    step = 1
    while rekey_until_killed(site, step):
        points = points_of(site)
        seen.add("former" if points == [former] else "both" if former in points else "new")
        for point in points:
            assert (site.repository / "points" / point / "manifest.json").is_file()
            assert await content_of(site, point, "env") == CONTENT
        assert points, f"nothing is whole after step {step}"
        await rekey(site)
        (left,) = points_of(site)
        assert left != former
        assert await content_of(site, left, "env") == CONTENT
        assert "pinned" in [r.kind for r in read_records(open_repository(site.repository), left)]
        assert not list((site.repository / "points").glob(".partial-*"))
        shutil.rmtree(site.repository)
        shutil.copytree(tmp_path / "before", site.repository)
        step += 1
    assert seen == {"former", "both", "new"}


async def test_nothing_is_given_up_for_a_successor_that_nobody_here_can_open(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run left it, under a key that is not the present one: a mistyped passphrase."""
    former = await take(site)
    rekeyed_to_new(site)

    def killed(*_: object) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(rekeying, "_retire", killed)
        await rekey(site)
    assert len(points_of(site)) == 2
    third, recipient = new_identity()
    encryption = {
        "method": "age",
        "recipients": [recipient],
        "identity": third.reveal(),
        "former": [{"identity": OLD.reveal()}],
    }
    site.settings = {"encryption": encryption}
    site.write_config()
    result = await rekey(site)
    assert former in points_of(site), result
    assert former in str(result["problems"])
    assert await content_of(site, former, "env") == CONTENT

    # Where the key turns up, the next run ends what was begun.
    encryption["former"] = [{"identity": OLD.reveal()}, {"identity": NEW.reveal()}]
    site.write_config()
    assert (await rekey(site))["ok"] is True
    (left,) = points_of(site)
    assert await content_of(site, left, "env") == CONTENT


@pytest.mark.machine
async def test_what_nobody_had_signed_is_signed_by_no_rekeying(site: Site, tmp_path: Path) -> None:
    """A forged point is encrypted to a public key by anybody; signed it would be restored."""
    forged = await take(site)
    keys = make_ssh_keys(tmp_path / "ssh")
    keys.allowed.write_text(f"bob@example.org {keys.public('mallory')}\n")
    signing = {
        "method": "ssh",
        "key": str(keys.mallory),
        "allowed_signers": str(keys.allowed),
        "required": True,
    }
    site.settings = {**site.settings, "signing": signing}
    site.write_config()
    signed = await take(site)
    rekeyed_to_new(site)
    site.settings = {**site.settings, "signing": signing}
    site.write_config()
    result = await rekey(site)
    rekeyed = result["rekeyed"]
    assert isinstance(rekeyed, list)
    became = {each["point"]: each["became"] for each in rekeyed}
    context, repository = context_of(site, lambda _event: None), open_repository(site.repository)
    states = [
        (await signature_in(context, PointReader(repository, became[point]))).state
        for point in (forged, signed)
    ]
    assert states == ["absent", "good"]
    assert forged in str(result["notes"])
    assert signed not in str(result["notes"])
