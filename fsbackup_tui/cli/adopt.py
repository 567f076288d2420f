"""``fsbackup adopt``: the backups of other scripts, and making points of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import tzinfo

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "adopt",
        parents=parents,
        help="make a point of a backup that another script made",
        description="Copies a backup of another script into the repository as a point; the file"
        " itself stays as it is. Without FILE it lists the backups in the adopt: directories of"
        " the configuration; with a directory, those that lie in it.",
    )
    parser.add_argument(
        "backup", metavar="FILE", nargs="?", help="its path or id, or a directory to look through"
    )
    parser.add_argument("--source", metavar="S", help="the source it becomes a part of")
    parser.add_argument(
        "--plan",
        metavar="P",
        default="adopted",
        help="the plan it is listed under (default: adopted)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """List candidates, or adopt one; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.foreign import file_argument
    from fsbackup_tui.domain.errors import PointNotFound
    from fsbackup_tui.operations.requests import AdoptRequest

    if arguments.backup is None:
        return _list(context, context.load().config.adopt)
    directory = Path(arguments.backup).expanduser()
    if directory.is_dir() and not (directory / "toc.dat").is_file():
        return _list(context, (directory,))
    _check_names(arguments)
    path = file_argument(context, arguments.backup)
    if path is None:
        raise PointNotFound(
            f"NO SUCH BACKUP: {arguments.backup}.",
            why="It is no path of a file, and no id of a listed one.",
            fix="fsbackup adopt   lists those of the adopt: directories",
        )
    context.repository()
    request = AdoptRequest(path=str(path.absolute()), source=arguments.source, plan=arguments.plan)
    return run_request(request, context, summary=summary)


def _check_names(arguments: argparse.Namespace) -> None:
    import re

    from fsbackup_tui.config.values import NAME_PATTERN
    from fsbackup_tui.domain.errors import UsageError

    for option in ("source", "plan"):
        name = getattr(arguments, option)
        if name is not None and not re.fullmatch(NAME_PATTERN.strip("^$"), name):
            raise UsageError(
                f"NO NAME: --{option} {name!r}.",
                why="A name has letters, digits, - and _ (at most 40).",
            )


def _list(context: CliContext, directories: Sequence[Path]) -> int:
    from fsbackup_tui.cli.foreign import site_or_none
    from fsbackup_tui.cli.point_text import point_document
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.repository.foreign import ForeignPlaces, ForeignReader, walk

    if not directories:
        raise UsageError(
            "NOWHERE TO LOOK: the configuration names no adopt: directories.",
            fix="fsbackup adopt DIRECTORY   lists the backups in one",
        )
    loaded, zone = site_or_none(context)
    memory = None if loaded is None else context.state()
    looked = walk([directory.absolute() for directory in directories])
    reader = ForeignReader(ForeignPlaces(tuple(directories), zone, memory))
    points = [reader.summary(found)[0] for found in looked.found]
    adopted = _adopted(context) if loaded is not None else {}
    points.sort(key=lambda point: point.created, reverse=True)

    def human() -> None:
        _say_list(context, points, adopted, zone)
        if not points and not looked.problems:
            context.say("No backup lies there.")

    context.emit(
        {
            "ok": True,
            "points": [
                {**point_document(point), "adopted": adopted.get(point.id)} for point in points
            ],
            "problems": list(looked.problems),
        },
        human,
    )
    for problem in looked.problems:
        context.tell(problem, first="warning: ")
    return 0


def _say_list(
    context: CliContext,
    points: Sequence[PointSummary],
    adopted: Mapping[str, str],
    zone: tzinfo,
) -> None:
    from fsbackup_tui.cli.point_text import list_lines

    for line in list_lines([p for p in points if p.id not in adopted], context.now(), zone):
        context.say(line)
    done = [point for point in points if point.id in adopted]
    if done:
        context.say("Adopted already:")
    for point in done:
        context.say(f"  {adopted[point.id]}  {point.foreign}")


def _adopted(context: CliContext) -> dict[str, str]:
    """Return which points were made of which foreign backups, by those' ids."""
    from fsbackup_tui.domain.errors import RepositoryError
    from fsbackup_tui.operations.status import open_catalogue
    from fsbackup_tui.repository.foreign import ADOPTED_FROM, adopted_identifier

    try:
        with open_catalogue(context.load(), context.environ) as catalogue:
            points = catalogue.points(text=ADOPTED_FROM, own=True)
    except RepositoryError:
        return {}
    named = ((adopted_identifier(point.reason or ""), point.id) for point in points)
    return {identifier: point for identifier, point in named if identifier is not None}


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.wording import duration_text, size_text

    size, took = size_text(result["bytes"]), duration_text(result["seconds"])
    return [
        f"Adopted: {result['point']}",
        f"  part {result['part']}, {size} in {took}, trust {result['trust']}",
        f"  from {result['from']}, which stays as it is",
        *(f"  note: {note}" for note in result["notes"]),
        f"Next  fsbackup verify {result['point']}",
    ]
