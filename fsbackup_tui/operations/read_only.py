"""A site that is only looked at: ``read_only: true`` in its configuration, or ``--read-only``."""

from __future__ import annotations

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import SafetyRefusal


def refuse_if_read_only(loaded: LoadedConfig, what: str, *, would: str = "") -> None:
    """Raise SafetyRefusal where nothing is to be changed; ``what`` is not to be done.

    ``what`` reads as in ``READ ONLY: this configuration takes no backups.``; ``would`` says in a
    sentence what would have been done.
    """
    if loaded.config.read_only:
        raise SafetyRefusal(
            f"READ ONLY: this configuration {what}. Nothing was done.",
            why=f"{loaded.read_only_words()}." + (f"\n{would}" if would else ""),
            fix="Do it without --read-only; here list, show and verify work."
            if loaded.asked_read_only
            else "Do it where the configuration allows it; here list, show and verify work.",
        )
