"""A new file that gets its name when all of it is there: whoever is killed before leaves nothing.

On Linux it has no name until then (open(2), O_TMPFILE), so that not even a lost session leaves
plain content behind; elsewhere, and where the file system has no such files, a hidden one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import DiskFull, RepositoryUnwritable, UsageError
from fsbackup_tui.domain.point import new_tag
from fsbackup_tui.engines.process_output import open_new_file


@dataclass(frozen=True, slots=True)
class NewContent:
    """What is written so far; ``partial`` is its hidden name, None where it has none."""

    target: Path
    descriptor: int
    partial: Path | None

    def write(self, data: bytes) -> None:
        """Write all of the data; DiskFull, RepositoryUnwritable where that fails."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError as error:
            raise _not_written(self.target, error) from error

    def appear(self) -> None:
        """Give the whole file its name; UsageError where something came there meanwhile."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise _not_written(self.target, error) from error
        try:
            if self.partial is None:
                _link(self.descriptor, self.target)
            else:
                self.target.hardlink_to(self.partial)
        except FileExistsError as error:
            raise there_already(self.target) from error
        except OSError as error:  # a file system without hard links
            if self.partial is None:
                raise _not_written(self.target, error) from error
            if self.target.exists():
                raise there_already(self.target) from None
            self.partial.rename(self.target)


@contextmanager
def new_content(target: Path) -> Iterator[NewContent]:
    """Give a new file (0600) beside where it will lie; what does not appear is gone.

    Raises FsbackupError where it can't be made.
    """
    partial = None
    descriptor = open_nameless(target.parent)
    if descriptor is None:
        partial = target.with_name(f".{target.name}.{new_tag()}")
        descriptor = open_new_file(partial)
    try:
        yield NewContent(target, descriptor, partial)
    finally:
        os.close(descriptor)
        if partial is not None:
            partial.unlink(missing_ok=True)


def open_nameless(directory: Path) -> int | None:
    """Return a new file in the directory that has no name; None where there can't be one."""
    flags = getattr(os, "O_TMPFILE", None)
    if flags is None:
        return None
    try:
        descriptor = os.open(directory, flags | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    if Path(f"/proc/self/fd/{descriptor}").exists():
        return descriptor
    os.close(descriptor)
    return None


def _link(descriptor: int, target: Path) -> None:
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a directory's descriptor alone the link in /proc is followed (linkat(2)).
        os.link(f"/proc/self/fd/{descriptor}", target.name, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        os.close(parent)


def _not_written(target: Path, error: OSError) -> DiskFull | RepositoryUnwritable:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"DISK FULL: no space left for {target}.",
            why=f"The system says: {reason}. Nothing is left of what was written.",
            fix="Free space there, or name a roomier place: --output FILE",
        )
    return RepositoryUnwritable(
        f"NOT WRITTEN: {target}.",
        why=f"The system says: {reason}.",
        fix="Name another place: --output FILE",
    )


def there_already(target: Path) -> UsageError:
    """Return the error for a file that is there: nothing is overwritten."""
    return UsageError(
        f"FILE EXISTS: {target}.",
        why="Nothing is overwritten.",
        fix="Name another: --output FILE",
    )
