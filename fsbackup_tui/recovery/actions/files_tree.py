"""A whole tree: restored beside, compared, newer files carried over, exchanged, rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.place import PathIdentity, PlaceStanding
from fsbackup_tui.domain.text import count_text, duration_text, plain_text
from fsbackup_tui.domain.tree import Exchanged
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import (
    FilesBesideRequest,
    FilesCarryRequest,
    FilesCompareRequest,
    FilesExchangeRequest,
    FilesRollbackRequest,
)
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.names import next_attempt
from fsbackup_tui.recovery.actions.places import path_of
from fsbackup_tui.recovery.actions.site_common import (
    REOPENS,
    found_spoilt,
    stock_extract,
    tree_tag,
    without_ok,
)
from fsbackup_tui.recovery.actions.site_words import (
    files_text,
    names_text,
    size,
)
from fsbackup_tui.recovery.actions.words import bounded, shell
from fsbackup_tui.recovery.place import taken_for_first
from fsbackup_tui.recovery.question import Answer, Option, Question
from fsbackup_tui.repository.tree_marks import tree_path

ONLY_LIVE, NEWER = "only-live", "newer"
_LEAVE = "nothing"


def _beside(situation: Situation, _: Answer) -> Request:
    return FilesBesideRequest(
        situation.part,
        point=situation.facts.point,
        tag=tree_tag(situation, "files-beside"),
        reason_unsigned=situation.facts.reason_unsigned,
    )


def _beside_path(situation: Situation) -> str:
    root = Path(path_of(situation))
    if not root.name:
        return str(root)
    return str(tree_path(root, "restore", tree_tag(situation, "files-beside")))


def _beside_commands(situation: Situation) -> tuple[str, ...]:
    path = _beside_path(situation)
    return (f"mkdir {shell([path])}", *stock_extract(situation, path))


def _restored(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "tree_beside": without_ok(result),
        "tree_difference": None,
        "carried": None,
        **next_attempt(situation, "files-beside"),
    }


def _beside_lines(situation: Situation) -> tuple[str, ...]:
    tree = situation.facts.tree_beside
    if tree is None:
        return ()
    lines = [f"{plain_text(tree.tree)}: {count_text(tree.files)} files, {size(tree.bytes)}"]
    lines.append("each file's hash is the point's")
    if not tree.owners:
        lines.append("OWNERS ARE NOT THE CAPTURED ONES: that takes root")
    return (*lines, *(plain_text(note) for note in tree.notes))


def _tree(situation: Situation) -> tuple[str, int]:
    tree = situation.facts.tree_beside
    return ("", 0) if tree is None else (tree.tree, tree.inode)


def _compare(situation: Situation, _: Answer) -> Request:
    tree, inode = _tree(situation)
    return FilesCompareRequest(situation.part, point=situation.facts.point, tree=tree, inode=inode)


def _compared(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"tree_difference": without_ok(result)}


_LISTED = {
    "only_tree": "that only the restored tree has",
    "only_live": "that only live has",
    "changed": "that changed",
    "newer": "that live has newer",
}


def difference_lines(situation: Situation) -> tuple[str, ...]:
    """Return how the restored tree and live's differ, and where the whole lists are."""
    found = situation.facts.tree_difference
    if found is None:
        return ()
    lines = [f"{count_text(found.same)} files are the same in both."]
    for label, what in (
        ("only in the restored tree: they come back", found.only_tree),
        ("only in live: written since, or rightly new", found.only_live),
        ("changed", found.changed),
        ("  of them newer in live", found.newer),
    ):
        if what.count:
            lines.append(f"{files_text(what)} {label}")
            lines.append(f"  like {names_text(what)}")
    for name, path in found.lists.items():
        lines.append(f"all {_LISTED.get(name, name)}: {plain_text(path)}")
    return bounded(lines)


def _what_to_carry(situation: Situation) -> Question:
    found = situation.facts.tree_difference
    only = "not compared" if found is None else files_text(found.only_live)
    newer = "not compared" if found is None else files_text(found.newer)
    return Question(
        "What of live is taken over into the restored tree?",
        (
            Option(ONLY_LIVE, f"what only live has: {only}", recommended=True),
            Option(NEWER, f"what live has newer: {newer}", recommended=True),
            Option(_LEAVE, "nothing: it stays in the former tree, which is kept"),
        ),
        several=True,
        default=f"{ONLY_LIVE}, {NEWER}",
        hint="Live is only read. What is not taken over stays in the former tree.",
    )


def _carry(situation: Situation, answer: Answer) -> Request | None:
    if _LEAVE in answer.values:
        return None
    tree, inode = _tree(situation)
    return FilesCarryRequest(
        situation.part,
        point=situation.facts.point,
        tree=tree,
        inode=inode,
        only_live=ONLY_LIVE in answer.values,
        newer=NEWER in answer.values,
    )


def _carried(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"carried": without_ok(result) if result else None}


def _carried_lines(situation: Situation) -> tuple[str, ...]:
    carried = situation.facts.carried
    if carried is None:
        return difference_lines(situation)
    lines = [f"TAKEN OVER: {files_text(carried.carried)}"]
    if carried.unsettled.count:
        lines.append(f"{files_text(carried.unsettled)} changed while they were copied: do it again")
    return (*lines, *(plain_text(note) for note in carried.notes))


def _carry_lines(situation: Situation) -> tuple[str, ...]:
    live, tree = path_of(situation), _tree(situation)[0] or _beside_path(situation)
    return (shell(["cp", "-a", "--update", f"{live}/.", f"{tree}/"]),)


def _exchange(situation: Situation, _: Answer) -> Request:
    tree, inode = _tree(situation)
    place = situation.facts.place
    return FilesExchangeRequest(
        situation.part,
        point=situation.facts.point,
        tree=tree,
        inode=inode,
        live_inode=(place.here.inode or 0) if place is not None else 0,
        tag=tree_tag(situation, "files-exchange"),
    )


def _kept_path(situation: Situation, kind: str) -> str:
    root = Path(path_of(situation))
    if not root.name:
        return str(root)
    tag = tree_tag(situation, "files-exchange")
    return str(tree_path(root, "before" if kind == "before" else "after", tag))


def _exchange_lines(situation: Situation) -> tuple[str, ...]:
    live, tree = path_of(situation), _tree(situation)[0] or _beside_path(situation)
    return (
        shell(["mv", "-nT", live, _kept_path(situation, "before")]),
        shell(["mv", "-nT", tree, live]) + "   # fsbackup does both in one step",
    )


def _exchanged(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "exchanged": without_ok(result),
        "rolled_back_tree": None,
        "files_after": None,
        **_now_live(situation, int(result.get("inode") or 0)),
        **next_attempt(situation, "files-exchange"),
    }


def _now_live(situation: Situation, inode: int) -> dict[str, object]:
    place = situation.facts.place
    if place is None or not inode:
        return {}
    # Both trees lie beside one another, on one device.
    beside = next((each.device for each in place.paths if each.device is not None), None)
    return taken_for_first(PathIdentity(place.path, beside, inode))


def _exchange_settled(situation: Situation, standing: PlaceStanding) -> Facts | None:
    arguments = situation.incident.steps["files-exchange"].request.get("arguments", {})
    return _settled(situation, standing, arguments, arguments.get("inode"), "before")


def _settled(
    situation: Situation,
    standing: PlaceStanding,
    arguments: Mapping[str, Any],
    coming: object,
    kind: str,
) -> Facts | None:
    """Return what is learnt where both trees have their new names; half of it is done again."""
    former = int(arguments.get("live_inode") or 0)
    kept = next(
        (each for each in standing.beside if each.kind == kind and each.inode == former), None
    )
    if standing.here.inode != coming or (former and kept is None):
        return None
    done = Exchanged(
        root=standing.path,
        kept_as=kept.path if kept is not None else "",
        inode=standing.here.inode or 0,
        kept_inode=former,
        at=standing.at,
    )
    from fsbackup_tui.operations.plain import plain

    result = plain(done)
    if kind == "after":
        return _rolled_back(situation, result)
    return _exchanged(situation, Answer(), result)


def _rollback(situation: Situation) -> Request | None:
    done, place = situation.facts.exchanged, situation.facts.place
    if done is None or not done.kept_as or place is None:
        return None
    return FilesRollbackRequest(
        situation.part,
        point=situation.facts.point,
        kept_as=done.kept_as,
        kept_inode=done.kept_inode,
        live_inode=place.here.inode or 0,
        tag=tree_tag(situation, "files-exchange"),
        carry=True,
    )


def _rolled_back(situation: Situation, result: Mapping[str, Any]) -> Facts:
    return {
        "exchanged": None,
        "rolled_back_tree": without_ok(result),
        "tree_beside": None,
        "files_after": None,
        **_now_live(situation, int(result.get("inode") or 0)),
    }


def _rollback_settled(situation: Situation, standing: PlaceStanding) -> Facts | None:
    arguments = situation.incident.steps["files-exchange"].request.get("arguments", {})
    return _settled(situation, standing, arguments, arguments.get("kept_inode"), "after")


def root_name(situation: Situation) -> str:
    """Return what is typed before the tree is exchanged: the directory's own name."""
    return Path(path_of(situation)).name or path_of(situation)


def _exchange_shows(situation: Situation) -> tuple[str, ...]:
    done, back = situation.facts.exchanged, situation.facts.document("rolled_back_tree")
    if done is not None:
        gap = "in one step" if done.atomic else f"{duration_text(done.gap_seconds)} without a tree"
        lines = [
            f"EXCHANGED, {gap}: live is the restored tree.",
            f"{plain_text(done.kept_as)} is the former one, whole.",
        ]
        if done.still_open:
            who = ", ".join(f"{each.what} ({each.where})" for each in done.still_open[:3])
            lines.append(f"STILL WRITING to the former tree until restarted: {plain_text(who)}")
        return (*lines, *(plain_text(note) for note in done.notes))
    if back:
        return (
            "TAKEN BACK: live is the tree that it was.",
            f"The restored one is kept: {plain_text(str(back.get('kept_as') or '-'))}",
            "To have it live again: restore beside and exchange once more.",
        )
    lines = list(difference_lines(situation))
    carried = situation.facts.carried
    if carried is None:
        lines.append("NOTHING of live was taken over: newer files are in the former tree alone.")
    else:
        lines.append(f"Taken over from live: {files_text(carried.carried)}")
    return (*lines, "The former tree is kept, whole; processes that have it open go on in it.")


ACTIONS = (
    Action(
        "files-beside",
        "act",
        request=_beside,
        runs=_beside_commands,
        shows=_beside_lines,
        learn=_restored,
        changes=True,
        learn_failed=found_spoilt,
        reopens=REOPENS,
    ),
    Action(
        "files-compare",
        "check",
        request=_compare,
        runs=lambda s: (f"diff -rq {_tree(s)[0] or 'TREE'} {path_of(s)}",),
        shows=difference_lines,
        learn=_compared,
    ),
    Action(
        "files-carry",
        "act",
        question=_what_to_carry,
        request=_carry,
        runs=_carry_lines,
        shows=_carried_lines,
        learn=_carried,
    ),
    Action(
        "files-exchange",
        "act",
        request=_exchange,
        runs=_exchange_lines,
        shows=_exchange_shows,
        learn=_exchanged,
        changes=True,
        typed=root_name,
        settling="look",
        settled_at=_exchange_settled,
        undo=_rollback,
        undo_typed=root_name,
        undo_learn=_rolled_back,
        undo_settled_at=_rollback_settled,
        undo_reopens="files-beside",
    ),
)
