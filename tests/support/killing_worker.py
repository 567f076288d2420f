"""The worker, which counts its statements and kills somebody at one of them.

``$FSBACKUP_TEST_KILL`` is ``NUMBER SIDE VICTIM SIGNAL``: at which statement of the job, ``before``
or ``after`` it, which process (0: the worker), by which signal. At its end a worker that lives
writes into ``statements`` how many there were.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psycopg

from fsbackup_tui.jobs import worker

STATEMENTS = "statements"
KILL = "FSBACKUP_TEST_KILL"


class _Counter:
    def __init__(self, order: str) -> None:
        number, self._side, victim, how = (order or "0 before 0 9").split()
        self._number = int(number)
        self._victim = int(victim) or os.getpid()
        self._signal = int(how)
        self.count = 0

    def at(self, side: str) -> None:
        if self.count == self._number and side == self._side:
            os.kill(self._victim, self._signal)


def main(argv: list[str]) -> int:
    """Run the job in the directory named."""
    counter = _Counter(os.environ.get(KILL, ""))
    execute = psycopg.AsyncConnection.execute

    async def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        counter.count += 1
        counter.at("before")
        result = await execute(self, *arguments, **options)
        counter.at("after")
        return result

    psycopg.AsyncConnection.execute = counted  # type: ignore[method-assign]
    status = worker.main(argv)
    (Path(argv[1]) / STATEMENTS).write_text(str(counter.count))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
