"""``fsbackup backup PLAN``: run a plan now."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.numbers import waiting_seconds

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("backup", parents=parents, help="run a plan now")
    parser.add_argument("plan", metavar="PLAN", help="the plan's name in the configuration")
    parser.add_argument(
        "--source", action="append", metavar="S", help="only this source of the plan (repeatable)"
    )
    parser.add_argument("--reason", metavar="TEXT", help="kept with the point, e.g. deploy-4f2a")
    parser.add_argument(
        "--wait",
        type=waiting_seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait this long for another run of the same plan (default: not at all), and for a "
        "restore, swap or merge on its server (default: an hour)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the plan's job and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.parser import suggestion
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import BackupRequest
    from fsbackup_tui.operations.watch_only import no_plan

    plans = context.load().config.plans
    if not plans:
        raise no_plan(context.load())
    if arguments.plan not in plans:
        raise UsageError(
            f"NO SUCH PLAN: {arguments.plan}.",
            why=f"{context.load().path} has the plans: {', '.join(plans) or 'none'}.",
            fix=suggestion(arguments.plan, plans, "Name one that it has."),
        )
    unknown = [name for name in arguments.source or () if name not in plans[arguments.plan].sources]
    if unknown:
        raise UsageError(
            f"NOT IN THE PLAN: {', '.join(unknown)}.",
            why=f"{arguments.plan} captures: {', '.join(plans[arguments.plan].sources)}.",
            fix=suggestion(unknown[0], plans[arguments.plan].sources, "Name one of these."),
        )
    context.repository()
    request = BackupRequest(
        plan=arguments.plan,
        sources=tuple(arguments.source) if arguments.source else None,
        reason=arguments.reason,
        wait_seconds=arguments.wait,
    )
    return run_request(request, context, summary=summary)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.findings import accepted_texts
    from fsbackup_tui.operations.wording import duration_text, size_text

    lines = [
        f"Backed up: {result['point']}",
        f"  {size_text(result['bytes'])} in {duration_text(result['seconds'])}, "
        f"trust {result['trust']}",
        f"  {result['path']}",
    ]
    lines.extend(f"  blocked: {text}" for text in accepted_texts(result))
    if result.get("suspect"):
        lines.extend(f"  SUSPECT: {reason}" for reason in result["suspect"])
        lines.append(f"  If that is right: fsbackup clear {result['point']} --reason TEXT")
    if result.get("in_incident"):
        lines.append(f"  IN INCIDENT {result['in_incident']}: it is not 'latest' until cleared")
    for name, stage in result["stages"].items():
        if (problem := stage["problem"]) is not None:
            lines.append(f"{name}: {problem['what']}")
            lines.extend(f"  {line}" for line in problem["why"].splitlines())
            lines.extend([f"Next  {problem['fix']}"] if problem["fix"] else [])
    lines.extend(_retain_lines(result["stages"].get("retain", {})))
    return lines


def _retain_lines(stage: Mapping[str, Any]) -> Iterator[str]:
    """Yield what retention did behind the backup, and why it did nothing where it may not."""
    if removed := stage.get("removed"):
        from fsbackup_tui.domain.text import many_text

        yield f"{many_text(len(removed), 'point')} left for the trash: fsbackup retain shows them"
    for refusal in stage.get("refusals", ()):
        yield f"Nothing was removed: {refusal['what']}"
        yield f"  {refusal['fix']}"
    yield from (f"  {problem['what']}" for problem in stage.get("problems", ()))
