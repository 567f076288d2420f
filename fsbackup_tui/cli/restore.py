"""``fsbackup restore POINT``: a database beside, in live's place, or some rows; other parts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli import restore_site
from fsbackup_tui.cli.numbers import positive_count
from fsbackup_tui.cli.replica_points import add_replica_option, find_on_replica

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "restore", parents=parents, help="restore a point: beside, in live's place, or some tables"
    )
    parser.add_argument(
        "point",
        metavar="POINT",
        help="an id, a prefix of it, latest, latest:PLAN, a time, or a backup file; with --tables"
        " also a database that a recovery kept, like shop__after_20261122_01",
    )
    parser.add_argument(
        "--part",
        metavar="P",
        help="the source's name; needed if there are several (of a file: whose server it goes to)",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--beside",
        metavar="NAME",
        nargs="?",
        const="",
        help="the new database to make on the live server, the live one is not touched; of files,"
        " without NAME: the whole tree, beside live's",
    )
    how.add_argument(
        "--swap",
        action="store_true",
        help="restore it, prove it, and swap it in; the former database is kept",
    )
    how.add_argument(
        "--tables", metavar="T,…", help="put rows of these tables back that live has lost"
    )
    restore_site.add_arguments(parser, how)
    add_replica_option(parser, "with --beside or --to: take the point from this replica")
    parser.add_argument(
        "--where", metavar="SQL", help="with one table: only the rows of the point that meet this"
    )
    parser.add_argument(
        "--changed", action="store_true", help="with --tables: set rows back that differ, too"
    )
    parser.add_argument(
        "--value",
        action="append",
        metavar="T.COLUMN=VALUE",
        help="with --tables: for rows that never had one; DEFAULT: the column's own",
    )
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="with --swap: keep the application's role out until it is done",
    )
    parser.add_argument(
        "--confirm",
        metavar="NAME",
        help="the live database's name (with --in-place the site's): the answer for scripts",
    )
    parser.add_argument(
        "--reason", metavar="TEXT", help="why a point that is in doubt is taken all the same"
    )
    parser.add_argument(
        "--reason-unsigned",
        metavar="TEXT",
        help="why a point is trusted that lacks the signature which the configuration demands",
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
    from fsbackup_tui.domain.errors import UsageError

    if arguments.replica is not None and not (arguments.to or arguments.beside is not None):
        raise UsageError(
            "NOT FROM A REPLICA: what touches live starts from the repository.",
            fix=f"Bring it here first: fsbackup fetch {arguments.point} --replica "
            f"{arguments.replica}\nOr beside: fsbackup restore {arguments.point} --replica "
            f"{arguments.replica} --beside NAME (a database) or --to DIR",
        )
    if restore_site.is_asked(arguments, context):
        return restore_site.run(arguments, context)
    if arguments.beside is None and not arguments.swap and arguments.tables is None:
        raise UsageError(
            "HOW? It is not said what the point is restored to.",
            fix="A database: --beside NAME, --swap or --tables T,…\n"
            "Files: --put-back, --files PATTERN, --exchange, --beside or --to DIR\n"
            "Configuration, code: --to DIR, --diff or --in-place",
        )
    for option in ("files", "apply_work", "conflict", "all_missing"):
        if getattr(arguments, option):
            raise UsageError(f"NOT SO: --{option.replace('_', '-')} is not for a database.")
    if arguments.beside is None:
        return _into_live(arguments, context)
    for option in ("where", "confirm", "reason", "changed", "value", "freeze"):
        if getattr(arguments, option):
            raise UsageError(f"NOT TOGETHER: --beside and --{option}.")
    return _beside(arguments, context)


def _into_live(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.express import run_express
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.domain.kept_name import is_kept_name
    from fsbackup_tui.operations.target import postgres_source

    given = "--swap" if arguments.swap else "--tables"
    if arguments.jobs is not None or arguments.schema_point is not None:
        raise UsageError(f"NOT TOGETHER: {given} with --jobs or --schema-point.")
    names = [name.strip() for name in (arguments.tables or "").split(",") if name.strip()]
    if arguments.tables is not None and not names:
        raise UsageError("WHICH TABLES?", fix="Name them: --tables videos,users")
    if arguments.where is not None and len(names) != 1:
        raise UsageError("ONE TABLE, PLEASE: --where is a condition on the rows of one table.")
    if arguments.freeze and not arguments.swap:
        raise UsageError(
            "NOT TOGETHER: --tables with --freeze.",
            why="Rows are put back while the application runs on.",
        )
    if arguments.swap and (arguments.changed or arguments.value):
        raise UsageError("NOT TOGETHER: --swap with --changed or --value.")
    if arguments.part is not None:
        postgres_source(context.load(), arguments.part)
    if names and is_kept_name(arguments.point):
        return run_express(arguments, context, _only_source(arguments.part, context), "")
    any_trust = arguments.reason is not None
    found = find_point(context, arguments.point, part=arguments.part, any_trust=any_trust)
    part = arguments.part or _only_database_part(found)
    return run_express(arguments, context, part, found.id)


def _only_source(part: str | None, context: CliContext) -> str:
    from fsbackup_tui.recovery import desk as desks
    from fsbackup_tui.recovery.declare import only_source

    return only_source(desks.open_desk(context.load(), context.environ), part)


def _beside(arguments: argparse.Namespace, context: CliContext) -> int:
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
        if arguments.replica is not None:
            name, part_asked = arguments.replica, arguments.part
            found, _view = find_on_replica(context, name, arguments.point, part=part_asked)
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
        reason_unsigned=arguments.reason_unsigned or "",
        replica=arguments.replica or "",
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
    names = list(loaded.config.databases)
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
