"""Waiting for a condition with a limit, so that no test sleeps for a guessed time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], *, timeout: float = 20.0, what: str = "") -> None:
    """Return when the condition is true; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        pause.wait(_POLL_SECONDS)


async def wait_until_async(
    condition: Callable[[], object | Awaitable[object]], *, timeout: float = 20.0, what: str = ""
) -> None:
    """Return when the condition (plain or awaitable) is true; AssertionError after ``timeout``."""
    async with asyncio.timeout(timeout):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return
            await asyncio.sleep(_POLL_SECONDS)
