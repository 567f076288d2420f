"""``fsbackup drill``: the recovery test, timed and recorded; ``--list``: those that were held."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.numbers import positive_count
from fsbackup_tui.cli.replica_points import add_replica_option

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.operations.requests import DrillRequest
    from fsbackup_tui.repository.records import Record

_LISTED = 20
_HEADINGS = ("WHEN", "POINT", "OUTCOME", "TOOK", "DATABASE", "BY")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "drill",
        parents=parents,
        help="recovery test: prove a point on a throw-away server, timed and recorded",
    )
    parser.add_argument(
        "point",
        metavar="NAME|POINT",
        nargs="?",
        help="a drill's name in the configuration, or a point: an id, a prefix of it, latest:PLAN, "
        "or a time (default: the newest usable one)",
    )
    parser.add_argument(
        "--copy", metavar="DIR", help="take the bytes from a copy of the repository in DIR"
    )
    add_replica_option(parser, "take the bytes from this replica of the configuration")
    parser.add_argument(
        "--reason-unsigned",
        metavar="TEXT",
        help="why a point is trusted that lacks the signature which the configuration demands",
    )
    parser.add_argument("--random", action="store_true", help="any older point, not the newest")
    parser.add_argument("--list", action="store_true", help="the drills that were held")
    parser.add_argument(
        "--limit",
        type=positive_count,
        default=_LISTED,
        metavar="N",
        help="with --list, the newest N (default: 20)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the drill and follow it, or list those of before; the exit code of design §9."""
    from pathlib import Path

    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import DrillRequest

    if sum((arguments.point is not None, arguments.random, arguments.list)) > 1:
        raise UsageError("NOT TOGETHER: a point, --random and --list.", fix="fsbackup drill --help")
    if arguments.list and arguments.copy is not None:
        raise UsageError("NOT TOGETHER: --copy and --list.", fix="fsbackup drill --help")
    if arguments.list:
        return _list(context, arguments.limit)
    if arguments.replica and (arguments.copy or arguments.list):
        raise UsageError("NOT TOGETHER: --replica with --copy or --list.")
    context.repository()
    if arguments.replica:
        request = _on_replica(arguments, context)
        return run_request(request, context, summary=summary)
    if arguments.point in context.load().config.drills:
        return run_request(_named_drill(arguments, context), context, summary=summary)
    copy = str(Path(arguments.copy).expanduser().absolute()) if arguments.copy else ""
    reason = arguments.reason_unsigned or ""
    if arguments.point is not None:
        point = arguments.point if copy else find_point(context, arguments.point).id
        request = DrillRequest(point, "named", copy, reason)
    else:
        request = DrillRequest("", "random" if arguments.random else "newest", copy, reason)
    return run_request(request, context, summary=summary)


def _named_drill(arguments: argparse.Namespace, context: CliContext) -> DrillRequest:
    """Return what the configuration calls by that name; --copy goes before its own copy."""
    from pathlib import Path

    from fsbackup_tui.operations.requests import DrillRequest

    named = context.load().config.drills[arguments.point]
    copy = Path(arguments.copy).expanduser().absolute() if arguments.copy else named.copy_in
    reason = arguments.reason_unsigned or ""
    return DrillRequest("", named.point, str(copy or ""), reason, drill=arguments.point)


def _on_replica(arguments: argparse.Namespace, context: CliContext) -> DrillRequest:
    from fsbackup_tui.cli.replica_points import find_on_replica, open_view, points_on
    from fsbackup_tui.operations.drill import choose_point
    from fsbackup_tui.operations.requests import DrillChoice, DrillRequest

    choice: DrillChoice = "named"
    if arguments.point is not None:
        point, _view = find_on_replica(context, arguments.replica, arguments.point, any_trust=True)
    else:
        choice = "random" if arguments.random else "newest"
        point = choose_point(points_on(context, open_view(context, arguments.replica)), choice)
    reason = arguments.reason_unsigned or ""
    return DrillRequest(point.id, choice, reason_unsigned=reason, replica=arguments.replica)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.domain.estimate import PHASES
    from fsbackup_tui.operations.drill import key_words
    from fsbackup_tui.operations.findings import accepted_texts
    from fsbackup_tui.operations.wording import (
        count_text,
        duration_text,
        place_words,
        size_text,
    )
    from fsbackup_tui.repository.standing import problem_text

    took = duration_text(result["seconds"])
    word = {"ok": "ok", "failed": "FAILED", "blocked": "BLOCKED"}[result["outcome"]]
    is_as = "is" if result["outcome"] == "ok" else "stays"
    if result["ok"] and word == "BLOCKED":
        word = "blocked, as accepted"
    trust = str(result["trust"]).upper()
    lines = [f"Drill {word}: {result['point']} {is_as} {trust}, in {took}"]
    if result["place"]:
        size = size_text(result["database_bytes"])
        lines.append(f"  {size}, {count_text(result['rows'])} rows, {place_words(result['place'])}")
    if result["copy"]:
        lines.append(f"  from the copy in {result['copy']}")
    if result.get("replica"):
        lines.append(f"  from the replica {result['replica']}")
    if (key := result.get("key")) is not None:
        lines.append(f"  {key_words(key)}")
    phases = result["phases"]
    ordered = [phase for phase in PHASES if phase in phases]
    told = [f"{phase} {duration_text(phases[phase])}" for phase in ordered]
    lines.append(f"  {', '.join(told)}")
    lines.extend(f"  SUSPECT: {reason}" for reason in result["suspect"])
    lines.extend(f"  {problem_text(problem)}" for problem in result["problems"])
    lines.extend(f"  blocked: {problem_text(item)}" for item in result["blocked"])
    lines.extend(f"  blocked: {text}" for text in accepted_texts(result))
    lines.extend(f"  note: {note}" for note in result["notes"])
    fixes = [item["fix"] for item in (*result["problems"], *result["blocked"])]
    lines.extend(f"Next  {fix}" for fix in dict.fromkeys(fixes) if fix)
    return lines


def _list(context: CliContext, limit: int) -> int:
    from fsbackup_tui.operations.status import site_zone
    from fsbackup_tui.repository.drills import newest_drills

    drills = newest_drills(context.repository(), limit=limit)
    zone = site_zone(context.load())

    def human() -> None:
        if not drills:
            context.say("No drill was held yet: fsbackup drill")
        for line in _table(drills, context.now(), zone):
            context.say(line)

    context.emit({"ok": True, "drills": [_document(drill) for drill in drills]}, human)
    return 0


def _document(drill: Record) -> dict[str, object]:
    from fsbackup_tui.domain.events import format_time

    return {"at": format_time(drill.at), "job": drill.job, **drill.document}


def _table(drills: Sequence[Record], now: datetime, zone: tzinfo) -> Iterator[str]:
    from fsbackup_tui.operations.wording import (
        duration_text,
        pad_text,
        plain_text,
        size_text,
        when_text,
    )

    rows = [
        (
            when_text(drill.at, now, zone),
            plain_text(str(drill.document.get("point"))),
            str(drill.document.get("outcome")),
            duration_text(_number(drill.document.get("seconds"))),
            size_text(_whole(drill.document.get("database_bytes"))),
            plain_text(drill.operator),
        )
        for drill in drills
    ]
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        cells = [pad_text(cell, width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
