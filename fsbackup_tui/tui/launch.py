"""Builds the application for one invocation, runs it, and says afterwards what goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.glance import Glance, frozen_words
from fsbackup_tui.tui.app import FsbackupApp, Start
from fsbackup_tui.tui.data import SiteData
from fsbackup_tui.tui.last_seen import last_seen_path, read_last_seen, write_last_seen
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.terminal import few_colours
from fsbackup_tui.tui.theme import choose_theme

if TYPE_CHECKING:
    from fsbackup_tui.tui.site_data import Invocation


def run_application(
    invocation: Invocation, settings: Settings, *, mode: str = ""
) -> tuple[int, str]:
    """Run the application until it is left; returns the exit code and the words of farewell.

    ``mode`` is where it begins (``recover``), the inventory where it is empty.
    """
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
            mode=mode,
            message=" · ".join((*settings.problems, *([message] if message else []))),
        )
    )
    result = app.run(mouse=settings.mouse)
    app.site_watch.stop()
    running: Sequence[str] = app.overview.running
    incident = app.overview.incident
    if app.data is not None:
        running = _running_now(app.data, running)
        incident = _incident_now(app.data, incident)
        app.data.close()
    code = result if isinstance(result, int) else app.return_code or 0
    frozen = frozen_words(incident, app.now())
    words = farewell(
        running,
        invocation.site,
        invocation.config_path,
        frozen=frozen,
        incident=incident is not None,
    )
    return code, words


def _running_now(data: SiteData, known: Sequence[str]) -> Sequence[str]:
    """Return what runs at this moment: a job may have started or ended since the last look."""
    try:
        return [job.label for job in data.jobs() if job.state == "running"]
    except FsbackupError:
        return known


def _incident_now(data: SiteData, known: Glance | None) -> Glance | None:
    """Return the incident that is open at this moment."""
    try:
        return data.glance()
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


def farewell(
    running: Sequence[str],
    site: str | None = None,
    config: Path | None = None,
    *,
    frozen: str = "",
    incident: bool = False,
) -> str:
    """Return what goes on after the application was left, and how to come back.

    ``frozen`` is ``WRITES FROZEN 9 m`` where they are; ``incident``: one is open.
    """
    words = ["fsbackup"]
    if config is not None:
        words += ["--config", str(config)]
    elif site is not None:
        words += ["--site", site]
    if incident:
        words.append("recover")
    back = shlex.join(words)
    told = ["You left."]
    if frozen:
        stays = frozen.removeprefix("WRITES FROZEN ")
        told.append(f"WRITES STAY FROZEN ({stays}).")
    if incident and not frozen:
        told.append("The incident is open.")
    if not running:
        told.append("Nothing is running.")
    elif len(running) == 1:
        told.append(f"{running[0].capitalize()} runs on.")
    else:
        told.append(f"{', '.join(running).capitalize()} run on.")
    return f"{' '.join(told)} Back: {back}"
