"""What would make the capture of a tree of files fail, tried without storing anything."""

from __future__ import annotations

import asyncio
import itertools
import os

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import FilesSource
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.engines.files.index import shown_path
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.process_group import find_program
from fsbackup_tui.operations.capture_files import make_walk
from fsbackup_tui.operations.doctor import Finding, failure

_LOOKED_AT = 20_000
_SHOWN = 5


async def check_files_source(loaded: LoadedConfig, name: str, source: FilesSource) -> Finding:
    """See whether GNU tar is here, the tree can be read, and its hooks can be run.

    Of a large tree the first twenty thousand entries are looked at.
    """
    identifier = f"source-{name}"
    try:
        tar = await find_tar()
        for hook in (source.before, source.after):
            if hook:
                find_program(hook[0], os.environ, loaded.path.parent)
        if source.read_from is not None and source.before and not source.read_from.is_dir():
            what = f"files {name}: read from {source.read_from}, which 'before' has to make"
            return Finding(identifier, "ok", f"{what}, tar {tar.version}")
        looked, shut = await asyncio.to_thread(_look, source)
    except FsbackupError as error:
        return failure(identifier, error)
    if shut:
        return Finding(
            identifier,
            "error",
            f"FILES NOT READABLE: {name} can't be captured.",
            "\n".join(shut[:_SHOWN]),
            "Let this user read them, run the backup as one who may, or exclude them.",
        )
    root = source.read_from or source.root
    more = f"the first {count_text(looked)}" if looked == _LOOKED_AT else count_text(looked)
    return Finding(
        identifier, "ok", f"files {name}: {root}, {more} entries can be read, tar {tar.version}"
    )


def _look(source: FilesSource) -> tuple[int, list[str]]:
    """Return how many entries were looked at, and which of them this user may not read."""
    walk = make_walk(source)
    looked, shut = 0, []
    for entry in itertools.islice(walk.entries(), _LOOKED_AT):
        looked += 1
        if entry.kind == "file" and not os.access(walk.root + b"/" + entry.path, os.R_OK):
            shut.append(shown_path(entry.path))
    return looked, shut
