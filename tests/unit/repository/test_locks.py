"""Locks keep two apart, say who holds them, and die with their process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import LockHeld, RepositoryUnwritable
from fsbackup_tui.repository import lock as lock_module
from fsbackup_tui.repository.lock import Holder, Lock, is_locked

SINCE = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


def holder(name: str = "ana", job: str = "job-1") -> Holder:
    return Holder(name, socket.gethostname(), os.getpid(), job, SINCE)


def test_a_held_lock_says_who_where_and_since_when(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "locks" / "plan-daily.lock", what="plan daily")
    with (
        lock.acquire(0, holder()),
        pytest.raises(LockHeld, match="plan daily is in use by ana") as caught,
        Lock(lock.path, what="plan daily").acquire(0, holder("ben", "job-2")),
    ):
        pass
    assert "job-1" in caught.value.why
    assert "2026-11-22T01:00:00.000Z" in caught.value.why
    assert caught.value.exit_code == 3
    assert "fsbackup attach job-1" in caught.value.fix
    with lock.acquire(0, holder("ben", "job-2")):
        assert [found.operator for found in lock.holders()] == ["ben"]


def test_waiting_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    waits: list[LockHeld] = []
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with Lock(path).acquire(0, holder()):
            held.set()
            free.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)

    def told(error: LockHeld) -> None:
        waits.append(error)
        free.set()

    with Lock(path).acquire(20, holder("ben"), on_wait=told):
        assert is_locked(path)
    thread.join()
    assert len(waits) == 1
    assert not is_locked(path)


async def test_waiting_does_not_block_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with Lock(path).acquire(0, holder()), pytest.raises(LockHeld):
        async with Lock(path).acquire_async(0.3, holder("ben")):
            pass
    async with Lock(path).acquire_async(0, holder("ben")):
        assert is_locked(path)


def test_readers_share_and_keep_a_writer_out(tmp_path: Path) -> None:
    path = tmp_path / "use" / "point.lock"
    with (
        Lock(path).acquire(0, holder("ana", "job-1"), shared=True),
        Lock(path).acquire(0, holder("ben", "job-2"), shared=True),
    ):
        assert [found.job for found in Lock(path).holders()] == ["job-1", "job-2"]
        with pytest.raises(LockHeld), Lock(path).acquire(0, holder()):
            pass
    with (
        Lock(path).acquire(0, holder()),
        pytest.raises(LockHeld),
        Lock(path).acquire(0, holder(), shared=True),
    ):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = (
        "import sys,pathlib,datetime,os\n"
        "from fsbackup_tui.repository.lock import Lock, Holder\n"
        "h = Holder('x', 'h', os.getpid(), 'j', datetime.datetime.now(datetime.timezone.utc))\n"
        "with Lock(pathlib.Path(sys.argv[1])).acquire(0, h):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    assert is_locked(path)
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with Lock(path).acquire(0, holder("ben")):
        assert [found.operator for found in Lock(path).holders()] == ["ben"]


def test_a_read_only_repository_needs_no_shared_lock_and_refuses_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *, mode: int) -> int:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(lock_module, "open_kept", refuse)
    path = tmp_path / "use" / "point.lock"
    with Lock(path).acquire(0, holder(), shared=True) as held:
        assert "Read-only file system" in held.note
    with (
        pytest.raises(RepositoryUnwritable, match="NOT WRITABLE"),
        Lock(path).acquire(0, holder()),
    ):
        pass
