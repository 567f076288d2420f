"""Keeps the overview of the site fresh: opens it after the first paint, then looks now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.health import Answer
from fsbackup_tui.domain.text import when_text
from fsbackup_tui.tui.data import Overview, PointQuery, SiteData
from fsbackup_tui.tui.last_seen import ROWS_KEPT, LastSeen

if TYPE_CHECKING:
    from textual.timer import Timer

    from fsbackup_tui.tui.app import FsbackupApp

LOOK_SECONDS = 5.0
# A look at a huge or slow repository must not become all that this process does.
_SHARE = 20.0
EPOCH = datetime.fromtimestamp(0, UTC)


class SiteWatch:
    """Opens the site in a thread and looks at it again every few seconds."""

    def __init__(self, app: FsbackupApp) -> None:
        self._app = app
        self.data: SiteData | None = None
        self._looking = threading.Lock()
        self._again = False
        self._stopped = False
        self._problem: Problem | None = None
        self._kept: LastSeen | None = None
        self._next: Timer | None = None
        self._waiting: list[Callable[[], None]] = []

    def look(self) -> None:
        """Look at the site beside the screen; one look at a time."""
        if not self._looking.acquire(blocking=False):
            self._again = True
            return
        self._app.run_worker(self._look, group="overview", thread=True, exit_on_error=False)

    def when_open(self, act: Callable[[], None]) -> None:
        """Do something once the site is open, on the screen's thread; never where it can't be."""
        self._waiting.append(act)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True

    def _look(self) -> None:
        """Open the site if need be and gather its state; runs in a thread."""
        began = time.monotonic()
        overview: Overview | None = None
        problem: Problem | None = None
        seen: LastSeen | None = None
        try:
            if self.data is None:
                self.data = self._app.start.open_site()
                self._app.call_later(self._app.set_overview, self._app.overview)
                self._app.call_later(self._opened)
            overview = self.data.overview()
            seen = self._seen(self.data, overview)
        except FsbackupError as error:
            problem = error.problem()
        except Exception as error:  # noqa: BLE001 - the screen's outermost edge
            words = f"{type(error).__name__}: {error}"
            problem = Problem("internal", "SITE NOT READ: not foreseen.", words, "fsbackup doctor")
        finally:
            self._looking.release()
        if seen is not None and self._app.start.remember is not None:
            kept = replace(seen, at=EPOCH)
            if kept != self._kept:
                self._kept = kept
                self._app.start.remember(seen)
        pause = max(LOOK_SECONDS, _SHARE * (time.monotonic() - began))
        if not self._stopped:
            self._app.call_later(self._take, overview, problem, pause)

    def _seen(self, data: SiteData, overview: Overview) -> LastSeen:
        query = PointQuery()
        key = getattr(overview.zone, "key", "UTC")
        return LastSeen(
            self._app.now(),
            overview.site,
            overview.environment,
            overview.answer.body(60),
            str(key),
            overview.config,
            data.count(query),
            tuple(data.points(query, 0, ROWS_KEPT)),
        )

    def _opened(self) -> None:
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()

    def _take(self, overview: Overview | None, problem: Problem | None, pause: float) -> None:
        if self._stopped:
            return
        if overview is not None:
            self._problem = None
            self._app.set_overview(overview)
        elif problem is not None and problem != self._problem:
            self._problem = problem
            self._app.last_problem = problem
            self._app.set_overview(self._without_site(problem))
        if problem is not None and self.data is None:
            # What was asked for must not begin long after, when nobody thinks of it any more.
            self._waiting.clear()
        if self._again:
            self._again = False
            pause = 0.05
        # One timer alone: each look that was asked for would leave one of its own behind.
        if self._next is not None:
            self._next.stop()
        self._next = self._app.set_timer(pause, self.look)

    def _without_site(self, problem: Problem) -> Overview:
        """Return what is shown where a look failed: never what was green before."""
        answer = Answer("unusable", "bad", "", (problem.what,))
        if self.data is not None:
            return replace(self._app.overview, answer=answer)
        blocked = dict.fromkeys(("inventory", "backup", "verify", "verify-file", "jobs"), problem)
        return Overview(answer=answer, blocked=blocked)


def first_overview(seen: LastSeen | None, now: datetime) -> Overview:
    """Return what the first paint shows: what was seen last, as ``checking…``, never green."""
    if seen is None:
        return Overview()
    try:
        zone = ZoneInfo(seen.zone)
    except (KeyError, ValueError, OSError):
        return Overview(site=seen.site, environment=seen.environment)
    before = f" (at {when_text(seen.at, now, zone)} it was: {seen.answer})"
    return Overview(
        site=seen.site,
        environment=seen.environment,
        answer=Answer("checking", "checking", "", ("checking…", before)),
        zone=zone,
        config=seen.config,
    )
