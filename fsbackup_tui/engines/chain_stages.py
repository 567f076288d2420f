"""The stages of an artifact's way to its file: compressors, counting, a queue between threads."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from fsbackup_tui.engines.compression import BLOCK, zstd_module
from fsbackup_tui.engines.process_channel import ChannelStopped

_GZIP_PIECE = 4 << 20
_ZSTD_PIECE = 2 << 20
_LARGE_PIECES = 3  # the level from which zstd's own pieces are larger
_QUEUED_BLOCKS = 8
_LOOK_SECONDS = 0.05

Write = Callable[[bytes], object]


class Sink(Protocol):
    """What is written into."""

    def write(self, data: bytes, /) -> object:
        """Take all of the data."""
        ...


class Compressor(Protocol):
    """Turns plain blocks into compressed ones, given on to where it was told."""

    def write(self, data: bytes, /) -> None:
        """Take the next plain bytes."""
        ...

    def finish(self) -> None:
        """Give on what is left; nothing comes after."""
        ...

    def close(self) -> None:
        """Let go of threads, whether finished or given up."""
        ...


def compressor(compression: str | None, give: Write, *, threads: int | None = None) -> Compressor:
    """Return the compressor for ``zstd:LEVEL``, ``gzip:LEVEL`` or None (as it is).

    ``threads`` of zstd beside the caller's, as many as there are processors if None. They take
    some 30 MB together.
    """
    if compression is None:
        return _AsItIs(give)
    method, _colon, level = compression.partition(":")
    if method == "zstd":
        return _Zstd(give, int(level or 3), os.cpu_count() or 1 if threads is None else threads)
    if method == "gzip":
        return _Gzip(give, int(level or 6))
    raise ValueError(f"there is no compression {compression!r}")


class _AsItIs:
    def __init__(self, give: Write) -> None:
        self._give = give

    def write(self, data: bytes, /) -> None:
        self._give(data)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Zstd:
    """One frame with its checksum, compressed by so many threads beside the caller's."""

    def __init__(self, give: Write, level: int, threads: int) -> None:
        zstd: Any = zstd_module()
        parameter = zstd.CompressionParameter
        options = {parameter.compression_level: level, parameter.checksum_flag: 1}
        if threads and parameter.nb_workers.bounds()[1] > 0:
            options[parameter.nb_workers] = threads
            if level >= _LARGE_PIECES:
                # Its own choice, 8 MiB and more, takes 40 MB more for 1 % less stored.
                options[parameter.job_size] = _ZSTD_PIECE
        self._compressor = zstd.ZstdCompressor(options=options)
        self._end = self._compressor.FLUSH_FRAME
        self._give = give

    def write(self, data: bytes, /) -> None:
        if compressed := self._compressor.compress(data):
            self._give(compressed)

    def finish(self) -> None:
        self._give(self._compressor.flush(self._end))

    def close(self) -> None:
        del self._compressor


class _Gzip:
    """Members of 4 MiB of content each, compressed side by side; every gzip reads them as one."""

    def __init__(self, give: Write, level: int) -> None:
        self._workers = max(1, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._workers)
        self._begun: deque[Future[bytes]] = deque()
        self._give = give
        self._level = level
        self._piece = bytearray()
        self._any = False

    def write(self, data: bytes, /) -> None:
        self._piece += data
        while len(self._piece) >= _GZIP_PIECE:
            piece = bytes(self._piece[:_GZIP_PIECE])
            del self._piece[:_GZIP_PIECE]
            self._begin(piece)

    def _begin(self, piece: bytes) -> None:
        self._any = True
        self._begun.append(self._pool.submit(_gzip_member, piece, self._level))
        while len(self._begun) > 2 * self._workers:
            self._give(self._begun.popleft().result())

    def finish(self) -> None:
        if self._piece or not self._any:
            self._begin(bytes(self._piece))
        while self._begun:
            self._give(self._begun.popleft().result())

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _gzip_member(piece: bytes, level: int) -> bytes:
    member = zlib.compressobj(level, zlib.DEFLATED, 31)
    return member.compress(piece) + member.flush()


class Counted:
    """Counts what goes through it and, unless it need not, hashes it."""

    def __init__(self, *, hashing: bool = True) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256() if hashing else None

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self.bytes += len(data)
        if self._hash is not None:
            self._hash.update(data)

    @property
    def sha256(self) -> str:
        """The hash of all so far, in hexadecimal; empty where it is not taken."""
        return self._hash.hexdigest() if self._hash is not None else ""


class BlockQueue:
    """Blocks handed from one thread to another, at most eight of them waiting.

    ``stop`` makes both sides raise ChannelStopped, or the error that it is given.
    """

    def __init__(self) -> None:
        self._blocks: queue.Queue[bytes] = queue.Queue(_QUEUED_BLOCKS)
        self._stopped = threading.Event()
        self._why: Exception | None = None
        self._rest = memoryview(b"")
        self._ended = False

    def write(self, data: bytes, /) -> int:
        """Hand over the data, which must not change any more."""
        if data:
            self._put(data)
        return len(data)

    def finish(self) -> None:
        """Tell the reader that nothing comes after."""
        self._put(b"")

    def flush(self) -> None:
        """Do nothing: what is handed over is on its way."""

    def _put(self, item: bytes) -> None:
        while True:
            if self._stopped.is_set():
                raise self._why or ChannelStopped
            try:
                self._blocks.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        if not self._rest:
            if self._ended:
                return b""
            block = self._take()
            if not block:
                self._ended = True
                return b""
            self._rest = memoryview(block)
        count = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:count], self._rest[count:]
        return bytes(piece)

    def _take(self) -> bytes:
        while True:
            if self._stopped.is_set():
                raise self._why or ChannelStopped
            try:
                return self._blocks.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue

    def stop(self, why: Exception | None = None) -> None:
        """Make whoever reads or writes end."""
        if not self._stopped.is_set():
            self._why = why
            self._stopped.set()


class Gathered:
    """Gathers small blocks to blocks of 1 MiB before it gives them on."""

    def __init__(self, give: Write) -> None:
        self._give = give
        self._blocks: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> int:
        """Take the data."""
        self._blocks.append(data)
        self._size += len(data)
        if self._size >= BLOCK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Give on what was gathered."""
        if self._blocks:
            self._give(b"".join(self._blocks))
            self._blocks.clear()
            self._size = 0
