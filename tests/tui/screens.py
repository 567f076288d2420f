"""Looking at a running application: its text, waiting until it has settled."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from fsbackup_tui.tui.app import FsbackupApp
from tests.support.waiting import wait_until_async


def text_lines(app: FsbackupApp) -> list[str]:
    """Return what is on the screen, line by line, without trailing blanks."""
    screen = app.screen
    width, height = screen.size
    strips = screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip) for strip in strips[:height]]
    return [shown[:width].rstrip() for shown in lines]


def screen_text(app: FsbackupApp) -> str:
    """Return what is on the screen as one text."""
    return "\n".join(text_lines(app))


async def until_text(pilot: Pilot[int], text: str) -> None:
    """Wait until the text is on the screen."""
    await _until(pilot, lambda app: text in screen_text(app), text)


async def until_gone(pilot: Pilot[int], text: str) -> None:
    """Wait until the text is not on the screen any more."""
    await _until(pilot, lambda app: text not in screen_text(app), f"no {text}")


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    """Wait until something is true, with everything painted."""
    await _until(pilot, lambda _app: condition(), "condition")


async def _until(pilot: Pilot[int], condition: Callable[[FsbackupApp], object], what: str) -> None:
    app = pilot.app
    assert isinstance(app, FsbackupApp)

    async def check() -> bool:
        await pilot.pause()
        return bool(condition(app))

    try:
        await wait_until_async(check, timeout=10, what=what)
    except TimeoutError:
        raise AssertionError(f"not on screen: {what}\n{screen_text(app)}") from None


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one after the other and let each take effect."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def open_jobs(pilot: Pilot[int], first: str = "backup k3f9") -> None:
    """Wait until the site is read, go to the jobs and wait for the first of them."""
    await until_text(pilot, "1/8")
    await press(pilot, "2")
    await until_text(pilot, first)


async def open_job(pilot: Pilot[int], shown: str = "62 %") -> None:
    """Go to the jobs and open the first; it is there when ``shown`` is on the screen."""
    await open_jobs(pilot)
    await press(pilot, "enter")
    await until_text(pilot, shown)
