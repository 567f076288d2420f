"""``fsbackup doctor``: what would make a backup or a restore fail, and what mends it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.operations.doctor import Finding

_SEVERITY_WIDTH = 9


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        parents=parents,
        help="try everything a backup and a restore need",
        description="Tries the configuration, the repository, the clients, and on each server "
        "the rights to back up and to restore, for real (on an empty database of its own). "
        "Exits 1 if something would fail.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--sql", action="store_true", help="print the least rights for each verb as SQL to paste"
    )
    what.add_argument(
        "--fix",
        action="store_true",
        help="also close repository, state and secrets to others (chmod 700, 600), give back what "
        "is somebody else's, and put back a lost fsbackup.json",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Run the checks, or print the rights."""
    return _print_sql(context) if arguments.sql else _diagnose(context, fix=arguments.fix)


def _diagnose(context: CliContext, *, fix: bool) -> int:
    import asyncio

    from fsbackup_tui.operations.doctor import diagnose

    findings = asyncio.run(diagnose(context.load(), context.environ, fix=fix))
    failed = [finding for finding in findings if finding.severity == "error"]
    context.emit(
        {"ok": not failed, "findings": [finding.document() for finding in findings]},
        lambda: _print_findings(findings, context),
    )
    return 1 if failed else 0


def _print_findings(findings: Sequence[Finding], context: CliContext) -> None:
    from fsbackup_tui.cli.output import wrap_problem
    from fsbackup_tui.domain.errors import Problem

    indent = " " * _SEVERITY_WIDTH
    for finding in findings:
        if finding.severity == "ok":
            context.say_text(finding.what, first="ok".ljust(_SEVERITY_WIDTH))
            continue
        source, dot, _ = finding.id.partition(".")
        what = f"{source}: {finding.what}" if dot else finding.what
        problem = context.pasteable.problem(Problem(finding.id, what, finding.why, finding.fix))
        head = finding.severity.upper().ljust(_SEVERITY_WIDTH)
        context.say(wrap_problem(problem, indent, head))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    context.say()
    if errors:
        context.say(f"{errors} would fail, {warnings} to look at.")
    else:
        context.say(f"Nothing would fail, {warnings} to look at.")


def _print_sql(context: CliContext) -> int:
    import asyncio

    from fsbackup_tui.operations.doctor import rights_scripts
    from fsbackup_tui.operations.watch_only import no_source

    if not context.load().config.sources:
        raise no_source(context.load(), "rights are needed on one alone")
    scripts = asyncio.run(rights_scripts(context.load(), context.environ))
    document = {
        "sources": {
            source: {script.verb: list(script.statements) for script in found}
            for source, found in scripts.items()
        }
    }

    def human() -> None:
        for source, found in scripts.items():
            context.say(f"-- source {source}: run in its database, as a superuser")
            for script in found:
                context.say()
                context.say(script.text())

    context.emit(document, human)
    return 0
