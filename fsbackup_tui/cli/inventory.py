"""``fsbackup list``, ``show POINT`` and ``clear POINT``: what there is, and what it is worth."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.replica_points import add_replica_option

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.health import Answer
    from fsbackup_tui.domain.site_parts import LinkFacts
    from fsbackup_tui.repository.reader import PointReader


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    listing = subparsers.add_parser("list", parents=parents, help="the recovery points there are")
    listing.add_argument("--plan", metavar="P", help="only those of this plan")
    listing.add_argument(
        "--since", metavar="T", help="only those from then on: a time, or an age like 7d"
    )
    add_replica_option(listing, "those on this replica of the configuration, asked just now")
    listing.set_defaults(run=run_list)
    show = subparsers.add_parser("show", parents=parents, help="all that is known of one point")
    show.add_argument(
        "point",
        metavar="POINT",
        help="an id, a prefix of it, latest, latest:PLAN, a time, or a backup file",
    )
    show.add_argument(
        "--rows-lost",
        metavar="FILE",
        help="write its rows whose file is not in it into FILE, as CSV",
    )
    add_replica_option(show, "as this replica of the configuration has it")
    show.set_defaults(run=run_show)
    clear = subparsers.add_parser("clear", parents=parents, help="lift the suspicion from a point")
    clear.add_argument("point", metavar="POINT", help="an id, or a prefix of it")
    clear.add_argument(
        "--reason", metavar="TEXT", required=True, help="why it is right as it is; kept for ever"
    )
    clear.set_defaults(run=run_clear)


def run_list(arguments: argparse.Namespace, context: CliContext) -> int:
    """List the points, the newest first; what was known, and exit 1, where they can't be read."""
    from fsbackup_tui.cli.point_text import list_lines, point_document
    from fsbackup_tui.operations.status import gather_status, site_catalogue, site_zone

    loaded, now = context.load(), context.now()
    zone = site_zone(loaded)
    if arguments.replica is not None:
        return _list_replica(arguments, context)
    since = None if arguments.since is None else parse_since(arguments.since, now, zone)
    status = gather_status(loaded, context.environ, now)
    with site_catalogue(loaded, context.environ) as (catalogue, _, error, _):
        # The status has compared the catalogue with the repository a moment ago, unless the file
        # can't be written: then each look is its own.
        if catalogue.in_memory or status.catalogue_in_memory:
            catalogue.refresh()
        points = catalogue.points(arguments.plan, since)
        as_of = catalogue.refreshed_at
    if status.answer.state == "watching":
        error = None
    watched = status.answer.state == "no-repository" and any(point.foreign for point in points)
    if error is not None and (context.json or not points) and not watched:
        raise error

    answer = _incident_answer(context) or _judged(status.answer, context)
    elsewhere = _elsewhere(context)

    def human() -> None:
        context.say(answer.line())
        if points:
            context.say()
        for line in list_lines(points, now, zone, elsewhere):
            context.say(line)
        if not points and status.count:
            context.say("No point answers to that: fsbackup list shows all.")

    documents = [
        {**point_document(point), "elsewhere": elsewhere.get(point.id)} for point in points
    ]
    context.emit({"ok": True, "points": documents}, human)
    for problem in status.foreign_problems:
        context.tell(problem, first="warning: ")
    if watched and error is not None:
        # Backups of other scripts can be watched before there is a repository.
        context.tell_problem(error)
        return 0
    if error is not None:
        from fsbackup_tui.operations.wording import when_text

        context.tell(f"That is what was there {when_text(as_of, now, zone)}.")
        raise error
    return 0


def _judged(answer: Answer, context: CliContext) -> Answer:
    """Return the answer, not green where ``check`` would say that backups are in danger."""
    if answer.tone != "good":
        return answer
    from fsbackup_tui.domain.judged import judged
    from fsbackup_tui.jobs.check import check_site
    from fsbackup_tui.operations.check import PROBES

    local = [probe for probe in PROBES if not probe.live]
    check = check_site(context.load(), context.environ, context.now(), probes=local)
    return judged(answer, check.findings)


def _elsewhere(context: CliContext) -> dict[str, str]:
    """Return where the points lie that are not wholly here, by their ids."""
    from fsbackup_tui.operations.status import site_repository_or_none
    from fsbackup_tui.repository.not_here import FILE_SCHEME, points_not_here

    repository = site_repository_or_none(context.load(), context.environ)
    if repository is None:
        return {}
    found = points_not_here(repository).items()
    return {point: lacking.origin.removeprefix(FILE_SCHEME) for point, lacking in found}


def _list_replica(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.point_text import list_lines, point_document
    from fsbackup_tui.cli.replica_points import open_view, points_on
    from fsbackup_tui.operations.status import site_zone

    now, zone = context.now(), site_zone(context.load())
    since = None if arguments.since is None else parse_since(arguments.since, now, zone)
    points = [
        point
        for point in points_on(context, open_view(context, arguments.replica))
        if arguments.plan in (None, point.plan) and (since is None or point.created >= since)
    ]

    def human() -> None:
        if not points:
            context.say(f"No point is on {arguments.replica} that answers to that.")
        for line in list_lines(points, now, zone):
            context.say(line)

    documents = [point_document(point) for point in points]
    context.emit({"ok": True, "replica": arguments.replica, "points": documents}, human)
    return 0


def _incident_answer(context: CliContext) -> Answer | None:
    """Return what there is to say while an incident is open; None where none is."""
    from fsbackup_tui.repository.incidents import find_open

    if find_open(context.state()) is None:
        return None
    from fsbackup_tui.domain.glance import incident_answer
    from fsbackup_tui.recovery.desk import open_desk
    from fsbackup_tui.recovery.reading import open_glance

    config = context.load().config
    glance = open_glance(open_desk(context.load(), context.environ))
    if glance is None:
        return None
    return incident_answer(glance, config.site, config.environment, context.now())


def run_show(arguments: argparse.Namespace, context: CliContext) -> int:
    """Show one point: parts, tables, trust, problems, where it lies, how to restore it."""
    from fsbackup_tui.cli.foreign import file_argument, show_file_command
    from fsbackup_tui.cli.point_text import show_document, show_lines
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.cli.replica_points import find_on_replica
    from fsbackup_tui.domain.errors import PointDamaged
    from fsbackup_tui.operations.against import Against, against_last_good
    from fsbackup_tui.operations.part_changes import PartChanges, changes_of
    from fsbackup_tui.operations.signatures import read_signature, worth_telling
    from fsbackup_tui.operations.status import site_catalogue, site_zone
    from fsbackup_tui.repository.reader import PointReader
    from fsbackup_tui.repository.spares import spares_of

    if (file := file_argument(context, arguments.point)) is not None:
        return show_file_command(file, context)
    if arguments.replica is not None:
        point, home = find_on_replica(context, arguments.replica, arguments.point)
    else:
        point = find_point(context, arguments.point)
        home = context.repository()
    reader = PointReader(home, point.id)
    try:
        parts = reader.parts()
    except PointDamaged:
        # What is wrong is among the point's problems; the rest of it is still shown.
        parts = []
    zone = site_zone(context.load())
    spares = spares_of(home, point.id)
    against: tuple[Against, ...] = ()
    changes: dict[str, PartChanges] = {}
    compared = arguments.replica is None
    if compared and (point.suspect or any(part.config or part.code for part in parts)):
        with site_catalogue(context.load(), context.environ) as (catalogue, *_):
            against = against_last_good(catalogue, context.repository(), point, parts)
            changes = changes_of(catalogue, context.repository(), point, parts)

    signature = read_signature(context.load(), reader, context.environ)
    shown = signature if worth_telling(context.load(), signature) else None
    links = _links(reader)
    if (file := getattr(arguments, "rows_lost", None)) is not None:
        return _export_lost(file, context, links)

    def human() -> None:
        now = context.now()
        told = (point, parts, reader.directory, now, zone, spares, against)
        for line in show_lines(*told, signature=shown, changes=changes, links=links):
            context.say(context.pasteable.text(line))

    told = (point, parts, reader.directory, spares, against)
    document = show_document(*told, signature=signature, changes=changes, links=links)
    context.emit(document, human)
    return 0


def _links(reader: PointReader) -> tuple[LinkFacts, ...]:
    from fsbackup_tui.domain.errors import PointDamaged

    try:
        manifest = reader.manifest
    except PointDamaged:
        return ()
    return () if manifest is None else manifest.links


def _export_lost(file: str, context: CliContext, links: tuple[LinkFacts, ...]) -> int:
    """Write the rows without a file, as far as the manifest names them."""
    from pathlib import Path

    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.link_loss import export_missing

    path = Path(file).expanduser().absolute()
    try:
        written, left_out = export_missing(links, path)
    except FileExistsError as error:
        raise UsageError(f"FILE EXISTS: {path}.", fix="Name another one.") from error
    except OSError as error:
        raise UsageError(f"NOT WRITTEN: {path}.", why=f"{error.strerror}.") from error

    def human() -> None:
        context.say_text(f"{written} rows without their file are in {path}")
        if left_out:
            context.say_text(f"{left_out} more are counted, and not named in the manifest.")

    context.emit({"ok": True, "file": str(path), "rows": written, "left_out": left_out}, human)
    return 0


def run_clear(arguments: argparse.Namespace, context: CliContext) -> int:
    """Record why a doubtful point is right as it is; it counts as good from then on."""
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.jobs.supervisor import operator_name
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.wording import in_incident_words
    from fsbackup_tui.repository.records import write_record

    reason = arguments.reason.strip()
    if not reason:
        raise UsageError(
            "NO REASON: a suspicion is only lifted with one.",
            fix=f'fsbackup clear {arguments.point} --reason "old videos were purged on purpose"',
        )
    refuse_if_read_only(context.load(), "clears no point")
    point = find_point(context, arguments.point, any_trust=True)
    document = {"ok": True, "point": point.id, "cleared": list(point.suspect), "reason": reason}
    if point.doubtful:
        write_record(
            context.repository(),
            point.id,
            "cleared",
            {
                "reason": reason,
                "suspect": list(point.suspect),
                "in_incident": point.in_incident or None,
            },
            now=context.now(),
            job="-",
            operator=operator_name(context.environ),
        )

    def human() -> None:
        if not point.doubtful:
            context.say(f"{point.id} is not suspect; there was nothing to clear.")
            return
        context.say_text(f"{point.id} is cleared: {reason}", later="  ")
        for text in point.suspect:
            context.say_text(text, first="  was suspect: ")
        if point.in_incident:
            context.say_text(in_incident_words(point.in_incident), first="  ")

    context.emit(document, human)
    return 0


def parse_since(text: str, now: datetime, zone: tzinfo) -> datetime:
    """Return the moment ``--since`` means: a time in ``zone``, or an age; UsageError otherwise."""
    from datetime import timedelta

    from fsbackup_tui.config.values import parse_duration
    from fsbackup_tui.domain.errors import PointNotFound, UsageError
    from fsbackup_tui.repository.points import parse_moment

    try:
        age = parse_duration(text)
        if isinstance(age, timedelta):
            return now - age
    except ValueError:
        pass
    try:
        return parse_moment(text, zone, end=False)
    except PointNotFound as error:
        raise UsageError(error.what, why=error.why, fix=error.fix) from error
