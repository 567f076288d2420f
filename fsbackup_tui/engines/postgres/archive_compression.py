"""Whether a pg_restore can decompress an archive: that depends on how it was built."""

from __future__ import annotations

import re
from pathlib import Path

from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.process import Command, run

_UNSUPPORTED = re.compile(
    r"does not support compression(?: \(this build does not support compression with (\w+)\)"
    r"|(?: with)? ?(\w+)?)"
)


async def unread_compression(client: ClientTools, archive: Path) -> str:
    """Return the compression of an archive that the client can't undo; empty where it can.

    Asked for the archive's list, it says at once which data would not be available.
    """
    completed = await run(
        Command((client.tool("pg_restore"), "--list", str(archive)), env=client.env), check=False
    )
    match = _UNSUPPORTED.search(completed.stderr)
    return "" if match is None else match[1] or match[2] or "it"
