"""What goes wrong on the way to a replica: killed, full, slow, refusing, a thief with the key.

``python -m tests.sweeps --replicas`` kills at every moment; FSBACKUP_SWEEP_SEED draws another
sample here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import fill_disk, small_disk
from tests.support.replicas import SshServer, ssh_server
from tests.support.replicating import KINDS, copies, described, made, replicate, site_with, tree
from tests.support.waiting import wait_until_async
from tests.sweeps.replica_kills import sweep_replica_kills

# Real servers beside whatever else the machine does: only what hangs is to be ended.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_killed_on_the_way_it_is_never_called_copied_and_goes_on(kind: str, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED}/{kind}")
    tally = sweep_replica_kills(kind, tmp_path, chance.sample(range(12), 2), 2)
    assert tally.failures == [], tally.text()
    assert tally.rounds == 4


async def test_a_full_disk_there_is_told_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with ssh_server(tmp_path / "far") as host, small_disk(host.files / "disk", 16) as disk:
        for number, kind in enumerate(("sftp", "rsync")):
            there = disk / kind
            place = host.sftp(there) if kind == "sftp" else host.rsync(there)
            site = site_with(tmp_path / str(number), far=described(place))
            (point,) = made(site, 1, os.urandom(4_000_000))
            filler = fill_disk(disk, leaving=1_500_000)
            result = await replicate(site)
            problem = result["replicas"]["far"]["problem"]
            assert not result["ok"]
            assert problem["kind"] in ("replica-full", "replica"), problem
            assert copies(site, point) == {}
            assert not (there / "points" / point / "manifest.json").exists()
            filler.unlink()
            assert (await replicate(site))["ok"], kind
            far = {n: c for n, c in tree(there / "points").items() if "/.partial/" not in f"/{n}"}
            assert far == tree(site.repository / "points")


@contextlib.contextmanager
def server_that(answer: bytes | None) -> Iterator[int]:
    """Listen, and give every request that answer; None: none at all, and nothing is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                kept.append(client)
                threading.Thread(target=talk, args=(client,), daemon=True).start()

    def talk(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while client.recv(65536):
                if answer is not None:
                    client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
        for client in kept:
            client.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", "replica-unreachable"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "replica-refused"),
    ],
)
async def test_a_server_that_refuses_is_given_up_soon(
    answer: bytes, kind: str, tmp_path: Path
) -> None:
    with server_that(answer) as port:
        place = {
            "url": "s3://bucket/x",
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key": "AKIATESTTESTTESTTEST",
            "secret_key": "canary-secret-0123456789",
        }
        site = site_with(tmp_path, far=place)
        (point,) = made(site)
        async with asyncio.timeout(100):
            result = await replicate(site)
        problem = result["replicas"]["far"]["problem"]
        assert problem["kind"] == kind, problem
        assert problem["why"]
        assert problem["fix"]
        assert copies(site, point) == {}


async def test_a_cancelled_run_leaves_no_program_and_goes_on(tmp_path: Path) -> None:
    with ssh_server(tmp_path / "far") as host:
        there = host.files / "x"
        site = site_with(tmp_path, far={**described(host.rsync(there)), "bandwidth": "500kB"})
        (point,) = made(site, 1, os.urandom(3_000_000))
        task = asyncio.create_task(replicate(site))
        await wait_until_async((there / "points").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert copies(site, point) == {}
        site.settings = site_with(tmp_path / "b", far=described(host.rsync(there))).settings
        site.write_config()
        assert (await replicate(site))["ok"]


def _thief(host: SshServer, *words: str) -> int:
    shell = (
        f"ssh -p {host.port} -i {host.key} -o UserKnownHostsFile={host.known_hosts} "
        "-o BatchMode=yes -o IdentitiesOnly=yes"
    )
    argv = [word.replace("SHELL", shell) for word in words]
    return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode


async def test_a_thief_with_the_key_of_the_append_only_account_removes_nothing(
    tmp_path: Path,
) -> None:
    far = tmp_path / "far"
    forced = f"rrsync -no-del -no-overwrite {far}/far"
    with ssh_server(far, forced=forced) as host:
        site = site_with(tmp_path, far=described(host.rsync("/")))
        (point,) = made(site)
        result = await replicate(site)
        assert result["ok"], result["replicas"]["far"]["problem"]
        there = host.files
        before = tree(there)
        assert before[f"points/{point}/manifest.json"]
        empty = tmp_path / "empty"
        forged = tmp_path / "forged" / "points" / point
        empty.mkdir()
        forged.mkdir(parents=True)
        (forged / "manifest.json").write_text("forged")
        target = f"{host.user}@127.0.0.1:/"
        deleted = _thief(host, "rsync", "-a", "--delete", "-e", "SHELL", f"{empty}/", target)
        _thief(host, "rsync", "-a", "-I", "-e", "SHELL", f"{tmp_path}/forged/", target)
        _thief(host, "rsync", "-r", "--remove-source-files", "-e", "SHELL", target, str(empty))
        words = f"rm -rf {there}"
        shell = _thief(
            host,
            *("ssh", "-p", str(host.port), "-i", str(host.key), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={host.known_hosts}", f"{host.user}@127.0.0.1", words),
        )
        assert deleted != 0
        assert shell != 0
        assert tree(there) == before
        # The owner goes on sending, and reads back what is there.
        made(site, 2)
        assert (await replicate(site))["ok"]
        assert (await replicate(site, check=True))["ok"]
