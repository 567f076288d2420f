"""A site that is only looked at: ``read_only: true`` in its configuration."""

from __future__ import annotations

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import SafetyRefusal


def refuse_if_read_only(loaded: LoadedConfig, what: str) -> None:
    """Raise SafetyRefusal where the configuration forbids writing; ``what`` is not to be done.

    ``what`` reads as in ``READ ONLY: this configuration takes no backups.``
    """
    if loaded.config.read_only:
        raise SafetyRefusal(
            f"READ ONLY: this configuration {what}. Nothing was done.",
            why=f"{loaded.place('read_only')} says read_only: true.",
            fix="Do it where the configuration allows it; here list, show and verify work.",
        )
