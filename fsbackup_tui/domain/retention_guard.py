"""When retention removes nothing at all, whatever its rules say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from fsbackup_tui.domain.text import age_text

DEFAULT_PROOF_AGE = timedelta(days=8)
CLOCK_TOLERANCE = timedelta(minutes=10)
LONGEST_SILENCE = timedelta(days=45)
"""A clock that is further ahead than that of all that was written before may be wrong."""

RefusalKind = Literal["incident", "stale-proof", "clock", "share"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands between the rules and the points.

    ``proof_ages`` are how old the newest proof of a plan may be, ``DEFAULT_PROOF_AGE`` where it
    is not named. ``last_seen`` is the highest time that anything here has written before this
    run; ``clock_right`` is when retention last found the clock right, and ``accepted`` the time
    in the future that a person has looked at and told to be a mistake of the past. ``only`` are
    the plans that this run takes points of; None: all. ``confirmed``: the site's name was typed.
    """

    minimum_good: int = 2
    most_share: float = 0.5
    share_from: int = 5
    proof_ages: Mapping[str, timedelta] = field(default_factory=dict)
    incidents: tuple[str, ...] = ()
    last_seen: datetime | None = None
    clock_right: datetime | None = None
    accepted: datetime | None = None
    only: frozenset[str] | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing at all is removed; one that is ``confirmable`` falls by the site's name."""

    kind: RefusalKind
    what: str
    why: str
    fix: str
    confirmable: bool = False

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "kind": self.kind,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "confirmable": self.confirmable,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan of which points may leave: when one was last shown good, and how many leave."""

    plan: str
    proved: datetime
    leaving: int


def refusals_of(
    plans: Sequence[Asked],
    created: Sequence[datetime],
    share: float,
    guard: Guard,
    now: datetime,
) -> tuple[Refusal, ...]:
    """Return why nothing is removed now; empty where nothing stands against it.

    ``created`` are the times of the points, the newest in capture order first; ``share`` is the
    part of the points that would leave.
    """
    if not any(plan.leaving for plan in plans):
        return ()
    found = [
        *_incidents(guard),
        *_clock(created, guard, now),
        *_stale(plans, guard, now),
        *_too_many(share, guard),
    ]
    return tuple(each for each in found if not (each.confirmable and guard.confirmed))


def _incidents(guard: Guard) -> Iterator[Refusal]:
    if guard.incidents:
        names = ", ".join(guard.incidents)
        yield Refusal(
            "incident",
            f"An incident is open: {names}.",
            "While one is, every point may be the one that is needed.",
            "Close it first: fsbackup incidents",
        )


def clock_doubt(created: Sequence[datetime], guard: Guard, now: datetime) -> Refusal | None:
    """Return why the clock can't be believed, or None; see ``refusals_of``."""
    return next(_clock(created, guard, now), None)


def clock_known(
    created: Sequence[datetime], guard: Guard, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return ``clock_right`` and ``accepted`` as they are to be remembered behind a run.

    A clock in doubt changes nothing, unless a person typed the site's name.
    """
    if clock_doubt(created, guard, now) is not None and not guard.confirmed:
        return guard.clock_right, guard.accepted
    known = [each for each in (*created[:1], guard.last_seen) if each is not None]
    seen = max(known, default=now)
    return now, seen if seen > now else guard.accepted


def _clock(created: Sequence[datetime], guard: Guard, now: datetime) -> Iterator[Refusal]:
    known = [each for each in (*created[:1], guard.last_seen) if each is not None]
    seen = max(known, default=None)
    looked_at = guard.accepted is not None and seen is not None and seen <= guard.accepted
    if seen is not None and seen > now + CLOCK_TOLERANCE and not looked_at:
        yield Refusal(
            "clock",
            f"The clock was set back: it is {_utc(now)}, and something was written at "
            f"{_utc(seen)}.",
            f"That lies {age_text((seen - now).total_seconds())} ahead: how old a point is can't "
            "be told.",
            "Set the clock right. If it is: fsbackup retain --apply --confirm SITE",
            confirmable=True,
        )
        return
    past = [each for each in created if each <= now + CLOCK_TOLERANCE]
    for later, earlier in pairwise([now, *past]):
        if guard.clock_right is not None and later <= guard.clock_right:
            return
        before = earlier if guard.clock_right is None else max(earlier, guard.clock_right)
        if later - before > LONGEST_SILENCE:
            yield Refusal(
                "clock",
                f"The clock may be ahead: nothing was written between {_utc(before)} and "
                f"{_utc(later)}.",
                f"Either nothing ran for {age_text((later - before).total_seconds())}, or the "
                "points look older than they are.",
                "Set the clock right. If it is: fsbackup retain --apply --confirm SITE",
                confirmable=True,
            )
            return


def _stale(plans: Sequence[Asked], guard: Guard, now: datetime) -> Iterator[Refusal]:
    for plan in plans:
        age = now - plan.proved
        if plan.leaving and age > guard.proof_ages.get(plan.plan, DEFAULT_PROOF_AGE):
            yield Refusal(
                "stale-proof",
                f"The newest proof of {plan.plan} is stale: it is "
                f"{age_text(age.total_seconds())} old.",
                "Whether what is newer is any good is not known, and older points may be needed.",
                f"fsbackup backup {plan.plan}, or prove one again: "
                f"fsbackup verify latest:{plan.plan}",
            )


def _too_many(share: float, guard: Guard) -> Iterator[Refusal]:
    if share > guard.most_share:
        yield Refusal(
            "share",
            f"{share:.0%} of the points would leave, and {guard.most_share:.0%} may.",
            "A policy that was changed, or a clock that is wrong, takes many at once.",
            "Look at the list. If it is right: fsbackup retain --apply --confirm SITE",
            confirmable=True,
        )


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
