"""Phase 5, resume: code against database, start, check, tell, take a fresh backup; and telling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.operations.recovery_requests import AffectedRequest, MigrationRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.commands import in_drill, site_command
from fsbackup_tui.recovery.actions.rearming import RESUME_JOBS
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.kinds import source_kinds
from fsbackup_tui.recovery.messages import done_word, eta_word, first_word
from fsbackup_tui.recovery.question import Answer, Question

YES = "yes"


def _migrations(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return MigrationRequest(
        part=_database(situation),
        database=facts.database,
        target=facts.server,
        point=facts.point,
    )


def _database(situation: Situation) -> str:
    """Return the database that code is compared with: the incident's own, else the site's first."""
    if situation.kind == "postgres":
        return situation.part
    kinds = source_kinds(situation.loaded)
    return next((name for name, kind in kinds.items() if kind == "postgres"), "")


def _no_database(situation: Situation) -> str:
    if _database(situation):
        return ""
    return "The configuration names no database: ask the code itself, as it is deployed."


def _learn_migrations(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"migration": {name: value for name, value in result.items() if name != "ok"}}


def _migration_lines(situation: Situation) -> tuple[str, ...]:
    migration = situation.facts.document("migration")
    if not migration:
        return ()
    code = migration.get("code")
    head, expected = str(migration.get("head") or ""), str(migration.get("expected") or "")
    if not head:
        lines = ["The database has no table of migrations."]
    elif expected == head:
        lines = [f"They fit: code and database are at migration {plain_text(head)}."]
    else:
        lines = [f"The database is at migration {plain_text(head)}."]
        if expected:
            lines = ["THEY DO NOT FIT.", *lines, f"The code is at {plain_text(expected)}."]
    failed = migration.get("failed")
    if isinstance(failed, list) and failed:
        lines.append(f"Failed half-way: {plain_text(', '.join(map(str, failed)))}")
    for label, name in (("not applied", "pending"), ("not in the code", "unknown")):
        names = migration.get(name)
        if isinstance(names, list) and names:
            lines.append(f"{len(names)} {label}: {plain_text(', '.join(map(str, names[:3])))}")
    commands = migration.get("commands")
    for each in commands if isinstance(commands, list) else ():
        if isinstance(each, Mapping):
            lines.append(f"{plain_text(str(each.get('command')))}   {each.get('when') or ''}")
    lines += [plain_text(str(each)) for each in code] if isinstance(code, list) else []
    lines.append("Never: migrate dev, migrate reset, db push. They may drop everything.")
    return tuple(lines)


def _plan_of(situation: Situation) -> str:
    plans = situation.loaded.config.plans
    return next(
        (
            name
            for name, plan in plans.items()
            if situation.part in plan.sources and situation.part in source_kinds(situation.loaded)
        ),
        "",
    )


def _backup(situation: Situation, _: Answer) -> Request:
    reason = f"after incident {situation.incident.id}"
    return BackupRequest(_plan_of(situation), reason=reason)


def _no_backup(situation: Situation) -> str:
    if in_drill(situation):
        return "A drill: no backup is taken of the copy."
    if not _plan_of(situation):
        return "No plan has this source: take a dump with pg_dump -Fc."
    return ""


def _learn_backup(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"fresh_point": str(result.get("point") or "")}


def _confirmed(_: Situation) -> Question:
    return Question("Done? yes, or Esc to leave it open", default="")


def _affected(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    swapped = facts.document("swapped")
    # Those whom it concerns are found where the data still is: in the copy, or in what it became.
    copy = str(swapped.get("database") or facts.copy)
    return AffectedRequest(
        part=situation.part, database=facts.database, target=facts.server, copy=copy
    )


def _learn_affected(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"affected": {name: value for name, value in result.items() if name != "ok"}}


def _affected_lines(situation: Situation) -> tuple[str, ...]:
    found = situation.facts.document("affected")
    rows = found.get("rows")
    if not isinstance(rows, list):
        return ()
    lines = [plain_text(", ".join(map(str, row))) for row in rows if isinstance(row, list)]
    head = f"{count_text(len(rows))} rows{' and more' if found.get('more') else ''}:"
    return bounded([head, *lines])


ACTIONS = (
    Action(
        "affected",
        "check",
        request=_affected,
        runs=lambda s: tuple(
            (s.loaded.config.recovery.affected_users or "nothing is configured").splitlines()
        ),
        shows=_affected_lines,
        learn=_learn_affected,
    ),
    Action(
        "migrations",
        "check",
        request=_migrations,
        by_hand=_no_database,
        runs=lambda _: ("SELECT migration_name FROM _prisma_migrations",),
        shows=_migration_lines,
        learn=_learn_migrations,
    ),
    site_command(
        "regenerate-client",
        "regenerate_client",
        by_hand="Regenerate the client from the schema, like: npx prisma generate",
    ),
    site_command(
        "migration-status",
        "migration_status",
        by_hand="Ask what is applied, like: npx prisma migrate status",
    ),
    site_command("start-app", "start_app", by_hand="Start the application by hand."),
    site_command(
        "smoke-test",
        "smoke_test",
        by_hand="Log in, open what was lost, write something, read it again.",
    ),
    RESUME_JOBS,
    Action(
        "fresh-backup",
        "act",
        request=_backup,
        by_hand=_no_backup,
        runs=lambda s: (f"fsbackup backup {_plan_of(s)}",) if _plan_of(s) else (),
        learn=_learn_backup,
    ),
    Action("confirm", "confirm", question=_confirmed),
    site_command(
        "tell-first", "notify_people", by_hand="Send this to those who wait:", message=first_word
    ),
    site_command(
        "tell-eta", "notify_people", by_hand="Send this to those who wait:", message=eta_word
    ),
    site_command(
        "tell-done", "notify_people", by_hand="Send this to those who wait:", message=done_word
    ),
)
