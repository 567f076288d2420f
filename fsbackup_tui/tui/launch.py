"""Builds the application for one invocation, runs it, and says afterwards what goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.tui.app import FsbackupApp, Start
from fsbackup_tui.tui.data import SiteData
from fsbackup_tui.tui.last_seen import last_seen_path, read_last_seen, write_last_seen
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.terminal import few_colours
from fsbackup_tui.tui.theme import choose_theme

if TYPE_CHECKING:
    from fsbackup_tui.tui.site_data import Invocation


def run_application(invocation: Invocation, settings: Settings) -> tuple[int, str]:
    """Run the application until it is left; returns the exit code and the words of farewell."""
    environ = invocation.environ
    look, message = choose_theme(environ, settings.theme, few_colours=few_colours(environ))
    seen_path = last_seen_path(environ, _identity(invocation))
    app = FsbackupApp(
        Start(
            look=look,
            open_site=partial(_open, invocation),
            environ=environ,
            settings=settings,
            seen=read_last_seen(seen_path),
            remember=partial(write_last_seen, seen_path),
            message=" · ".join((*settings.problems, *([message] if message else []))),
        )
    )
    result = app.run(mouse=settings.mouse)
    app.site_watch.stop()
    running: Sequence[str] = app.overview.running
    if app.data is not None:
        running = _running_now(app.data, running)
        app.data.close()
    code = result if isinstance(result, int) else app.return_code or 0
    return code, farewell(running, invocation.site, invocation.config_path)


def _running_now(data: SiteData, known: Sequence[str]) -> Sequence[str]:
    """Return what runs at this moment: a job may have started or ended since the last look."""
    try:
        return [job.label for job in data.jobs() if job.state == "running"]
    except FsbackupError:
        return known


def _identity(invocation: Invocation) -> str:
    """Return what tells the start of one site from that of another, without reading a file."""
    return repr(
        (
            os.getuid(),
            str(invocation.config_path),
            invocation.site,
            invocation.environ.get("FSBACKUP_CONFIG"),
            str(Path.cwd()),
        )
    )


def _open(invocation: Invocation) -> SiteData:
    from fsbackup_tui.tui.site_data import open_site

    return open_site(invocation)


def farewell(running: Sequence[str], site: str | None = None, config: Path | None = None) -> str:
    """Return what goes on after the application was left, and how to come back."""
    words = ["fsbackup"]
    if config is not None:
        words += ["--config", str(config)]
    elif site is not None:
        words += ["--site", site]
    back = shlex.join(words)
    if not running:
        return f"You left. Nothing is running. Back: {back}"
    if len(running) == 1:
        return f"You left. {running[0].capitalize()} runs on. Back: {back}"
    return f"You left. {', '.join(running).capitalize()} run on. Back: {back}"
