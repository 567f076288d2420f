"""Retention of the site as it really is, for its screens. Called in threads only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.edit import ConfigEdit, prepare_edit, why_not_editable
from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.retention import Retention
from fsbackup_tui.config.retention_edit import keep_change, retention_change
from fsbackup_tui.domain.disk_share import others_per_day
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.retention import Keep
from fsbackup_tui.jobs.supervisor import operator_name
from fsbackup_tui.operations.disk_looks import read_looks
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.retain_look import look
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.pins import write_pin as record_pin
from fsbackup_tui.tui.retention_data import RetentionView


def read_retention(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository, now: datetime
) -> RetentionView:
    """Return retention at this moment. RepositoryError where the repository can't be read."""
    found = look(loaded, environ, repository, now)
    fixed = why_not_editable(loaded)
    looks = read_looks(site_state(loaded, environ, repository), loaded.config.repository, now)
    return RetentionView(
        found.candidates,
        found.policies,
        found.guard,
        found.decision,
        now,
        found.zone,
        loaded.config.retention,
        found.trash,
        _free(repository.root),
        locked=_locked(loaded, repository),
        fixed=fixed,
        others=others_per_day(looks),
    )


def draft_of(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    plan: str,
    keep: Keep,
    settings: Retention,
) -> ConfigEdit:
    """Return what these rules would make of the configuration; see ``prepare_edit``."""
    changes = (keep_change(loaded, plan, keep), retention_change(loaded, settings))
    return prepare_edit(loaded, [each for each in changes if each is not None], environ)


def write_pin(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    repository: Repository,
    point: str,
    reason: str | None,
    now: datetime,
) -> None:
    """Write down that a point is pinned and why, or (None) that it is no more."""
    refuse_if_read_only(loaded, "pins no point")
    operator = operator_name(environ)
    record_pin(repository, point, reason, now=now, job="-", operator=operator)


def _free(root: Path) -> int | None:
    try:
        facts = os.statvfs(root)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize


def _locked(loaded: LoadedConfig, repository: Repository) -> Problem | None:
    if loaded.config.read_only:
        place = loaded.place("read_only")
        return Problem(
            "refused", "READ ONLY: nothing is removed, pinned or changed.", f"{place} says so."
        )
    if not os.access(repository.root, os.W_OK):
        return Problem(
            "refused",
            f"REPOSITORY NOT WRITABLE: {repository.root} is not this user's to write.",
            "Removing and pinning write into it.",
            "Run as the user that takes the backups: sudo -u USER fsbackup",
        )
    return None
