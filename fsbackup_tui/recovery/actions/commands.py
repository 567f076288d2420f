"""The site's own commands as actions: run by a job, or done by hand where none is configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.operations.recovery_requests import CommandRequest, SiteCommand
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.words import shell
from fsbackup_tui.recovery.question import Answer


def command_of(situation: Situation, command: SiteCommand) -> tuple[str, ...]:
    """Return the configured argv; empty where there is none."""
    configured: tuple[str, ...] | None = getattr(situation.loaded.config.commands, command)
    return configured or ()


def in_drill(situation: Situation) -> bool:
    """Whether it is a drill, so that nothing of the site's own is to be done."""
    if situation.kind == "postgres":
        return bool(situation.facts.database)
    return situation.incident.is_drill


def site_command(
    name: str,
    command: SiteCommand,
    *,
    by_hand: str,
    message: Callable[[Situation], str] | None = None,
) -> Action:
    """Return the action that runs a configured command; ``by_hand`` says what to do without one.

    ``message`` is what the command gets on its standard input; it is shown, and can be copied.
    """

    def request(situation: Situation, _: Answer) -> Request:
        facts = situation.facts
        return CommandRequest(
            part=situation.part,
            database=facts.database,
            command=command,
            message=message(situation) if message is not None else "",
        )

    def words(situation: Situation) -> str:
        if in_drill(situation) and (situation.kind != "postgres" or command != "smoke_test"):
            return f"A drill: say that you would do it. {by_hand}"
        return "" if command_of(situation, command) else by_hand

    def runs(situation: Situation) -> tuple[str, ...]:
        argv = command_of(situation, command)
        if not argv:
            return (f"nothing: commands.{command} is not configured",)
        return (plain_text(shell(argv)),)

    def shows(situation: Situation) -> tuple[str, ...]:
        return tuple(message(situation).splitlines()) if message is not None else ()

    def learn(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
        return {f"ran_{command}": {name: result.get(name) for name in ("exit_status", "seconds")}}

    return Action(
        name,
        "act",
        request=request,
        by_hand=words,
        runs=runs,
        shows=shows,
        learn=learn,
        settling="ask",
    )


def _added(situation: Situation) -> tuple[str, ...]:
    steps = situation.loaded.config.recovery.steps
    return next((step.command or () for step in steps if step.id == situation.step), ())


def _run_added(situation: Situation, _: Answer) -> Request:
    return CommandRequest(
        part=situation.part,
        database=situation.facts.database,
        command=situation.step,
    )


def _added_by_hand(situation: Situation) -> str:
    if situation.kind != "postgres" and situation.incident.is_drill:
        return "A drill: say that you would do it."
    return "" if _added(situation) else "Do what this step says, then confirm it."


def _added_lines(situation: Situation) -> tuple[str, ...]:
    argv = _added(situation)
    return (plain_text(shell(argv)),) if argv else ()


SITE_STEP = Action(
    "site-step",
    "act",
    request=_run_added,
    by_hand=_added_by_hand,
    runs=_added_lines,
    settling="ask",
)
"""A step that the site's configuration adds: its command, or words to do by hand."""
