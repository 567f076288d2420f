"""The application in a real terminal: a child on a pty, its bytes, its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

from tests.support.waiting import wait_until

PROGRAM = """
import sys
from tests.tui.pty_program import main
sys.exit(main())
"""
_READ_SECONDS = 0.02
ROOT = Path(__file__).parents[2]


class Terminal:
    """A child on a pty; everything it writes is kept and drawn.

    The child is the application on a site in memory, or ``command``. What it writes is read no
    faster than ``bytes_per_second``, where that is given: the line is as slow as that.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *words: str,
        columns: int = 80,
        rows: int = 24,
        command: Sequence[str] = (),
        bytes_per_second: int = 0,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._guard = threading.Lock()
        self.received = bytearray()
        self.status: int | None = None
        self._closed = False
        self._last_came = time.monotonic()
        self._piece = max(1, round(bytes_per_second * _READ_SECONDS)) if bytes_per_second else 65536
        self._pause = _READ_SECONDS if bytes_per_second else 0.0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            # Before it is looked at: a size that changes later is painted twice.
            _set_size(0, columns, rows)
            os.chdir(ROOT)
            command = command or [sys.executable, "-c", PROGRAM, *words]
            # What can't be run must not go on as a second run of the tests.
            try:
                os.execvpe(command[0], list(command), dict(environ))  # noqa: S606
            finally:
                os._exit(127)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        _set_size(self.master, columns, rows)

    def _read(self) -> None:
        pause, due = threading.Event(), time.monotonic()
        while True:
            try:
                ready, _, _ = select.select([self.master], [], [], 0.2)
                if self._closed:
                    return
                if not ready:
                    continue
                data = os.read(self.master, self._piece)
            except OSError:
                return
            if not data:
                return
            with self._guard:
                self.received += data
                self._stream.feed(data)
                self._last_came = time.monotonic()
            if self._pause:
                due = max(due + self._pause, time.monotonic() - self._pause)
                pause.wait(max(0.0, due - time.monotonic()))

    def count(self) -> int:
        """Return how many bytes came so far."""
        with self._guard:
            return len(self.received)

    def has_sent(self, sequence: bytes) -> bool:
        """Return whether these bytes came; the reader may lag behind the child: wait for it."""
        with self._guard:
            return sequence in self.received

    def quiet_for(self) -> float:
        """Return for how many seconds nothing has come."""
        with self._guard:
            return time.monotonic() - self._last_came

    def sent(self) -> bytes:
        """Return all bytes that came so far."""
        with self._guard:
            return bytes(self.received)

    def text(self) -> str:
        """Return what is on the screen."""
        with self._guard:
            return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true."""
        try:
            wait_until(condition, timeout=40, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def until_text(self, text: str) -> None:
        """Wait until the text is on the screen."""
        self.until(lambda: text in self.text(), text)

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the child's exit code; negative for a signal."""
        found: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                found.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        self.until(ended, "the end of the child")
        self.status = found[0]
        return found[0]

    def stopped(self) -> bool:
        """Return whether the child has stopped itself."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return bool(pid) and os.WIFSTOPPED(status)

    def close(self) -> None:
        """End the child if it still runs."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._closed = True
        self._reader.join()
        os.close(self.master)


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
