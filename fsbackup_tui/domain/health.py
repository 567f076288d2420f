"""The answer line: can the data be got back, to what moment, and how sure is that (design §8).

Pure: what the inventory holds goes in, one line of words with a tone comes out. Green, the
tone ``good``, is only ever given for a proven point, never for what is remembered from before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.text import age_text, cell_width, plain_text, shorten, when_text
from fsbackup_tui.domain.trust import Trust

Tone = Literal["good", "warn", "bad", "checking"]
RepositoryState = Literal["there", "not-mounted", "never-created", "not-readable", "unusable"]
AnswerState = Literal[
    "checking",
    "restore-to",
    "rights-missing",
    "not-proven",
    "suspect",
    "damaged",
    "no-proven-point",
    "no-usable-point",
    "no-points",
    "watching",
    "not-mounted",
    "no-repository",
    "not-readable",
    "unusable",
    "incident",
    "alarm",
]
_ENVIRONMENTS = {"production": "PROD", "staging": "STAGING", "development": "DEV"}
_SHORTEST_PIECE = 8


@dataclass(frozen=True, slots=True)
class Hints:
    """What to do next, in the words of the face that shows the line; empty says nothing."""

    back_up: str = ""
    prove: str = ""
    create: str = ""


@dataclass(frozen=True, slots=True)
class InventoryState:
    """Everything the answer depends on.

    ``newest`` are the points in capture order, the newest first; as many as matter.
    ``restore_rights``: whether a restore has been shown to be allowed on the server; None for
    not known, which is not green either. ``checked_at`` is when this was true, where it is
    remembered and not looked at now. ``duration`` is how long a restore takes, in words,
    ``proving`` how long it takes to prove the best point; empty where nobody can tell.
    ``watching``: nothing is backed up here, other scripts' backups are looked at; ``watched`` is
    the newest of them.
    """

    site: str
    environment: str
    zone: tzinfo
    now: datetime
    repository: RepositoryState = "there"
    newest: Sequence[PointSummary] = ()
    restore_rights: bool | None = None
    checking: bool = False
    checked_at: datetime | None = None
    duration: str = ""
    proving: str = ""
    hints: Hints = Hints()
    watching: bool = False
    watched: PointSummary | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The line in pieces: the head names the site, the rest answers; the first is essential."""

    state: AnswerState
    tone: Tone
    head: str
    pieces: tuple[str, ...]

    def line(self, width: int = 80) -> str:
        """Return the whole line in at most ``width`` columns.

        What does not fit goes from the right. The first piece of the answer is never dropped:
        before that the site's name is cut.
        """
        room = width - cell_width(self.pieces[0]) - 2
        head = shorten(self.head, max(_SHORTEST_PIECE, room))
        return shorten(f"{head}  {self.body(width - cell_width(head) - 2)}", width)

    def body(self, width: int = 80) -> str:
        """Return the answer without its head in at most ``width`` columns."""
        kept = list(self.pieces)
        while len(kept) > 1 and cell_width("".join(kept)) > width:
            last = kept.pop()
            room = width - cell_width("".join(kept))
            # A piece of foreign words may be cut; a piece cut to nothing says nothing.
            if not kept[1:] and room > _SHORTEST_PIECE:
                kept.append(shorten(last, room))
        return shorten("".join(kept), width)


def answer_line(state: InventoryState) -> Answer:
    """Return the answer for a state of the inventory, one of design §8's lines.

    In an incident the newest point that is shown good counts, so "best" is the newest of those
    that are sealed or better, and only where there is none the newest unverified one.
    """
    if state.checking:
        return _checking(state)
    found: AnswerState
    found, tone, pieces = _answer(state)
    return Answer(found, tone, site_head(state.environment, state.site), tuple(pieces))


def site_head(environment: str, site: str) -> str:
    """Return how every line names the site: ``PROD face-swap``."""
    label = _ENVIRONMENTS.get(environment.casefold(), environment.upper())
    return plain_text(f"{label} {site}".strip())


def _checking(state: InventoryState) -> Answer:
    pieces = ["checking…"]
    if state.checked_at is not None:
        _, _, before = _answer(state, brief=True)
        at = when_text(state.checked_at, state.now, state.zone)
        pieces.append(f" (at {at} it was: {''.join(before)})")
    head = site_head(state.environment, state.site)
    return Answer("checking", "checking", head, tuple(pieces))


_Found = tuple[AnswerState, Tone, list[str]]


def _answer(state: InventoryState, *, brief: bool = False) -> _Found:
    if state.watching and (state.repository == "never-created" or not state.newest):
        return _watching(state, brief=brief)
    absent = _absent(state, brief=brief)
    if absent is not None:
        return absent
    data = [point for point in state.newest if point.holds_data]
    finished = [point for point in data if not point.running]
    if not finished:
        return _no_points(state, running=any(point.running for point in state.newest))
    good = [point for point in finished if _is_usable(point)]
    # What was taken in an incident is no news about the data either: it was damaged then.
    telling = [point for point in finished if not _is_unfinished(point) and not point.in_incident]
    newest = next(iter(telling), finished[0])
    proven = next((point for point in good if point.data_trust is Trust.PROVEN), None)
    if newest.suspect or newest.data_trust is Trust.DAMAGED:
        return _bad_newest(state, newest, proven or best_point(good), brief=brief)
    if not good:
        return _no_usable(finished)
    if proven is None:
        return _no_proven(state, best_point(good), brief=brief)
    if proven is not good[0]:
        return _not_proven(state, good[0], proven, brief=brief)
    return _restore_to(state, proven, brief=brief)


def best_point(points: Sequence[PointSummary]) -> PointSummary | None:
    """Return the point to name as the best of usable ones, the newest first; None for none."""
    sealed = [point for point in points if point.data_trust >= Trust.SEALED]
    return next(iter(sealed or points), None)


def _is_usable(point: PointSummary) -> bool:
    return point.whole and point.data_trust > Trust.INCOMPLETE and not point.doubtful


def _is_unfinished(point: PointSummary) -> bool:
    """A run that failed leaves an incomplete point; an alert, but no news about the data."""
    return point.data_trust is Trust.INCOMPLETE


def _absent(state: InventoryState, *, brief: bool) -> _Found | None:
    if state.repository == "there":
        return None
    if state.repository == "never-created":
        hint = f". {state.hints.create}" if state.hints.create and not brief else ""
        return "no-repository", "bad", ["NO REPOSITORY", hint]
    if state.repository == "not-readable":
        return "not-readable", "bad", ["REPOSITORY NOT READABLE"]
    if state.repository == "unusable":
        return "unusable", "bad", ["REPOSITORY NOT USABLE"]
    usable = [point for point in state.newest if point.holds_data and _is_usable(point)]
    best = best_point(usable)
    last = f". It had {_named(state, best)}" if best is not None and not brief else ""
    return "not-mounted", "bad", ["REPOSITORY NOT MOUNTED", last]


def _no_points(state: InventoryState, *, running: bool) -> _Found:
    if running:
        return "no-points", "warn", ["NO POINTS YET", ". The first backup is running"]
    hint = f". {state.hints.back_up}" if state.hints.back_up else ""
    return "no-points", "bad", ["NO POINTS YET", hint]


def _watching(state: InventoryState, *, brief: bool) -> _Found:
    """Return the answer of a site without backups of its own: never green, nothing is proven."""
    newest = state.watched
    if newest is None:
        return "watching", "bad", ["NO BACKUP SEEN", ". There is none in the adopt: directories"]
    bad = bool(newest.problems) or newest.data_trust is Trust.DAMAGED
    told = f". Newest: {_when(state, newest, with_zone=not brief)}"
    told += " NOT GOOD" if bad else f" {newest.data_trust.word}"
    pieces = ["WATCHING OTHERS' BACKUPS", told]
    if not brief and newest.problems:
        pieces.append(f": {plain_text(newest.problems[0])}")
    elif not brief:
        pieces.append(f", {_age(state, newest)} ago")
    return "watching", "bad" if bad else "warn", pieces


def _no_usable(points: Sequence[PointSummary]) -> _Found:
    counts = (
        (sum(point.data_trust is Trust.DAMAGED for point in points), "damaged"),
        (sum(point.data_trust is Trust.INCOMPLETE for point in points), "incomplete"),
        (sum(bool(point.suspect) for point in points), "suspect"),
        (sum(bool(point.in_incident) for point in points), "taken in an incident"),
    )
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    return "no-usable-point", "bad", ["NO USABLE POINT", f". {told}" if told else ""]


def _bad_newest(
    state: InventoryState, newest: PointSummary, before: PointSummary | None, *, brief: bool
) -> _Found:
    # Where another time with its zone follows, design §8 leaves the zone out of the first.
    at = _when(state, newest, with_zone=before is None and not brief)
    if newest.suspect:
        found: AnswerState = "suspect"
        word, why = "SUSPECT", newest.suspect[0]
    else:
        found = "damaged"
        word, why = "DAMAGED", newest.problems[0] if newest.problems else "see its details"
    pieces = [f"{at} {word}", f": {plain_text(why)}"]
    if not brief:
        pieces.append(f". Before: {_named(state, before)}" if before else ". No good one before")
    return found, "bad", pieces


def _no_proven(state: InventoryState, best: PointSummary | None, *, brief: bool) -> _Found:
    pieces = ["NO PROVEN POINT"]
    if best is not None:
        pieces.append(f". Best: {_named(state, best, with_zone=not brief)}")
        if best.calmly_blocked and not brief:
            pieces.append(". More can't be tried")
        elif state.hints.prove and not brief:
            pieces.append(f". {state.hints.prove}")
            if state.proving:
                pieces.append(f", {state.proving}")
    return "no-proven-point", "warn", pieces


def _not_proven(
    state: InventoryState, newest: PointSummary, proven: PointSummary, *, brief: bool
) -> _Found:
    pieces = [f"{_when(state, newest, with_zone=not brief)} not proven"]
    pieces.append(f". Last PROVEN: {_when(state, proven, with_zone=not brief)}")
    if not brief:
        pieces.append(f", {_age(state, proven)} ago")
    return "not-proven", "warn", pieces


def _restore_to(state: InventoryState, point: PointSummary, *, brief: bool) -> _Found:
    when = _when(state, point, with_zone=not brief)
    if state.restore_rights is not True:
        why = "not known" if state.restore_rights is None else "missing"
        told = f". Restore rights {why}: fsbackup doctor"
        return "rights-missing", "warn", [f"{when} PROVEN", told]
    if brief:
        return "restore-to", "good", [f"RESTORE TO {when} PROVEN"]
    pieces = [f"RESTORE TO {when}", f" ({_age(state, point)} ago)", " PROVEN"]
    if state.duration:
        pieces.append(f"  {state.duration}")
    return "restore-to", "good", pieces


def _named(state: InventoryState, point: PointSummary, *, with_zone: bool = True) -> str:
    word = "PROVEN" if point.data_trust is Trust.PROVEN else point.data_trust.word
    return f"{_when(state, point, with_zone=with_zone)} {word}"


def _when(state: InventoryState, point: PointSummary, *, with_zone: bool = True) -> str:
    return when_text(point.created, state.now, state.zone, with_zone=with_zone)


def _age(state: InventoryState, point: PointSummary) -> str:
    return age_text((state.now.astimezone(UTC) - point.created).total_seconds())
