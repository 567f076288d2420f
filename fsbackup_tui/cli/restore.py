"""``fsbackup restore POINT --beside NAME``: restore into a new database."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.numbers import positive_count

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "restore", parents=parents, help="restore a point into a new database"
    )
    parser.add_argument(
        "point",
        metavar="POINT",
        help="an id, a prefix of it, latest, latest:PLAN, a time, or a backup file",
    )
    parser.add_argument(
        "--part",
        metavar="P",
        help="the source's name; needed if there are several (of a file: whose server it goes to)",
    )
    parser.add_argument(
        "--beside",
        metavar="NAME",
        required=True,
        help="the new database to make on the live server; the live one is not touched",
    )
    parser.add_argument(
        "--jobs", type=positive_count, metavar="N", help="parallel sessions (default: auto)"
    )
    parser.add_argument(
        "--schema-point",
        metavar="POINT",
        help="for rows alone: the schema point (or file) whose tables they are loaded into",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Show the target, start the restore and follow it; returns the exit code of design §9."""
    import asyncio

    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.foreign import file_argument, told_of_file
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.engines.postgres.replay import check_name
    from fsbackup_tui.operations.requests import RestoreBesideRequest
    from fsbackup_tui.operations.target import look_at_target, postgres_source, server_text

    check_name(arguments.beside)
    if arguments.part is not None:
        postgres_source(context.load(), arguments.part)
    file = file_argument(context, arguments.point)
    told: list[str] = []
    if file is not None:
        part = arguments.part or _only_server(context)
        point, shown = str(file.absolute()), file.name
        told = told_of_file(file, context)
    else:
        found = find_point(context, arguments.point, part=arguments.part)
        part = arguments.part or _only_database_part(found)
        point, shown = found.id, f"{found.id} ({part})"
    schema_point = _schema_point(arguments, context)
    target = asyncio.run(look_at_target(context.load(), context.environ, part))
    if not context.json:
        context.tell(f"Restores {shown} as the new database {arguments.beside} on")
        context.tell(server_text(target), first="  ")
        for text in told:
            context.tell(text, first="  ")
    request = RestoreBesideRequest(
        point=point,
        part=part,
        beside=arguments.beside,
        target=target,
        jobs=arguments.jobs,
        schema_point=schema_point,
    )
    return run_request(request, context, summary=summary)


def _schema_point(arguments: argparse.Namespace, context: CliContext) -> str | None:
    from fsbackup_tui.cli.foreign import file_argument
    from fsbackup_tui.cli.points import find_point

    if not arguments.schema_point:
        return None
    if (file := file_argument(context, arguments.schema_point)) is not None:
        return str(file.absolute())
    return find_point(context, arguments.schema_point, any_trust=True).id


def _only_server(context: CliContext) -> str:
    """Return the source whose server a backup file is restored into."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.watch_only import no_source

    loaded = context.load()
    names = [name for name, source in loaded.config.sources.items() if source.kind == "postgres"]
    if len(names) == 1:
        return names[0]
    if not names:
        raise no_source(loaded, "restoring beside needs the server to restore into")
    raise UsageError(
        "WHICH SERVER? A backup file does not say where it belongs.",
        why=f"{loaded.path} has the databases: {', '.join(names)}.",
        fix="Name one with --part.",
    )


def _only_database_part(point: PointSummary) -> str:
    from fsbackup_tui.domain.errors import UsageError

    names = [part.source for part in point.parts if part.kind.startswith("postgres")]
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"WHICH PART? {point.id} has {len(names)} database parts.",
        why="They are: " + (", ".join(names) or "none") + ".",
        fix="Name one with --part.",
    )


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.wording import duration_text

    entries = result["entries"]
    lines = [
        f"Restored {result['point']} into {result['target']} in {duration_text(result['seconds'])}",
        f"  {entries['restored']} entries restored, {entries['benign']} known-benign, "
        f"{entries['deferred']} deferred, {entries['lost']} lost",
    ]
    lines.extend(f"  {problem['what']}" for problem in result["problems"])
    return lines
