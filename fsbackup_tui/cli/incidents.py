"""``fsbackup incidents [show ID | report ID | export ID]`` and ``fsbackup runbook [show NAME]``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.recovery.runbook import Runbook, Step
    from fsbackup_tui.recovery.session import Reading
    from fsbackup_tui.repository.incidents import IncidentJournal

_HEADINGS = ("INCIDENT", "STATE", "DECLARED", "TOOK", "RUNBOOK", "LEADER")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    incidents = subparsers.add_parser(
        "incidents", parents=parents, help="past and open incidents; show or report one"
    )
    incidents.add_argument(
        "what",
        nargs="?",
        choices=("show", "report", "export"),
        metavar="show|report|export",
        help="of one; export: the rows that only live has, as CSV",
    )
    incidents.add_argument(
        "incident", nargs="?", metavar="ID", help="its id; without it, the newest"
    )
    incidents.add_argument(
        "--output", type=Path, metavar="FILE", help="write the report into a file"
    )
    incidents.set_defaults(run=run_incidents)
    runbook = subparsers.add_parser(
        "runbook", parents=parents, help="the runbooks there are; show one"
    )
    runbook.add_argument("what", nargs="?", choices=("show",), metavar="show", help="show one")
    runbook.add_argument("name", nargs="?", metavar="NAME", help="its id")
    runbook.add_argument("--yaml", action="store_true", help="as YAML, to begin one of your own")
    runbook.set_defaults(run=run_runbook)


def run_incidents(arguments: argparse.Namespace, context: CliContext) -> int:
    """List the incidents, or tell of one."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.recovery.desk import open_desk
    from fsbackup_tui.repository.incidents import (
        find_incident,
        list_incidents,
        unreadable_incidents,
    )

    if arguments.output is not None and arguments.what != "report":
        raise UsageError("NOT TOGETHER: --output belongs to: fsbackup incidents report ID")
    desk = open_desk(context.load(), context.environ, now=context.now)
    journals = list_incidents(desk.state)
    if arguments.what is None:
        return _list(context, journals, unreadable_incidents(desk.state))
    if arguments.incident is not None:
        journal = find_incident(desk.state, arguments.incident)
    elif journals:
        journal = journals[0]
    else:
        raise UsageError("NO INCIDENT YET: none was ever declared here.")
    if arguments.what == "export":
        from fsbackup_tui.cli.incident_export import export

        return export(context, desk, journal)
    from fsbackup_tui.recovery.past import read_incident

    reading = read_incident(desk, journal)
    if arguments.what == "show":
        return _show(context, journal, reading)
    return _report(context, journal, reading, arguments.output)


def _list(context: CliContext, journals: list[IncidentJournal], hidden: tuple[str, ...]) -> int:
    from fsbackup_tui.operations.status import site_zone
    from fsbackup_tui.operations.wording import duration_text, pad_text, plain_text, when_text

    now, zone = context.now(), site_zone(context.load())
    incidents = [found for journal in journals if (found := journal.read()) is not None]

    def human() -> None:
        if hidden:
            context.say_text(f"Not yours to read: {', '.join(hidden)}.")
        if not incidents:
            context.say("No incident was ever declared here." if not hidden else "No other.")
            return
        rows = [
            (
                incident.id,
                ("drill, " if incident.is_drill else "")
                + ("OPEN" if incident.closed is None else "closed"),
                when_text(incident.opened, now, zone),
                duration_text(incident.elapsed(now).total_seconds()),
                plain_text(incident.runbook) or "-",
                plain_text(incident.leader.operator) if incident.leader is not None else "-",
            )
            for incident in incidents
        ]
        widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
        for row in (_HEADINGS, *rows):
            cells = [pad_text(cell, width) for cell, width in zip(row, widths, strict=True)]
            context.say("  ".join(cells).rstrip())

    documents = [_document(journal) for journal in journals]
    context.emit({"ok": True, "incidents": documents, "unreadable": list(hidden)}, human)
    return 0


def _document(journal: IncidentJournal) -> dict[str, object]:
    from fsbackup_tui.operations.plain import plain

    incident = journal.read()
    if incident is None:
        return {"id": journal.id}
    return {
        "id": incident.id,
        "state": "open" if incident.closed is None else "closed",
        "drill": incident.is_drill,
        "source": incident.source,
        "runbook": incident.runbook,
        "seen": incident.seen,
        "declared": plain(incident.opened),
        "closed": plain(incident.closed),
        "last_right": plain(incident.last_right),
        "leader": plain(incident.leader),
        "frozen": [freeze.what for freeze in incident.freezes],
        "directory": str(journal.directory),
    }


def _show(context: CliContext, journal: IncidentJournal, reading: Reading) -> int:
    from fsbackup_tui.cli.recover_words import entry_line, list_lines
    from fsbackup_tui.operations.plain import plain
    from fsbackup_tui.recovery.report import handover_text
    from fsbackup_tui.recovery.report_follow import follow_ups

    entries = journal.entries()

    def human() -> None:
        for line in handover_text(reading).splitlines():
            context.say(context.pasteable.text(line))
        for line in (
            "",
            *list_lines(reading),
            "",
            *(entry_line(reading, entry) for entry in entries),
        ):
            context.say(line)
        context.say()
        for text in follow_ups(reading):
            context.say_text(text, first="To do  ")
        context.say(f"Directory  {journal.directory}")

    steps = [
        {
            "number": placed.number,
            "id": placed.step.id,
            "status": placed.state.status,
            "applies": placed.applies,
            "at": plain(placed.state.at) if placed.state.operator else None,
            "operator": placed.state.operator,
            "job": placed.state.job,
            "reason": placed.state.reason,
        }
        for placed in reading.flow.steps
    ]
    document = {
        "ok": True,
        **_document(journal),
        "steps": steps,
        "parameters": dict(reading.incident.parameters),
        "follow_ups": list(follow_ups(reading)),
        "entries": [entry.document() for entry in entries],
    }
    context.emit(document, human)
    return 0


def _report(
    context: CliContext, journal: IncidentJournal, reading: Reading, output: Path | None
) -> int:
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.recovery.report import report_markdown

    text = report_markdown(reading, journal.entries())
    path = None
    if output is not None:
        path = output.expanduser().absolute()
        try:
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"REPORT NOT WRITTEN: {path}.", why=str(error.strerror)) from error

    def human() -> None:
        if path is not None:
            context.say(f"The report of {journal.id} is in {path}")
        else:
            context.say(text.rstrip("\n"))

    document: dict[str, object] = {"ok": True, "incident": journal.id, "markdown": text}
    if path is not None:
        document["path"] = str(path)
    context.emit(document, human)
    return 0


def run_runbook(arguments: argparse.Namespace, context: CliContext) -> int:
    """List the runbooks, or show one as text or as YAML."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.recovery.library import find_runbook, runbook_ids

    if arguments.what is not None and arguments.name is None:
        raise UsageError("WHICH RUNBOOK?", fix="fsbackup runbook   lists them")
    loaded = _site(context)
    if arguments.what is None:
        runbooks = [find_runbook(name, loaded) for name in runbook_ids(loaded)]
        listed = [
            {"id": each.id, "title": each.title, "summary": each.summary} for each in runbooks
        ]

        def human() -> None:
            for each in runbooks:
                context.say(f"{each.id}: {each.title}")
                context.say_text(each.summary, first="  ", later="  ")
            context.say("fsbackup runbook show NAME")

        context.emit({"ok": True, "runbooks": listed}, human)
        return 0
    runbook = find_runbook(arguments.name, loaded)
    text = _yaml(runbook) if arguments.yaml else None

    def show() -> None:
        if text is not None:
            context.say(text.rstrip("\n"))
            return
        for first, line in _runbook_lines(runbook, loaded, context.now()):
            context.say_text(line, first=first, later=" " * len(first))

    context.emit({"ok": True, **runbook.model_dump(mode="json")}, show)
    return 0


def _site(context: CliContext) -> LoadedConfig | None:
    """Return the site's configuration; None where there is none: the shipped ones are shown."""
    from fsbackup_tui.domain.errors import ConfigError, UsageError

    try:
        return context.load()
    except ConfigError:
        raise
    except UsageError:
        return None


def _yaml(runbook: Runbook) -> str:
    from fsbackup_tui.recovery.library import SHIPPED, shipped_text

    if runbook.id in SHIPPED:
        return shipped_text(runbook.id)
    import yaml

    return str(yaml.safe_dump(runbook.model_dump(mode="json"), sort_keys=False))


def _runbook_lines(
    runbook: Runbook, loaded: LoadedConfig | None, now: datetime
) -> Iterator[tuple[str, str]]:
    from fsbackup_tui.domain.incident import PHASE_TITLES

    yield "", f"{runbook.id}: {runbook.title}"
    yield "", runbook.summary
    numbers = {
        step.id: f"{number}.{place}"
        for number, (_phase, steps) in enumerate(runbook.phases.named(), 1)
        for place, step in enumerate(steps, 1)
    }
    for number, (phase, steps) in enumerate(runbook.phases.named(), 1):
        yield "", ""
        yield "", f"{number} {PHASE_TITLES[phase]}"
        for step in steps:
            yield "", ""
            yield from _step_lines(step, runbook, numbers, loaded, now)


def _step_lines(
    step: Step,
    runbook: Runbook,
    numbers: Mapping[str, str],
    loaded: LoadedConfig | None,
    now: datetime,
) -> Iterator[tuple[str, str]]:
    from fsbackup_tui.recovery.card import KIND_WORDS
    from fsbackup_tui.recovery.past import commands_ahead

    words = KIND_WORDS[step.kind]
    words += ", asks for the typed name" if step.destructive else ""
    words += f", only when {step.when}" if step.when else ""
    yield "  ", f"{numbers[step.id]} {step.title}  ({words})"
    yield "      Why      ", step.why
    ahead = commands_ahead(step, runbook.about, loaded, now) if loaded is not None else ()
    for command in ahead:
        yield "      Runs     ", command
    yield "      Changes  ", step.changes
    if step.undo:
        yield "      Undo     ", step.undo
    if step.requires:
        yield "      After    ", ", ".join(numbers[each] for each in step.requires)
