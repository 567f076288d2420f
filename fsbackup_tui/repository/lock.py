"""Advisory locks that say who holds them, where, and since when (design §3 "Locks")."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import LockHeld
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.elsewhere import home_of
from fsbackup_tui.repository.files import make_state_directory, open_kept, state_file_mode, writing

_POLL_SECONDS = 0.1
# Whoever only looks whether a lock is held touches it for an instant; that is no holder.
_SHORTEST_WAIT = 0.25
_BUSY = frozenset({errno.EWOULDBLOCK, errno.EACCES})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_LARGEST_BYTES = 1 << 16
OnWait = Callable[[LockHeld], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: a person, on which host, by which job and process, since when."""

    operator: str
    host: str
    pid: int
    job: str
    since: datetime

    def line(self) -> bytes:
        """Return the holder as one line of JSON, as the lock file has it."""
        document = {**asdict(self), "since": format_time(self.since)}
        return (json.dumps(document, ensure_ascii=False) + "\n").encode()

    def is_gone(self) -> bool:
        """Whether the holder's process ran on this host and no longer exists."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False


@dataclass(frozen=True, slots=True)
class Held:
    """A lock while it is held; ``note`` says why it is none (a read-only repository)."""

    path: Path
    note: str = ""


class Lock:
    """One lock file; ``what`` names the protected thing in messages, e.g. ``plan daily``."""

    def __init__(self, path: Path, *, what: str = "") -> None:
        self.path = path
        self._what = what or path.stem

    @contextmanager
    def acquire(
        self,
        wait_seconds: float,
        holder: Holder,
        shared: bool = False,
        *,
        on_wait: OnWait | None = None,
    ) -> Iterator[Held]:
        """Hold the lock for the block, after waiting for it up to ``wait_seconds``.

        ``on_wait`` is told once, when waiting begins, who holds it.

        Raises:
            LockHeld: somebody else held it all the time.
            RepositoryUnwritable: an exclusive lock on a read-only repository; a shared one is
                not needed there (nobody can write) and comes back with a note.
        """
        deadline = time.monotonic() + max(wait_seconds, _SHORTEST_WAIT)
        descriptor, note = self._open(shared)
        try:
            while descriptor is not None and not self._try(descriptor, holder, shared):
                on_wait = self._wait_begins(on_wait, deadline, wait_seconds)
                time.sleep(_POLL_SECONDS)
            yield Held(self.path, note)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @asynccontextmanager
    async def acquire_async(
        self,
        wait_seconds: float,
        holder: Holder,
        shared: bool = False,
        *,
        on_wait: OnWait | None = None,
    ) -> AsyncIterator[Held]:
        """Do what ``acquire`` does without blocking the event loop while waiting."""
        deadline = time.monotonic() + max(wait_seconds, _SHORTEST_WAIT)
        descriptor, note = self._open(shared)
        try:
            while descriptor is not None and not self._try(descriptor, holder, shared):
                on_wait = self._wait_begins(on_wait, deadline, wait_seconds)
                await asyncio.sleep(_POLL_SECONDS)
            yield Held(self.path, note)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def holders(self) -> list[Holder]:
        """Return who the file says holds the lock; meaningful only while it is held."""
        try:
            with self.path.open("rb") as file:
                lines = file.read(_LARGEST_BYTES).splitlines()
        except OSError:
            return []
        found = [holder for holder in map(_parse_holder, lines) if holder is not None]
        return [holder for holder in found if not holder.is_gone()]

    def is_held(self) -> bool:
        """Whether somebody holds the lock at this moment."""
        return is_locked(self.path)

    def _open(self, shared: bool) -> tuple[int | None, str]:
        try:
            make_state_directory(self.path.parent)
            descriptor = open_kept(self.path, mode=state_file_mode(self.path))
        except OSError as error:
            if not shared or error.errno not in _READ_ONLY:
                with writing(self.path):
                    raise
            return self._open_read_only(error)
        return descriptor, ""

    def _open_read_only(self, error: OSError) -> tuple[int | None, str]:
        note = f"no lock could be written ({error.strerror}): {self.path}"
        with suppress(OSError):
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), ""
        return None, note

    def _try(self, descriptor: int, holder: Holder, shared: bool) -> bool:
        if shared:
            # Alone on the file, what earlier holders left there is wiped; then it is shared.
            if _flock(descriptor, fcntl.LOCK_EX):
                _write(descriptor, b"", truncate=True)
            if not _flock(descriptor, fcntl.LOCK_SH):
                return False
            _write(descriptor, holder.line(), truncate=False)
            return True
        if not _flock(descriptor, fcntl.LOCK_EX):
            return False
        _write(descriptor, holder.line(), truncate=True)
        return True

    def _wait_begins(
        self, on_wait: OnWait | None, deadline: float, wait_seconds: float
    ) -> OnWait | None:
        if time.monotonic() >= deadline:
            raise self._held()
        if on_wait is not None and wait_seconds > _SHORTEST_WAIT:
            on_wait(self._held())
            return None
        return on_wait

    def _held(self) -> LockHeld:
        holders = self.holders()
        if not holders:
            return LockHeld(
                f"LOCKED: {self._what} is in use.",
                why=f"Somebody holds {self.path}; who it is can't be read there.",
                fix="Wait for it with --wait, or look: fsbackup jobs",
            )
        lines = [
            f"{holder.operator} on {holder.host}, job {holder.job}, pid {holder.pid}, "
            f"since {format_time(holder.since)}"
            for holder in holders
        ]
        return LockHeld(
            f"LOCKED: {self._what} is in use by {holders[0].operator} on {holders[0].host}.",
            why="\n".join(lines),
            fix=f"Wait for it with --wait, or watch it: fsbackup attach {holders[0].job}",
        )


def is_locked(path: Path) -> bool:
    """Whether any process holds a lock on the file exclusively; False where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def in_use(path: Path) -> bool:
    """Whether any process holds a lock on the file, a shared one too; False for no file.

    It touches the lock for an instant, which nobody takes for a holder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def is_job_alive(state: Path, job: str) -> bool:
    """Whether the worker of a job lives: it holds the lock in its JOBDIR below ``state``.

    Of a state that was made in the place of another one both are looked at.
    """
    home = home_of(state)
    places = [state] if home is None else [state, home]
    return any(is_locked(place / "jobs" / job / "lock") for place in places)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def _write(descriptor: int, content: bytes, *, truncate: bool) -> None:
    # A full disk or a read-only file must not cost the lock: the text is for people.
    with suppress(OSError):
        if truncate:
            os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET if truncate else os.SEEK_END)
        os.write(descriptor, content)


def _parse_holder(line: bytes) -> Holder | None:
    try:
        document = json.loads(line)
        return Holder(
            operator=str(document["operator"]),
            host=str(document["host"]),
            pid=int(document["pid"]),
            job=str(document["job"]),
            since=parse_time(document["since"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
