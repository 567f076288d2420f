"""Compressed files as streams of their content; run as a module it prints one file's content.

``python -m fsbackup_tui.engines.compression FILE [START:STOP …]`` is what feeds psql: the same
decompressor that checked the file, whichever tools the machine has.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

BLOCK = 1 << 20


class CompressedDataDamaged(ValueError):
    """Compressed data is cut off or altered."""


class ByteStream(Protocol):
    """What is read from: blocks of bytes, an empty one at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; empty at the end of the content."""
        ...


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


def copy_content(path: Path, write: Callable[[bytes], object], skip: Sequence[range]) -> None:
    """Write a file's plain content, but for the ranges (of plain bytes, ascending) to be skipped.

    Raises CompressedDataDamaged.
    """
    position = 0
    ranges = list(skip)
    with open_plain(path) as stream:
        while block := stream.read(BLOCK):
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


def main(arguments: Sequence[str]) -> int:
    """Write one file's content to standard output; 1 and a reason on stderr when damaged.

    Further arguments ``START:STOP`` are ranges of plain bytes to leave out.
    """
    path = Path(arguments[0])
    bounds = [argument.partition(":") for argument in arguments[1:]]
    skip = [range(int(start), int(stop)) for start, _colon, stop in bounds]
    try:
        copy_content(path, sys.stdout.buffer.write, skip)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return 1
    except (CompressedDataDamaged, OSError) as error:
        sys.stderr.write(f"{path.name}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
