"""A private directory for work without a job; what a killed run left of one goes with the next."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsbackup_tui.repository.files import remove_tree
from fsbackup_tui.repository.lock import is_locked

_PREFIX = "fsbackup-file-"
_LOCK_NAME = ".lock"
# Between a directory and its lock lies a moment.
_YOUNG_SECONDS = 60.0


@contextmanager
def private_work() -> Iterator[Path]:
    """Yield a new directory (0700) in the temporary directory, and remove it after the block.

    It is locked while it is used, so that the next call can tell, and remove, what a run left
    that was killed.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        directory = Path(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(directory / _LOCK_NAME, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield directory
        finally:
            os.close(descriptor)


def _sweep(base: Path) -> None:
    for directory in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            facts = directory.lstat()
            own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
            young = time.time() - facts.st_mtime < _YOUNG_SECONDS
            lock = directory / _LOCK_NAME
            if own and not is_locked(lock) and (lock.exists() or not young):
                remove_tree(directory)
