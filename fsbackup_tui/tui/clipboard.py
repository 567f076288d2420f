"""Copying text out of the terminal: tmux's buffer where there is tmux, else OSC 52."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Mapping

# xterm and others drop a longer sequence without a word; 74 994 is the customary cap.
OSC52_LIMIT = 74_994
_TMUX_SECONDS = 3.0


def copy_text(text: str, environ: Mapping[str, str], write: Callable[[str], None]) -> str:
    """Copy the text and return one line that says which way it went and how many bytes.

    Blocks for a moment where tmux is asked; ``write`` sends characters to the terminal.
    """
    size = len(text.encode())
    if environ.get("TMUX") and _to_tmux(text):
        return f"Copied {size} bytes to the tmux buffer (and the terminal's clipboard)."
    encoded = base64.b64encode(text.encode()).decode("ascii")
    if len(encoded) > OSC52_LIMIT:
        return f"NOT COPIED: {size} bytes are too many for the terminal. Y shows them."
    write(f"\x1b]52;c;{encoded}\x07")
    return f"Copied {size} bytes by OSC 52, if the terminal lets it. Y shows them by hand."


def _to_tmux(text: str) -> bool:
    """Load the text into tmux's buffer; False where that fails."""
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],  # noqa: S607 - the user's own tmux, by PATH
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TMUX_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
