"""``fsbackup verify POINT``: climb the trust ladder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext

LEVELS = ("sealed", "readable")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "verify", parents=parents, help="check a stored point, level by level"
    )
    parser.add_argument(
        "point", metavar="POINT", help="an id, a prefix of it, latest, latest:PLAN, or a time"
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="readable",
        help="sealed: every SHA-256; readable: also every byte of the archive (default)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the verification and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.operations.requests import VerifyRequest

    point = find_point(context, arguments.point)
    return run_request(
        VerifyRequest(point=point.id, level=arguments.level), context, summary=summary
    )


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.wording import duration_text
    from fsbackup_tui.repository.standing import problem_text

    lines = [f"{result['point']}: {str(result['trust']).upper()}"]
    for level, check in result["levels"].items():
        word = "ok" if check["ok"] else "FAILED"
        lines.append(f"  {level:<9} {word:<6} {duration_text(check['seconds'])}")
    lines.extend(f"  {problem_text(problem)}" for problem in result["problems"])
    lines.extend(f"  note: {note}" for note in dict.fromkeys(result.get("notes", ())))
    fixes = dict.fromkeys(problem["fix"] for problem in result["problems"])
    lines.extend(f"Next  {fix}" for fix in fixes if fix)
    return lines
