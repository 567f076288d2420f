"""The journal of a job: one event a line, appended by the worker alone, read by everybody.

A line is ``{"seq": 7, "at": "…Z", "event": "progress", …}``. Secrets are replaced here, where a
line is appended, and nowhere else. State changes are fsynced; progress is written at most once
a second. A journal that can't be written (a full disk) never stops the work: lines are kept
back and written when there is room again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import (
    Event,
    JobFinished,
    JobStarted,
    JournalLine,
    Progress,
    StageFinished,
    StageStarted,
    Warned,
    event_document,
    format_time,
    parse_event,
    parse_time,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.layout import JOURNAL, RESERVE, open_private

PROGRESS_SECONDS = 1.0
_SYNCED = (JobStarted, StageStarted, StageFinished, JobFinished, Warned)
_KEPT_BACK = 2000
_RESERVE_BYTES = 64 * 1024
_READ_BYTES = 4 * 1024 * 1024
_DRAIN_POLL_SECONDS = 0.2


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def parse_line(line: bytes) -> JournalLine | None:
    """Return the event of one line; None for a torn or foreign line and for unknown events."""
    try:
        document = json.loads(line)
        event = parse_event(document)
        if event is None:
            return None
        return JournalLine(int(document["seq"]), parse_time(document["at"]), event)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def redact_values(value: object, redactor: Redactor) -> object:
    """Return plain values with every text in them redacted."""
    if isinstance(value, str):
        return redactor.redact(value)
    if isinstance(value, Mapping):
        return {str(key): redact_values(item, redactor) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(item, redactor) for item in value]
    return value


class JournalWriter:
    """Appends events to ``journal.jsonl``; one per job, safe to call from several threads.

    ``on_line`` gets every line, redacted, also those that can't be written; ``complain`` gets
    a sentence when writing fails and when it works again.
    """

    def __init__(
        self,
        directory: Path,
        redactor: Redactor,
        *,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
        on_line: Callable[[JournalLine], None] | None = None,
        complain: Callable[[str], None] | None = None,
    ) -> None:
        path = directory / JOURNAL
        self._descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
        if os.fstat(self._descriptor).st_size:
            os.close(self._descriptor)
            raise SafetyRefusal("JOB ALREADY RAN: its journal has been begun.", why=str(path))
        self._reserve: Path | None = _make_reserve(directory)
        self._redactor = redactor
        self._now = now
        self._clock = clock
        self._on_line = on_line
        self._complain = complain
        self._guard = threading.RLock()
        self._seq = 0
        self._progress: Progress | None = None
        self._progress_at = -PROGRESS_SECONDS
        self._kept_back: deque[bytes] = deque(maxlen=_KEPT_BACK)
        self._lost = 0
        self._torn = False
        self._failed_since: float | None = None

    def write(self, event: Event) -> None:
        """Append an event; progress waits for its second unless something else follows it."""
        with self._guard:
            if isinstance(event, Progress):
                self._progress = event
                self._write_progress_if_due()
                return
            if isinstance(event, StageStarted | StageFinished | JobFinished):
                self._write_progress()
            self._append(event, sync=isinstance(event, _SYNCED))

    def preview(self, event: Event) -> JournalLine | None:
        """Return the line that an event would become if it were written now."""
        with self._guard:
            return parse_line(self._encode(event))

    def tick(self) -> None:
        """Write what has waited: progress whose second is over, and lines kept back."""
        with self._guard:
            self._write_progress_if_due()
            if self._failed_since is not None:
                self._write_kept_back()

    def drain(self, seconds: float) -> bool:
        """Try for so long to write the lines kept back; return whether none is left."""
        deadline = self._clock() + seconds
        while True:
            self.tick()
            if not self._kept_back:
                return True
            if self._clock() >= deadline:
                return False
            time.sleep(_DRAIN_POLL_SECONDS)

    def close(self) -> None:
        """Close the file and give the reserve back; a second call does nothing."""
        with self._guard:
            self._use_reserve()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _write_progress_if_due(self) -> None:
        if self._clock() - self._progress_at >= PROGRESS_SECONDS:
            self._write_progress()

    def _write_progress(self) -> None:
        if self._progress is not None:
            event, self._progress = self._progress, None
            self._progress_at = self._clock()
            self._append(event, sync=False)

    def _append(self, event: Event, *, sync: bool) -> None:
        data = self._encode(event)
        self._seq += 1
        if self._failed_since is not None:
            self._keep_back(data, event)
            self._write_kept_back()
        elif not self._try_write(data, sync=sync):
            self._keep_back(data, event)
        line = parse_line(data)
        if self._on_line is not None and line is not None:
            self._on_line(line)

    def _encode(self, event: Event) -> bytes:
        """Return the next line's bytes: what the event tells, redacted."""
        plain = redact_values(event_document(event), self._redactor)
        if not isinstance(plain, dict):
            raise TypeError(f"an event's document is no object: {event!r}")
        document = {"seq": self._seq + 1, "at": format_time(self._now()), **plain}
        return (
            json.dumps(document, ensure_ascii=False, default=str).encode(
                errors="backslashreplace"  # JSON's own escape, for what UTF-8 has no bytes for
            )
            + b"\n"
        )

    def _keep_back(self, data: bytes, event: Event) -> None:
        if isinstance(event, Progress):
            return
        self._lost += len(self._kept_back) == _KEPT_BACK
        self._kept_back.append(data)

    def _write_kept_back(self) -> None:
        while self._kept_back:
            if not self._try_write(self._kept_back[0], sync=len(self._kept_back) == 1):
                return
            self._kept_back.popleft()
        if self._failed_since is None:
            return
        seconds = self._clock() - self._failed_since
        self._failed_since = None
        text = f"The journal could not be written for {seconds:.0f} s"
        text += f"; {self._lost} lines of it are lost." if self._lost else "; it is whole again."
        self._lost = 0
        self._append(Warned(text), sync=True)
        self._say(text)

    def _try_write(self, data: bytes, *, sync: bool) -> bool:
        try:
            self._write_all(data)
        except OSError as error:
            if self._use_reserve():
                return self._try_write(data, sync=sync)
            if self._failed_since is None:
                self._failed_since = self._clock()
                self._say(f"The journal can't be written ({error}); the work goes on.")
            return False
        if sync:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
        return True

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            written = os.write(self._descriptor, rest)
            rest = rest[written:]
            self._torn = bool(rest)

    def _use_reserve(self) -> bool:
        """Free the space set aside at the start; return whether there was any."""
        if self._reserve is None:
            return False
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        self._reserve = None
        return True

    def _say(self, text: str) -> None:
        if self._complain is not None:
            self._complain(text)


def _make_reserve(directory: Path) -> Path | None:
    """Set aside room for the journal's last lines, for the day on which the disk is full."""
    path = directory / RESERVE
    try:
        descriptor = open_private(path, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\0" * _RESERVE_BYTES)
    except OSError:
        return None
    return path


class JournalTail:
    """Reads a journal incrementally while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def read_new(self) -> list[JournalLine]:
        """Return the lines written since the last call, up to a few MB of them at a time.

        A last line without its end is kept for the next call; a journal that is not there (yet)
        has no lines. Call again until nothing comes to catch up with a long journal.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line for raw in whole if (line := parse_line(raw)) is not None]
