"""Compressed files as streams of their content; run as a module it prints one file's content.

``python -m fsbackup_tui.engines.compression FILE [--position=PLACE] [START:STOP …]`` is what
feeds psql: the same decompressor that checked the file, whichever tools the machine has.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

BLOCK = 1 << 20
# What the program writes at a time: little enough for its position to be told often.
_FED_BLOCK = 1 << 18
_POSITION_OPTION = "--position="


class CompressedDataDamaged(ValueError):
    """Compressed data is cut off or altered."""


class ByteStream(Protocol):
    """What is read from: blocks of bytes, an empty one at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; empty at the end of the content."""
        ...


class Buffered:
    """Reads a stream in large blocks and gives exactly as much as is asked for, but at its end."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._rest = b""
        self._position = 0

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer at the end alone."""
        while len(self._rest) - self._position < size:
            block = self._stream.read(BLOCK)
            self._rest = self._rest[self._position :] + block
            self._position = 0
            if not block:
                break
        piece = self._rest[self._position : self._position + size]
        self._position += len(piece)
        return piece


def zstd_module() -> Any:
    """Return the standard library's zstd module (3.14 and later), else its backport."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "xz": ".xz", "bzip2": ".bz2"}
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}


def compression_of(path: Path) -> str | None:
    """Return ``gzip``, ``zstd``, ``xz``, ``bzip2`` or None, by the file's ending."""
    return {suffix: name for name, suffix in SUFFIXES.items()}.get(path.suffix)


def compression_in(head: bytes) -> str | None:
    """Return the compression that a file's first bytes show, None for none."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


@contextmanager
def open_plain(path: Path) -> Iterator[ByteStream]:
    """Open a file for reading its uncompressed content, by the ending of its name.

    Reading raises CompressedDataDamaged where the content is cut off or altered: a file that
    ends within a frame is an error here, never an early end.
    """
    with open_content(path, compression_of(path)) as stream:
        yield stream


@contextmanager
def open_content(path: Path, compression: str | None) -> Iterator[ByteStream]:
    """Open a file of a known compression whatever its name; else as ``open_plain``."""
    if compression is None:
        with path.open("rb") as stream:
            yield stream
        return
    openers: dict[str, Callable[..., Any]] = {
        "gzip": gzip.open,
        "xz": lzma.open,
        "bzip2": bz2.open,
    }
    open_file = openers.get(compression) or zstd_module().open
    with open_file(path, "rb") as stream:
        yield _Checked(stream)


def decompressed(stream: ByteStream, compression: str | None) -> ByteStream:
    """Return the content of a stream of a known compression; None: the stream itself.

    Reading raises CompressedDataDamaged as with ``open_plain``.
    """
    openers: dict[str, Callable[..., Any]] = {
        "gzip": gzip.open,
        "xz": lzma.open,
        "bzip2": bz2.open,
    }
    if compression is None:
        return stream
    open_file = openers.get(compression) or zstd_module().open
    return _Checked(open_file(stream, "rb"))


def decompress_head(head: bytes, compression: str, longest: int) -> tuple[bytes, bool]:
    """Return the beginning of the content, and whether the compressed data ends within ``head``.

    Raises CompressedDataDamaged where it is altered.
    """
    try:
        if compression == "gzip":
            inflate = zlib.decompressobj(wbits=31)
            return inflate.decompress(head, longest), inflate.eof
        decompressor: Any = {
            "xz": lzma.LZMADecompressor,
            "bzip2": bz2.BZ2Decompressor,
        }.get(compression, zstd_module().ZstdDecompressor)()
        return decompressor.decompress(head, longest), decompressor.eof
    except (zlib.error, lzma.LZMAError, OSError, zstd_module().ZstdError) as error:
        raise CompressedDataDamaged(str(error)) from error


class _Checked:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._errors: tuple[type[Exception], ...] = (
            EOFError,
            gzip.BadGzipFile,
            lzma.LZMAError,
            zlib.error,
            zstd_module().ZstdError,
        )

    def read(self, size: int, /) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except self._errors as error:
            raise CompressedDataDamaged(str(error)) from error
        except OSError as error:
            # What bz2 raises for altered data has no number; a disk's own errors have one.
            if error.errno is not None:
                raise
            raise CompressedDataDamaged(str(error)) from error


def copy_content(
    path: Path,
    write: Callable[[bytes], object],
    skip: Sequence[range],
    on_position: Callable[[int], object] | None = None,
) -> None:
    """Write a file's plain content, but for the ranges (of plain bytes, ascending) to be skipped.

    ``on_position`` is told how many plain bytes lie behind whenever some were taken. Raises
    CompressedDataDamaged.
    """
    position = 0
    ranges = list(skip)
    with open_plain(path) as stream:
        while block := stream.read(_FED_BLOCK):
            start = 0
            while ranges and ranges[0].start < position + len(block):
                begin = max(ranges[0].start - position, start)
                write(block[start:begin])
                start = min(ranges[0].stop - position, len(block))
                if ranges[0].stop > position + len(block):
                    break
                ranges.pop(0)
            write(block[start:])
            position += len(block)
            if on_position is not None:
                on_position(position)


class PositionFile:
    """A small file by which a program tells its starter how far it is, in bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def option(self) -> str:
        """The argument that makes the program of this module write it."""
        return f"{_POSITION_OPTION}{self._path}"

    def read(self) -> int:
        """Return the last position that was told; 0 before the first."""
        try:
            return int(self._path.read_bytes() or 0)
        except (OSError, ValueError):
            return 0

    def write(self, position: int) -> None:
        """Tell a position; what can't be told is no reason to fail."""
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, b"%020d" % position, 0)
            finally:
                os.close(descriptor)


def main(arguments: Sequence[str]) -> int:
    """Write one file's content to standard output; 1 and a reason on stderr when damaged.

    ``--position=PLACE`` names a ``PositionFile`` to keep up to date; arguments ``START:STOP`` are
    ranges of plain bytes to leave out.
    """
    path, further = Path(arguments[0]), list(arguments[1:])
    on_position = None
    if further and further[0].startswith(_POSITION_OPTION):
        place = further.pop(0).removeprefix(_POSITION_OPTION)
        on_position = PositionFile(Path(place)).write
    bounds = [argument.partition(":") for argument in further]
    skip = [range(int(start), int(stop)) for start, _colon, stop in bounds]
    try:
        copy_content(path, sys.stdout.buffer.write, skip, on_position)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return 1
    except (CompressedDataDamaged, OSError) as error:
        sys.stderr.write(f"{path.name}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
