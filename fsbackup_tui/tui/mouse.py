"""The mouse, while the application runs: off by default, so that the terminal can select text."""

from __future__ import annotations

from textual.driver import Driver

_ON = ("\x1b[?1000h", "\x1b[?1006h")
_OFF = ("\x1b[?1000l", "\x1b[?1003l", "\x1b[?1015l", "\x1b[?1006l")


def set_mouse(driver: Driver | None, on: bool) -> bool:
    """Let the terminal report presses and the wheel, or stop it; returns whether it does.

    Movements are never asked for: each would cost a repaint over the line (tui.md 4.2).
    """
    if driver is None:
        return False
    for sequence in _ON if on else _OFF:
        driver.write(sequence)
    driver.flush()
    # The driver turns off at the end what it believes to be on.
    driver._mouse = on
    return on
