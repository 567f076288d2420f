"""``fsbackup check`` and ``fsbackup metrics``: the site as monitoring sees it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.domain.finding import Check, Finding, Number

_PERFORMANCE: Mapping[str, tuple[str, str]] = {
    "fsbackup_backup_age_seconds": ("age", "s"),
    "fsbackup_repository_free_bytes": ("free", "B"),
    "fsbackup_drill_seconds": ("drill", "s"),
}


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    check = subparsers.add_parser(
        "check",
        parents=parents,
        help="everything that goes wrong silently, for monitoring",
        description="Looks at backups, proofs, drills, space, rights, keys, servers, jobs and "
        "incidents. Prints one line, then each finding: what, since when, why it matters, and "
        "the command that mends it. Exits as monitoring plugins do: 0 OK, 1 WARNING, "
        "2 CRITICAL, 3 UNKNOWN (something could not be looked at, and nothing worse is known).",
    )
    check.add_argument(
        "--notify",
        action="store_true",
        help="tell those in notify: what is new, worse or mended (what the schedule runs)",
    )
    check.set_defaults(run=run_check)
    metrics = subparsers.add_parser(
        "metrics",
        parents=parents,
        help="what check measures, in Prometheus' text format",
        description="Prints gauges that begin with fsbackup_. With --output the file is replaced "
        "as a whole, as node_exporter's textfile collector needs it.",
    )
    metrics.add_argument("--output", type=Path, metavar="FILE", help="a file NAME.prom")
    metrics.set_defaults(run=run_metrics)


def run_check(arguments: argparse.Namespace, context: CliContext) -> int:
    """Look, print, and return the exit code of monitoring."""
    from fsbackup_tui.domain.finding import EXIT_CODES

    check = _look(context)
    if arguments.notify:
        _tell(check, context)
    context.emit(check_document(check), lambda: _print(check, context))
    return EXIT_CODES[check.state]


def _look(context: CliContext) -> Check:
    """Look at the site; one that can't even be opened is *unknown*, not a failed command."""
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.jobs.check import check_site

    try:
        return check_site(context.load(), context.environ, context.now())
    except FsbackupError as error:
        return _unknown(error, context)


def _unknown(error: FsbackupError, context: CliContext) -> Check:
    from fsbackup_tui.domain.finding import Check, Finding

    finding = Finding("unknown:site", "unknown", None, error.what, error.why, error.fix)
    return Check(context.site or "-", context.now(), (finding,))


def _tell(check: Check, context: CliContext) -> None:
    """Tell the news; what could not be delivered is said, and found by the next look."""
    import asyncio

    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.notify import tell

    try:
        tried = asyncio.run(tell(check, context.load(), context.environ, context.state()))
    except FsbackupError as error:
        # The look itself is told all the same.
        context.tell_problem(error)
        return
    for one in tried:
        if one.why:
            context.tell(f"NOT DELIVERED: notify.{one.target} ({one.scheme}): {one.why}")


def check_document(check: Check) -> dict[str, object]:
    """Return the JSON document of a look (design §9)."""
    from fsbackup_tui.domain.events import format_time

    return {
        "ok": check.state == "OK",
        "state": check.state,
        "site": check.site,
        "at": format_time(check.at),
        "findings": [finding.document() for finding in check.findings],
        "notes": list(check.notes),
        "probes": dict(check.probes),
        "numbers": [
            {"name": number.name, "value": number.value, "labels": dict(number.labels)}
            for number in check.numbers
        ],
    }


def summary_line(check: Check) -> str:
    """Return the first line: state, the worst finding, how many more, and performance data."""
    from fsbackup_tui.domain.text import plain_text

    if check.findings:
        told = plain_text(check.findings[0].what)
        more = len(check.findings) - 1
        told += f" (+{more} more)" if more else ""
    else:
        told = f"{len(check.probes)} looks, nothing to do"
    # Behind a bar monitoring reads numbers.
    told = f"FSBACKUP {check.state} - {check.site}: {told}".replace("|", "/")
    numbers = [text for number in check.numbers if (text := _performance(number))]
    return f"{told} | {' '.join(numbers)}" if numbers else told


def _performance(number: Number) -> str:
    name, unit = _PERFORMANCE.get(number.name, ("", ""))
    if not name:
        return ""
    label = "_".join([name, *(value for _, value in number.labels)])
    return f"'{label.replace(chr(39), '')}'={number.value:.0f}{unit}"


def _print(check: Check, context: CliContext) -> None:
    context.say(summary_line(check))
    for finding in check.findings:
        context.say()
        _print_finding(finding, check, context)
    for number, note in enumerate(check.notes):
        if not number:
            context.say()
        context.say_text(f"note: {note}", later="  ")


def _print_finding(finding: Finding, check: Check, context: CliContext) -> None:
    from fsbackup_tui.cli.output import wrap_problem
    from fsbackup_tui.domain.errors import Problem
    from fsbackup_tui.domain.text import age_text, when_text

    problem = context.pasteable.problem(Problem(finding.id, finding.what, finding.why, finding.fix))
    context.say(wrap_problem(problem, "  ", f"{finding.severity.upper()} "))
    if finding.since is None or finding.since >= check.at:
        context.say(f"  New   ({finding.id})")
        return
    since = when_text(finding.since, check.at, check.zone)
    ago = age_text((check.at - finding.since).total_seconds())
    context.say(f"  Since {since}, {ago}   ({finding.id})")


def run_metrics(arguments: argparse.Namespace, context: CliContext) -> int:
    """Look, and print or write what was measured."""
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.jobs.check import check_site
    from fsbackup_tui.operations.metrics import exposition, write_metrics

    try:
        check = check_site(context.load(), context.environ, context.now())
    except FsbackupError as error:
        # The file of the last look would go on saying what it said then.
        if arguments.output is not None and arguments.output.exists():
            write_metrics(arguments.output.absolute(), exposition(_unknown(error, context)))
        raise
    text = exposition(check)
    if arguments.output is None:
        context.emit(check_document(check), lambda: context.say(text.rstrip("\n")))
        return 0
    path = arguments.output.absolute()
    write_metrics(path, text)
    document = {"ok": True, "output": str(path), "state": check.state}
    context.emit(document, lambda: context.say(f"{path}: {len(text.splitlines())} lines"))
    return 0
