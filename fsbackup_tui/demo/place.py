"""Where a demo lies: a directory of its own, marked as ours, locked while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

from fsbackup_tui.domain.errors import LockHeld, UsageError
from fsbackup_tui.engines.encryption.age import new_identity

MARKER = "fsbackup-demo.json"
_PREFIX = "fsbackup-demo-"


class DemoPlace:
    """The directory of one demo; ``kept`` says whether it stays when the demo ends."""

    def __init__(self, root: Path, lock: int, *, kept: bool) -> None:
        self.root = root
        self.kept = kept
        self._lock = lock

    @property
    def site(self) -> Path:
        """The sample application: its uploads, its ``.env``."""
        return self.root / "site"

    @property
    def server(self) -> Path:
        """The embedded server's directory."""
        return self.root / "server"

    @property
    def repository(self) -> Path:
        """The repository that the demo's backups go to."""
        return self.root / "repository"

    @property
    def state(self) -> Path:
        """The demo's own state directory, apart from the user's."""
        return self.root / "state"

    @property
    def work(self) -> Path:
        """What is needed for the moment only."""
        return self.root / "work"

    @property
    def config(self) -> Path:
        """The site's configuration."""
        return self.root / "fsbackup.yaml"

    @property
    def identity(self) -> Path:
        """The private key that opens the demo's backups; a real one lies elsewhere."""
        return self.root / "backup-key.txt"

    def make_identity(self) -> str:
        """Write a new private key (0600) and return the public one."""
        secret, recipient = new_identity()
        self.identity.touch(mode=0o600)
        self.identity.write_text(f"# public key: {recipient}\n{secret.reveal()}\n")
        return recipient

    def close(self) -> None:
        """Remove the directory unless it is kept, and let the lock go."""
        if self._lock < 0:
            return
        if not self.kept:
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def take_place(directory: Path | None, *, keep: bool) -> DemoPlace:
    """Return the directory of a new demo, empty but for its marker.

    A directory named by the user stays when the demo ends. It must be new, empty, or that of an
    earlier demo, which is then removed from it.

    Raises:
        UsageError: something else lies in it, or it can't be made.
        LockHeld: another demo runs in it.
    """
    if directory is None:
        _sweep()
        root = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        return DemoPlace(root, _mark(root, kept=keep), kept=keep)
    root = directory.absolute()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(root)
        lock = _mark(root, kept=True)
    except OSError as error:
        raise UsageError(
            f"NO ROOM FOR THE DEMO: {root} can't be used.",
            why=f"{error.strerror}",
            fix="Name another directory with --dir, or leave --dir away.",
        ) from error
    place = DemoPlace(root, lock, kept=True)
    for directory in (place.site, place.server, place.repository, place.state, place.work):
        shutil.rmtree(directory, ignore_errors=True)
    place.config.unlink(missing_ok=True)
    place.identity.unlink(missing_ok=True)
    return place


def _refuse_foreign(root: Path) -> None:
    names = sorted(entry.name for entry in root.iterdir())
    if names and MARKER not in names:
        raise UsageError(
            f"DIRECTORY NOT EMPTY: {root} holds {names[0]}.",
            why="The demo takes only a new directory, an empty one, or that of an earlier demo.",
            fix="Name another directory with --dir, or leave --dir away.",
        )


def _mark(root: Path, *, kept: bool) -> int:
    lock = os.open(root / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LockHeld(
            f"A DEMO RUNS THERE: {root} is in use.",
            fix="Leave that one first, or name another directory with --dir.",
        ) from error
    os.ftruncate(lock, 0)
    os.write(lock, json.dumps({"format": 1, "kept": kept, "pid": os.getpid()}).encode())
    return lock


def _sweep() -> None:
    """Remove what demos left that were killed before they could clean up."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if root.stat().st_uid == os.geteuid() and _is_abandoned(root / MARKER):
                shutil.rmtree(root, ignore_errors=True)


def _is_abandoned(marker: Path) -> bool:
    lock = os.open(marker, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return not json.loads(marker.read_bytes())["kept"]
    finally:
        os.close(lock)
