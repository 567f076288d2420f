"""Swap and merge without the walkthrough: the same steps of the same incident, one after the other.

What goes wrong leaves the incident open at the step where it went wrong, to be gone on with; where
only an answer is lacking and nothing was changed, it is closed: the command is given again with it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from fsbackup_tui.domain.errors import (
    PointNotFound,
    SafetyRefusal,
    UsageError,
)
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.signatures import refuse_unsigned
from fsbackup_tui.recovery.actions import merging
from fsbackup_tui.recovery.card import Card
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.driving import Wait, do_if_needed, do_step, look, wait_quietly
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.reader import PointReader


@dataclass(frozen=True, slots=True)
class ExpressPlan:
    """What is asked for: a point, whole or some tables of it; ``reason`` for a doubtful one.

    ``kept`` is a database that an earlier recovery kept: rows of its tables are taken, of no
    point. ``changed``: rows that differ are set back, too; ``values`` are ``T.COLUMN=VALUE`` for
    columns that want one. ``freeze``: the application's role is kept out until it is done.
    ``reason_unsigned`` is for a point that lacks the signature which is demanded: no other reason
    serves for that.
    """

    part: str
    point: str
    tables: tuple[str, ...] = ()
    where: str = ""
    reason: str = ""
    kept: str = ""
    changed: bool = False
    values: tuple[str, ...] = ()
    freeze: bool = False
    reason_unsigned: str = ""

    @property
    def last(self) -> Literal["merge", "swap"]:
        """The step that changes live."""
        return "merge" if self.tables else "swap"


def open_express(desk: Desk, plan: ExpressPlan) -> RecoverySession:
    """Open the incident of it.

    Raises:
        SafetyRefusal: one of the source is open already, or the point lacks the signature that is
        demanded.
    """
    require_signature(desk, plan.point, plan.reason_unsigned)
    runbook = "partial-loss" if plan.tables else "data-loss"
    session = declare(
        desk,
        source=plan.part,
        seen="unknown",
        last_right=None,
        runbook=runbook,
        point=plan.point,
    )
    if plan.tables:
        session.narrow(plan.tables, plan.where)
    return session


def require_signature(desk: Desk, point: str, reason: str) -> None:
    """Raise SafetyRefusal where a point lacks a demanded signature, and no reason is given.

    Before an incident is declared: one that can't go on helps nobody.
    """
    if not point or desk.repository is None:
        return
    with suppress(PointNotFound):
        reader = PointReader(desk.repository, point)
        refuse_unsigned(desk.loaded, reader, desk.environ, reason)


def prepare(session: RecoverySession, plan: ExpressPlan, wait: Wait = wait_quietly) -> Card:
    """Do all that does not change live; returns the card of the step that does.

    A spare of the point is used without restoring.

    Raises:
        SafetyRefusal: the copy is not as its point. UsageError: the point or way can't be taken,
            or an answer is lacking. Where a reason or an answer helps, the incident is closed,
            unless somebody is frozen out.
        JobError: a step failed.
    """
    try:
        return _prepared(session, plan, wait)
    except UsageError:
        _close_undone(session)
        raise


def _prepared(session: RecoverySession, plan: ExpressPlan, wait: Wait) -> Card:
    _leave_out(session, plan)
    if plan.kept:
        _take_kept(session, plan, wait)
    else:
        _choose(session, plan, wait)
    if plan.freeze:
        # Not before: what wants a reason is refused with nobody kept out.
        do_step(session, "freeze", Answer("role"), wait)
    if not plan.kept:
        _make_copy(session, plan, wait)
    if plan.tables:
        _prepare_merge(session, plan, wait)
    look(session, wait)
    card = session.card(plan.last)
    if card.stopped:
        raise SafetyRefusal(
            "STOPPED: this is not the database the point came from.", why=card.stopped
        )
    return card


def _close_undone(session: RecoverySession) -> None:
    """End an incident that lacks an answer: the same command with it is no second incident."""
    incident = session.read().incident
    if incident.closed is None and not incident.freezes:
        session.close("nothing was done")


def _leave_out(session: RecoverySession, plan: ExpressPlan) -> None:
    leave_out(session, ("freeze",) if plan.freeze else ())


def leave_out(session: RecoverySession, wanted: Collection[str] = ()) -> None:
    """Write that the steps before are left out: who goes on by hand begins where this ended."""
    for placed in session.read().flow.steps:
        before = placed.phase in ("stop", "preserve") or placed.step.id == "tell-eta"
        if before and placed.step.id not in wanted and not placed.is_behind:
            session.skip(placed.step.id, "by fsbackup restore, without the walkthrough")


def _choose(session: RecoverySession, plan: ExpressPlan, wait: Wait) -> None:
    do_step(session, "damage", Answer(), wait)
    reason = "; ".join(filter(None, (plan.reason, plan.reason_unsigned)))
    do_step(session, "choose-point", Answer(plan.point, reason), wait)
    do_step(session, "choose-way", Answer(_way(session, plan), plan.reason), wait)


def _make_copy(session: RecoverySession, plan: ExpressPlan, wait: Wait) -> None:
    do_if_needed(session, "restore", wait)
    do_step(session, "check-copy", Answer(), wait)
    _require_good_copy(session, plan)
    do_if_needed(session, "schema-copy", wait)


def _take_kept(session: RecoverySession, plan: ExpressPlan, wait: Wait) -> None:
    look(session, wait)
    standing = session.read().facts.standing
    found = standing.database(plan.kept) if standing is not None else None
    if standing is None or found is None or found == standing.live:
        kept = [each.name for each in standing.databases] if standing is not None else []
        raise UsageError(
            f"NO SUCH DATABASE: {plan.kept} is not among those that recoveries kept.",
            why=f"There are: {', '.join(kept) or 'none'}.",
            fix="fsbackup leftovers",
        )
    session.take_kept(found.name, found.oid)


def _way(session: RecoverySession, plan: ExpressPlan) -> str:
    """Return the way; where databases can't be renamed, a swap is one of schemas."""
    question = session.card("choose-way").question
    swap = question.option("swap") if question is not None else None
    other = question.option("schema swap") if question is not None else None
    if plan.last == "swap" and swap is not None and swap.impossible and other is not None:
        return other.key
    return plan.last


def _prepare_merge(session: RecoverySession, plan: ExpressPlan, wait: Wait) -> None:
    do_step(session, "diff", Answer(), wait)
    values = session.read().flow.find("fill-values")
    if values is not None and values.applies and not values.state.settled:
        if not plan.values:
            needed = merging.needed(session.situation("fill-values"))
            raise UsageError(
                f"A VALUE IS NEEDED: rows that are in live alone must have one in {needed[0]}.",
                fix=f"--value {needed[0]}=VALUE says it in one go (DEFAULT: the column's own).",
            )
        do_step(session, "fill-values", Answer(", ".join(plan.values)), wait)
    do_step(session, "choose-rows", Answer(", ".join(_chosen_rows(session, plan))), wait)


def _chosen_rows(session: RecoverySession, plan: ExpressPlan) -> list[str]:
    """Return what is put back: what is proposed, and what was asked for beside."""
    situation = session.situation("choose-rows")
    named, given = set(situation.facts.tables), situation.facts.document("values")
    changed: list[str] = []
    chosen = []
    for offer in merging.offers(situation):
        table = ".".join(offer.table)
        asked = offer.kind == "changed" and plan.changed and table in named
        valued = offer.kind == "column" and offer.name in (given.get(table) or {})
        if offer.option.recommended or asked or valued:
            chosen.append(offer.option.key)
        elif offer.kind == "changed" and table in named:
            changed.append(offer.option.label)
    if not chosen:
        session.close("nothing to put back")
        raise UsageError(
            "NOTHING TO PUT BACK: live lacks no row of these tables.",
            why="" if not changed else f"Not asked for: {'; '.join(changed)}.",
            fix="" if not changed else "With --changed they are.",
        )
    return chosen


def _require_good_copy(session: RecoverySession, plan: ExpressPlan) -> None:
    check = session.read().facts.copy_check
    if check is None or check.verdict == "different":
        differences = check.differences if check is not None else ()
        raise SafetyRefusal(
            "NOT TAKEN: the copy is not as its point.",
            why="\n".join(f"{each.sort} {each.name} {each.detail}" for each in differences[:5]),
        )
    if check.verdict != "proven" and not plan.reason:
        blocked = [each for each in check.differences if each.state == "blocked"]
        _close_undone(session)
        raise SafetyRefusal(
            "NOT PROVEN: a part of the copy could not be compared.",
            why="\n".join(f"{each.sort} {each.name} {each.detail}" for each in blocked[:5]),
            fix=""
            if session.read().incident.closed is None
            else "With a written reason it is taken all the same: --reason TEXT\n"
            "The copy stays until it is dropped: fsbackup leftovers",
        )


def finish(
    session: RecoverySession, plan: ExpressPlan, typed: str, wait: Wait = wait_quietly
) -> dict[str, Any]:
    """Change live, close the incident, and return the document of it.

    Raises:
        ConfirmationNeeded: the name was not typed. JobError: it failed; the incident stays open.
    """
    do_step(session, plan.last, Answer(typed=typed), wait)
    do_if_needed(session, "thaw", wait)
    session.close(f"{'rows put back' if plan.tables else 'swapped'} by fsbackup restore")
    reading = session.read()
    facts, incident = reading.facts, reading.incident
    restored = facts.document("restored")
    spared = incident.parameters.get("copy_is_spare") is True
    none = {"restored": 0, "benign": 0, "deferred": 0, "lost": 0}
    name = "merged" if plan.tables else "swapped"
    return {
        "ok": True,
        "point": plan.point or None,
        "kept": plan.kept or None,
        "target": facts.live_name,
        "entries": none if spared else restored.get("entries") or none,
        "seconds": round(incident.elapsed(reading.now).total_seconds(), 3),
        "problems": [],
        "incident": incident.id,
        "spare": spared,
        name: plain(facts.document(name)),
    }
