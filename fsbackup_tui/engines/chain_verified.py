"""What is read of an artifact, checked against what its manifest says of the content."""

from __future__ import annotations

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.engines.chain_stages import Counted
from fsbackup_tui.engines.compression import BLOCK, CompressedDataDamaged, decompressed
from fsbackup_tui.engines.encryption.keys import Inlet


class CutOff(PointDamaged):
    """The content ended too early; where the decryption failed, that is why."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"NOT READABLE: {name} ends too early.",
            why="It is cut off, or another content was stored under its name.",
            fix="Take another copy of this point, or another point.",
        )


class Verified:
    """An artifact's plain content, counted and hashed as it is read."""

    def __init__(self, inlet: Inlet, name: str, artifact: Artifact) -> None:
        compression = artifact.compression and artifact.compression.partition(":")[0]
        in_plain = artifact.encryption is None
        # Of what is not encrypted the stored bytes' hash will do, where there is no other.
        self._stored = Counted(hashing=in_plain and artifact.plain_sha256 is None)
        self._source = _Ending(inlet, self._stored)
        self._stream = decompressed(self._source, compression)
        self._name = name
        # Where nothing was done to it the stored file is the content.
        as_stored = in_plain and artifact.compression is None
        self._bytes = artifact.bytes if as_stored else artifact.plain_bytes
        self._sha256 = artifact.plain_sha256
        self._counted = Counted(hashing=self._sha256 is not None)
        self._stored_sha256 = artifact.sha256

    def read(self, size: int = -1, /) -> bytes:
        """Return the next of the content; PointDamaged where it is not what was stored."""
        try:
            data = self._stream.read(BLOCK if size < 0 else size)
        except CompressedDataDamaged as error:
            if self._source.ended:
                # The decryption knows better why there was no more.
                raise CutOff(self._name) from error
            raise _damaged(self._name, f"its compressed content is altered: {error}") from error
        self._counted.add(data)
        if self._bytes is not None and self._counted.bytes > self._bytes:
            raise _damaged(self._name, f"it holds more than the {self._bytes} bytes it should")
        return data

    def has_ended(self) -> bool:
        """Whether the stored file gives no more."""
        return self._source.ended

    def read_to_the_end(self) -> None:
        """Read what is left; PointDamaged where all of it is not what was stored."""
        while self.read(BLOCK):
            pass
        self._source.read_to_the_end(self._name)
        if self._counted.bytes != self._bytes and self._bytes is not None:
            raise CutOff(self._name)
        known = self._stored.sha256 and self._stored_sha256
        if (self._sha256 and self._counted.sha256 != self._sha256) or (
            known and self._stored.sha256 != self._stored_sha256
        ):
            raise _damaged(self._name, "its content is another than the one that was stored")


class _Ending:
    """Notes when its stream has come to the end; ``counted`` sees what it gave."""

    def __init__(self, stream: Inlet, counted: Counted) -> None:
        self._stream = stream
        self._counted = counted
        self.ended = False

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(BLOCK if size < 0 else size)
        self.ended = self.ended or (not data and size != 0)
        self._counted.add(data)
        return data

    def read_to_the_end(self, name: str) -> None:
        """See that nothing follows what was unpacked."""
        if self.read(1):
            raise _damaged(name, "something follows its content")


def _damaged(name: str, reason: str) -> PointDamaged:
    return PointDamaged(
        f"NOT READABLE: {name} can't be read to its end.",
        why=f"{reason[:1].upper()}{reason[1:]}.",
        fix="Take another copy of this point, or another point.",
    )
