"""Whether what should run by itself is installed to."""

from __future__ import annotations

from collections.abc import Iterable

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.schedule import EntryState, survey
from fsbackup_tui.operations.schedule_due import asked_since


async def timers(ground: Ground) -> Iterable[Finding]:
    """Return what of the configuration's times nothing on this machine keeps.

    Where the configuration only looks, nothing is to run.
    """
    if ground.loaded.config.read_only:
        return []
    found = await survey(
        ground.loaded, ground.environ, now=ground.now, last={}, asked=asked_since(ground.state)
    )
    if found.matches:
        return []
    wrong = [_words(state) for state in found.entries if not _is_right(state)]
    wrong += [f"{each}: installed, and asked for no more" for each in found.surplus]
    if len(found.how) > 1:
        wrong.append(f"installed twice: by {' and by '.join(found.how)}")
    nothing = not found.how
    return [
        Finding(
            "schedule",
            "warning",
            None,
            "NOTHING RUNS BY ITSELF: the times in the configuration are not installed here."
            if nothing
            else "SCHEDULE NOT AS CONFIGURED: what is installed differs.",
            "Looked at: the system's timers and those of this user."
            if nothing
            else "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if wrong[3:] else "") + ".",
            "fsbackup schedule install" if nothing else "fsbackup schedule show",
        )
    ]


def _is_right(state: EntryState) -> bool:
    return state.installed is not None and state.installed.state == "ok"


def _words(state: EntryState) -> str:
    installed = state.installed
    if installed is None:
        return f"{state.entry.id}: not installed"
    return f"{state.entry.id}: {installed.state}" + (f" ({installed.why})" if installed.why else "")
