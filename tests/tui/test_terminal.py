"""The application on a real pty: bytes over the line, colours, signals, the state it leaves."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal

FIRST_PAINT_BYTES = 40_000
LIVE_BYTES_PER_SECOND = 4_000
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **more,
    }


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(environ(tmp_path))
    yield opened
    opened.close()


def bytes_in(terminal: Terminal, seconds: float) -> int:
    """Return how many bytes come within some seconds of looking."""
    before = terminal.count()
    threading.Event().wait(seconds)
    return terminal.count() - before


def until_quiet(terminal: Terminal) -> None:
    """Wait until nothing has come for half a second."""
    last = [terminal.count(), time.monotonic()]

    def quiet() -> bool:
        now = terminal.count()
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 0.5

    terminal.until(quiet, "quiet")


def test_first_paint_is_small_and_idle_costs_nothing(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    until_quiet(terminal)
    assert terminal.count() < FIRST_PAINT_BYTES
    assert bytes_in(terminal, 3.0) == 0
    assert b"\x1b[?1003h" not in terminal.received
    assert b"\x1b[?1000h" not in terminal.received


def test_live_view_stays_within_the_line(tmp_path: Path) -> None:
    terminal = Terminal(environ(tmp_path), live=True)
    try:
        terminal.until_text("weekly-schema")
        terminal.type("2")
        terminal.until_text("backup k3f9")
        terminal.type("\r")
        terminal.until_text("dumping contents of table number")
        until = bytes_in(terminal, 4.0)
        assert 0 < until / 4.0 < LIVE_BYTES_PER_SECOND
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_signals_leave_the_terminal_clean(
    terminal: Terminal, number: signal.Signals, code: int
) -> None:
    terminal.until_text("weekly-schema")
    terminal.type("M")
    terminal.until_text("Mouse on")
    terminal.signal(number)
    assert terminal.wait() == code
    terminal.until(lambda: b"\x1b[?1049l" in terminal.received, "the end of the second screen")
    after = bytes(terminal.received)
    assert after.rindex(b"\x1b[?1000l") > after.rindex(b"\x1b[?1000h")
    assert after.rindex(b"\x1b[?25h") > after.rindex(b"\x1b[?25l")


def test_no_color_sends_no_colour_and_the_cursor_is_still_seen(tmp_path: Path) -> None:
    terminal = Terminal(environ(tmp_path, NO_COLOR="1"))
    try:
        terminal.until_text("weekly-schema")
        terminal.type("jj2")
        terminal.until_text("backup k3f9")
        terminal.type("\r")
        terminal.until_text("62 %")
        terminal.until_text("Commands")
        terminal.type("c")
        terminal.until_text("Cancel backup")
        codes = {
            code
            for found in COLOURS.findall(bytes(terminal.received))
            for code in found[2:-1].split(b";")
        }
        assert codes <= {b"", b"0", b"1", b"3", b"4", b"7", b"22", b"27", b"39", b"49"}
        assert " > No, let it run" in terminal.text()
    finally:
        terminal.close()


@pytest.mark.parametrize("term", ["xterm", "screen", "linux"])
def test_sixteen_colours_send_no_more_than_sixteen(tmp_path: Path, term: str) -> None:
    terminal = Terminal(environ(tmp_path, TERM=term))
    try:
        terminal.until_text("weekly-schema")
        assert not re.search(rb"[34]8;[25];", bytes(terminal.received))
        assert re.search(rb"\x1b\[[0-9;]*3[1-6]", bytes(terminal.received))
    finally:
        terminal.close()


def test_resize_to_nothing_and_back_in_a_real_terminal(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    terminal.resize(20, 5)
    terminal.screen.resize(5, 20)
    terminal.until_text("Window too")
    terminal.resize(80, 24)
    terminal.screen.resize(24, 80)
    terminal.until_text("weekly-schema")
    terminal.type("q")
    assert terminal.wait() == 0


def test_suspended_and_continued_everything_is_painted_again(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    terminal.type("\x1a")
    terminal.until(terminal.stopped, "the stop")
    assert b"\x1b[?1049l" in terminal.received
    terminal.screen.reset()
    terminal.signal(signal.SIGCONT)
    terminal.until_text("weekly-schema")
    terminal.until_text("PROD face-swap")
    terminal.until_text("q quit")
    terminal.type("q")
    assert terminal.wait() == 0


def test_keys_typed_while_leaving_leave_no_trace(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    terminal.type("q" + "jk\rq" * 40)
    assert terminal.wait() == 0
    assert b"Traceback" not in terminal.received
    assert "Error" not in terminal.text()


def test_paste_into_a_question_answers_nothing(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    terminal.type("2")
    terminal.until_text("backup k3f9")
    terminal.type("c")
    terminal.until_text("Cancel backup k3f9?")
    terminal.type("\x1b[200~y\ry\r\x1b[201~")
    terminal.type("?")
    terminal.type("n")
    terminal.until(lambda: "Cancel backup" not in terminal.text(), "no question")
    assert "RUNNING" in terminal.text()
    assert "CANCELLED" in terminal.text().split("f6g7")[1]
    assert "Cancelling" not in terminal.text()
    terminal.type("q")
    assert terminal.wait() == 0
