"""A site that only watches other scripts' backups: its configuration has no source or no plan."""

from __future__ import annotations

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import UsageError

_EXAMPLE = """\
sources: {db: {kind: postgres, url: "${DATABASE_URL}"}}
plans: {daily: {sources: [db]}}"""


def takes_no_backups(loaded: LoadedConfig) -> bool:
    """Whether there is nothing that ``fsbackup backup`` could run."""
    return not loaded.config.plans


def no_plan(loaded: LoadedConfig) -> UsageError:
    """Return what is said where a plan is needed and there is none."""
    return UsageError(
        "NO PLAN: this configuration only watches the backups of other scripts.",
        why=f"{loaded.path} names no plan.",
        fix=f"To take backups, add to it:\n{_EXAMPLE}",
    )


def no_source(loaded: LoadedConfig, what: str) -> UsageError:
    """Return what is said where a database is needed and there is none; ``what`` needs it."""
    return UsageError(
        f"NO DATABASE: {what}.",
        why=f"{loaded.path} names no source.",
        fix=f"Add it:\n{_EXAMPLE.splitlines()[0]}",
    )
