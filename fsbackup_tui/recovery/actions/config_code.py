"""Bringing configuration and code back: chosen files put in place, a commit checked out again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.place import PathIdentity
from fsbackup_tui.domain.site_damage import entry_words
from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.engines.config_restore import ABSENT, kept_path
from fsbackup_tui.operations.place_requests import (
    CodeBackRequest,
    CodeTakeBackRequest,
    ConfigTakeBackRequest,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import RestoreCodeRequest, RestoreConfigRequest
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.names import next_attempt
from fsbackup_tui.recovery.actions.places import path_of
from fsbackup_tui.recovery.actions.site_common import REOPENS, found_spoilt, tree_tag, without_ok
from fsbackup_tui.recovery.actions.site_words import damage_lines
from fsbackup_tui.recovery.actions.words import bounded, shell
from fsbackup_tui.recovery.place import taken_for_first
from fsbackup_tui.recovery.question import Answer, Option, Question
from fsbackup_tui.repository.tree_marks import tree_path


def kind_is(*kinds: str) -> Callable[[Situation], bool | None]:
    """Return the condition that it is about such a source."""
    return lambda situation: situation.kind in kinds


# Configuration.


def _entries(situation: Situation) -> list[Mapping[str, Any]]:
    """Return the entries of the point that is chosen; those of another that was looked at: none."""
    damage = situation.facts.site_damage
    if damage is None or damage.point != situation.facts.point:
        return []
    found = damage.found.get("entries")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _files_to_choose(situation: Situation) -> Question:
    """Ask which files are put back; variables and outputs have no place to be put."""
    options = [
        Option(
            str(entry.get("name")),
            f"{plain_text(str(entry.get('name')))}: {plain_text(entry_words(entry))}",
            impossible=_why_not(entry),
        )
        for entry in _entries(situation)
        if entry.get("change") != "same"
    ]
    return Question(
        "Which files are put back as the point has them?",
        tuple(options),
        several=True,
        hint=_choosing_hint(options),
        may_be_empty=not any(not each.impossible for each in options),
    )


def _choosing_hint(options: list[Option]) -> str:
    if not options:
        return "Live is as the point has it: there is nothing to put back."
    return "Values are not shown. The present file is kept beside, as .before-…-NAME~"


def _why_not(entry: Mapping[str, Any]) -> str:
    if entry.get("origin") != "file":
        return "It has no place to be put: write it beside, with fsbackup restore --to DIR."
    if entry.get("change") == "added":
        return "The point has none of it; what live has stays."
    if "," in str(entry.get("name")):
        return "Its name has a comma: fsbackup restore --in-place --files NAME."
    return ""


def _chosen_files(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"config_files": list(answer.values)}


def _chosen(situation: Situation) -> tuple[str, ...]:
    found = situation.incident.parameters.get("config_files")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _config_back(situation: Situation, _: Answer) -> Request | None:
    names = _chosen(situation)
    if not names:
        return None
    # What was taken back is as it was compared; only its state is told otherwise now.
    states = situation.facts.document("config_taken_back").get("live") or {}
    seen = tuple(
        f"{entry.get('name')}={states.get(str(entry.get('name'))) or entry.get('live') or ''}"
        for entry in _entries(situation)
        if entry.get("name") in names
    )
    return RestoreConfigRequest(
        situation.facts.point,
        situation.part,
        "in-place",
        names,
        seen=seen,
        reason_unsigned=situation.facts.reason_unsigned,
        tag=tree_tag(situation, "config-back"),
    )


def _config_lines(situation: Situation) -> tuple[str, ...]:
    names = _chosen(situation) or ("FILE",)
    candidate = situation.facts.site_candidate
    lines = [f"cd {shell([candidate.directory])}"] if candidate is not None else []
    for name in names[:4]:
        quoted = shlex.quote(name)
        kept = kept_path(Path(name), "before", tree_tag(situation, "config-back"))
        lines.append(f"ln {quoted} {shlex.quote(str(kept))}")
    stock = candidate.stock if candidate is not None else ()
    return bounded((*lines, *(stock or ("… | tar -xpf - -C /",))))


def _placed(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    if not result:
        return {"config_back": None}
    placed = [each for each in result.get("placed") or () if isinstance(each, Mapping)]
    told = [
        f"{each.get('file')} is as the point has it"
        + (f"; the former one is {each.get('kept')}" if each.get("kept") else "; there was none")
        for each in placed
    ]
    told += [f"{name} was so already" for name in result.get("same") or ()]
    back = [shlex.join(words) for each in placed for words in _by_hand(each)]
    known = {"placed": [dict(each) for each in placed], "told": told, "by_hand": back}
    attempt = next_attempt(situation, "config-back")
    return {"config_back": known, "config_taken_back": None, **attempt}


def _by_hand(placed: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    file, kept = (str(placed.get(name) or "") for name in ("file", "kept"))
    yield ("mv", kept, file) if kept else ("rm", file)


def _config_shows(situation: Situation) -> tuple[str, ...]:
    back = situation.facts.document("config_back")
    if back:
        return bounded([f"PUT BACK: {plain_text(str(line))}" for line in back.get("told") or ()])
    if situation.facts.document("config_taken_back"):
        return ("TAKEN BACK: the former files are in place again.",)
    names = _chosen(situation)
    if not names:
        return ("No file was chosen.",)
    return bounded([f"put back: {plain_text(name)}" for name in names])


def _config_undo(situation: Situation) -> Request | None:
    """Return what lets the former files be live again, of an attempt that was killed, too."""
    placed = situation.facts.document("config_back").get("placed")
    pairs = [each for each in placed if isinstance(each, Mapping)] if placed else []
    files = [(str(each.get("file") or ""), str(each.get("kept") or "")) for each in pairs]
    state = situation.incident.steps.get("config-back")
    arguments = state.request.get("arguments") if state is not None else None
    begun = arguments if isinstance(arguments, Mapping) else {}
    tag = str(begun.get("tag") or "")
    if not files and state is not None and state.status == "failed":
        files = list(_begun(begun, tag))
    elif not files:
        return None
    return ConfigTakeBackRequest(
        situation.part,
        files=tuple(name for name, _ in files),
        kept=tuple(kept for _, kept in files),
    )


def _begun(arguments: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str]]:
    """Yield file, and where it was to be kept, of an attempt, or of undoing one."""
    if "kept" in arguments:
        undone = (arguments.get(name) or () for name in ("files", "kept"))
        yield from zip(*(map(str, each) for each in undone), strict=True)
    for token in arguments.get("seen") or ():
        name, _, state = str(token).rpartition("=")
        kept = kept_path(Path(os.path.realpath(name)), "before", tag)
        yield name, "" if state == ABSENT else str(kept)


def _config_undone(_s: Situation, result: Mapping[str, Any]) -> Facts:
    return {"config_back": None, "config_taken_back": without_ok(result)}


# Code.


def _beside_path(situation: Situation) -> str:
    root = Path(path_of(situation))
    if not root.name:
        return str(root)
    return str(tree_path(root, "restore", tree_tag(situation, "code-beside")))


def _work_choice(situation: Situation) -> Question:
    damage = situation.facts.site_damage
    dirty = damage is not None and bool(damage.found.get("dirty"))
    return Question(
        "What no commit had when the point was taken: is it applied?",
        (
            Option(
                "offered",
                "no: it lies beside as patches, and its commands are shown",
                ("What runs is a commit, as it was deployed.",),
                recommended=True,
            ),
            Option(
                "applied",
                "yes, in the restored work tree",
                ("It stays there: into live it comes by its patches alone.",),
                impossible="" if dirty else "The point's work tree was clean.",
            ),
        ),
        default="offered",
    )


def _chosen_work(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"apply_work": answer.value == "applied"}


def _code_beside(situation: Situation, _: Answer) -> Request:
    return RestoreCodeRequest(
        situation.facts.point,
        situation.part,
        to=_beside_path(situation),
        beside=True,
        apply_work=situation.incident.parameters.get("apply_work") is True,
        reason_unsigned=situation.facts.reason_unsigned,
    )


def _clone_lines(situation: Situation) -> tuple[str, ...]:
    candidate = situation.facts.site_candidate
    stock = candidate.stock if candidate is not None else ()
    directory = [f"cd {shell([candidate.directory])}"] if candidate is not None else []
    clone = f"git clone code.bundle {shell([_beside_path(situation)])}"
    return bounded((*directory, *(stock or (clone,))))


_OF_THE_CLONE = ("head", "branch", "artifacts", "offered", "inode")


def _cloned(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    target = str(result.get("target") or _beside_path(situation))
    told = [f"{target} is the point's work tree, at {str(result.get('head') or '-')[:12]}"]
    patches = result.get("patches")
    if patches:
        told.append(f"What no commit had lies in {patches}")
    told += map(str, result.get("notes") or ())
    return {
        "code_beside": {
            **{name: result.get(name) for name in _OF_THE_CLONE},
            "target": target,
            "patches": patches or "",
            "told": told,
            "by_hand": [shlex.join(("rm", "-r", target))],
        },
        **next_attempt(situation, "code-beside"),
    }


def _clone_shows(situation: Situation) -> tuple[str, ...]:
    beside = situation.facts.document("code_beside")
    lines = [plain_text(str(line)) for line in beside.get("told") or ()]
    return bounded((*lines, *_patch_lines(situation)))


def _patch_lines(situation: Situation) -> list[str]:
    """Return the commands that bring what no commit had into live, once it is checked out."""
    beside = situation.facts.document("code_beside")
    patches, offered = str(beside.get("patches") or ""), beside.get("offered")
    names = [str(each) for each in offered] if isinstance(offered, list) else []
    if not patches or not names:
        return []
    lines = ["To take it into live afterwards, one by one, if it is wanted:"]
    for name in names:
        path = shlex.quote(f"{patches}/{name}")
        live = shlex.quote(path_of(situation))
        if name == "untracked":
            lines.append(f"cp -an {path}/. {live}/")
        else:
            index = "--index " if "unstaged" not in name else ""
            lines.append(f"git -C {live} apply {index}{path}")
    return lines


def _code_back(situation: Situation, _: Answer) -> Request | None:
    beside = situation.facts.document("code_beside")
    if not beside:
        return None
    damage = situation.facts.site_damage
    live = damage.found.get("live") if damage is not None else None
    artifacts = beside.get("artifacts")
    return CodeBackRequest(
        situation.part,
        tree=str(beside.get("target") or ""),
        inode=int(beside.get("inode") or 0),
        live_head=str(live.get("head") or "") if isinstance(live, Mapping) else "",
        built=tuple(map(str, artifacts)) if isinstance(artifacts, list) else (),
        tag=tree_tag(situation, "code-back"),
    )


def _checkout_lines(situation: Situation) -> tuple[str, ...]:
    beside = situation.facts.document("code_beside")
    live = shlex.quote(path_of(situation))
    tree = shlex.quote(str(beside.get("target") or _beside_path(situation)))
    return (
        f"cd {live} && git stash create   # keeps what no commit has; note what it prints",
        f"git fetch {tree} HEAD",
        "git reset --hard && git checkout --detach FETCH_HEAD",
    )


def _checked_out(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "code_exchanged": without_ok(result),
        "code_taken_back": None,
        **_now_there(situation, result),
        **next_attempt(situation, "code-back"),
    }


def _now_there(situation: Situation, result: Mapping[str, Any]) -> Facts:
    """Return what is remembered of a work tree that got its name where nothing stood."""
    if result.get("mode") != "rename":
        return {}
    device, inode = (int(result.get(name) or 0) or None for name in ("device", "inode"))
    return taken_for_first(PathIdentity(path_of(situation), device, inode))


def _code_shows(situation: Situation) -> tuple[str, ...]:
    done = situation.facts.document("code_exchanged")
    if done:
        told = [plain_text(str(line)) for line in done.get("told") or ()]
        return bounded((*told, *_patch_lines(situation)))
    if situation.facts.document("code_taken_back"):
        return ("TAKEN BACK: live is at the commit that it was at.",)
    return damage_lines(situation)


def _code_undo(situation: Situation) -> Request | None:
    done = situation.facts.document("code_exchanged")
    if not done:
        return None
    built = done.get("built")
    return CodeTakeBackRequest(
        situation.part,
        tag=str(done.get("tag") or ""),
        built=tuple(map(str, built)) if isinstance(built, list) else (),
        tree=str(done.get("tree") or ""),
        inode=int(done.get("inode") or 0),
    )


def _code_undone(situation: Situation, result: Mapping[str, Any]) -> Facts:
    gone = PathIdentity(path_of(situation), None, None)
    first = taken_for_first(gone) if result.get("mode") == "rename" else {}
    return {"code_exchanged": None, "code_taken_back": without_ok(result), **first}


def _name(situation: Situation) -> str:
    return Path(path_of(situation)).name or path_of(situation)


ACTIONS = (
    Action(
        "choose-config-files",
        "choose",
        question=_files_to_choose,
        shows=damage_lines,
        learn=_chosen_files,
    ),
    Action(
        "config-back",
        "act",
        request=_config_back,
        runs=_config_lines,
        shows=_config_shows,
        learn=_placed,
        changes=True,
        undo=_config_undo,
        undo_failed=True,
        lost_failed=True,
        undo_learn=_config_undone,
        learn_failed=found_spoilt,
        reopens=REOPENS,
    ),
    Action("choose-work", "choose", question=_work_choice, shows=damage_lines, learn=_chosen_work),
    Action(
        "code-beside",
        "act",
        request=_code_beside,
        runs=_clone_lines,
        shows=_clone_shows,
        learn=_cloned,
        changes=True,
        learn_failed=found_spoilt,
        reopens=REOPENS,
    ),
    Action(
        "code-back",
        "act",
        request=_code_back,
        runs=_checkout_lines,
        shows=_code_shows,
        learn=_checked_out,
        changes=True,
        typed=_name,
        undo=_code_undo,
        undo_typed=_name,
        undo_learn=_code_undone,
        undo_reopens="code-beside",
    ),
)
