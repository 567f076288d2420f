"""The peak memory of a worker process, read from outside while it runs."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_WORKER = b"fsbackup_tui.jobs.worker"
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_EVERY_SECONDS = 0.05


class WorkerMemory:
    """Watches for workers of one state directory; ``peak_bytes`` is the largest VmHWM seen.

    VmHWM only grows, so that the last reading before the end is the peak; the programs that a
    worker starts are processes of their own and do not count.
    """

    def __init__(self, state: Path) -> None:
        self.peak_bytes = 0
        self._state = bytes(state)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look(process)

    def _look(self, process: Path) -> None:
        try:
            command = (process / "cmdline").read_bytes()
            if _WORKER not in command or self._state not in command:
                return
            match = _PEAK.search((process / "status").read_text())
        except OSError:
            return
        if match:
            self.peak_bytes = max(self.peak_bytes, int(match[1]) * 1024)
