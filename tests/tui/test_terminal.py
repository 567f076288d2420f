"""The application on a real pty: bytes over the line, colours, signals, the state it leaves."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.tui.terminal import Terminal

# The design allows 40 kB; at 1200 bytes a second that would be half a minute.
FIRST_PAINT_BYTES = 4_000
LIVE_BYTES_PER_SECOND = 4_000
# What Textual's driver writes last when it gives the terminal back.
LAST_WORDS = b"\x1b[?1004l"
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **more,
    }


class Open(Protocol):
    """Opens terminals that are closed when the test ends."""

    def __call__(self, *words: str, **variables: str) -> Terminal:
        """Run the application with these words and environment variables."""
        ...


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_one(*words: str, **variables: str) -> Terminal:
        opened.append(Terminal(environ(tmp_path, **variables), *words))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture
def terminal(open_terminal: Open) -> Terminal:
    return open_terminal()


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


@pytest.mark.parametrize("term", ["xterm-256color", "tmux-256color", "linux"])
def test_first_paint_is_small_and_idle_costs_nothing(open_terminal: Open, term: str) -> None:
    terminal = open_terminal("seen", TERM=term)
    terminal.until_text("NO PROVEN POINT")
    until_quiet(terminal)
    assert terminal.count() < FIRST_PAINT_BYTES
    assert bytes_in(terminal, 3.0) == 0
    sent = terminal.sent()
    assert b"\x1b[?1003h" not in sent
    assert b"\x1b[?1000h" not in sent


def test_rows_of_last_time_are_not_sent_again_when_they_are_still_right(
    open_terminal: Open,
) -> None:
    terminal = open_terminal("seen")
    terminal.until_text("NO PROVEN POINT")
    until_quiet(terminal)
    assert terminal.sent().count(b"weekly-schema") == 1
    assert terminal.sent().count(b"13 Oct") == 1


def test_live_view_stays_within_the_line(open_terminal: Open) -> None:
    terminal = open_terminal("live")
    terminal.until_text("weekly-schema")
    terminal.type("2")
    terminal.until_text("backup k3f9")
    terminal.type("\r")
    terminal.until_text("dumping contents of table number")
    until = bytes_in(terminal, 4.0)
    assert 0 < until / 4.0 < LIVE_BYTES_PER_SECOND


def test_verify_costs_little_on_a_slow_line_and_nothing_when_idle(open_terminal: Open) -> None:
    terminal = open_terminal("proven", "seen")
    terminal.until_text("Restore rights not known")
    until_quiet(terminal)
    assert terminal.count() < FIRST_PAINT_BYTES
    for key, words in (("3", "READABLE"), ("p", "a column"), ("\x1b", "READABLE"), ("\r", "Times")):
        before = terminal.count()
        terminal.type(key)
        terminal.until_text(words)
        until_quiet(terminal)
        assert terminal.count() - before < FIRST_PAINT_BYTES, key
        assert bytes_in(terminal, 1.5) == 0, key


def test_verify_and_the_picture_need_no_colour(open_terminal: Open) -> None:
    terminal = open_terminal("proven", NO_COLOR="1")
    terminal.until_text("weekly-schema")
    terminal.type("3")
    terminal.until_text("blocked")
    terminal.type("p")
    terminal.until_text("a column")
    until_quiet(terminal)
    codes = {code for found in COLOURS.findall(terminal.sent()) for code in found[2:-1].split(b";")}
    assert codes <= {b"", b"0", b"1", b"3", b"4", b"7", b"22", b"27", b"39", b"49"}


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
    # The last of what it writes; more may still be on its way.
    terminal.until(lambda: terminal.has_sent(LAST_WORDS), "the end of the second screen")
    after = terminal.sent()
    assert after.rindex(b"\x1b[?1000l") > after.rindex(b"\x1b[?1000h")
    assert after.rindex(b"\x1b[?25h") > after.rindex(b"\x1b[?25l")


def test_no_color_sends_no_colour_and_the_cursor_is_still_seen(open_terminal: Open) -> None:
    terminal = open_terminal(NO_COLOR="1")
    terminal.until_text("weekly-schema")
    terminal.type("jj2")
    terminal.until_text("backup k3f9")
    terminal.type("\r")
    terminal.until_text("62 %")
    terminal.until_text("Commands")
    terminal.type("c")
    terminal.until_text("Cancel backup")
    codes = {code for found in COLOURS.findall(terminal.sent()) for code in found[2:-1].split(b";")}
    assert codes <= {b"", b"0", b"1", b"3", b"4", b"7", b"22", b"27", b"39", b"49"}
    assert " > No, let it run" in terminal.text()


@pytest.mark.parametrize("term", ["xterm", "screen", "linux"])
def test_sixteen_colours_send_no_more_than_sixteen(open_terminal: Open, term: str) -> None:
    terminal = open_terminal(TERM=term)
    terminal.until_text("weekly-schema")
    sent = terminal.sent()
    assert not re.search(rb"[34]8;[25];", sent)
    assert re.search(rb"\x1b\[[0-9;]*3[1-6]", sent)


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
    # What it wrote may still be on its way.
    terminal.until(lambda: terminal.has_sent(b"\x1b[?1049l"), "the end of the second screen")
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
    terminal.until(lambda: terminal.has_sent(LAST_WORDS), "the end of the second screen")
    assert not terminal.has_sent(b"Traceback")
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


def test_made_smaller_again_everything_stands_where_it_belongs(terminal: Terminal) -> None:
    terminal.until_text("weekly-schema")
    for columns, rows in ((120, 40), (80, 24), (140, 50), (60, 12), (80, 24)):
        terminal.screen.resize(rows, columns)
        terminal.resize(columns, rows)
        terminal.until(lambda: terminal.text().rstrip().endswith("q quit"), "the last line")
        until_quiet(terminal)
    terminal.type("2")
    terminal.until_text("backup k3f9")
    until_quiet(terminal)
    lines = terminal.text().splitlines()
    assert lines[0] == "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET readable"
    assert lines[2].split()[0] == "STARTED"
    assert lines[3].startswith(" > today 02:59 CET")
    assert lines[23].startswith(" Enter open")


def test_an_open_incident_costs_nothing_when_idle_and_little_to_go_through(
    open_terminal: Open,
) -> None:
    terminal = open_terminal("incident", "freeze")
    terminal.until_text("Who is to be kept from writing")
    until_quiet(terminal)
    assert terminal.count() < 2 * FIRST_PAINT_BYTES
    # As long as until the site is looked at again.
    assert bytes_in(terminal, 5.5) == 0
    before = terminal.count()
    terminal.type("3")
    terminal.until_text(" >  3")
    until_quiet(terminal)
    assert terminal.count() - before < 600
    before = terminal.count()
    terminal.type("\t")
    terminal.until_text("1.4 Stop the application")
    until_quiet(terminal)
    assert terminal.count() - before < FIRST_PAINT_BYTES
    assert bytes_in(terminal, 1.5) == 0


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "linux"}])
def test_no_paste_and_no_held_key_swaps_whatever_the_terminal(
    open_terminal: Open, variables: dict[str, str]
) -> None:
    terminal = open_terminal("incident", "swap", **variables)
    terminal.until_text("looked 0 s ago")
    until_quiet(terminal)
    threading.Event().wait(0.8)
    terminal.type("\r")
    terminal.until_text("Type shop to run")
    terminal.type("\r" * 40)
    terminal.type("\x1b[200~shop\r\x1b[201~")
    terminal.until_text("Not pasted: this name has to be typed. Nothing was done.")
    # Without bracketed paste it comes as keys, with Enter right behind them.
    terminal.type("shop\r")
    terminal.until_text("Enter came too soon after another key.")
    terminal.type("\x1b")
    terminal.until(lambda: "Type shop" not in terminal.text(), "no question")
    terminal.until_text("Swap it in")
    codes = {code for found in COLOURS.findall(terminal.sent()) for code in found[2:-1].split(b";")}
    if "NO_COLOR" in variables:
        assert codes <= {b"", b"0", b"1", b"3", b"4", b"7", b"22", b"27", b"39", b"49"}
    assert not re.search(rb"[34]8;[25];", terminal.sent())
    terminal.type("q")
    assert terminal.wait() == 0
