"""The ends of a chain that encrypts nothing: a new file, and a stored one."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.engines.process_channel import ChannelStopped
from fsbackup_tui.engines.process_output import open_new_file


class FileOutlet:
    """A new file (0600) that takes what is written as it is."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_new_file(path)
        self._stopped = False

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""
        if self._stopped:
            raise ChannelStopped
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is with the system."""

    def finish(self) -> None:
        """Do nothing: the file has what was written."""

    def stop(self) -> None:
        """Refuse what comes after."""
        self._stopped = True

    async def run(self) -> None:
        """Return: who writes is told of what fails."""

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileInlet:
    """A stored file, as it lies."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb", buffering=0)
        self._stopped = False

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        if self._stopped:
            raise ChannelStopped
        return self._stream.read(size)

    def stop(self) -> None:
        """Refuse to be read any further."""
        self._stopped = True

    async def run(self) -> None:
        """Return: nothing but its hash says what it should be."""

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
