"""``fsbackup rekey``: re-encrypt points to the key that the configuration names now."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "rekey",
        parents=parents,
        help="re-encrypt points to the key that the configuration names now",
        description="Change encryption: in the configuration (or the passphrase) first, and name "
        "the old key there as former:. The points as they were go to the repository's trash.",
    )
    parser.add_argument("points", nargs="*", metavar="POINT", help="id, prefix, latest or a time")
    parser.add_argument("--all", action="store_true", help="every point of another key")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the job and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import RekeyRequest

    if arguments.all == bool(arguments.points):
        raise UsageError(
            "WHICH POINTS? Name some, or say --all.", fix="fsbackup list shows what there is."
        )
    context.repository()
    return run_request(RekeyRequest(tuple(arguments.points)), context, summary=summary)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.domain.text import many_text

    key = f"Key {result['key']}: " if result["key"] else ""
    lines = [f"{key}{many_text(len(result['rekeyed']), 'point')} re-encrypted"]
    lines += [f"  {each['point']} is {each['became']} now" for each in result["rekeyed"]]
    for each in result["problems"]:
        lines.append(f"  {each['point']} stays: {each['what']}")
        lines += [f"    {each['fix']}"] if each["fix"] else []
    lines += [f"  {note}" for note in result["notes"]]
    if result["rekeyed"]:
        lines.append(
            f"  As they were, readable with the old key, they lie in {result['trash']}; past their "
            "grace fsbackup retain --empty frees them"
        )
    return lines
