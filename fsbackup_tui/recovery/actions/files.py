"""Bringing files back: put in what is missing, or restore beside, compare, carry over, exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.place import PathIdentity, PlaceStanding
from fsbackup_tui.domain.text import count_text, duration_text, plain_text
from fsbackup_tui.domain.tree import CONFLICTS, Conflict, Exchanged, FilesLook
from fsbackup_tui.domain.way import FilesWay
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import (
    FilesBesideRequest,
    FilesCarryRequest,
    FilesCompareRequest,
    FilesExchangeRequest,
    FilesLookRequest,
    FilesPutBackRequest,
    FilesRollbackRequest,
    FilesTakeBackRequest,
)
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.names import next_attempt
from fsbackup_tui.recovery.actions.places import path_of
from fsbackup_tui.recovery.actions.site_words import (
    damage_lines,
    files_look,
    files_text,
    names_text,
    size,
)
from fsbackup_tui.recovery.actions.words import bounded, shell
from fsbackup_tui.recovery.place import taken_for_first
from fsbackup_tui.recovery.question import Answer, Option, Question
from fsbackup_tui.repository.tree_marks import tree_path

ONLY_LIVE, NEWER = "only-live", "newer"
_PATTERN_HINT = "Shell patterns below the root, commas between them: face-sources/*, avatars/7*.png"
_LEAVE = "nothing"


def tree_tag(situation: Situation, step: str) -> str:
    """Return what the names of trees end in: the incident's id, and the attempt from the second."""
    attempt = situation.facts.document("attempts").get(step, 0)
    return situation.incident.id + (f"-{attempt + 1}" if attempt else "")


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


def _conflict(situation: Situation) -> Conflict:
    chosen = situation.incident.parameters.get("conflict")
    return next((each for each in CONFLICTS if each == chosen), "keep")


def _pattern_texts(situation: Situation) -> tuple[str, ...]:
    found = situation.incident.parameters.get("patterns")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _put_back(situation: Situation, _: Answer) -> Request:
    by_pattern = situation.facts.files_way == "patterns"
    return FilesPutBackRequest(
        situation.part,
        point=situation.facts.point,
        patterns=_pattern_texts(situation) if by_pattern else (),
        conflict=_conflict(situation) if by_pattern else "keep",
        all_missing=situation.facts.files_way == "everything",
        tag=tree_tag(situation, "files-back"),
    )


def _took(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "put_back": _without_ok(result),
        "taken_back": None,
        "files_after": None,
        **next_attempt(situation, "files-back"),
    }


def _without_ok(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "ok"}


def _put_back_lines(situation: Situation) -> tuple[str, ...]:
    return stock_extract(situation, path_of(situation), "--skip-old-files")


def stock_extract(situation: Situation, target: str, *more: str) -> tuple[str, ...]:
    """Return the stock commands that put the point's files into a directory; ``more`` for tar."""
    candidate = situation.facts.site_candidate
    options = " ".join(more)
    into = f"tar -xpf - {options + ' ' if options else ''}-C {shell([target])}"
    if candidate is None or not candidate.stock:
        return (f"… | {into}",)
    reader = candidate.stock[-1]
    return (f"cd {shell([candidate.directory])}", f"{reader} | {into}")


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
    lines += _nowhere_lines(back.nowhere.count, back.nowhere_list)
    if back.list_file:
        lines.append(f"  the list of what was put back: {plain_text(back.list_file)}")
    return bounded((*lines, *(f"  {plain_text(note)}" for note in back.notes)))


def _nowhere_lines(count: int, file: str) -> Iterator[str]:
    if count:
        yield f"NOWHERE: {count_text(count)} files that rows name are in live and the point not"
        if file:
            yield f"  their rows are exported to {plain_text(file)}"


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
    return {"put_back": None, "taken_back": _without_ok(result), "files_after": None}


def _found_spoilt(situation: Situation, kind: str) -> Facts:
    if kind != PointDamaged.kind:
        return {}
    return {"spoilt": [*situation.facts.spoilt, situation.facts.point]}


# The whole tree.


def _beside(situation: Situation, _: Answer) -> Request:
    return FilesBesideRequest(
        situation.part, point=situation.facts.point, tag=tree_tag(situation, "files-beside")
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
        "tree_beside": _without_ok(result),
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
    return {"tree_difference": _without_ok(result)}


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
    lines += [f"{name}: {plain_text(path)}" for name, path in found.lists.items()]
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
    return {"carried": _without_ok(result) if result else None}


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
        "exchanged": _without_ok(result),
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
        "rolled_back_tree": _without_ok(result),
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


def _look_again(situation: Situation, _: Answer) -> Request:
    return FilesLookRequest(situation.part, point=situation.facts.point, touching=False)


def _looked_again(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"files_after": _without_ok(result)}


def after_lines(situation: Situation) -> tuple[str, ...]:
    """Return what is still missing after it was put right, and what no point has."""
    look = situation.facts.files_after
    if look is None:
        return ()
    lines = []
    if look.wanted.count:
        lines.append(f"STILL MISSING: {files_text(look.wanted)}, like {names_text(look.wanted)}")
    else:
        lines.append("Nothing is missing that the point has and live wants.")
    if look.unnamed.count:
        lines.append(f"{files_text(look.unnamed)} of the point are named by no row: left out")
    for row in look.rows:
        column = plain_text(f"{row.table}.{row.column}")
        count = count_text(row.missing.count)
        lines.append(f"{column}: {count_text(row.rows)} rows name a file, {count} of them is gone")
        lines += _nowhere_lines(row.nowhere.count, str(look.lists.get("nowhere") or ""))
    return bounded(lines)


def way_is(*ways: FilesWay) -> Callable[[Situation], bool | None]:
    """Return the condition that one of these ways was chosen."""

    def holds(situation: Situation) -> bool | None:
        chosen = situation.facts.files_way
        return None if chosen is None else chosen in ways

    return holds


_REOPENS = {PointDamaged.kind: "choose-point"}

ACTIONS = (
    Action("choose-files-way", "choose", question=_ways, shows=damage_lines, learn=_chosen_way),
    Action("choose-patterns", "ask", question=_patterns, learn=_chosen_patterns),
    Action("choose-conflict", "choose", question=_conflicts, learn=_chosen_conflict),
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
        learn_failed=_found_spoilt,
        reopens=_REOPENS,
    ),
    Action(
        "files-beside",
        "act",
        request=_beside,
        runs=_beside_commands,
        shows=_beside_lines,
        learn=_restored,
        changes=True,
        learn_failed=_found_spoilt,
        reopens=_REOPENS,
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
    Action(
        "files-check",
        "check",
        request=_look_again,
        runs=lambda _: ("names of live against the point, rows against both; reading alone",),
        shows=after_lines,
        learn=_looked_again,
    ),
)
