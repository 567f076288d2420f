"""One run of a worker: its journal, its state file, its watchdog, and whoever wants it to end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fsbackup_tui import __version__
from fsbackup_tui.domain.errors import Interrupted, Problem
from fsbackup_tui.domain.events import (
    CommandStarted,
    Event,
    JobFinished,
    JobStarted,
    JournalLine,
    Log,
    Outcome,
    Progress,
    StageFinished,
    StageStarted,
    Warned,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import HEARTBEAT, state_document
from fsbackup_tui.jobs.journal import JournalWriter, utc_now
from fsbackup_tui.jobs.layout import CANCEL, CONTROL, STATE, JobRequest, read_json, replace_json
from fsbackup_tui.jobs.leader import check_leader
from fsbackup_tui.jobs.liveness import boot_id, process_start_time
from fsbackup_tui.jobs.watchdog import Watchdog

POLL_SECONDS = 0.5
STATE_SECONDS = 1.0
LAST_WORD_SECONDS = 15.0


class JobSession:
    """What the worker tells and hears while it runs one request.

    A thread of its own flushes progress, replaces ``state.json``, polls ``control/`` at 2 Hz and
    asks the watchdog, so that an operation that keeps the event loop busy silences none of it.
    """

    def __init__(
        self,
        directory: Path,
        request: JobRequest,
        redactor: Redactor,
        *,
        pid: int,
        state: Path,
    ) -> None:
        self.directory = directory
        self.request = request
        self.cancelled = threading.Event()
        self.cancelled_by = ""
        self.on_cancel: Callable[[], None] | None = None
        self._pid = pid
        self.state = state
        self._feed = JobFeed()
        self._guard = threading.Lock()
        self._changed = True
        self._state_at = 0.0
        self._boot = boot_id()
        self._stage: tuple[str, float] | None = None
        self._watchdog: Watchdog | None = None
        self._stopping = False
        self._signalled = ""
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._thread = threading.Thread(target=self._keep_house, name="job", daemon=True)
        self._main = threading.get_ident()
        self._journal = JournalWriter(
            directory, redactor, on_line=self._take_line, complain=complain
        )

    def begin(self) -> None:
        """Journal that the job has started."""
        request = self.request.request
        self._journal.write(
            JobStarted(
                operation=request.operation,
                site=self.request.site,
                pid=self._pid,
                start_time=process_start_time(self._pid),
                version=__version__,
                stages=request.planned(),
            )
        )
        self._write_state(sync=False)
        self._thread.start()

    def watch(self, stall_after_seconds: float) -> None:
        """Warn when nothing moves for so long."""
        self._watchdog = Watchdog(stall_after_seconds)

    def report(self, event: Event) -> None:
        """Take an event of the operation, from any thread.

        Once the job is to end, progress told from a thread beside the main one raises
        Interrupted there: such work hears of a cancel no other way.
        """
        if (
            isinstance(event, Progress)
            and self.cancelled.is_set()
            and threading.get_ident() != self._main
        ):
            raise Interrupted("CANCELLED.")
        if isinstance(event, CommandStarted) and event.pid and not event.start_time:
            event = dataclasses.replace(event, start_time=process_start_time(event.pid))
        if self._watchdog is not None:
            self._watchdog.saw(event)
        self._journal.write(event)

    def stage(self, name: str) -> None:
        """Enter a stage, which ends the one before; StaleLeader if another leads by now."""
        self._end_stage("ok", None)
        check_leader(self.request, self.state)
        self._stage = (name, time.monotonic())
        self.report(StageStarted(name))

    def cancel(self, by: str) -> None:
        """Let the job end, once; ``by`` says who or what asked for it."""
        if self.cancelled.is_set():
            return
        self.cancelled_by = by
        self.cancelled.set()
        self.report(Log(f"Cancelled by {by}."))
        if self.on_cancel is not None:
            self.on_cancel()

    def finish(
        self, outcome: Outcome, result: Mapping[str, object], problem: Problem | None
    ) -> None:
        """Journal the last word and settle ``state.json``; waits a little for a full disk."""
        self._stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        self._end_stage(outcome, problem)
        last_word = JobFinished(outcome, result, problem)
        # The state is settled first: who has read the journal's end finds no other state there.
        line = self._journal.preview(last_word)
        if line is not None:
            self._take_line(line)
        self._write_state(sync=True)
        self._journal.write(last_word)
        if not self._journal.drain(LAST_WORD_SECONDS):
            complain(f"The journal lacks its end: the job ended {outcome}.")
        self._journal.close()

    def hurry(self, signal_name: str) -> None:
        """Let the job end because of a signal; does nothing a signal handler may not do."""
        self._signalled = signal_name
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes anyway
            os.write(self._wake_writer, b"!")

    def _end_stage(self, outcome: Outcome, problem: Problem | None) -> None:
        if self._stage is None:
            return
        name, started = self._stage
        self._stage = None
        seconds = round(time.monotonic() - started, 3)
        self.report(StageFinished(name, outcome, seconds, problem))

    def _take_line(self, line: JournalLine) -> None:
        with self._guard:
            self._feed.feed(line)
            self._changed = True

    def _keep_house(self) -> None:
        while not self._stopping:
            if select.select([self._wake_reader], [], [], POLL_SECONDS)[0]:
                os.read(self._wake_reader, 1024)
            self._journal.tick()
            self._hear_control()
            warning = self._watchdog.check() if self._watchdog is not None else None
            if warning is not None:
                self._journal.write(Warned(warning))
            age = time.monotonic() - self._state_at
            if age >= (STATE_SECONDS if self._changed else HEARTBEAT.total_seconds()):
                self._write_state(sync=False)

    def _hear_control(self) -> None:
        if self.cancelled.is_set():
            return
        if not (self.directory / CONTROL / CANCEL).exists():
            if self._signalled:
                self.cancel(f"signal {self._signalled}")
            return
        words = read_json(self.directory / CONTROL / CANCEL) or {}
        self.cancel(str(words.get("operator") or "fsbackup cancel"))

    def _write_state(self, *, sync: bool) -> None:
        with self._guard:
            document = state_document(self.request, self._feed, now=utc_now(), boot=self._boot)
            self._changed = False
        self._state_at = time.monotonic()
        with contextlib.suppress(OSError):
            replace_json(self.directory / STATE, document, sync=sync)


def complain(text: str) -> None:
    """Say a sentence in ``output.log``; where even that has no room, nobody can hear it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
