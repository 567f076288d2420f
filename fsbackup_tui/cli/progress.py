"""Progress on a terminal: one live block, warnings above it; off a terminal only warnings."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TextIO

from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.events import JournalLine, Warned
from fsbackup_tui.domain.text import count_text, duration_text, left_text, plain_text, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.live import Live

    from fsbackup_tui.jobs.feed import JobFeed

_BAR_WIDTH = 24
_REFRESH_SECONDS = 0.5
_ACTIVE_SHOWN = 4


def bar_text(fraction: float, width: int = _BAR_WIDTH) -> str:
    """Return a bar in ASCII, ``[#####.....]``, full only when the work is."""
    filled = int(fraction * width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


def progress_lines(feed: JobFeed, job: str, *, now: datetime, width: int) -> list[str]:
    """Return the live block: the job and its stage, bar and figures, what it is at."""
    names = [stage.name for stage in feed.stages]
    place = feed.stage or "starting"
    if feed.stage in names and len(names) > 1:
        place += f" {names.index(feed.stage) + 1}/{len(names)}"
    elapsed = (now - feed.started).total_seconds() if feed.started else None
    lines = [f"{job}  {place}  {duration_text(elapsed)}"]
    if feed.progress is None and eta_text(feed):
        lines.append(eta_text(feed))
    if feed.progress is not None:
        lines.append("  ".join(figures(feed)))
        if feed.progress.detail:
            lines.append(plain_text(feed.progress.detail))
        lines.extend(f"  {plain_text(name)}" for name in feed.progress.active[:_ACTIVE_SHOWN])
        more = len(feed.progress.active) - _ACTIVE_SHOWN
        if more > 0:
            lines.append(f"  and {more} more")
    return [shorten(line, width) for line in lines]


def figures(feed: JobFeed) -> list[str]:
    """Return how far the stage is: bar, amounts, rate, ETA; nothing before it is known."""
    progress = feed.progress
    if progress is None:
        return []
    found: list[str] = []
    if feed.fraction is not None:
        found.append(f"{bar_text(feed.fraction)} {int(feed.fraction * 100)} %")
    done = amount_text(progress.done, progress.unit)
    if progress.total is None:
        found.append(done)
    else:
        found.append(f"{done} of {amount_text(progress.total, progress.unit)}")
    if feed.rate is not None:
        found.append(f"{amount_text(feed.rate, progress.unit)}/s")
    eta = eta_text(feed)
    return [*found, eta] if eta else found


def eta_text(feed: JobFeed) -> str:
    """Return when the end is expected, ``ETA 4 m (3 to 6)``; empty: unknown."""
    if feed.eta_seconds is None:
        return ""
    return f"ETA {left_text(feed.eta_seconds, feed.eta_range)}"


def amount_text(amount: float, unit: str) -> str:
    """Return an amount in its unit; bytes as sizes, anything else counted."""
    from fsbackup_tui.operations.wording import size_text

    return size_text(int(amount)) if unit == "bytes" else f"{count_text(int(amount))} {unit}"


class View(Protocol):
    """What shows a job while it is followed; every method may raise OSError for a dead tty."""

    def show(self, lines: list[JournalLine], feed: JobFeed) -> None:
        """Take what is new; called some times a second, also with nothing new."""

    def pause(self) -> None:
        """Leave the terminal to a question."""

    def close(self) -> None:
        """Take the live block away."""


class QuietView:
    """For cron, pipes and files: warnings alone, each on a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, lines: list[JournalLine], feed: JobFeed) -> None:
        """Print the new warnings."""
        for line in lines:
            if isinstance(line.event, Warned):
                for shown in wrap_text(line.event.text, first="warning: "):
                    self._stream.write(f"{shown}\n")
                self._stream.flush()

    def pause(self) -> None:
        """There is nothing to take away."""

    def close(self) -> None:
        """There is nothing to take away."""


class LiveView:
    """For a terminal: one block redrawn at most twice a second, and only when it changed."""

    def __init__(self, stream: TextIO, job: str, *, now: Callable[[], datetime]) -> None:
        from rich.console import Console

        self._job = job
        self._now = now
        self._console = Console(file=stream, highlight=False)
        self._live: Live | None = None
        self._shown: list[str] = []
        self._shown_at = 0.0

    def show(self, lines: list[JournalLine], feed: JobFeed) -> None:
        """Print new warnings above the block and redraw it when it is due."""
        from rich.text import Text

        for line in lines:
            if isinstance(line.event, Warned):
                shown = "\n".join(wrap_text(line.event.text, first="warning: "))
                self._console.print(Text(shown, style="yellow"))
        if feed.outcome is not None or time.monotonic() - self._shown_at < _REFRESH_SECONDS:
            return
        self._shown_at = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        block = progress_lines(feed, self._job, now=self._now(), width=width)
        if block != self._shown:
            self._shown = block
            self._started().update(
                Text("\n".join(block), no_wrap=True, overflow="crop"), refresh=True
            )

    def pause(self) -> None:
        """Take the block away; the next ``show`` brings it back."""
        if self._live is not None:
            self._live.stop()
        self._live = None
        self._shown = []

    def close(self) -> None:
        """Take the block away."""
        self.pause()

    def _started(self) -> Live:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self._live


def make_view(
    stream: TextIO, job: str, *, now: Callable[[], datetime], environ: Mapping[str, str]
) -> View:
    """Return the view that fits the stream: live on a real terminal, else quiet."""
    if stream.isatty() and environ.get("TERM", "dumb") != "dumb":
        return LiveView(stream, job, now=now)
    return QuietView(stream)
