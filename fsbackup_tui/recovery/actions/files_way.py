"""Choosing how files come back: which way, which paths, and what wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.domain.tree import CONFLICTS, Conflict, FilesLook
from fsbackup_tui.domain.way import FilesWay
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.places import path_of
from fsbackup_tui.recovery.actions.site_words import (
    damage_lines,
    files_look,
    files_text,
    size,
)
from fsbackup_tui.recovery.question import Answer, Option, Question

_PATTERN_HINT = "Shell patterns below the root, commas between them: face-sources/*, avatars/7*.png"


def _chosen_look(situation: Situation) -> FilesLook | None:
    """Return the look at live beside the chosen point; None where another point was looked at."""
    damage = situation.facts.site_damage
    if damage is None or damage.point != situation.facts.point:
        return None
    return files_look(damage)


def _ways(situation: Situation) -> Question:
    look, candidate = _chosen_look(situation), situation.facts.site_candidate
    brings = count_text(candidate.brings if candidate is not None else None)
    named = bool(look is not None and look.rows)
    first = f"put back what is missing: {brings} files"
    if look is not None:
        first = f"put back what is missing: {files_text(look.wanted)}"
    options = [
        Option(
            "missing",
            first + (", those that a row names" if named else ""),
            (
                "Live is only added to, nothing is overwritten; the application runs on.",
                "Way back: undo takes out again what was put in and nobody changed since.",
            ),
            recommended=True,
        )
    ]
    if look is not None and look.unnamed.count:
        options.append(
            Option(
                "everything",
                f"put back all that is missing: {files_text(look.missing)}",
                ("With it what no row in live names.",),
                doubt=f"users may have erased {count_text(look.unnamed.count)} of them themselves",
            )
        )
    options += [
        Option(
            "patterns",
            "put back some paths only, and choose what becomes of those that live has",
            ("What live loses to the point is kept aside first.",),
        ),
        Option(
            "exchange",
            "restore the whole tree beside, compare, carry newer files over, exchange",
            tuple(_exchange_detail(look)),
            impossible=_no_exchange(look),
        ),
    ]
    return Question("Which way?", tuple(options), default="missing")


def _exchange_detail(look: FilesLook | None) -> Iterator[str]:
    yield "For a tree of which much is wrong, not only missing. The former tree is kept, whole."
    if look is not None:
        yield f"Needs {size(look.beside_bytes)}; {size(look.free_bytes)} are free."
    yield "Way back: the exchange is undone, with what was written since."


def _no_exchange(look: FilesLook | None) -> str:
    if look is None:
        return ""
    if look.not_exchangeable:
        return plain_text(look.not_exchangeable)
    if look.free_bytes is not None and look.free_bytes < look.beside_bytes:
        return f"{size(look.beside_bytes)} are needed, {size(look.free_bytes)} are free."
    return ""


def _chosen_way(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"files_way": answer.value, "way_reason": answer.reason}


def _patterns(situation: Situation) -> Question:
    return Question(f"Which paths below {path_of(situation)}?", hint=_PATTERN_HINT)


def _chosen_patterns(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"patterns": list(answer.values)}


_CONFLICT_WORDS: Mapping[Conflict, tuple[str, str]] = {
    "keep": ("live's stays as it is", "Nothing that live has is touched."),
    "newer": ("the newer of the two", "Where the point's is newer, live's is kept aside."),
    "both": ("both: the point's comes beside it", "As NAME.from-POINT; the application sees both."),
    "overwrite": ("the point's takes its place", "Live's is kept aside, and undo brings it back."),
}


def _conflicts(_: Situation) -> Question:
    return Question(
        "And where live has such a file, but another?",
        tuple(
            Option(conflict, label, (detail,))
            for conflict, (label, detail) in _CONFLICT_WORDS.items()
        ),
        default="keep",
    )


def _chosen_conflict(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"conflict": answer.value}


def conflict_of(situation: Situation) -> Conflict:
    """Return what becomes of files that live has otherwise."""
    chosen = situation.incident.parameters.get("conflict")
    return next((each for each in CONFLICTS if each == chosen), "keep")


def patterns_of(situation: Situation) -> tuple[str, ...]:
    """Return the patterns that were chosen."""
    found = situation.incident.parameters.get("patterns")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def way_is(*ways: FilesWay) -> Callable[[Situation], bool | None]:
    """Return the condition that one of these ways was chosen."""

    def holds(situation: Situation) -> bool | None:
        chosen = situation.facts.files_way
        return None if chosen is None else chosen in ways

    return holds


ACTIONS = (
    Action("choose-files-way", "choose", question=_ways, shows=damage_lines, learn=_chosen_way),
    Action("choose-patterns", "ask", question=_patterns, learn=_chosen_patterns),
    Action("choose-conflict", "choose", question=_conflicts, learn=_chosen_conflict),
)
