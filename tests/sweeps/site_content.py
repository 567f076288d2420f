"""What comes back of a stored artifact, by itself: what the manifest says is not asked."""

from __future__ import annotations

import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import BLOCK, ByteStream
from fsbackup_tui.engines.config_files import ConfigTarDamaged, read_tar
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from tests.sweeps.lane import Lane
from tests.sweeps.rows import archive_rows, database_rows

_TREES = ("files.tar", "work.tar", "artifacts.tar")

WITNESSED = (
    *("database.dump", "files.tar", "files.index", "files.sha256", "config.tar", "code.bundle"),
)
"""What something else in the point, or the machine that took it, tells the content of.

The others have no witness but their own hash: a patch that applies, files that no commit has, a
site's schema file. Who alters one of them and every hash of it is found by a signature alone.
"""


def everything(stream: ByteStream) -> bytes:
    """Read a stream to its end."""
    blocks = []
    while block := stream.read(BLOCK):
        blocks.append(block)
    return b"".join(blocks)


async def content_of(path: Path, artifact: Artifact, keys: ReadingKeys) -> bytes | None:
    """Return what a stored file holds, whatever that is; None where nothing comes of it."""
    unknown = replace(artifact, plain_bytes=None, plain_sha256="")
    try:
        return await read_artifact(path, unknown, keys, everything)
    except FsbackupError:
        return None


def differ(kind: str, before: bytes, after: bytes | None, lane: Lane, name: str) -> bool:
    """Whether something else comes back: other rows, other files, other values, other text."""
    if after is None:
        return True
    if before == after:
        return False
    if kind in _TREES:
        return _tree(before) != _tree(after)
    if kind == "config.tar":
        return _items(before) != _items(after)
    if kind == "database.dump":
        return _rows(after, lane, name) != database_rows(lane.live.url("shop"))
    return True


def _items(content: bytes) -> object:
    """A configuration's times are told by nothing else, and change nothing."""
    try:
        return [replace(item, mtime=0.0) for item in read_tar(BytesIO(content))]
    except ConfigTarDamaged as error:
        return str(error)


def _rows(content: bytes, lane: Lane, name: str) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory(dir=lane.directory) as place:
        dump = Path(place, "database.dump")
        dump.write_bytes(content)
        return archive_rows(lane.scratch, dump, plain=False, name=name)


def _tree(content: bytes) -> Mapping[str, object]:
    """Extract a tar by the stock tool and return all that came of it."""
    with tempfile.TemporaryDirectory() as place:
        command = ["tar", "--extract", "--preserve-permissions", "--file=-", f"--directory={place}"]
        ended = subprocess.run(command, input=content, capture_output=True, check=False)
        top = Path(place)
        found: dict[str, object] = {"": ended.returncode}
        first: dict[int, str] = {}
        for path in sorted(top.rglob("*")):
            facts = path.lstat()
            mode = stat.S_IFMT(facts.st_mode)
            what: object = None
            if mode == stat.S_IFLNK:
                what = path.readlink()
            elif mode == stat.S_IFREG:
                what = path.read_bytes()
            name = str(path.relative_to(top))
            linked = first.setdefault(facts.st_ino, name)
            found[name] = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime, linked, what)
        return found
