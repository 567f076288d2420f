"""A command on a terminal of its own, and what stands on its screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

from tests.support.waiting import wait_until

_READ_SECONDS = 0.02


class Tty:
    """A child on a pty; ask for its screen often, since it is read only then."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        directory: Path,
        *,
        columns: int = 110,
        rows: int = 32,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            command[0],
            list(command[1:]),
            env={**environ, "TERM": "xterm-256color"},
            cwd=str(directory),
            dimensions=(rows, columns),
        )
        self.child.delaybeforesend = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return int(self.child.pid or 0)

    def text(self) -> str:
        """Read what has come and return what is on the screen."""
        until = time.monotonic() + _READ_SECONDS * 5
        try:
            while time.monotonic() < until:
                self._stream.feed(self.child.read_nonblocking(65536, timeout=_READ_SECONDS))
        except (pexpect.TIMEOUT, pexpect.EOF):
            pass
        return "\n".join(line.rstrip() for line in self._screen.display)

    def until(self, condition: Callable[[str], object], *, what: str, timeout: float = 30) -> str:
        """Return the screen as soon as the condition holds for it."""
        try:
            wait_until(lambda: condition(self.text()), timeout=timeout, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None
        return self.text()

    def until_text(self, *texts: str, timeout: float = 30) -> str:
        """Return the screen as soon as all of the texts are on it."""
        return self.until(
            lambda screen: all(text in screen for text in texts), what=str(texts), timeout=timeout
        )

    def type(self, text: str) -> None:
        """Type."""
        self.child.send(text)

    def wait(self) -> int:
        """Return the exit status; negative for a signal."""

        def ended() -> bool:
            self.text()
            return not self.child.isalive()

        wait_until(ended, timeout=30, what="the command has ended")
        if self.child.signalstatus is not None:
            return -int(self.child.signalstatus)
        return int(self.child.exitstatus or 0)

    def close(self) -> None:
        """Hang up, and kill the child where it stays."""
        self.child.close(force=True)


def answer(screen: Tty, key: str, *, question: str) -> None:
    """Give an answer until the question is gone: at first, keys are not taken for an answer."""

    def given(text: str) -> bool:
        if question in text:
            screen.type(key)
        return question not in text

    screen.until(given, what=f"{key} answers")
