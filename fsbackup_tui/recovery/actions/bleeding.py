"""Phase 1, stop the bleeding: evidence kept from pruning, writers kept out, jobs paused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.operations.recovery_requests import FreezeRequest, Grade, ThawRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.commands import site_command
from fsbackup_tui.recovery.question import Answer, Option, Question

UNKNOWN = "unknown"


def _which_tables(_: Situation) -> Question:
    return Question(
        "Which tables were hurt? schema.table, commas between them; or: unknown",
        default=UNKNOWN,
        hint="Like public.videos, public.users",
    )


def _named(answer: Answer) -> tuple[str, ...]:
    if answer.value.strip().lower() == UNKNOWN:
        return ()
    return tuple(name if "." in name else f"public.{name}" for name in answer.values)


def _named_tables(_s: Situation, answer: Answer, _result: Mapping[str, Any]) -> Facts:
    return {"tables": list(_named(answer))}


def _base(situation: Situation) -> dict[str, Any]:
    facts = situation.facts
    return {"part": situation.part, "database": facts.database, "target": facts.server}


def _vacuum_off(situation: Situation, answer: Answer) -> Request | None:
    names = _named(answer)
    return FreezeRequest(**_base(situation), grade="vacuum", names=names) if names else None


def _vacuum_lines(situation: Situation) -> tuple[str, ...]:
    tables = situation.facts.tables or ("…",)
    return tuple(
        f"ALTER TABLE {plain_text(table)} SET (autovacuum_enabled = off);" for table in tables
    )


def _grades(situation: Situation) -> Question:
    tables = ", ".join(situation.facts.tables)
    role = situation.loaded.config.recovery.app_role or "the application's role"
    return Question(
        "Who is to be kept from writing until it is put right?",
        (
            Option(
                "nothing",
                "nothing: everybody goes on writing",
                ("Costs nothing. What is written now is lost in a swap, kept in a merge.",),
            ),
            Option(
                "table",
                f"the named tables alone: {tables}" if tables else "the named tables alone",
                ("Reading goes on; writing to them fails with: permission denied.",),
                impossible="" if tables else "No table was named.",
            ),
            Option(
                "role",
                f"{role}: it can't connect",
                ("The application is down for its users until it is undone.",),
            ),
            Option(
                "everyone",
                "everybody but administrators: nobody can connect",
                ("All applications and people are out until it is undone.",),
            ),
        ),
        default="nothing",
        hint="It can be undone at any time; until then every screen says that it is frozen.",
    )


def _chosen_grade(_s: Situation, answer: Answer, _result: Mapping[str, Any]) -> Facts:
    return {"freeze": answer.value}


_GRADES: Mapping[str, Grade] = {"table": "table", "role": "role", "everyone": "everyone"}


def _freeze(situation: Situation, answer: Answer) -> Request | None:
    grade = _GRADES.get(answer.value)
    if grade is None:
        return None
    role = situation.loaded.config.recovery.app_role
    names: tuple[str, ...] = ()
    if grade == "table":
        names = situation.facts.tables
    elif grade == "role" and role:
        names = (role,)
    return FreezeRequest(**_base(situation), grade=grade, names=names, end_sessions=True)


def _freeze_lines(situation: Situation) -> tuple[str, ...]:
    name = plain_text(situation.facts.live_name or "the database")
    tables = ", ".join(map(plain_text, situation.facts.tables)) or "the named tables"
    return (
        f"table:    REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {tables} FROM …",
        f'role:     REVOKE CONNECT ON DATABASE "{name}" FROM …; its sessions are ended',
        f'everyone: REVOKE CONNECT ON DATABASE "{name}" FROM all; all sessions are ended',
    )


def _thaw(situation: Situation, _: Answer | None = None) -> Request:
    return ThawRequest(**_base(situation))


def _thaw_all(situation: Situation) -> Request | None:
    return _thaw(situation) if situation.incident.freezes else None


def _thaw_vacuum(situation: Situation) -> Request | None:
    what = tuple(
        freeze.what for freeze in situation.incident.freezes if freeze.what.startswith("autovacuum")
    )
    return ThawRequest(**_base(situation), what=what) if what else None


def _frozen_lines(situation: Situation) -> tuple[str, ...]:
    return tuple(command for freeze in situation.incident.freezes for command in freeze.undo) or (
        "nothing is frozen",
    )


def _still_writing(situation: Situation) -> tuple[str, ...]:
    standing = situation.facts.standing
    if standing is None or not standing.sessions:
        return ()
    lines = ["Connected to it now:"]
    for session in standing.sessions[:6]:
        writes = "WRITES" if session.writes else session.state or "-"
        lines.append(
            f"  {session.pid}  {plain_text(session.role)}  {plain_text(session.application)}"
            f"  {plain_text(session.client or 'this machine')}  {plain_text(writes)}"
        )
    more = len(standing.sessions) - 6 + standing.sessions_more
    if more > 0:
        lines.append(f"  and {more} more")
    return tuple(lines)


ACTIONS = (
    Action(
        "keep-evidence",
        "act",
        question=_which_tables,
        request=_vacuum_off,
        runs=_vacuum_lines,
        learn=_named_tables,
        changes=True,
        undo=_thaw_vacuum,
        undo_failed=True,
    ),
    Action(
        "freeze",
        "act",
        question=_grades,
        learn=_chosen_grade,
        request=_freeze,
        runs=_freeze_lines,
        shows=_still_writing,
        changes=True,
        undo=_thaw_all,
        undo_failed=True,
    ),
    Action("thaw", "act", request=_thaw, runs=_frozen_lines, changes=True),
    site_command(
        "pause-jobs",
        "pause_jobs",
        by_hand="Stop cron, workers and whatever deletes or writes by the clock.",
    ),
    site_command("stop-app", "stop_app", by_hand="Stop the application by hand."),
)
