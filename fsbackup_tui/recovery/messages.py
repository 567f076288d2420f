"""What people are told: the first word, when it will be back, that it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.incident import SEEN_TEXTS
from fsbackup_tui.domain.text import count_text, duration_text, when_text
from fsbackup_tui.recovery.actions.action import Situation
from fsbackup_tui.recovery.actions.assessing import ways_of
from fsbackup_tui.recovery.actions.merging import plan_of

NEXT_WORD_AFTER = timedelta(minutes=30)


def _when(situation: Situation, moment: timedelta) -> str:
    return when_text(situation.now + moment, situation.now, situation.zone)


def _drill(situation: Situation) -> str:
    return "DRILL, nothing is wrong. " if situation.incident.is_drill else ""


def _what(situation: Situation) -> str:
    if situation.kind == "postgres":
        return "data"
    words = {"files": "files", "config": "configuration", "code": "code"}
    return f"{words[situation.kind]} ({situation.part})"


def first_word(situation: Situation) -> str:
    """Return the first message: what is seen, that somebody is at it, when the next one comes."""
    incident = situation.incident
    right = ""
    if incident.last_right is not None:
        at = when_text(incident.last_right, situation.now, situation.zone)
        right = f" It was last right at about {at}."
    seen = f" ({SEEN_TEXTS[incident.seen]})" if incident.seen != "unknown" else ""
    frozen = " Writing is switched off." if incident.frozen_for(situation.now) else ""
    return (
        f"{_drill(situation)}{incident.site}: we have a problem with the {_what(situation)}"
        f"{seen}.{right}{frozen} {incident.opened_by} is at it. "
        f"Next word by {_when(situation, NEXT_WORD_AFTER)}."
    )


def eta_word(situation: Situation) -> str:
    """Return the second message: which way, what is lost, when it will be back."""
    facts = situation.facts
    if situation.kind != "postgres":
        return f"{_drill(situation)}{site_eta(situation)}"
    way = next((way for way in ways_of(situation) if way.way == facts.way), None)
    candidate = facts.candidate
    to = ""
    if candidate is not None:
        at = when_text(candidate.at, situation.now, situation.zone)
        to = f" The backup of {at} is used."
    if way is None or way.duration_seconds is None:
        back = "When it is back is not known yet."
    else:
        low, high = (timedelta(seconds=seconds) for seconds in way.duration_seconds)
        back = f"Back between {_when(situation, low)} and {_when(situation, high)} (an estimate)."
    lost = ""
    if way is not None and way.loss_rows:
        lost = f" About {count_text(way.loss_rows)} newer rows will be missing at first."
    site = situation.incident.site
    return f"{_drill(situation)}{site}: the data is being recovered.{to}{lost} {back}"


def done_word(situation: Situation) -> str:
    """Return the last message: it runs again, how long it took, what was lost."""
    incident, facts = situation.incident, situation.facts
    took = duration_text(incident.elapsed(situation.now).total_seconds())
    candidate = facts.candidate
    if situation.kind != "postgres":
        return f"{incident.site} runs again, after {took}. {site_lost(situation)}"
    lost = _lost_by_merging(situation)
    if facts.way == "salvage":
        unread = facts.salvaged.lost_rows if facts.salvaged is not None else None
        some = "Some rows" if unread is None else f"{count_text(unread)} rows"
        lost = f"{some} could not be read any more, and are missing."
    elif facts.document("host_database"):
        lost = f"What was written after {_point_moment(situation)} is missing."
    elif facts.document("swapped") and candidate is not None:
        at = when_text(candidate.at, situation.now, situation.zone)
        lost = f"What was written after {at}"
        if facts.document("merged"):
            lost += " was put back as far as it could be saved."
        elif candidate.rows_lost:
            lost += f" is missing ({count_text(candidate.rows_lost)} rows, kept aside)."
        else:
            lost += " is missing."
    return f"{_drill(situation)}{incident.site} runs again, after {took}. {lost}"


def _point_moment(situation: Situation) -> str:
    """Return when the point was taken that a lost machine was rebuilt from."""
    found = situation.facts.document("host").get("candidates")
    for each in found if isinstance(found, list) else ():
        if isinstance(each, Mapping) and each.get("point") == situation.facts.point:
            return when_text(parse_time(str(each["at"])), situation.now, situation.zone)
    return "the backup"


def _lost_by_merging(situation: Situation) -> str:
    """Return what did not come back although the rest of the database stayed as it was."""
    facts, plan = situation.facts, plan_of(situation)
    effects = facts.document("merged").get("effects")
    told = [each for each in effects if isinstance(each, Mapping)] if effects else []
    back = sum(int(each.get("inserted") or 0) for each in told)
    missing = sum(table.missing for table in plan.tables) if plan is not None else 0
    lost = []
    if missing > back:
        lost.append(f"{count_text(missing - back)} rows of the backup are still missing.")
    nothing = not told and not facts.document("merged").get("recreated")
    if nothing and plan is not None and any(table.changed for table in plan.tables):
        lost.append("Rows that differ from the backup were left as they are.")
    if facts.report is not None and facts.report.born_and_gone:
        born = count_text(facts.report.born_and_gone)
        lost.append(f"Up to {born} rows younger than the backup are gone.")
    return " ".join(lost) or "Nothing was lost that we know of."


def site_eta(situation: Situation) -> str:
    """Return the second message where it is about files, configuration or code."""
    candidate = situation.facts.site_candidate
    to = (
        ""
        if candidate is None
        else (f" The backup of {when_text(candidate.at, situation.now, situation.zone)} is used.")
    )
    back = "When all of it is back is not known yet."
    if candidate is not None and candidate.seconds is not None:
        until = _when(situation, timedelta(seconds=2 * candidate.seconds))
        back = f"Back by about {until} (an estimate)."
    runs = " Everything else works meanwhile." if situation.kind == "files" else ""
    site, verb = situation.incident.site, "are" if situation.kind == "files" else "is"
    return f"{site}: the {_what(situation)} {verb} being put right.{to} {back}{runs}"


def site_lost(situation: Situation) -> str:
    """Return what did not come back, in a sentence."""
    facts = situation.facts
    after, back = facts.files_after, facts.put_back
    if situation.kind != "files":
        return "What was there before is kept aside."
    nowhere = sum(row.nowhere.count for row in after.rows) if after is not None else 0
    if not nowhere and back is not None:
        nowhere = back.nowhere.count
    still = after.wanted.count if after is not None else 0
    lost = []
    if nowhere:
        lost.append(f"{count_text(nowhere)} files are lost: no backup has them.")
    if still:
        lost.append(f"{count_text(still)} files are still missing.")
    return " ".join(lost) or "No file is missing that we know of."
