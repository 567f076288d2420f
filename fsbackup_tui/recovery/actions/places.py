"""What every recovery of files, configuration or code does: stop, keep, look, choose the point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.incident import STOPPED
from fsbackup_tui.domain.place import touch_key
from fsbackup_tui.domain.site_damage import SiteCandidate
from fsbackup_tui.domain.text import count_text, plain_text, shorten, when_text
from fsbackup_tui.domain.tree import Touching
from fsbackup_tui.operations.place_requests import (
    KeepTreeRequest,
    LetTouchRequest,
    SiteDamageRequest,
    StopTouchingRequest,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.commands import command_of, in_drill
from fsbackup_tui.recovery.actions.site_words import damage_lines, size
from fsbackup_tui.recovery.actions.words import bounded, shell
from fsbackup_tui.recovery.question import Answer, Option, Question

NOTHING, JOBS = "nothing", "jobs"
_TOUCHING_SHOWN = 12
_NAME = 60


def _touching(situation: Situation) -> tuple[Touching, ...]:
    place = situation.facts.place
    return () if place is None else place.touching


def _what_deletes(situation: Situation) -> Question:
    """Ask what is to be stopped, of what was seen; nothing is the safe answer."""
    pause = () if in_drill(situation) else command_of(situation, "pause_jobs")
    options = [
        Option(
            NOTHING,
            "nothing: none of them deletes, or it is stopped already",
            ("The application runs on; the database is not frozen.",),
        )
    ]
    if pause:
        options.append(
            Option(JOBS, f"what runs by the clock: {plain_text(shell(pause))}", recommended=True)
        )
    options += [
        _touching_option(each, number)
        for number, each in enumerate(_touching(situation)[:_TOUCHING_SHOWN], 1)
    ]
    return Question(
        "What deletes there, and is to be stopped?",
        tuple(options),
        several=True,
        default=JOBS if pause else NOTHING,
        hint="A process is paused where it stands, and can go on.",
    )


def _touching_option(touching: Touching, number: int) -> Option:
    """Return something at work there as an answer; what only a person can stop is none."""
    name, key = shorten(plain_text(touching.what), _NAME), touch_key(touching)
    detail = plain_text(touching.detail)
    if touching.kind == "process":
        return Option(key, f"pause process {touching.where}: {name}", (f"in {detail}",))
    if key:
        return Option(key, f"stop the timer {name}", (detail,))
    label = f"{touching.kind} {plain_text(touching.where)}: {name}"
    by_hand = plain_text(touching.stop) or "its owner knows how"
    return Option(f"by hand {number}", label, impossible=f"by hand: {by_hand}")


def _stop(situation: Situation, answer: Answer) -> Request | None:
    chosen = tuple(value for value in answer.values if value not in (NOTHING, JOBS))
    pause = JOBS in answer.values
    if not chosen and not pause:
        return None
    return StopTouchingRequest(situation.part, chosen, pause_jobs=pause)


def touching_lines(situation: Situation) -> tuple[str, ...]:
    """Return what was stopped; before that, that nobody was found, where nobody was."""
    place, stopped = situation.facts.place, situation.facts.document("stopped")
    lines = [f"stopped: {plain_text(str(each))}" for each in stopped.get("stopped") or ()]
    lines += [f"gone by itself: {plain_text(str(each))}" for each in stopped.get("gone") or ()]
    for each in stopped.get("left") or ():
        lines.append(f"NOT STOPPED: {plain_text(str(each.get('what')))}: {each.get('fix')}")
    if place is None or lines:
        return bounded(lines)
    if not place.touching:
        path = plain_text(place.path)
        return (f"Nobody was found at work in {path}; what runs on other hosts is not seen.",)
    more = len(place.touching) - _TOUCHING_SHOWN
    return (f"and {more} more are at work there",) if more > 0 else ()


def _stop_lines(situation: Situation) -> tuple[str, ...]:
    pause = () if in_drill(situation) else command_of(situation, "pause_jobs")
    lines = [
        f"kill -STOP {each.where}"
        if each.kind == "process"
        else plain_text(each.stop or f"systemctl stop {each.what}")
        for each in _touching(situation)
        if touch_key(each)
    ]
    return (*((plain_text(shell(pause)),) if pause else ()), *bounded(lines, 6)) or (
        "nothing: what deletes is stopped by hand",
    )


def _stopped(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"stopped": {name: result.get(name) for name in ("stopped", "gone", "left", "ran")}}


def _let_go(situation: Situation) -> Request | None:
    frozen = any(freeze.grade == STOPPED for freeze in situation.incident.freezes)
    ran = situation.facts.document("stopped").get("ran")
    resume = bool(ran) and bool(command_of(situation, "resume_jobs"))
    if not frozen and not resume:
        return None
    return LetTouchRequest(situation.part, resume_jobs=resume)


def _resume(situation: Situation, _: Answer) -> Request | None:
    frozen = any(freeze.grade == STOPPED for freeze in situation.incident.freezes)
    resume = bool(command_of(situation, "resume_jobs")) and not in_drill(situation)
    return LetTouchRequest(situation.part, resume_jobs=resume) if frozen or resume else None


def _resume_by_hand(situation: Situation) -> str:
    if _resume(situation, Answer()) is not None:
        return ""
    return "Start what you stopped: cron lines, workers. Mend first what deleted too much."


def _resume_lines(situation: Situation) -> tuple[str, ...]:
    resume = () if in_drill(situation) else command_of(situation, "resume_jobs")
    stopped = [
        command
        for freeze in situation.incident.freezes
        if freeze.grade == STOPPED
        for command in freeze.undo
    ]
    return (*bounded(stopped, 8), *((plain_text(shell(resume)),) if resume else ()))


def _nothing_stopped(_s: Situation, _result: Mapping[str, Any]) -> Facts:
    return {"stopped": None}


def _keep(situation: Situation, _: Answer) -> Request:
    return KeepTreeRequest(situation.part)


def _kept(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"kept_tree": {name: value for name, value in result.items() if name != "ok"}}


def _kept_lines(situation: Situation) -> tuple[str, ...]:
    kept = situation.facts.document("kept_tree")
    if not kept:
        return ()
    lines = [
        f"{count_text(kept.get('listed'))} names are listed in {plain_text(str(kept['list']))}"
        if kept.get("list")
        else "nothing was listed"
    ]
    copied = kept.get("copied")
    if isinstance(copied, list):
        lines += [f"deleted, and still open: {plain_text(str(each))}" for each in copied]
    return bounded(lines)


def _keep_lines(situation: Situation) -> tuple[str, ...]:
    path = shell([path_of(situation)])
    return (
        f"find {path} -printf '%M %U %G %s %T+ %C+ %p\\n' > tree.txt",
        "cp /proc/PID/fd/N …   deleted files that a process has open",
    )


def path_of(situation: Situation) -> str:
    """Return the path that it is about; in words before one was looked at."""
    return situation.facts.live_name or "PATH"


def _look_at_damage(situation: Situation, _: Answer) -> SiteDamageRequest:
    right = situation.incident.last_right
    preferred = situation.incident.parameters.get("preferred_point")
    return SiteDamageRequest(
        situation.part,
        point=situation.facts.point or (preferred if isinstance(preferred, str) else ""),
        last_right="" if right is None else format_time(right),
    )


def _learn_damage(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"site_damage": {name: value for name, value in result.items() if name != "ok"}}


def _points(situation: Situation) -> Question:
    damage = situation.facts.site_damage
    candidates = () if damage is None else damage.candidates
    spoilt = situation.facts.spoilt
    candidates = tuple(
        replace(each, doubt="found damaged when it was read") if each.point in spoilt else each
        for each in candidates
    )
    preferred = situation.incident.parameters.get("preferred_point")
    best = best_candidate(situation, candidates)
    wished = next((each for each in candidates if each.point == preferred), None)
    if wished is not None and not wished.doubt:
        best = wished
    return Question(
        "Which point? A doubtful one needs a written reason.",
        tuple(
            Option(
                each.point,
                candidate_line(situation, each),
                tuple(_about(each)),
                doubt=each.doubt,
                recommended=each is best,
            )
            for each in candidates
        ),
        default=best.point if best is not None else "",
        hint="Nothing is changed by choosing.",
    )


def best_candidate(
    situation: Situation, candidates: tuple[SiteCandidate, ...]
) -> SiteCandidate | None:
    """Return the point to propose; None where each is in doubt.

    Of files the one that brings most back, and of those that bring as much, the newest. Of
    settings and code the newest that is otherwise than live: more differences are no merit.
    """
    sound = [each for each in candidates if not each.doubt]
    if situation.kind == "files":
        return max(sound, key=lambda each: (each.brings or 0, each.at), default=None)
    return max(sound, key=lambda each: (bool(each.brings), each.at), default=None)


def candidate_line(situation: Situation, candidate: SiteCandidate) -> str:
    """Return what is told of a point beside its name: when, trust, what it brings back."""
    at = when_text(candidate.at, situation.now, situation.zone)
    return f"{at}  {candidate.trust.upper()}  {brings_words(situation, candidate)}"


def brings_words(situation: Situation, candidate: SiteCandidate) -> str:
    """Return what a point brings back, in words of its kind."""
    if candidate.brings is None:
        return "what it brings is not known"
    count = count_text(candidate.brings)
    if situation.kind == "files":
        return f"brings {count} missing files, {size(candidate.brings_bytes)}"
    if situation.kind == "code":
        return "another state than live's" if candidate.brings else "as live is"
    verb = "differs" if candidate.brings == 1 else "differ"
    return f"{count} of its entries {verb} from live's" if candidate.brings else "as live is"


def _about(candidate: SiteCandidate) -> Iterator[str]:
    if candidate.after_damage:
        yield "AFTER DAMAGE"
    if candidate.files is not None:
        yield f"{count_text(candidate.files)} files, {size(candidate.bytes)}"
    if candidate.about:
        yield plain_text(candidate.about)


def _measure_by(situation: Situation, answer: Answer) -> Request | None:
    """Measure by the point that is chosen, where another one was looked at."""
    damage, asked = situation.facts.site_damage, _look_at_damage(situation, answer)
    if damage is not None and damage.point == answer.value:
        return None
    return replace(asked, point=answer.value)


def _chosen_point(_s: Situation, answer: Answer, result: Mapping[str, Any]) -> Facts:
    facts: dict[str, Any] = {"point": answer.value, "point_reason": answer.reason}
    if result.get("point") == answer.value:
        facts["site_damage"] = {name: value for name, value in result.items() if name != "ok"}
    return facts


ACTIONS = (
    Action(
        "stop-deleting",
        "act",
        question=_what_deletes,
        request=_stop,
        runs=_stop_lines,
        shows=touching_lines,
        learn=_stopped,
        changes=True,
        undo=_let_go,
        undo_failed=True,
        undo_learn=_nothing_stopped,
    ),
    Action(
        "let-go",
        "act",
        request=_resume,
        by_hand=_resume_by_hand,
        runs=_resume_lines,
        shows=touching_lines,
    ),
    Action(
        "keep-tree",
        "act",
        request=_keep,
        runs=_keep_lines,
        shows=_kept_lines,
        learn=_kept,
    ),
    Action(
        "site-damage",
        "check",
        request=_look_at_damage,
        runs=lambda _: ("names, sizes and times of live against the point; reading alone",),
        shows=damage_lines,
        learn=_learn_damage,
    ),
    Action(
        "choose-site-point",
        "choose",
        question=_points,
        request=_measure_by,
        runs=lambda _: ("what the point would bring is measured; nothing is changed",),
        shows=damage_lines,
        learn=_chosen_point,
    ),
)
