"""GNU tar as a child that archives what it is named while it runs.

One thread does all: names go in while the archive comes out, so that tar starts at once and
neither waits for the other. (With a thread for each, Python's lock would make every ``lstat`` of
the walk wait for the reader: tried, it is slower by orders.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator

from fsbackup_tui.domain.errors import FilesUnreadable, ToolError
from fsbackup_tui.domain.events import CommandStarted, Report
from fsbackup_tui.engines.files.index import shown_path
from fsbackup_tui.engines.files.tar_messages import TarMessages, Trouble
from fsbackup_tui.engines.files.tar_program import TarProgram
from fsbackup_tui.engines.files.walk import Entry
from fsbackup_tui.engines.process_group import Child, child_environment

_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; fcntl knows its name on some builds only
_PIPE_BYTES = 1 << 20
# More at once leaves the processor's cache before it is hashed and compressed: tried.
_READ_BYTES = 1 << 17
_NAMED_AT_ONCE = 256
_MOST_NAMED = 4096
_LOOK_MILLISECONDS = 200
_END_SECONDS = 60.0
# 1: something differed or went away, 2: something could not be done; the messages tell what.
_GOOD_ENDS = (0, 1, 2)


class Stopped(Exception):
    """The capture is not wanted any more."""


class ArchivingTar:
    """A running tar; ``read`` gives its archive and names entries meanwhile.

    ``expected`` holds the entries that were named and whose members have not been taken yet.
    """

    def __init__(
        self,
        program: TarProgram,
        root: bytes,
        entries: Iterator[Entry],
        stop: threading.Event,
        report: Report | None = None,
    ) -> None:
        self.expected: deque[Entry] = deque()
        self.messages = TarMessages()
        self._entries = entries
        self._stop = stop
        self._names = b""
        self._poll = select.poll()
        input_theirs, self._input = os.pipe()
        self._output, output_theirs = os.pipe()
        self._errors, errors_theirs = os.pipe()
        argv = program.create(os.fsdecode(root))
        try:
            if sys.platform == "linux":
                with contextlib.suppress(OSError):
                    fcntl.fcntl(self._output, _SET_PIPE_SIZE, _PIPE_BYTES)
            self._child = Child(
                argv,
                environment=child_environment({}),
                stdin=input_theirs,
                stdout=output_theirs,
                stderr=errors_theirs,
            )
        except BaseException:
            for descriptor in (self._input, self._output, self._errors):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (input_theirs, output_theirs, errors_theirs):
                os.close(descriptor)
        if report is not None:
            report(CommandStarted(tuple(shown_path(os.fsencode(w)) for w in argv), self._child.pid))
        os.set_blocking(self._input, False)
        self._naming = False
        for descriptor in (self._output, self._errors):
            self._poll.register(descriptor, select.POLLIN)

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes of the archive, none at its end.

        Raises:
            FilesUnreadable, ToolError: tar could not do something, and says so.
            Stopped: the event was set.
        """
        while True:
            if self._stop.is_set():
                raise Stopped
            self._name_if_wanted()
            data: bytes | None = None
            for descriptor, _events in self._poll.poll(_LOOK_MILLISECONDS):
                if descriptor == self._output:
                    data = os.read(descriptor, min(size, _READ_BYTES))
                elif descriptor == self._errors:
                    self._listen()
                else:
                    self._name()
            if data is not None:
                if not data:
                    self._end()
                return data

    def close(self) -> None:
        """End the child if it still runs, and let the pipes go."""
        self._child.kill()
        for name in ("_input", "_output", "_errors"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def _name_if_wanted(self) -> None:
        wanted = self._input >= 0 and len(self.expected) < _MOST_NAMED
        if wanted and not self._naming:
            self._poll.register(self._input, select.POLLOUT)
        elif not wanted and self._naming:
            self._poll.unregister(self._input)
        self._naming = wanted

    def _name(self) -> None:
        """Name some more entries, as many as the pipe takes now."""
        if not self._names:
            entries = list(itertools.islice(self._entries, _NAMED_AT_ONCE))
            if not entries:
                self._stop_naming()
                return
            self.expected += entries
            self._names = b"\0".join([entry.path for entry in entries]) + b"\0"
        try:
            self._names = self._names[os.write(self._input, self._names) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._stop_naming()

    def _stop_naming(self) -> None:
        self._poll.unregister(self._input)
        self._naming = False
        os.close(self._input)
        self._input = -1

    def _listen(self) -> bool:
        """Take in what tar says; False once it will say nothing more."""
        if self._errors < 0:
            return False
        data = os.read(self._errors, 1 << 16)
        self.messages.feed(data)
        if self.messages.trouble is not None:
            raise _failure(self.messages.trouble)
        if not data:
            self._poll.unregister(self._errors)
            os.close(self._errors)
            self._errors = -1
        return bool(data)

    def _end(self) -> None:
        """See how tar ended."""
        while self._listen():
            pass
        status = self._child.wait_blocking(_END_SECONDS)
        if status is None or status not in _GOOD_ENDS:
            raise ToolError(
                "FILES NOT ARCHIVED: tar did not end well.",
                why=f"Its exit status is {status}.",
                fix="Run the backup again.",
            )
        if self._input >= 0:
            raise ToolError(
                "FILES NOT ARCHIVED: tar ended before it was told all names.",
                fix="Run the backup again.",
            )


def _failure(trouble: Trouble) -> FilesUnreadable | ToolError:
    if not trouble.path:
        return ToolError(
            "FILES NOT ARCHIVED: tar failed.", why=trouble.text, fix="Mend that, then run it again."
        )
    code = next(
        (name for number, name in errno.errorcode.items() if trouble.text.endswith(_says(number))),
        "",
    )
    return FilesUnreadable(
        f"FILES NOT READ: {shown_path(trouble.path)}.",
        why=f"tar says: {trouble.text}{f' ({code})' if code else ''}. Without it the part would "
        "not be whole.",
        fix="Let this user read it, run the backup as one who may, or exclude it.",
    )


def _says(number: int) -> str:
    return f": {os.strerror(number)}"
