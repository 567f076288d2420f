"""The lines of an index, made of an archive's members as they are read."""

from __future__ import annotations

from fsbackup_tui.engines.files.index import attributes_digest, escaped
from fsbackup_tui.engines.files.tar_stream import Member

_CACHED = 1024


class LineMaker:
    """Makes the line of a member; most members of a tree share owner and mode."""

    def __init__(self) -> None:
        self._owners: dict[tuple[int, int, int, bytes, bytes], bytes] = {}

    def line(
        self, member: Member, size: int, sha256: str | None, *, of_symlink: bool = False
    ) -> bytes:
        """Return the line, without its end and with the state ``-``.

        ``size`` and ``sha256`` are those of the content, also for a hard link; ``of_symlink``: it
        is a hard link to a symlink.
        """
        owner = (member.mode, member.uid, member.gid, member.user, member.group)
        told = self._owners.get(owner)
        if told is None:
            if len(self._owners) >= _CACHED:
                self._owners.clear()
            told = self._owners[owner] = owner_fields(*owner)
        if member.kind == "file" and sha256 is not None and not member.attributes:
            path = member.path
            if b"\\" in path or b"\t" in path or b"\n" in path:
                path = escaped(path)
            return b"file\t-\t%b\t%d\t%d\t%b\t-\t\t%b" % (
                told,
                size,
                member.mtime_ns,
                sha256.encode(),
                path,
            )
        return b"%b\t-\t%b\t%d\t%d\t%b\t%b\t%b\t%b" % (
            b"symlink-link" if of_symlink else member.kind.encode(),
            told,
            size,
            member.mtime_ns,
            sha256.encode() if sha256 else b"-",
            attributes_digest(member.attributes).encode() or b"-",
            escaped(member.target) if member.target else b"",
            escaped(member.path),
        )


def owner_fields(mode: int, uid: int, gid: int, user: bytes, group: bytes) -> bytes:
    """Return what stands in a line from the mode to the group."""
    return b"%o\t%d\t%d\t%b\t%b" % (mode, uid, gid, escaped(user), escaped(group))


def with_state(line: bytes, state: bytes) -> bytes:
    """Return a line with another state."""
    kind, _state, rest = line.split(b"\t", 2)
    return b"\t".join((kind, state, rest))


def path_in(line: bytes) -> bytes:
    """Return the path of a line, as it is written there."""
    return line[line.rindex(b"\t") + 1 :].rstrip(b"\n")
