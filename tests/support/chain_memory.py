"""``python -m tests.support.chain_memory DIRECTORY SHORT LONG``: a chain's peak memory.

Stores an encrypted artifact of SHORT MiB, then one of LONG MiB, none of which compresses, and
prints this process's peak (KiB) behind each. A process of its own, for other tests leave memory
behind that would hide what a chain takes; the peak is the one of this program alone, for
``ru_maxrss`` begins with that of the process which started it.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
from pathlib import Path

from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import Chain, Sink, write_artifact
from fsbackup_tui.engines.encryption.age import AgeKey, new_identity

_STATUS = Path("/proc/self/status")


async def _main(directory: Path, sizes: list[int]) -> None:
    recipient = new_identity()[1]
    key = AgeKey(KeyFacts("age", "k1", recipients=(recipient,)), (recipient,))
    block = os.urandom(1 << 20)
    for size in sizes:

        def produce(sink: Sink, count: int = size) -> None:
            for number in range(count):
                sink.write(block[number:] + block[:number])

        await write_artifact(directory / f"{size}", Chain("zstd:1", key), produce)
        sys.stdout.write(f"{_peak()}\n")


def _peak() -> int:
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())
        if found is not None:
            return int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]]))
