"""What a recovery's databases and schemas are called: by the incident, and by the attempt."""

from __future__ import annotations

from typing import Any

from fsbackup_tui.recovery.actions.action import Situation


def tag_of(situation: Situation, step: str = "") -> str:
    """Return what names end in: the incident's id, and the attempt from the second on."""
    tag = situation.incident.id.replace("-", "_")
    attempt = situation.facts.document("attempts").get(step, 0)
    return tag if not attempt else f"{tag}_{attempt + 1}"


def next_attempt(situation: Situation, step: str) -> dict[str, Any]:
    """Return what is learnt when a step is done: the next time it takes another name."""
    attempts = dict(situation.facts.document("attempts"))
    attempts[step] = int(attempts.get(step, 0)) + 1
    return {"attempts": attempts}
