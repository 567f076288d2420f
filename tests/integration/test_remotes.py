"""The ways to a replica, against real servers: S3, SFTP, and rsync over SSH."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.errors import ReplicaError, ReplicaRefused, ReplicaUnreachable
from fsbackup_tui.domain.events import CommandStarted, Event, Progress
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.remote import Remote, open_remote
from tests.support.replicas import SECRET_KEY, free_port, s3_server, ssh_server

# Real servers beside whatever else the machine does: only what hangs is to be ended.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]

KINDS = ("s3", "sftp", "rsync")


@contextlib.contextmanager
def place(kind: str, directory: Path) -> Iterator[tuple[Replica, Path]]:
    if kind == "s3":
        with s3_server(directory) as bucket:
            yield bucket.replica(), bucket.files / "site"
        return
    with ssh_server(directory) as host:
        there = host.files / "deep" / "site"
        yield (host.sftp(there) if kind == "sftp" else host.rsync(there)), there


@pytest.fixture(params=KINDS)
async def remote(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Remote, Path]]:
    with place(request.param, tmp_path) as (replica, files):
        work = tmp_path / "work"
        work.mkdir()
        yield await open_remote("far", replica, dict(os.environ), Redactor(), work), files


def made_tree(root: Path) -> dict[str, bytes]:
    content = {
        "fsbackup.json": b"{}\n",
        "points/20261122T020000Z-daily-k3f9/db/database dump.gz": os.urandom(300_000),
        "points/20261122T020000Z-daily-k3f9/db/ä #1.json": b"x" * 70_000,
        "points/20261122T020000Z-daily-k3f9/manifest.json": b'{"a": 1}',
        "points/20261122T020000Z-daily-k3f9/empty": b"",
    }
    for name, data in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return content


async def test_files_go_there_are_listed_read_and_come_back(
    remote: tuple[Remote, Path], tmp_path: Path
) -> None:
    far, files = remote
    here = tmp_path / "here"
    content = made_tree(here)
    await far.probe()
    assert await far.list() == []
    events: list[Event] = []
    await far.put(here, list(content), events.append)
    listed = {file.path: file.bytes for file in await far.list()}
    assert listed == {name: len(data) for name, data in content.items()}
    below = await far.list("points/20261122T020000Z-daily-k3f9/db")
    assert {file.path for file in below} == {name for name in content if "/db/" in name}
    assert await far.list("points/none") == []
    large = next(name for name in content if "dump" in name)
    assert (files / large).read_bytes() == content[large]
    assert await far.read("fsbackup.json") == b"{}\n"
    expected = hashlib.sha256(content[large]).hexdigest(), len(content[large])
    assert await far.read_hash(large) == expected
    empty = next(name for name in content if name.endswith("empty"))
    assert await far.read_hash(empty) == (hashlib.sha256().hexdigest(), 0)
    assert await far.exists(large)
    assert not await far.exists(f"{large}x")
    back = tmp_path / "back"
    back.mkdir()
    await far.fetch(large, back / "one")
    assert (back / "one").read_bytes() == content[large]
    await far.fetch_all([*content, "points/none"], back)
    assert {name: (back / name).read_bytes() for name in content} == content
    assert any(isinstance(event, CommandStarted) for event in events)
    done = [event for event in events if isinstance(event, Progress)]
    assert done[-1].done == sum(map(len, content.values()))


async def test_what_is_there_is_replaced_only_when_told_so(
    remote: tuple[Remote, Path], tmp_path: Path
) -> None:
    far, files = remote
    here = tmp_path / "here"
    here.mkdir()
    (here / "a").write_bytes(b"right")
    await far.put(here, ["a"])
    (files / "a").write_bytes(b"wrong, and longer")
    with contextlib.suppress(ReplicaError):
        await far.put(here, ["a"])
    assert (files / "a").read_bytes() == b"wrong, and longer"
    await far.put(here, ["a"], replace=True)
    assert (files / "a").read_bytes() == b"right"


async def test_what_is_not_there_is_said(remote: tuple[Remote, Path], tmp_path: Path) -> None:
    far, _files = remote
    here = tmp_path / "here"
    here.mkdir()
    (here / "a").write_bytes(b"a" * 100)
    await far.put(here, ["a"])
    for asked in (far.read("none"), far.read_hash("none"), far.fetch("none", tmp_path / "n")):
        with pytest.raises(ReplicaError, match="LACKS none"):
            await asked
    with pytest.raises(ReplicaError, match="TOO LARGE"):
        await far.read("a", 99)
    assert await far.read("a", 100) == b"a" * 100


async def test_wrong_credentials_are_told_and_no_secret_is_shown(tmp_path: Path) -> None:
    events: list[Event] = []
    with s3_server(tmp_path) as bucket:
        wrong = "canary-wrong-secret-key-0123456789"
        replica = bucket.replica(secret_key={"env": "THE_KEY"})
        redactor = Redactor()
        far = await open_remote("s3", replica, {"THE_KEY": wrong}, redactor, tmp_path)
        with pytest.raises(ReplicaRefused) as caught:
            await far.list()
        good = await open_remote("s3", bucket.replica(), {}, redactor, tmp_path)
        (tmp_path / "a").write_bytes(b"a")
        await good.put(tmp_path, ["a"], events.append)
    told = f"{caught.value}{events}{far.describe}{good!r}"
    assert "REFUSES THE CREDENTIALS" in caught.value.what
    assert "fsbackup doctor" in caught.value.fix
    assert wrong not in told
    assert SECRET_KEY not in told


async def test_a_key_that_is_not_let_in_and_a_host_that_is_not_known(tmp_path: Path) -> None:
    with ssh_server(tmp_path) as host:
        (host.key.parent / "authorized_keys").write_text("")
        for replica in (host.sftp(), host.rsync()):
            far = await open_remote("far", replica, dict(os.environ), Redactor(), tmp_path)
            with pytest.raises(ReplicaRefused, match="REFUSES THE CREDENTIALS"):
                await far.probe()
        host.known_hosts.write_text("")
        for replica in (host.sftp(), host.rsync()):
            far = await open_remote("far", replica, dict(os.environ), Redactor(), tmp_path)
            with pytest.raises(ReplicaRefused, match="KEY IS NOT KNOWN"):
                await far.probe()


async def test_nobody_there_and_no_such_bucket(tmp_path: Path) -> None:
    with s3_server(tmp_path) as bucket:
        replica = bucket.replica(url="s3://other/x")
        far = await open_remote("s3", replica, {}, Redactor(), tmp_path)
        with pytest.raises(ReplicaError, match="NO SUCH BUCKET"):
            await far.probe()
        with pytest.raises(ReplicaError, match="NO SUCH BUCKET"):
            await far.list()
    nobody = Replica.model_validate(
        {"rsync": f"root@127.0.0.1:{tmp_path}", "port": free_port(), "key_file": tmp_path / "k"}
    )
    far = await open_remote("far", nobody, dict(os.environ), Redactor(), tmp_path)
    with pytest.raises(ReplicaUnreachable, match="NOT REACHED"):
        await far.probe()
