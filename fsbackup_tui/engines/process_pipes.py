"""The pipes between us and our children, served by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import IO

_READ_BYTES = 256 * 1024


async def read_pipe(
    pipe: IO[bytes], take: Callable[[bytes], None], finish: Callable[[], None]
) -> None:
    """Give all that comes out of the pipe to ``take``, then call ``finish``; close the pipe.

    What ``take`` raises ends the reading and is raised.
    """
    reader = asyncio.StreamReader(limit=_READ_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while data := await reader.read(_READ_BYTES):
            take(data)
        finish()
    finally:
        transport.close()


async def write_pipe(pipe: IO[bytes], data: bytes) -> None:
    """Write the data into the pipe and close it; a reader that left early is no error."""
    closed = asyncio.Event()
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(
        lambda: _Closing(closed), pipe
    )
    try:
        with contextlib.suppress(BrokenPipeError):
            transport.write(data)
        transport.close()
        await closed.wait()
    finally:
        if not closed.is_set():
            transport.abort()


class _Closing(asyncio.BaseProtocol):
    def __init__(self, closed: asyncio.Event) -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
