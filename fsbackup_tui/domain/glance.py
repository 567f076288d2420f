"""An open incident at a glance: what every face says of it in one line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fsbackup_tui.domain.health import Answer, site_head
from fsbackup_tui.domain.incident import DamageSpan

IDLE_LIMIT = timedelta(days=1)
"""An open incident about which nobody did anything for so long is forgotten (design §7)."""


@dataclass(frozen=True, slots=True)
class Glance:
    """An open incident: who leads, at which step (empty: all are behind), since when frozen.

    ``damage`` is when live was not right, None where nobody knows; ``last_entry`` when somebody
    did something about it last.
    """

    id: str
    opened: datetime
    leader: str
    step: str = ""
    frozen_since: datetime | None = None
    is_drill: bool = False
    damage: DamageSpan | None = None
    last_entry: datetime | None = None


def minutes_text(seconds: float) -> str:
    """Return an age in minutes at the least, so that it changes once a minute: ``0 m``, ``9 m``."""
    minutes = int(max(0.0, seconds)) // 60
    if minutes < 120:
        return f"{minutes} m"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def frozen_words(glance: Glance | None, now: datetime) -> str:
    """Return ``WRITES FROZEN 9 m``, empty where nothing is frozen."""
    if glance is None or glance.frozen_since is None:
        return ""
    return f"WRITES FROZEN {minutes_text((now - glance.frozen_since).total_seconds())}"


def incident_answer(glance: Glance, site: str, environment: str, now: datetime) -> Answer:
    """Return the answer line while an incident is open (design §8)."""
    age = minutes_text((now - glance.opened).total_seconds())
    leads = f"{glance.leader} leads" if glance.leader else "nobody leads"
    step = f"step {glance.step}" if glance.step else "to be closed"
    idle = now - (glance.last_entry or glance.opened)
    forgotten = f"CRITICAL, nothing done for {minutes_text(idle.total_seconds())}, "
    frozen = frozen_words(glance, now)
    pieces = (
        f"INCIDENT {age}, {forgotten if idle >= IDLE_LIMIT else ''}{leads}, {step}",
        f" · {frozen}" if frozen else "",
    )
    head = site_head(environment, site)
    return Answer("incident", "bad", head, tuple(piece for piece in pieces if piece))
