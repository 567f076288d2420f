"""The demo in words on standard error: one line per step, and a living line on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from fsbackup_tui.domain.events import Event, Progress, StageStarted, TableDone, Warned

_COLUMNS = 78
_EVERY_SECONDS = 0.2


class Narrator:
    """Tells what happens; ``seconds`` has how long each step took, by its name."""

    def __init__(self, stream: TextIO, steps: int) -> None:
        self.seconds: dict[str, float] = {}
        self._stream = stream
        self._lively = stream.isatty()
        self._steps = steps
        self._shown_at = 0.0

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Announce a step and, when it is done, say how long it took."""
        head = f"[{len(self.seconds) + 1}/{self._steps}] {text}"
        if self._lively:
            self._show(head)
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self.line(f"{head} … not done")
            raise
        self.seconds[name] = time.monotonic() - started
        self.line(f"{head:<68}{self.seconds[name]:>8.1f} s")

    def event(self, event: Event) -> None:
        """Show where a job is: its warnings always, its progress on a terminal."""
        if isinstance(event, Warned):
            self.line(f"      note: {event.text}")
        elif self._lively and time.monotonic() - self._shown_at > _EVERY_SECONDS:
            text = _event_text(event)
            if text:
                self._show(f"      {text}")

    def line(self, text: str = "") -> None:
        """Say one line."""
        self._write(f"\r\x1b[K{text}\n" if self._lively else f"{text}\n")

    def _show(self, text: str) -> None:
        self._shown_at = time.monotonic()
        self._write(f"\r\x1b[K{text[:_COLUMNS]}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _event_text(event: Event) -> str:
    match event:
        case StageStarted(stage=stage):
            return f"{stage} …"
        case TableDone(table=table):
            return f"{table} done"
        case Progress(done=done, total=total, unit=unit, detail=detail):
            if total:
                return f"{100 * done / total:3.0f} %  {detail}"
            amount = f"{done / 1e6:.1f} MB" if unit == "bytes" else f"{done:g} {unit}"
            return f"{amount}  {detail}"
    return ""
