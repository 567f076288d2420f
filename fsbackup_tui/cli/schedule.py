"""``fsbackup schedule show|install|remove``: what runs by itself, through systemd or cron."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime, tzinfo
    from pathlib import Path

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.operations.schedule import EntryState, Installed, LastRun, Survey

_HEADINGS = ("WHAT", "AT", "LAST", "NEXT", "INSTALLED")
_ACTIONS = ("show", "install", "remove", "run-due")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "schedule", parents=parents, help="what runs by itself: systemd timers, or cron"
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=_ACTIONS,
        default="show",
        metavar="show|install|remove|run-due",
        help="run-due is what cron's lines call: it runs what is due and was not begun",
    )
    parser.add_argument(
        "entry", nargs="?", metavar="ENTRY", help="with run-due, this one alone, e.g. backup.daily"
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--systemd", action="store_true", help="install: timers of systemd")
    way.add_argument("--cron", action="store_true", help="install: lines of cron")
    parser.add_argument(
        "--print", action="store_true", help="install: print what would be written, write nothing"
    )
    parser.add_argument("--user", action="store_true", help="install: your own timers, as root too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Do what is asked for; exit code 1 from ``show`` where something is not as it should be."""
    from fsbackup_tui.domain.errors import UsageError

    options = ("systemd", "cron", "print", "user")
    given = [f"--{name}" for name in options if getattr(arguments, name)]
    if given and arguments.action != "install":
        raise UsageError(
            f"NOT TOGETHER: {given[0]} belongs to: fsbackup schedule install",
            fix="fsbackup schedule --help",
        )
    if arguments.entry is not None and arguments.action != "run-due":
        raise UsageError(
            f"NOT UNDERSTOOD: schedule {arguments.action} takes no {arguments.entry}.",
            fix="fsbackup schedule --help",
        )
    if arguments.action == "run-due":
        from fsbackup_tui.cli.schedule_due import run_due

        return run_due(context, arguments.entry)
    if arguments.action == "install":
        return _install(arguments, context)
    return _remove(context) if arguments.action == "remove" else _show(context)


def _install(arguments: argparse.Namespace, context: CliContext) -> int:
    import asyncio
    import os

    from fsbackup_tui.operations.schedule import How, install, site_times
    from fsbackup_tui.operations.schedule_due import register
    from fsbackup_tui.operations.schedule_entries import scheduled

    loaded = context.load()
    how: How | None = "systemd" if arguments.systemd else "cron" if arguments.cron else None
    if not arguments.print:
        # Before the first line can call it: a run due in this very minute is no missed one.
        register(context.state(), scheduled(loaded.config), site_times(loaded).name, context.now())
    done = asyncio.run(
        install(
            loaded,
            context.environ,
            how=how,
            of_user=arguments.user or os.geteuid() != 0,
            now=context.now(),
            only_print=arguments.print,
        )
    )
    document = {
        "ok": True,
        "how": done.how,
        "where": done.where,
        "entries": list(done.entries),
        "written": list(done.written),
        "removed": list(done.removed),
        "notes": list(done.notes),
        "printed": dict(done.texts) if arguments.print else None,
    }
    context.emit(document, lambda: _say_installed(context, done, only_print=arguments.print))
    return 0


def _say_installed(context: CliContext, done: Installed, *, only_print: bool) -> None:
    if only_print:
        for path, text in done.texts.items():
            if done.how == "systemd":
                context.say(f"# {path}")
            context.say(text)
        for note in done.notes:
            context.tell(note, first="Note  ")
        return
    words = ", ".join(done.entries)
    context.say_text(f"{done.how}, {done.where}: {words}", first="Scheduled  ")
    if not done.written and not done.removed:
        context.say_text("All of it was there already.", first="           ")
    for path in done.written:
        context.say_text(path, first="Written    ")
    for path in done.removed:
        context.say_text(path, first="Removed    ")
    for note in done.notes:
        context.say_text(note, first="Note       ")
    context.say_text("fsbackup schedule show", first="Next       ")


def _remove(context: CliContext) -> int:
    import asyncio

    from fsbackup_tui.operations.schedule import remove
    from fsbackup_tui.operations.schedule_due import forget

    removed = asyncio.run(remove(context.load(), context.environ))
    forget(context.state())

    def human() -> None:
        for what in removed:
            context.say_text(what, first="Removed    ")
        if not removed:
            context.say("Nothing was installed for this configuration.")

    context.emit({"ok": True, "removed": removed}, human)
    return 0


def _show(context: CliContext) -> int:
    import asyncio

    from fsbackup_tui.operations.schedule import site_times, survey
    from fsbackup_tui.operations.schedule_due import asked_since

    loaded = context.load()
    state = context.state()
    found = asyncio.run(
        survey(
            loaded,
            context.environ,
            now=context.now(),
            last=last_runs(context, state),
            asked=asked_since(state),
        )
    )
    zone = site_times(loaded).zone
    fine = found.matches and not any(entry.overdue for entry in found.entries)
    document = {
        "ok": fine,
        "how": list(found.how),
        "zone": loaded.config.timezone or "the machine's",
        "entries": [_document(entry) for entry in found.entries],
        "surplus": list(found.surplus),
        "notes": list(found.notes),
    }

    def human() -> None:
        for line in _lines(found, context.now(), zone):
            context.say(line)
        for line in _remarks(found, zone_name=loaded.config.timezone or "this machine's zone"):
            context.say_text(line)

    context.emit(document, human)
    return 0 if fine else 1


def last_runs(context: CliContext, state: Path) -> dict[str, LastRun]:
    """Return how each entry ran last, by its id: from the jobs, and from the points there are."""
    from fsbackup_tui.domain.errors import RepositoryError
    from fsbackup_tui.jobs.supervisor import list_jobs
    from fsbackup_tui.operations.notify_state import read_notify_state
    from fsbackup_tui.operations.requests import BackupRequest, DrillRequest, VerifyDueRequest
    from fsbackup_tui.operations.schedule import LastRun
    from fsbackup_tui.operations.status import open_catalogue

    found: dict[str, LastRun] = {}
    if (looked := read_notify_state(state).looked) is not None:
        found["check"] = LastRun(looked, "ok")
    for job in list_jobs(state):
        match job.request:
            case BackupRequest(plan=plan):
                identifier = f"backup.{plan}"
            case DrillRequest(drill=drill) if drill:
                identifier = f"drill.{drill}"
            case VerifyDueRequest():
                identifier = "verify-due"
            case _:
                continue
        found.setdefault(identifier, LastRun(job.started, job.state))
    try:
        with open_catalogue(context.load(), context.environ) as catalogue:
            points = catalogue.points(own=True)
    except RepositoryError:
        return found
    for point in points:
        known = found.get(f"backup.{point.plan}")
        if point.whole and (known is None or known.started < point.created):
            found[f"backup.{point.plan}"] = LastRun(point.created, "ok")
    return found


def _document(state: EntryState) -> dict[str, object]:
    from fsbackup_tui.domain.events import format_time

    installed = state.installed
    return {
        "id": state.entry.id,
        "kind": state.entry.kind,
        "name": state.entry.name or None,
        "at": str(state.entry.schedule),
        "next": format_time(state.next),
        "due": format_time(state.due),
        "last": None if state.last is None else format_time(state.last.started),
        "outcome": None if state.last is None else state.last.outcome,
        "overdue": state.overdue,
        "installed": "missing" if installed is None else installed.state,
        "where": None if installed is None else installed.where,
        "why": None if installed is None else installed.why or None,
    }


def _lines(found: Survey, now: datetime, zone: tzinfo) -> Iterator[str]:
    from fsbackup_tui.operations.wording import pad_text, when_text

    rows = []
    for state in found.entries:
        last = "never"
        if state.last is not None:
            word = "" if state.last.outcome == "ok" else f" {state.last.outcome}"
            last = when_text(state.last.started, now, zone) + word
        rows.append(
            (
                state.entry.title,
                str(state.entry.schedule),
                last + (" OVERDUE" if state.overdue else ""),
                when_text(state.next, now, zone),
                "no" if state.installed is None else state.installed.state,
            )
        )
    if not rows:
        yield 'Nothing runs by itself: no plan, drill or check has a time (at: "02:00").'
        return
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        cells = [pad_text(cell, width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _remarks(found: Survey, *, zone_name: str) -> Sequence[str]:
    remarks = []
    if found.entries:
        how = " and ".join(found.how) or "nothing is installed"
        remarks.append(f"Times are those of {zone_name}. Installed with: {how}.")
    remarks += [
        f"{state.entry.title}: {state.installed.why}"
        for state in found.entries
        if state.installed is not None and state.installed.why
    ]
    remarks += [f"Not asked for any more: {extra}" for extra in found.surplus]
    remarks += found.notes
    if found.surplus and not found.entries:
        remarks.append("Next  fsbackup schedule remove")
    elif not found.matches and found.entries:
        remarks.append("Next  fsbackup schedule install")
    return remarks
