"""Keeps the overview of the site fresh: opens it after the first paint, then looks now and then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.tui.data import Overview, SiteData
from fsbackup_tui.tui.last_seen import ROWS_KEPT, LastSeen

if TYPE_CHECKING:
    from fsbackup_tui.tui.app import FsbackupApp

LOOK_SECONDS = 5.0
# A look at a huge or slow repository must not become all that this process does.
_SHARE = 20.0
NO_CONFIG = "no-config"


class SiteWatch:
    """Opens the site in a thread and looks at it again every few seconds."""

    def __init__(self, app: FsbackupApp) -> None:
        self._app = app
        self.data: SiteData | None = None
        self._looking = threading.Lock()
        self._again = False
        self._stopped = False
        self._problem: Problem | None = None

    def begin(self) -> None:
        """Look for the first time."""
        self.look()

    def look(self) -> None:
        """Look at the site beside the screen; one look at a time."""
        if not self._looking.acquire(blocking=False):
            self._again = True
            return
        self._app.run_worker(self._look, group="overview", thread=True, exit_on_error=False)

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
            self._app.start.remember(seen)
        pause = max(LOOK_SECONDS, _SHARE * (time.monotonic() - began))
        if not self._stopped:
            self._app.call_later(self._take, overview, problem, pause)

    def _seen(self, data: SiteData, overview: Overview) -> LastSeen:
        from fsbackup_tui.tui.data import PointQuery

        query = PointQuery()
        key = getattr(overview.zone, "key", "UTC")
        return LastSeen(
            self._app.now(),
            overview.site,
            overview.environment,
            overview.answer,
            str(key),
            overview.config,
            data.count(query),
            tuple(data.points(query, 0, ROWS_KEPT)),
        )

    def _take(self, overview: Overview | None, problem: Problem | None, pause: float) -> None:
        if self._stopped:
            return
        if overview is not None:
            self._clear_problem()
            self._app.set_overview(overview)
        elif problem is not None and problem != self._problem:
            self._show_problem(problem)
        if self._again:
            self._again = False
            pause = 0.05
        self._app.set_timer(pause, self.look)

    def _show_problem(self, problem: Problem) -> None:
        from fsbackup_tui.tui.texts import ProblemScreen

        known = self.data is not None
        self._problem = problem
        self._app.note_problem(problem)
        short = Overview(answer=problem.what, tone="bad") if not known else self._app.overview
        self._app.set_overview(short)
        if not known:
            begin = problem.kind == NO_CONFIG
            self._app.push_screen(ProblemScreen(None if begin else problem))

    def _clear_problem(self) -> None:
        from fsbackup_tui.tui.texts import ProblemScreen

        self._problem = None
        if isinstance(self._app.screen, ProblemScreen):
            self._app.pop_screen()
