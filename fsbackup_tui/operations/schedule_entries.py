"""What a site's configuration asks to be run by itself, and how each is started."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.scheduled import Caller, Scheduled


def scheduled(config: SiteConfig) -> tuple[Scheduled, ...]:
    """Return every entry that has a time, plans first, in the file's order.

    A site that only watches (``read_only``) runs no backup, drill or proof by itself.
    """
    entries: list[Scheduled] = []
    if not config.read_only:
        entries += [
            Scheduled("backup", name, plan.at, ("backup", name))
            for name, plan in config.plans.items()
            if plan.at is not None
        ]
        entries += [
            Scheduled("drill", name, drill.at, ("drill", name))
            for name, drill in config.drills.items()
        ]
        if (due := config.verify_due) is not None:
            seconds = None if due.budget is None else f"{int(due.budget.total_seconds())}s"
            budget = () if seconds is None else ("--budget", seconds)
            entries.append(Scheduled("verify-due", "", due.at, ("verify", "--due", *budget)))
    if config.check is not None:
        entries.append(Scheduled("check", "", config.check.at, ("check", "--notify")))
    return tuple(entries)


def caller(loaded: LoadedConfig, environ: Mapping[str, str], uid: int | None = None) -> Caller:
    """Return how this installation is started for a configuration, whatever the directory.

    ``uid`` is who it runs as, where that is not the caller.

    Raises:
        UsageError: the configuration's path can't stand in a unit or a crontab.
    """
    config = str(loaded.path)
    if any(ord(letter) < 32 for letter in config):
        raise UsageError(
            "NO SCHEDULE FOR THIS PATH: the configuration's path holds a control character.",
            fix="Move it to a path of letters, digits, - and _.",
        )
    is_us = uid in (None, os.geteuid())
    user = pwd.getpwuid(os.geteuid() if uid is None else uid)
    environment = {"HOME": user.pw_dir}
    if is_us and loaded.config.state is None and environ.get("XDG_STATE_HOME", "").startswith("/"):
        # What runs by itself must find the same jobs and locks as who calls by hand.
        environment["XDG_STATE_HOME"] = environ["XDG_STATE_HOME"]
    return Caller(
        site=loaded.config.site,
        config=config,
        program=(sys.executable, "-P", "-m", "fsbackup_tui"),
        user=user.pw_name,
        environment=tuple(environment.items()),
        nice=loaded.config.limits.nice,
    )
