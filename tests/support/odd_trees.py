"""Trees of files with every oddity there is, and what must be the same of them afterwards."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from pathlib import Path

LONGEST = b"x" * 255
NOT_UTF8 = b"caf\xe9 \xff"
# Seconds and nanoseconds: before 1970, now, beyond 32 bits.
MOMENTS = (-1_234_567_890 * 10**9 + 5, 1_700_000_000 * 10**9 + 123_456_789, 4_000_000_000 * 10**9)


def make_odd_tree(root: Path, *, as_root: bool = False) -> None:
    """Make the tree; ``as_root`` adds owners, extended attributes, access lists and devices."""
    base = os.fsencode(root)
    os.mkdir(base, 0o750)
    names = [b"plain", b"new\nline", b"tab\there", b"back\\slash", b"-dash", b"*?[x]", b" blank "]
    names += [NOT_UTF8, LONGEST, "ü".encode(), b"ends\r", b"\\n", b".hidden", b"~", b"a:b"]
    for number, name in enumerate(names):
        _write(base + b"/" + name, b"content of " + name)
        os.utime(base + b"/" + name, ns=(0, MOMENTS[number % len(MOMENTS)]))
    _write(base + b"/empty", b"")
    deep = base + b"/deep"
    for _ in range(12):
        os.mkdir(deep)
        deep += b"/" + b"d" * 60
    os.mkdir(deep)
    _write(deep + b"/leaf", b"deep down")
    for mode in (0o000, 0o4755, 0o2711, 0o600, 0o777):
        _write(base + b"/mode-%o" % mode, b"%o" % mode)
        os.chmod(base + b"/mode-%o" % mode, mode)
    os.mkdir(base + b"/sticky")
    os.chmod(base + b"/sticky", 0o1777)  # noqa: S103
    os.mkdir(base + b"/a-directory")
    _write(base + b"/a-directory/inside", b"inside")
    _write(base + b"/a-file", b"sorts between a directory and what is in it")
    _links(base)
    _sparse(base)
    os.mkfifo(base + b"/pipe")
    _socket(base + b"/socket")
    if as_root:
        _for_root(base)
    for name in (b"/a-directory", b"/sticky", b""):
        os.utime(base + name, ns=(0, MOMENTS[1]))


def _links(base: bytes) -> None:
    for name, target in (
        (b"dangling", b"nowhere/at/all"),
        (b"absolute", b"/etc/hostname"),
        (b"loop", b"loop"),
        (b"up", b"../.."),
        (b"long-link", b"t" * 1000),
        (b"link-\n-link", NOT_UTF8),
    ):
        os.symlink(target, base + b"/" + name)
        os.utime(base + b"/" + name, ns=(0, MOMENTS[0]), follow_symlinks=False)
    os.link(base + b"/plain", base + b"/zz-hard")
    os.link(base + b"/plain", base + b"/sticky/hard")
    os.link(base + b"/empty", base + b"/zz-empty-hard")
    os.link(base + b"/dangling", base + b"/zz-hard-symlink", follow_symlinks=False)


def _sparse(base: bytes) -> None:
    for name, pieces, size in (
        (b"sparse", ((5 << 20, b"middle"), (9 << 20, b"end")), (9 << 20) + 3),
        (b"sparse-all", (), 3 << 20),
        (b"sparse-tail", ((0, b"head"),), 4 << 20),
    ):
        with Path(os.fsdecode(base + b"/" + name)).open("wb") as file:
            for offset, content in pieces:
                file.seek(offset)
                file.write(content)
            file.truncate(size)


def _socket(path: bytes) -> None:
    # The address of a socket is short; the directory of a test is not.
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
    finally:
        os.fchdir(here)
        os.close(here)


def _for_root(base: bytes) -> None:
    os.mknod(base + b"/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    _write(base + b"/owned", b"by somebody else")
    os.chown(base + b"/owned", 12345, 54321)
    _write(base + b"/owned-far", b"by an id beyond ustar's")
    os.chown(base + b"/owned-far", 3_000_000, 4_000_000)
    os.symlink(b"owned", base + b"/owned-link")
    os.chown(base + b"/owned-link", 12345, 54321, follow_symlinks=False)
    _write(base + b"/attributed", b"has attributes")
    os.setxattr(base + b"/attributed", b"trusted.note", b"bytes \0 and \n lines")
    os.setxattr(base + b"/attributed", b"system.posix_acl_access", _access_list(4711))
    os.setxattr(base + b"/a-directory", b"system.posix_acl_default", _access_list(4712))


def _access_list(user: int) -> bytes:
    """Return an access list that lets one more user read (acl(5), linux/posix_acl_xattr.h)."""
    undefined = 0xFFFFFFFF
    entries = [(1, 6, undefined), (2, 4, user), (4, 4, undefined), (16, 6, undefined)]
    entries.append((32, 0, undefined))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _write(path: bytes, content: bytes) -> None:
    with Path(os.fsdecode(path)).open("wb") as file:
        file.write(content)


def tree_state(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return what an extracted tree must have in common with the one that was captured."""
    base = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[int, list[bytes]] = {}
    for directory, names, files in os.walk(base):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, base)
            if not is_archived(status.st_mode):
                continue
            if not stat.S_ISDIR(status.st_mode):
                inodes.setdefault(status.st_ino, []).append(relative)
            found[relative] = entry_state(path)
    found[b"."] = _facts(base, os.lstat(base))
    for group in inodes.values():
        for path in group:
            found[path] += (tuple(sorted(group)),)
    return found


def is_archived(mode: int) -> bool:
    """Whether an entry of this mode is captured: sockets, pipes and devices are not."""
    return stat.S_IFMT(mode) not in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR)


def entry_state(path: bytes) -> tuple[object, ...]:
    """Return what one entry, extracted, must have in common with the one that was captured."""
    status = os.lstat(path)
    return (*_facts(path, status), _content(path, status))


def _facts(path: bytes, status: os.stat_result) -> tuple[object, ...]:
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    is_sparse = stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size
    return (
        stat.S_IFMT(status.st_mode),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        is_sparse,
        attributes,
    )


def _content(path: bytes, status: os.stat_result) -> object:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    mode = stat.S_IMODE(status.st_mode)
    with_rights = mode | 0o400
    try:
        if with_rights != mode:
            os.chmod(path, with_rights)
        return hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    finally:
        if with_rights != mode:
            os.chmod(path, mode)
