"""``fsbackup schedule run-due``: what cron's lines call. Quiet, unless something failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.scheduled import Caller, Scheduled

_SHOWN_LINES = 60


def run_due(context: CliContext, identifier: str | None) -> int:
    """Run each entry, or the one named, that is due and was not begun; the worst exit code.

    cron mails what is printed, so only what failed is. An entry whose times the configuration no
    longer has is refused: its line is an old one.
    """
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.domain.events import format_time
    from fsbackup_tui.operations.schedule import site_times
    from fsbackup_tui.operations.schedule_due import claim
    from fsbackup_tui.operations.schedule_entries import caller, scheduled

    loaded = context.load()
    entries = {entry.id: entry for entry in scheduled(loaded.config)}
    if identifier is not None and identifier not in entries:
        raise UsageError(
            f"NOT SCHEDULED: {loaded.path} gives {identifier} no time.",
            fix="fsbackup schedule install   writes the schedule anew",
        )
    times = site_times(loaded)
    who = caller(loaded, context.environ)
    state = context.state()
    ran: list[dict[str, object]] = []
    for entry in entries.values() if identifier is None else (entries[identifier],):
        due = claim(state, entry, zone=times.zone, zone_name=times.name, now=context.now())
        if due is None:
            continue
        code = _run(context, entry, who)
        ran.append({"id": entry.id, "due": format_time(due), "exit_code": code})
    worst = max((abs(int(str(one["exit_code"]))) for one in ran), default=0)
    context.emit({"ok": worst == 0, "ran": ran}, lambda: None)
    return min(worst, 125)


def _run(context: CliContext, entry: Scheduled, who: Caller) -> int:
    """Run one entry in a process of its own; prints what it printed where it failed."""
    import asyncio

    from fsbackup_tui.engines.process import Command, run

    command = Command(
        (*who.program, "--config", who.config, *entry.arguments), env=dict(context.environ)
    )
    completed = asyncio.run(run(command, check=False))
    if completed.exit_status != 0:
        said = completed.stdout.decode(errors="replace").splitlines()
        said += completed.stderr.splitlines()
        context.tell(f"{who.site}: {entry.title} ended with {completed.ended()}.")
        for line in said[-_SHOWN_LINES:]:
            context.tell(line)
    return completed.exit_status
