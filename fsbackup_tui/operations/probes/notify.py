"""Whether those who should be told can be."""

from __future__ import annotations

from collections.abc import Iterator

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.notify import is_target
from fsbackup_tui.operations.notify_state import undelivered
from fsbackup_tui.operations.probes.ground import Ground


def messages(ground: Ground) -> Iterator[Finding]:
    """Yield every target that could not be reached when it was last tried."""
    for one in undelivered(ground.state):
        if not is_target(ground.loaded, one.target):
            continue
        is_ping = one.target.startswith("ping.")
        yield Finding(
            f"notify-undelivered:{one.target}",
            "warning",
            one.since,
            f"NOT DELIVERED: notify.{one.target} can't be reached.",
            f"{one.why}. What goes wrong here is not told there.",
            "See whether the address in notify: is right"
            if is_ping
            else "fsbackup notify test   tries every address",
            subject=one.target,
        )
