"""Showing a tree of files good: read to its end, every entry and hash as its index tells.

That is all that can be shown of files: an extraction brings the bytes that were hashed here.
Whether they are the ones that the rows name is shown with the database (``link_proof``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fsbackup_tui.domain.errors import KeyUnavailable, PointDamaged
from fsbackup_tui.domain.point import Artifact, ArtifactRole, PartManifest
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.extract import UnsafeArchive
from fsbackup_tui.engines.files.index import IndexDamaged
from fsbackup_tui.engines.files.spool import Spool
from fsbackup_tui.engines.files.tar_stream import TarDamaged
from fsbackup_tui.engines.files.verify import (
    Listed,
    compare_archive,
    content_digest,
    differing,
    put_aside,
    read_list,
)
from fsbackup_tui.operations.capture_files import TreeProgress
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.repository.reader import PointReader

_Result = TypeVar("_Result")


async def files_readable(
    context: JobContext, reader: PointReader, part: PartManifest, keys: ReadingKeys
) -> list[Finding]:
    """Read archive, index and sums to their ends and return what is wrong.

    Raises:
        KeyUnavailable: nothing here decrypts them.
    """
    stored = _Stored(reader, part, keys)
    try:
        listed = await stored.read("index", read_list)
        found = _list_findings(stored, part, listed)
        sums = await stored.read("sums", content_digest)
        if sums != listed.sums_digest:
            name = stored.artifact("sums").path
            found.append(Finding(part.source, name, "its hashes are not those of the index"))
        return [*found, *await _archive_findings(context, stored, part, listed)]
    except _Bad as bad:
        return [bad.finding]


class _Bad(Exception):
    """An artifact can't be read to its end."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


class _Stored:
    """The artifacts of one part, read by their roles."""

    def __init__(self, reader: PointReader, part: PartManifest, keys: ReadingKeys) -> None:
        self._reader = reader
        self._part = part
        self._keys = keys

    def artifact(self, role: ArtifactRole) -> Artifact:
        """Return the artifact of that role."""
        for artifact in self._part.artifacts:
            if artifact.role == role:
                return artifact
        raise _Bad(Finding(self._part.source, None, f"it has no artifact that is its {role}"))

    async def read(self, role: ArtifactRole, consume: Callable[[ByteStream], _Result]) -> _Result:
        """Return what ``consume`` makes of an artifact's content."""
        artifact = self.artifact(role)
        try:
            path = self._reader.artifact_path(self._part.source, artifact)
            return await read_artifact(path, artifact, self._keys, consume)
        except KeyUnavailable:
            raise
        except (IndexDamaged, TarDamaged) as error:
            what = str(error)
        except UnsafeArchive as error:
            what = error.why
        except PointDamaged as error:
            what = error.why or error.what
        raise _Bad(Finding(self._part.source, artifact.path, what))


def _list_findings(stored: _Stored, part: PartManifest, listed: Listed) -> list[Finding]:
    if part.files is None:
        return [Finding(part.source, None, "the manifest tells nothing of its files")]
    name = stored.artifact("index").path
    return [Finding(part.source, name, text) for text in listed.differences(part.files)]


async def _archive_findings(
    context: JobContext, stored: _Stored, part: PartManifest, listed: Listed
) -> list[Finding]:
    told = TreeProgress(context.report, part)
    found = await stored.read(
        "archive", lambda stream: compare_archive(stream, listed, advance=told.advance)
    )
    if found is None:
        spool = Spool(context.work)
        try:
            await stored.read("archive", lambda stream: put_aside(stream, listed, spool))
            found = await stored.read("index", lambda stream: differing(stream, spool))
        finally:
            spool.close()
        found = found or ["its entries are not those of the index"]
    name = stored.artifact("archive").path
    return [Finding(part.source, name, text) for text in found]
