"""Questions on any terminal, line by line: no colour, no cursor movement, nothing typed ahead.

On a terminal, whatever was typed or pasted before a question stood there is thrown away, so that
it answers nothing. Off a terminal every line is one answer, in order.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import TextIO

from fsbackup_tui.cli.follow import Interrupts
from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.text import cell_width, plain_text

_POLL_SECONDS = 0.5
_READ_BYTES = 65536


class Left(Exception):
    """The person went away: end of input, ctrl-c, or a signal (``number``)."""

    def __init__(self, number: signal.Signals | None = None) -> None:
        super().__init__()
        self.number = number


class Prompts:
    """Asks on a stream and reads the answers from a descriptor.

    ``idle`` is called about twice a second while an answer is waited for; it returns whether it
    printed anything, so that the question is put again.
    """

    def __init__(self, descriptor: int, out: TextIO, interrupts: Interrupts) -> None:
        self.descriptor = descriptor
        self.out = out
        self.interrupts = interrupts
        self.idle: Callable[[], bool] = lambda: False
        self.is_tty = os.isatty(descriptor)
        self._rest = b""
        self._ended = False

    def say(self, text: str = "", *, first: str = "", later: str | None = None) -> None:
        """Print a sentence in lines of at most 80 columns."""
        for line in wrap_text(text, first=first, later=later):
            self.out.write(line.rstrip() + "\n")
        self.out.flush()

    def line(self, text: str = "") -> None:
        """Print a line as it is."""
        self.out.write(plain_text(text).rstrip() + "\n")

    def ask(self, question: str) -> str:
        """Return the answer to a question, without the space around it.

        Raises Left where there is none to come.
        """
        self._forget()
        self._put(question)
        while True:
            found = self._take_line()
            if found is not None:
                if not self.is_tty:
                    self.line(found)
                return found.strip()
            self._heed()
            if self._ended:
                self.line()
                raise Left
            readable, _, _ = select.select([self.descriptor], [], [], _POLL_SECONDS)
            if readable:
                data = os.read(self.descriptor, _READ_BYTES)
                self._rest += data
                self._ended = not data
            elif self.idle():
                self._put(question)

    def ask_fresh(self, question: str) -> str:
        """Return what is typed for something that can hurt: set apart, so that it is read."""
        self.line()
        return self.ask(question)

    def _put(self, question: str) -> None:
        lines = wrap_text(question)
        for line in lines[:-1]:
            self.out.write(line + "\n")
        last = lines[-1]
        # What is typed stands on a line of its own where there is little room beside.
        self.out.write(last + (" " if cell_width(last) < 60 else "\n> "))
        self.out.flush()

    def _forget(self) -> None:
        """Throw away what was typed before the question; a script's lines are kept."""
        if not self.is_tty:
            return
        import termios

        self._rest = b""
        try:
            termios.tcflush(self.descriptor, termios.TCIFLUSH)
        except termios.error:
            self._ended = True

    def _take_line(self) -> str | None:
        line, newline, rest = self._rest.partition(b"\n")
        if newline or (self._ended and line):
            self._rest = rest
            return plain_text(line.decode("utf-8", "replace"))
        return None

    def _heed(self) -> None:
        number = self.interrupts.take()
        if number is not None:
            self.line()
            raise Left(number)
