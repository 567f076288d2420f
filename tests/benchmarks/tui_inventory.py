"""Measures the inventory of 100 000 points: opening, key to paint, memory. Prints one line each.

Run: python -m tests.benchmarks.tui_inventory
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time

from tests.tui.fakes import FakeSite, make_app
from tests.tui.made import make_point

POINTS = 100_000
KEYS = ("j",) * 40 + ("pagedown",) * 40 + ("G", "g") * 10 + ("ctrl+d", "ctrl+u") * 10


async def measure() -> None:
    """Open the inventory, press the keys, and print what each took."""
    site = FakeSite(stored=[make_point(index % 3000) for index in range(POINTS)])
    began = time.perf_counter()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        while "1/100000" not in _text(app):  # noqa: ASYNC110 - the measured must not know
            await asyncio.sleep(0.005)
        print(f"opened         {1000 * (time.perf_counter() - began):8.1f} ms")
        await pilot.pause()
        taken: dict[str, list[float]] = {}
        for key in KEYS:
            taken.setdefault(key, []).append(await _press(app, key))
        await pilot.pause()
        for key, times in taken.items():
            middle, worst = statistics.median(times), max(times)
            print(f"{key:<14} {1000 * middle:8.1f} ms   worst {1000 * worst:.1f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory         {peak:8.1f} MB (the points of this fake among it)")


async def _press(app: object, key: str) -> float:
    """Send one key as the driver does and return the seconds until its row was painted."""
    from textual import events

    from fsbackup_tui.tui.app import FsbackupApp

    assert isinstance(app, FsbackupApp)
    before = _text(app)
    character = key if len(key) == 1 else None
    began = time.perf_counter()
    app.post_message(events.Key(key, character))
    while _text(app) == before and time.perf_counter() - began < 1:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return time.perf_counter() - began


def _text(app: object) -> str:
    from fsbackup_tui.tui.app import FsbackupApp
    from tests.tui.screens import text_lines

    assert isinstance(app, FsbackupApp)
    return "\n".join(text_lines(app))


if __name__ == "__main__":
    asyncio.run(measure())
    sys.exit(0)
