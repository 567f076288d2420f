"""What is decided about the terminal before Textual is imported; imports nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from fsbackup_tui.domain.errors import UsageError

DEFAULT_FPS = 10
_RICH_TERMINALS = {"256color", "kitty", "direct", "ghostty", "alacritty", "truecolor"}


def refuse_unsuitable(environ: Mapping[str, str], *, tty: bool) -> None:
    """Raise UsageError where no full-screen application can be shown."""
    if not tty:
        raise UsageError(
            "NO TERMINAL: the input or the output of fsbackup is not a terminal.",
            why="The full-screen view needs both.",
            fix="fsbackup list, fsbackup jobs and fsbackup --help work without one.",
        )
    term = environ.get("TERM", "")
    if term in {"", "dumb", "unknown"}:
        shown = f"TERM={term}" if term else "TERM is not set"
        raise UsageError(
            f"TERMINAL TOO SIMPLE: {shown} can't move the cursor.",
            why="The full-screen view needs that.",
            fix="TERM=linux fsbackup, or fsbackup list, fsbackup jobs, fsbackup --help.",
        )


def few_colours(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal has sixteen colours or fewer, or wants none."""
    if "NO_COLOR" in environ:
        return True
    forced = environ.get("TEXTUAL_COLOR_SYSTEM", "auto").lower()
    if forced != "auto":
        return forced == "standard"
    if environ.get("COLORTERM", "").strip().lower() in {"truecolor", "24bit"}:
        return False
    return environ.get("TERM", "").rpartition("-")[2].lower() not in _RICH_TERMINALS


def prepare_environment(environ: MutableMapping[str, str], *, fps: int) -> None:
    """Set what Textual reads when it is imported: the manners for a bad line (design §8)."""
    environ["TEXTUAL_FPS"] = str(fps)
    environ["TEXTUAL_ANIMATIONS"] = "none"
    environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
    environ["TEXTUAL_THEME"] = "ansi-dark" if few_colours(environ) else "textual-dark"
    # A developer's settings must not turn an operator's screen into something else.
    for name in ("TEXTUAL", "TEXTUAL_FILTERS", "TEXTUAL_DRIVER", "TEXTUAL_PRESS"):
        environ.pop(name, None)
