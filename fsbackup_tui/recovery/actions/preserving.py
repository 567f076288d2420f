"""Phase 2, preserve: what is kept of the damaged database before anything touches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.operations.recovery_requests import PreserveRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.question import Answer, Option, Question

KEEP = "keep by renaming"


def _rungs(situation: Situation) -> Question:
    corrupt = situation.incident.seen == "errors"
    return Question(
        "What is to be kept of it as it is now, beside the swap's own copy?",
        (
            Option(
                KEEP,
                "nothing more: a swap keeps the whole damaged database under another name",
                ("Free and instant. A merge changes live, with an undo written first.",),
                recommended=not corrupt,
            ),
            Option(
                "tables",
                "a dump of every table, with a verdict for each",
                ("Takes as long as a backup; reads every table.",),
                recommended=corrupt,
            ),
            Option(
                "salvage",
                "the same, and around bad blocks what can still be read",
                ("For errors and bad blocks.",),
                recommended=corrupt,
            ),
            Option(
                "file copy",
                "a copy of its files, byte by byte",
                ("Needs the server's disk in reach and room for the whole database.",),
                recommended=corrupt,
            ),
            Option(
                "copy inside the server",
                "a copy inside the server, byte by byte",
                ("Needs that nobody is connected, and room for the whole database.",),
            ),
        ),
        several=True,
        default="tables, salvage, file copy" if corrupt else KEEP,
    )


def _rungs_of(answer: Answer) -> tuple[str, ...]:
    return tuple(rung for rung in answer.values if rung != KEEP)


def _preserve(situation: Situation, answer: Answer) -> Request | None:
    facts = situation.facts
    rungs = _rungs_of(answer)
    if not rungs:
        return None
    return PreserveRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        rungs=rungs,
        damaged=facts.tables,
    )


def _preserve_lines(_: Situation) -> tuple[str, ...]:
    return (
        "tables:    pg_dump -Fc -t TABLE, one file for each table",
        "salvage:   COPY … WHERE ctid BETWEEN … around what can't be read",
        "file copy: cp -a of the database's own directory",
        "inside:    CREATE DATABASE … TEMPLATE … STRATEGY file_copy",
    )


def _preserved(_s: Situation, answer: Answer, result: Mapping[str, Any]) -> Facts:
    preserved = {name: value for name, value in result.items() if name != "ok"}
    return {"rungs": list(_rungs_of(answer)), "preserved": preserved or None}


def _reached(situation: Situation) -> tuple[str, ...]:
    preserved = situation.facts.preserved
    if preserved is None:
        return ()
    lines = [
        f"{rung.name}: {'reached' if rung.reached else 'not reached'}"
        + (f", {plain_text(rung.where)}" if rung.where else "")
        + (f" ({plain_text(rung.why)})" if rung.why else "")
        for rung in preserved.rungs
    ]
    lines += [
        f"{plain_text(table.table)}: {table.verdict}, {count_text(table.rows)} rows"
        + (f", {len(table.bad_blocks)} bad blocks" if table.bad_blocks else "")
        for table in preserved.tables
        if table.verdict != "whole"
    ]
    return bounded(lines)


ACTIONS = (
    Action(
        "preserve",
        "act",
        question=_rungs,
        request=_preserve,
        runs=_preserve_lines,
        shows=_reached,
        learn=_preserved,
    ),
)
