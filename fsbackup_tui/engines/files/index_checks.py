"""Refusing a list of entries that no capture writes, before anything is done by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fsbackup_tui.engines.files.index import IndexDamaged, IndexEntry, shown_path
from fsbackup_tui.engines.files.tar_headers import LARGEST_FILE

_LONGEST_PATH = 4095
_LARGEST_ID = 1 << 32
_MOST_READ_AGAIN = 5_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


def checked(entries: Iterable[IndexEntry]) -> Iterator[IndexEntry]:
    """Yield the entries of an index; IndexDamaged where one leads out, or lies about its place.

    Each stands in a directory that was named before, the root first.
    """
    directories: list[bytes] = []
    again = 0
    for entry in entries:
        path = entry.path
        _check_values(entry)
        if path == b".":
            if entry.kind != "directory":
                raise _refused(path, "the root is no directory")
            yield entry
            continue
        _check_path(path, path)
        if entry.is_hard_link:
            _check_path(entry.target, path)
        above = path.rpartition(b"/")[0]
        while directories and directories[-1] != above and not _is_below(path, directories[-1]):
            directories.pop()
        if above != (directories[-1] if directories else b""):
            raise _refused(path, "it is in a directory that is not in the list")
        if entry.kind == "directory":
            directories.append(path)
        again += bool(entry.state)
        if again > _MOST_READ_AGAIN:
            raise _refused(path, "more was read again than any capture reads")
        yield entry


def _is_below(path: bytes, directory: bytes) -> bool:
    return path.startswith(directory) and path[len(directory) : len(directory) + 1] == b"/"


def _check_values(entry: IndexEntry) -> None:
    path = entry.path
    if not 0 <= entry.size <= LARGEST_FILE:
        raise _refused(path, "its size is none")
    if not 0 <= entry.mode <= 0o7777:
        raise _refused(path, "its mode is none")
    if not (0 <= entry.uid < _LARGEST_ID and 0 <= entry.gid < _LARGEST_ID):
        raise _refused(path, "its owner is none")
    if entry.sha256 is not None and _SHA256.fullmatch(entry.sha256) is None:
        raise _refused(path, "its hash is none")


def _check_path(path: bytes, told: bytes) -> None:
    # By far the most are told plain at one look.
    plain = b"/" + path
    if path and b"/." not in plain and b"//" not in plain and not path.endswith(b"/"):
        if len(path) <= _LONGEST_PATH and b"\0" not in path:
            return
        raise _refused(told, "it is too long, or has a NUL")
    if not path or len(path) > _LONGEST_PATH or b"\0" in path:
        raise _refused(told, "it is no path")
    if not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise _refused(told, "it leads out of the tree, or is written to look otherwise")


def _refused(path: bytes, why: str) -> IndexDamaged:
    return IndexDamaged(f"{shown_path(path)[:200]}: {why}")
