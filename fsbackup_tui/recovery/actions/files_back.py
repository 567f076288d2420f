"""Putting files back into live, taking them out again, and looking what is still missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import (
    FilesLookRequest,
    FilesPutBackRequest,
    FilesTakeBackRequest,
)
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.files_way import conflict_of, patterns_of
from fsbackup_tui.recovery.actions.names import next_attempt
from fsbackup_tui.recovery.actions.places import path_of
from fsbackup_tui.recovery.actions.site_common import (
    REOPENS,
    found_spoilt,
    nowhere_lines,
    stock_extract,
    tree_tag,
    without_ok,
)
from fsbackup_tui.recovery.actions.site_words import (
    damage_lines,
    files_text,
    names_text,
)
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.question import Answer


def _put_back(situation: Situation, _: Answer) -> Request:
    by_pattern = situation.facts.files_way == "patterns"
    return FilesPutBackRequest(
        situation.part,
        point=situation.facts.point,
        patterns=patterns_of(situation) if by_pattern else (),
        conflict=conflict_of(situation) if by_pattern else "keep",
        all_missing=situation.facts.files_way == "everything",
        tag=tree_tag(situation, "files-back"),
        reason_unsigned=situation.facts.reason_unsigned,
    )


def _took(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "put_back": without_ok(result),
        "taken_back": None,
        "files_after": None,
        **next_attempt(situation, "files-back"),
    }


def _put_back_lines(situation: Situation) -> tuple[str, ...]:
    lines = stock_extract(situation, path_of(situation), "--skip-old-files")
    if situation.facts.files_way == "everything":
        return lines
    # The stock command knows neither rows nor patterns: who pastes it has to know.
    return (*lines, "# by hand it puts in all that is missing, not only what was chosen")


def _back_lines(situation: Situation) -> tuple[str, ...]:
    """Return what is about to be put back, or what was."""
    back = situation.facts.put_back
    if back is None:
        taken = situation.facts.document("taken_back")
        return ("TAKEN OUT AGAIN: live is as it was.",) if taken else damage_lines(situation)
    lines = [f"PUT BACK: {files_text(back.put_back)} into {plain_text(back.root)}"]
    if back.put_back.names:
        lines.append(f"  like {names_text(back.put_back)}")
    for label, found in (
        ("stayed as live has them", back.kept),
        ("came beside, as NAME.from-POINT", back.beside),
        ("took live's place", back.replaced),
        ("appeared in live meanwhile, and stayed", back.came_meanwhile),
        ("are named by no row, and were left out", back.unnamed),
    ):
        if found.count:
            lines.append(f"  {files_text(found)} {label}")
    if back.kept_in:
        lines.append(f"  what they replaced is in {plain_text(back.kept_in)}")
    lines += nowhere_lines(back.nowhere.count, back.nowhere_list)
    if back.list_file:
        lines.append(f"  the list of what was put back: {plain_text(back.list_file)}")
    return bounded((*lines, *(f"  {plain_text(note)}" for note in back.notes)))


def _take_back(situation: Situation) -> Request | None:
    """Return what takes out again what was put in, by attempts that nobody saw the end of, too.

    An attempt whose tag was taken by one before has a number behind it.
    """
    back, state = situation.facts.put_back, situation.incident.steps.get("files-back")
    arguments = state.request.get("arguments") if state is not None else None
    tag = str(arguments.get("tag") or "") if isinstance(arguments, Mapping) else ""
    undo = back.undo if back is not None else ""
    also = _before(undo, tag)
    if state is not None and state.status == "failed" and not undo:
        also = (tag, *(f"{tag}-{number}" for number in range(2, _MOST_ATTEMPTS)))[::-1]
    if not undo and not also:
        return None
    return FilesTakeBackRequest(situation.part, point=situation.facts.point, undo=undo, also=also)


_MOST_ATTEMPTS = 9


def _before(undo: str, tag: str) -> tuple[str, ...]:
    """Return the attempts before one, the last first: ``ID-3`` comes after ``ID-2`` and ``ID``."""
    number = undo.removeprefix(f"{tag}-")
    if not tag or undo == tag or not number.isdecimal():
        return ()
    return (*(f"{tag}-{each}" for each in range(int(number) - 1, 1, -1)), tag)


def _taken_back(_s: Situation, result: Mapping[str, Any]) -> Facts:
    return {"put_back": None, "taken_back": without_ok(result), "files_after": None}


def _look_again(situation: Situation, _: Answer) -> Request:
    return FilesLookRequest(situation.part, point=situation.facts.point, touching=False)


def _looked_again(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"files_after": without_ok(result)}


def after_lines(situation: Situation) -> tuple[str, ...]:
    """Return what is still missing after it was put right, and what no point has."""
    look = situation.facts.files_after
    if look is None:
        return ()
    lines = []
    if look.wanted.count:
        lines.append(f"STILL MISSING: {files_text(look.wanted)}, like {names_text(look.wanted)}")
    else:
        unread = any(row.rows is None for row in look.rows)
        known = "by the rows that could be read" if unread else "that the point has and live wants"
        lines.append(f"Nothing is missing {known}.")
    if look.unnamed.count:
        lines.append(f"{files_text(look.unnamed)} of the point are named by no row: left out")
    for row in look.rows:
        column = plain_text(f"{row.table}.{row.column}")
        if row.rows is None:
            lines.append(f"{column}: NOT READ, nobody knows what its rows lack: {row.note}")
            continue
        gone = f"{count_text(row.missing.count)} of the files"
        lines.append(f"{column}: {count_text(row.rows)} rows name a file, {gone} missing")
        lines += nowhere_lines(row.nowhere.count, str(look.lists.get("nowhere") or ""))
    return bounded(lines)


ACTIONS = (
    Action(
        "files-back",
        "act",
        request=_put_back,
        runs=_put_back_lines,
        shows=_back_lines,
        learn=_took,
        changes=True,
        undo=_take_back,
        undo_failed=True,
        lost_failed=True,
        undo_learn=_taken_back,
        learn_failed=found_spoilt,
        reopens=REOPENS,
    ),
    Action(
        "files-check",
        "check",
        request=_look_again,
        runs=lambda _: ("names of live against the point, rows against both; reading alone",),
        shows=after_lines,
        learn=_looked_again,
    ),
)
