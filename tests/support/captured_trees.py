"""Trees captured into a directory as a part has them, without a repository."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.point import Artifact, ArtifactRole
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.engines.chain import Chain, Sink, read_artifact, write_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.capture import TreeCapture, store
from fsbackup_tui.engines.files.index import IndexEntry, read_index, write_index, write_sums
from fsbackup_tui.engines.files.tar_program import TarProgram, find_tar
from fsbackup_tui.engines.files.walk import Selection, Walk
from fsbackup_tui.repository.files import hash_file

_Result = TypeVar("_Result")
Watch = Callable[[bytes], object]


@dataclasses.dataclass(frozen=True)
class CapturedTree:
    """What a capture left: the facts, and artifacts below ``directory`` by their roles."""

    directory: Path
    facts: FilesFacts
    artifacts: dict[ArtifactRole, Artifact]

    def path(self, role: ArtifactRole) -> Path:
        """Where an artifact lies."""
        return self.directory / self.artifacts[role].path

    async def read(self, role: ArtifactRole, consume: Callable[[ByteStream], _Result]) -> _Result:
        """Return what ``consume`` makes of an artifact."""
        return await read_artifact(self.path(role), self.artifacts[role], ReadingKeys(), consume)

    async def entries(self) -> dict[bytes, IndexEntry]:
        """The index, by path."""
        return await self.read(
            "index", lambda stream: {entry.path: entry for entry in read_index(stream)}
        )


async def capture_tree(
    root: Path,
    directory: Path,
    *,
    watch: Watch | None = None,
    selection: Selection | None = None,
    compression: str | None = None,
    program: TarProgram | None = None,
) -> CapturedTree:
    """Capture a tree; ``watch`` sees the archive's bytes before anybody else does."""
    directory.mkdir(mode=0o700)  # noqa: ASYNC240
    capture = TreeCapture(program or await find_tar(), Walk(root, selection), directory)
    chain = Chain(compression, None)

    def produce(sink: Sink) -> None:
        capture.produce(_Watched(sink, watch) if watch else sink)

    try:
        names: dict[ArtifactRole, tuple[str, Callable[[Sink], None]]] = {
            "archive": ("files.tar", produce),
            "index": ("files.index", lambda sink: write_index(capture.blocks(), sink.write)),
            "sums": ("files.sha256", lambda sink: write_sums(capture.blocks(), sink.write)),
        }
        artifacts: dict[ArtifactRole, Artifact] = {}
        for role, (name, written) in names.items():
            path = directory / (name + chain.suffix)
            writing = asyncio.ensure_future(write_artifact(path, chain, written))
            artifact = (await store(capture, writing)).artifact(directory, path.name, role)
            sha256, size = hash_file(path)
            artifacts[role] = dataclasses.replace(artifact, sha256=sha256, bytes=size)
        return CapturedTree(directory, capture.facts(str(root)), artifacts)
    finally:
        capture.close()


class _Watched:
    def __init__(self, sink: Sink, watch: Watch) -> None:
        self._sink = sink
        self._watch = watch

    def write(self, data: bytes, /) -> object:
        self._watch(data)
        return self._sink.write(data)
