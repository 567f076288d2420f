"""A pipe of which a child has one end and a thread of ours the other."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Literal, TypeVar

CAPACITY = 1 << 20
"""What a pipe holds, where the system lets us ask for it: fewer changes between processes."""

_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux; fcntl knows its name on some builds only
_Result = TypeVar("_Result")


class ChannelStopped(Exception):
    """The other side is not wanted any more: whoever reads or writes is to end."""


class Channel:
    """A pipe to or from a child; ``ours`` says which end a thread of ours works with.

    The child's end is closed on our side by whoever starts the child. Reading and writing block
    the calling thread; ``stop``, from any thread, makes them raise ChannelStopped.
    """

    def __init__(self, ours: Literal["reads", "writes"]) -> None:
        reading, writing = os.pipe()
        self._own, self._theirs = (reading, writing) if ours == "reads" else (writing, reading)
        self._stopped, self._stop = os.pipe()
        self._events = select.POLLIN if ours == "reads" else select.POLLOUT
        self._lock = threading.Lock()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(writing, _SET_PIPE_SIZE, CAPACITY)
        os.set_blocking(self._own, False)

    def take_theirs(self) -> int:
        """Return the child's end; the caller closes it when the child has it."""
        descriptor, self._theirs = self._theirs, -1
        if descriptor < 0:
            raise ValueError("a channel serves one child")
        return descriptor

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes as soon as there are any; none at the end."""
        while True:
            self._wait()
            with contextlib.suppress(BlockingIOError):
                return os.read(self._own, size)

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of it; BrokenPipeError when the child has left."""
        left = memoryview(data)
        while left:
            self._wait()
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self._own, left) :]
        return len(data)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._stopped, select.POLLIN)
        poll.register(self._own, self._events)
        if any(descriptor == self._stopped for descriptor, _event in poll.poll()):
            raise ChannelStopped

    def finish(self) -> None:
        """Close our end: the child sees the end of its input, or that nobody reads."""
        with self._lock:
            if self._own >= 0:
                os.close(self._own)
                self._own = -1

    def stop(self) -> None:
        """Make whoever reads or writes end; may be called at any time, more than once."""
        with self._lock:
            if self._stop >= 0:
                os.close(self._stop)
                self._stop = -1

    def close(self) -> None:
        """Give up all descriptors, when no thread works with the channel any more."""
        self.stop()
        self.finish()
        with self._lock:
            for descriptor in (self._theirs, self._stopped):
                if descriptor >= 0:
                    os.close(descriptor)
            self._theirs = self._stopped = -1


async def in_thread(function: Callable[[], _Result], *, stop: Callable[[], None]) -> _Result:
    """Run a function in a thread of its own and return what it returns.

    When this task is cancelled ``stop`` is called, which makes the function end soon; the
    cancellation comes out when it has. No pool: a stage of a chain waits for the others, and a
    pool that is full of waiting stages would wait for ever.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - handed to the task that waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=getattr(function, "__name__", "stage"), daemon=True).start()
    cancelled = False
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            cancelled = True
            stop()
        except Exception:  # noqa: BLE001 - taken from the future below
            break
    if cancelled:
        done.exception()
        raise asyncio.CancelledError
    return done.result()
