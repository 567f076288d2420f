"""A git bundle read as it streams by: its refs, and whether its pack is whole.

The form is that of gitformat-bundle(5): a signature, capabilities (version 3), prerequisites,
refs, an empty line, a pack that ends with the hash of all before it. ``git bundle verify`` reads
the head alone, and passes what is cut off behind it.
"""

from __future__ import annotations

import hashlib

_LARGEST_HEADER = 64 << 20
_SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_END = b"\n\n"
_PACK = b"PACK"


class BundleDamaged(ValueError):
    """A bundle is cut off or altered."""


def shown_name(name: bytes) -> str:
    """Return the name of a ref as manifests have it: what is no UTF-8 stands as ``\\xNN``.

    No two names become one: git allows no backslash in them.
    """
    return name.decode("utf-8", "backslashreplace")


class BundleReader:
    """Takes the bytes of a bundle; ``finish`` says whether it was a whole one."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}
        self.prerequisites: list[str] = []
        self.object_format = "sha1"
        self.bytes = 0
        self._head: bytearray | None = bytearray()
        self._hash = hashlib.sha1(usedforsecurity=False)
        self._tail = b""
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes; BundleDamaged where the head is no bundle's."""
        self.bytes += len(data)
        if self._head is None:
            self._pack(data)
            return
        self._head += data
        end = self._head.find(_END)
        if end >= 0:
            head, rest = bytes(self._head[: end + 1]), bytes(self._head[end + len(_END) :])
            self._head = None
            self._read_head(head)
            self._pack(rest)
        elif len(self._head) > _LARGEST_HEADER:
            raise BundleDamaged("its list of refs has no end")

    def _read_head(self, head: bytes) -> None:
        signature = next((s for s in _SIGNATURES if head.startswith(s)), None)
        if signature is None:
            raise BundleDamaged("it does not begin as a git bundle does")
        for line in head[len(signature) :].splitlines():
            if line.startswith(b"@"):
                name, _, value = line[1:].partition(b"=")
                if name == b"object-format":
                    self.object_format = value.decode("ascii", "replace")
            elif line.startswith(b"-"):
                self.prerequisites.append(line[1:].split(b" ")[0].decode("ascii", "replace"))
            else:
                commit, _, name = line.partition(b" ")
                shown = shown_name(name)
                if not name or shown in self.refs:
                    raise BundleDamaged("its list of refs is altered")
                self.refs[shown] = commit.decode("ascii", "replace")
        if self.object_format == "sha256":
            self._hash = hashlib.sha256()

    def _pack(self, data: bytes) -> None:
        """Hash all but the last bytes: they are the hash."""
        data = self._tail + data
        if not self._begun and len(data) >= len(_PACK):
            self._begun = True
            if not data.startswith(_PACK):
                raise BundleDamaged("no pack follows its list of refs")
        kept = self._hash.digest_size
        self._hash.update(data[:-kept])
        self._tail = data[-kept:]

    def finish(self) -> None:
        """Raise BundleDamaged unless all of a bundle was there, unaltered in its pack."""
        if self._head is not None:
            raise BundleDamaged("it ends within its list of refs")
        if not self._begun or self._hash.digest() != self._tail:
            raise BundleDamaged("its pack is cut off or altered: its own hash differs")
