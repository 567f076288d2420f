"""``fsbackup fetch``: a point comes back whole from a replica."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.replica_points import add_replica_option, find_on_replica

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext

_SHOWN = 5


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "fetch",
        parents=parents,
        help="bring a point back from a replica: one that is lost or damaged here",
        description="Brings a point whole from a replica into the repository, compares it with "
        "its seal, and lets it take its place. What is whole here is left as it is.",
    )
    parser.add_argument("point", metavar="POINT", help="a point of the replica")
    add_replica_option(parser, "the replica to take it from (default: the only one)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the job and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.operations.requests import FetchRequest

    context.repository()
    name = arguments.replica or _only_replica(context)
    found, _view = find_on_replica(context, name, arguments.point, any_trust=True)
    return run_request(FetchRequest(found.id, name), context, summary=summary)


def _only_replica(context: CliContext) -> str:
    from fsbackup_tui.domain.errors import UsageError

    loaded = context.load()
    names = list(loaded.config.replicas)
    if len(names) == 1:
        return names[0]
    raise UsageError(
        "WHICH REPLICA?" if names else "NO REPLICAS: the configuration names none.",
        why=f"In {loaded.path} there are: {', '.join(names)}." if names else "",
        fix="Name one: --replica NAME" if names else f"Add replicas: to {loaded.path}.",
    )


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    point, replica = result["point"], result["replica"]
    if not result["fetched"]:
        return [f"{point} is whole here: nothing was fetched from {replica}."]
    lines = [f"{point} came back from {replica}: {result['trust']}."]
    lines += [f"  before: {what}" for what in result["was"][:_SHOWN]]
    lines.append(f"  Prove it: fsbackup verify {point} --level proven")
    lines.append(f'  Where keep: would let it go: fsbackup pin {point} --reason "why"')
    return lines
