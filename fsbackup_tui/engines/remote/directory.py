"""A copy in a directory: a disk that was brought, or what other tools have fetched."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.errors import ReplicaError
from fsbackup_tui.domain.events import Report
from fsbackup_tui.engines.remote.remote import LARGEST_READ, RemoteFile, quietly


class DirectoryRemote:
    """A replica that lies in a directory of this machine; see ``Remote``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def describe(self) -> str:
        """The directory."""
        return str(self._root)

    async def probe(self) -> None:
        """Return when the directory is there."""
        if not await asyncio.to_thread(self._root.is_dir):
            raise ReplicaError(f"NO SUCH DIRECTORY: {self._root}.", fix="Is its disk mounted?")

    async def list(
        self, prefix: str = "", *, recursive: bool = True, hashes: bool = False
    ) -> list[RemoteFile]:
        """Return the files below a directory, sorted by path."""
        await self.probe()
        return await asyncio.to_thread(_files_below, self._root, prefix, recursive)

    async def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return await asyncio.to_thread((self._root / path).is_file)

    async def read(self, path: str, limit: int = LARGEST_READ) -> bytes:
        """Return a small file's bytes."""

        def read() -> bytes:
            with (self._root / path).open("rb") as file:
                return file.read(limit + 1)

        try:
            content = await asyncio.to_thread(read)
        except OSError as error:
            raise self._error(path, error) from error
        if len(content) > limit:
            raise ReplicaError(f"{self._root / path} IS TOO LARGE to be what it should be.")
        return content

    async def read_hash(self, path: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file, read to its end."""
        try:
            return await asyncio.to_thread(_hash_of, self._root / path)
        except OSError as error:
            raise self._error(path, error) from error

    async def fetch(self, path: str, to: Path, report: Report = quietly) -> None:
        """Bring one file to ``to``."""
        try:
            await asyncio.to_thread(shutil.copyfile, self._root / path, to)
        except OSError as error:
            raise self._error(path, error) from error

    async def fetch_all(self, paths: Sequence[str], root: Path, report: Report = quietly) -> None:
        """Bring files to the same paths below ``root``."""

        def copy() -> None:
            for path in paths:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    shutil.copyfile(self._root / path, root / path)

        try:
            await asyncio.to_thread(copy)
        except OSError as error:
            raise self._error("", error) from error

    async def lock_of(self, path: str) -> str | None:
        """Return None: a directory locks nothing."""
        return None

    async def put(
        self, root: Path, paths: Sequence[str], report: Report = quietly, *, replace: bool = False
    ) -> None:
        """Send files below ``root`` to the same paths there; each appears whole."""

        def copy() -> None:
            for path in paths:
                target = self._root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                content = (root / path).read_bytes()
                if target.exists() and not replace and target.read_bytes() != content:
                    raise ReplicaError(f"NOT REPLACED: {target} is there, and differs.")
                partial = target.with_name(f".partial-{target.name}")
                partial.write_bytes(content)
                partial.replace(target)

        try:
            await asyncio.to_thread(copy)
        except OSError as error:
            raise self._error("", error) from error

    def _error(self, path: str, error: OSError) -> ReplicaError:
        place = error.filename or self._root / path
        return ReplicaError(
            f"COPY NOT USABLE: {place}: {error.strerror or error}.",
            why=f"{self._root} was named as a copy of the repository.",
            fix="Is its disk mounted, and may this user read it?",
        )


def _hash_of(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _files_below(root: Path, prefix: str, recursive: bool) -> list[RemoteFile]:
    base = root / prefix
    found = []
    for path in base.rglob("*") if recursive else base.glob("*"):
        if path.is_file() and not path.is_symlink():
            facts = path.stat()
            modified = datetime.fromtimestamp(facts.st_mtime, UTC)
            found.append(RemoteFile(path.relative_to(root).as_posix(), facts.st_size, modified))
    return sorted(found, key=lambda file: file.path)
