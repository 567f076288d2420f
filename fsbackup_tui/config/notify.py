"""Who is told what ``check`` finds, and what is pinged when a plan begins and ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fsbackup_tui.config.values import SecretDescription, Settings


class Notify(Settings):
    """Addresses as apprise knows them, and pings of healthchecks' kind; all of them secrets.

    ``on``: warning tells everything that is found, critical only that. ``ping`` is by plan, and
    ``check`` for the look itself.
    """

    to: tuple[SecretDescription, ...] = ()
    ping: dict[str, SecretDescription] = Field(default_factory=dict)
    on: Literal["warning", "critical"] = "warning"
