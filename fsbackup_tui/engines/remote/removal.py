"""Removing files from a replica: for its own retention alone, which a person starts.

Nothing else here can remove anything elsewhere; what sends and fetches knows no such command.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.rclone import RcloneRemote, open_rclone
from fsbackup_tui.engines.remote.remote import Remote
from fsbackup_tui.engines.remote.rsync import RsyncRemote, open_rsync

if TYPE_CHECKING:
    from fsbackup_tui.config.replicas import Replica

_DOING = "removing from it"


class RemovingRemote(Remote, Protocol):
    """A replica's place from which files may be taken, too; see ``Remote`` for the errors."""

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove files; one that is not there is none the less well. What is left is listed."""
        ...

    async def remove_directories(self, directories: Sequence[str]) -> None:
        """Remove empty directories, where the place has such; the deepest come first."""
        ...


async def open_removing(
    name: str,
    replica: Replica,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    *,
    where: str = "",
) -> RemovingRemote:
    """Return the way to a replica from which something is to leave; see ``open_remote``."""
    if replica.rsync is not None:
        return await open_rsync(name, replica, work, kind=_RemovingRsync)
    return await open_rclone(
        name, replica, environment, redactor, work, where=where, kind=_RemovingRclone
    )


class _RemovingRclone(RcloneRemote):
    async def remove(self, paths: Sequence[str]) -> None:
        """Remove files."""
        if paths:
            listed = "".join(f"{path}\n" for path in paths).encode()
            options = ("--files-from-raw", "-", "--no-traverse")
            await self._run(_DOING, "delete", *options, self._remote(""), stdin=listed)

    async def remove_directories(self, directories: Sequence[str]) -> None:
        """Remove empty directories."""
        for directory in directories:
            await self._run(_DOING, "rmdirs", self._remote(directory))


class _RemovingRsync(RsyncRemote):
    async def remove(self, paths: Sequence[str]) -> None:
        """Remove files: what the sender was told of and lacks, rsync takes away over there."""
        if paths:
            await self._let_go(paths)

    async def remove_directories(self, directories: Sequence[str]) -> None:
        """Remove empty directories."""
        for directory in directories:
            await self._let_go([directory])

    async def _let_go(self, paths: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory(dir=self._work) as empty:
            # Where a parent is lacking here, rsync would not look for the file there.
            for parent in {PurePosixPath(path).parent for path in paths}:
                (Path(empty) / parent).mkdir(parents=True, exist_ok=True)
            await self._run(
                _DOING,
                *("--omit-dir-times", "--from0", "--files-from=-", "--delete-missing-args"),
                f"{empty}/",
                self._remote("", directory=True),
                stdin=b"".join(path.encode() + b"\0" for path in paths),
            )
