"""Files back without the walkthrough: the same steps of the same incident, one after the other.

What goes wrong leaves the incident open at the step where it went wrong, to be gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.tree import Conflict
from fsbackup_tui.domain.way import FilesWay
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.recovery.actions.files_tree import NEWER, ONLY_LIVE
from fsbackup_tui.recovery.card import Card
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.driving import Wait, do_step, look, require_status, wait_quietly
from fsbackup_tui.recovery.express import leave_out, require_signature
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession

LastStep = Literal["files-back", "files-exchange"]


@dataclass(frozen=True, slots=True)
class FilesPlan:
    """What is asked for; ``reason`` for a doubtful point, or for what no row names.

    ``reason_unsigned`` is for a point that lacks the signature which is demanded, as in
    ``ExpressPlan``.
    """

    part: str
    point: str
    way: FilesWay = "missing"
    patterns: tuple[str, ...] = ()
    conflict: Conflict = "keep"
    reason: str = ""
    reason_unsigned: str = ""

    @property
    def last(self) -> LastStep:
        """The step that changes live."""
        return "files-exchange" if self.way == "exchange" else "files-back"


def open_express(desk: Desk, plan: FilesPlan) -> RecoverySession:
    """Open the incident of it.

    Raises:
        SafetyRefusal: one of the source is open already, or the point lacks the signature that is
        demanded.
    """
    require_signature(desk, plan.point, plan.reason_unsigned)
    return declare(
        desk,
        source=plan.part,
        seen="files",
        last_right=None,
        runbook="files-loss",
        point=plan.point,
    )


def prepare(session: RecoverySession, plan: FilesPlan, wait: Wait = wait_quietly) -> Card:
    """Do all that does not change live; returns the card of the step that does.

    Raises:
        UsageError: the point or way can't be taken. JobError: a step failed.
        SafetyRefusal: the place is not the one the point came from.
    """
    leave_out(session)
    do_step(session, "damage", Answer(), wait)
    try:
        reason = "; ".join(filter(None, (plan.reason, plan.reason_unsigned)))
        do_step(session, "choose-point", Answer(plan.point, reason), wait)
        do_step(session, "choose-way", Answer(_offered_way(session, plan), plan.reason), wait)
    except UsageError:
        # An answer is lacking: the same command with it is no second incident.
        session.close("nothing was done")
        raise
    if plan.way == "patterns":
        do_step(session, "choose-patterns", Answer(",".join(plan.patterns)), wait)
        do_step(session, "choose-conflict", Answer(plan.conflict), wait)
    if plan.way == "exchange":
        do_step(session, "files-beside", Answer(), wait)
        do_step(session, "files-compare", Answer(), wait)
        do_step(session, "files-carry", Answer(f"{ONLY_LIVE}, {NEWER}"), wait)
    look(session, wait)
    card = session.card(plan.last)
    if card.stopped:
        raise SafetyRefusal(
            "STOPPED: this is not the place that the point came from.", why=card.stopped
        )
    return card


def _offered_way(session: RecoverySession, plan: FilesPlan) -> FilesWay:
    """Return the plan's way; where no row names files, all that is missing is what is missing."""
    question = session.card("choose-way").question
    offered = question is not None and question.option(plan.way) is not None
    return "missing" if plan.way == "everything" and not offered else plan.way


def finish(
    session: RecoverySession, plan: FilesPlan, typed: str, wait: Wait = wait_quietly
) -> dict[str, Any]:
    """Change live, look what is still missing, close, and return the document of it.

    Raises:
        JobError: it failed; the incident stays open.
    """
    do_step(session, plan.last, Answer(typed=typed), wait)
    do_step(session, "files-check", Answer(), wait)
    session.close(f"files {'exchanged' if plan.way == 'exchange' else 'put back'} by fsbackup")
    reading = session.read()
    facts, incident = reading.facts, reading.incident
    name = "exchanged" if plan.way == "exchange" else "put_back"
    document = facts.document(name)
    restored = document.get("put_back", {}).get("count", 0)
    if plan.way == "exchange" and facts.tree_beside is not None:
        restored = facts.tree_beside.files
    return {
        "ok": True,
        "point": plan.point,
        "part": plan.part,
        "target": str(document.get("root") or ""),
        "entries": {"restored": restored, "benign": 0, "deferred": 0, "lost": 0},
        "seconds": round(incident.elapsed(reading.now).total_seconds(), 3),
        "problems": [],
        "incident": incident.id,
        name: plain(document),
        "still_missing": plain(facts.document("files_after")),
    }


def undone_step(session: RecoverySession) -> LastStep:
    """Return what of an incident is undone: the exchange, else what was put back."""
    facts = session.read().facts
    if facts.exchanged is not None:
        return "files-exchange"
    if facts.put_back is not None and facts.put_back.undo:
        return "files-back"
    raise UsageError("NOTHING TO ROLL BACK: no files stand that fsbackup brought.")


def prepare_rollback(session: RecoverySession, wait: Wait = wait_quietly) -> Card:
    """Look, and count what was written since an exchange; returns the card of the step."""
    look(session, wait)
    step = undone_step(session)
    if step == "files-exchange":
        session.count_written()
        wait(session)
        wait_quietly(session)
    return session.card(step)


def roll_back(session: RecoverySession, typed: str, wait: Wait = wait_quietly) -> dict[str, Any]:
    """Undo it and return the document of it; the incident stays as open as it is.

    Raises:
        JobError: it failed.
    """
    step = undone_step(session)
    session.undo(step, Answer(typed=typed))
    wait(session)
    wait_quietly(session)
    require_status(session, step, "undone")
    reading = session.read()
    name = "rolled_back_tree" if step == "files-exchange" else "taken_back"
    document = reading.facts.document(name)
    return {
        "ok": True,
        "incident": reading.incident.id,
        "root": document.get("root"),
        "kept_as": document.get("kept_as"),
        name: plain(document),
    }
