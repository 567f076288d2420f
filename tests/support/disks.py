"""File systems of a test's own: small ones, mounted on a directory, to be filled."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILL_ATTEMPTS = 100


def mount(*arguments: str) -> None:
    done = subprocess.run(("mount", *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"these tests mount file systems: {done.stderr}"


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of that size on the directory inside the block."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(directory))
    try:
        yield directory
    finally:
        subprocess.run(("umount", "--lazy", str(directory)), check=False, capture_output=True)


def fill_disk(directory: Path, *, leaving: int = 0) -> Path:
    """Write somebody else's file that leaves so many bytes free, whoever writes there meanwhile."""
    path = directory / "somebody-elses-file"
    with path.open("wb") as file:
        for _attempt in range(_FILL_ATTEMPTS):
            status = os.statvfs(directory)
            there = os.fstat(file.fileno()).st_blocks * 512
            wanted = there + status.f_bavail * status.f_frsize - leaving
            try:
                os.posix_fallocate(file.fileno(), 0, wanted)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                return path
    raise AssertionError(f"{directory} could not be filled")
