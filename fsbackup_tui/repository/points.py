"""Which point a person means: POINT of design §9, over what the inventory holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from fsbackup_tui.domain.errors import PointNotFound
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust

SHORTEST_PREFIX = 8
_NEAR_SHOWN = 3
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:?\d\d(:?\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?", re.IGNORECASE
)


def resolve_point(
    points: Sequence[PointSummary],
    text: str,
    *,
    zone: tzinfo,
    part: str | None = None,
    any_trust: bool = False,
) -> PointSummary:
    """Return the point that ``text`` means.

    ``latest`` and a time mean only points that are whole, not damaged, not suspect, not taken in
    an incident, hold data and have the part asked for; ``any_trust`` drops all of that but the
    part and being no running one's, for looking at points and verifying them. An id or prefix
    means that point whatever it is worth. Times without a zone are in ``zone``.

    Raises:
        PointNotFound: none, or more than one; names those that are near.
    """
    wanted = text.strip()
    if wanted == "latest" or wanted.startswith("latest:"):
        return _latest(points, wanted.partition(":")[2], part, any_trust)
    named = [point for point in points if point.id == wanted]
    if not named and len(wanted) >= SHORTEST_PREFIX:
        named = [point for point in points if point.id.startswith(wanted)]
    if len(named) == 1:
        return _with_part(named[0], part)
    if len(named) > 1:
        raise PointNotFound(
            f"AMBIGUOUS POINT: {wanted} begins {len(named)} of them.",
            why=_listing(named),
            fix="Give more of its id.",
        )
    if _TIME.fullmatch(wanted):
        return _at_or_before(points, parse_moment(wanted, zone), wanted, part, any_trust)
    raise _not_found(points, wanted)


def usable(point: PointSummary, part: str | None = None, *, data: bool = True) -> bool:
    """Whether ``latest`` may mean this point: whole, sound, not doubtful, with data and part.

    ``data`` is not asked for where the plan was named: a plan of schemas has none.
    """
    return (
        point.whole
        and point.data_trust > Trust.INCOMPLETE
        and not point.doubtful
        and (point.holds_data or not data)
        and _has_part(point, part)
    )


def capture_order(point: PointSummary) -> tuple[int, datetime]:
    """Return the key that sorts points as they were captured, whatever the clock said."""
    return (point.sequence, point.created)


def newest_of(points: Sequence[PointSummary]) -> PointSummary:
    """Return the newest in capture order; an adopted one, without a number, goes by its time."""
    numbered = [point for point in points if point.sequence]
    others = [point for point in points if not point.sequence]
    newest = [max(group, key=capture_order) for group in (numbered, others) if group]
    return max(newest, key=lambda point: point.created)


def _has_part(point: PointSummary, part: str | None) -> bool:
    return part is None or any(candidate.source == part for candidate in point.parts)


def _with_part(point: PointSummary, part: str | None) -> PointSummary:
    if _has_part(point, part):
        return point
    sources = ", ".join(candidate.source for candidate in point.parts) or "no part"
    raise PointNotFound(
        f"NO SUCH PART: {part} is not in {point.id}.",
        why=f"It has: {sources}.",
        fix=f"fsbackup show {point.id}",
    )


def _allowed(point: PointSummary, part: str | None, any_trust: bool, *, data: bool = True) -> bool:
    if any_trust:
        return point.whole and _has_part(point, part)
    return usable(point, part, data=data)


def _latest(
    points: Sequence[PointSummary], plan: str, part: str | None, any_trust: bool
) -> PointSummary:
    # A part that is in points of definitions alone is asked for as what it is.
    data = not plan and (
        part is None or any(point.holds_data and _has_part(point, part) for point in points)
    )
    chosen = [
        point
        for point in points
        if (not plan or point.plan == plan) and _allowed(point, part, any_trust, data=data)
    ]
    if chosen:
        return newest_of(chosen)
    of_plan = f" of plan {plan}" if plan else ""
    with_part = f" with the part {part}" if part else ""
    raise PointNotFound(
        f"NO LATEST POINT: nothing{of_plan}{with_part} can be restored as it is.",
        why=_why_not([point for point in points if not plan or point.plan == plan]),
        fix="Name a point by its id: fsbackup list" if points else "Take one: fsbackup backup PLAN",
    )


def _why_not(points: Sequence[PointSummary]) -> str:
    if not points:
        return "There is no point yet."
    counts = {
        "damaged": sum(point.trust is Trust.DAMAGED for point in points),
        "incomplete": sum(point.trust is Trust.INCOMPLETE for point in points),
        "suspect": sum(bool(point.suspect) for point in points),
        "taken in an incident": sum(bool(point.in_incident) for point in points),
        "without data": sum(not point.holds_data for point in points),
    }
    told = [f"{count} {word}" for word, count in counts.items() if count]
    return f"Of {len(points)}: {', '.join(told) or 'none has that part'}."


def parse_moment(text: str, zone: tzinfo, *, end: bool = True) -> datetime:
    """Return the last moment (UTC) that a time means: a day and a minute mean all of it.

    Without a zone of its own the time is in ``zone``; without ``end`` it is the first moment.

    Raises:
        PointNotFound: no time, or an hour that the clocks had twice, or never.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PointNotFound(
            f"NOT A TIME: {text}.", fix="Write it like 2026-11-22T02:00, or with a zone: …+01:00"
        ) from error
    if end:
        moment += _precision(text) - timedelta(microseconds=1)
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    meanings = sorted((first, second), key=lambda meant: meant.astimezone(UTC))
    named = [f"{text}{meant.strftime('%z')} ({meant.tzname()})" for meant in meanings]
    never = meanings[0] is not first
    raise PointNotFound(
        f"AMBIGUOUS TIME: {text} {'never was' if never else 'was twice'} in that night.",
        why=f"The clocks were changed: it means {named[0]} or {named[1]}.",
        fix="Give the one you mean, with its zone.",
    )


def _precision(text: str) -> timedelta:
    """Return the span that a written time covers: what a screen shows as 02:00 began in it."""
    clock = re.sub(r"(Z|[+-]\d\d(:?\d\d)?)$", "", text[10:], flags=re.IGNORECASE)
    if not clock:
        return timedelta(days=1)
    seconds = clock.count(":") == 2 or len(clock.strip("T ").replace(":", "")) > 4
    return timedelta(seconds=1) if seconds else timedelta(minutes=1)


def _at_or_before(
    points: Sequence[PointSummary], moment: datetime, text: str, part: str | None, any_trust: bool
) -> PointSummary:
    allowed = sorted(
        (point for point in points if _allowed(point, part, any_trust)),
        key=lambda point: (point.created, point.sequence),
    )
    earlier = [point for point in allowed if point.created <= moment]
    if earlier:
        return earlier[-1]
    raise PointNotFound(
        f"NO POINT AT OR BEFORE {text}.",
        why=f"The first that can be used is\n{_listing(allowed[:1])}"
        if allowed
        else _why_not(points),
        fix="fsbackup list shows what there is.",
    )


def _not_found(points: Sequence[PointSummary], wanted: str) -> PointNotFound:
    import difflib

    ids = {point.id: point for point in points}
    near = difflib.get_close_matches(wanted, list(ids)[:2000], n=_NEAR_SHOWN, cutoff=0.4)
    if not near and points:
        newest = sorted(points, key=capture_order, reverse=True)[:_NEAR_SHOWN]
        near = [point.id for point in newest]
    short = (
        f"A prefix has {SHORTEST_PREFIX} characters or more. "
        if len(wanted) < SHORTEST_PREFIX
        else ""
    )
    return PointNotFound(
        f"NO SUCH POINT: {wanted}.",
        why=short + (f"Near it:\n{_listing([ids[i] for i in near])}" if near else "There is none."),
        fix="Name an id, a prefix, latest, latest:PLAN or a time: fsbackup list",
    )


def _listing(points: Sequence[PointSummary]) -> str:
    lines = [f"{point.id}  {point.trust.word}" for point in points[: 2 * _NEAR_SHOWN]]
    if len(points) > len(lines):
        lines.append(f"and {len(points) - len(lines)} more")
    return "\n".join(lines)
