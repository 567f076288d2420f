"""``fsbackup retain``, ``pin`` and ``unpin``: which points stay, which leave, and by which rule."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary
    from fsbackup_tui.domain.retention_guard import Refusal
    from fsbackup_tui.operations.retain_look import RetentionLook


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    parser = subparsers.add_parser(
        "retain",
        parents=parents,
        help="which points leave by keep:, and why the others stay; --apply removes them",
        description="Without an option it only shows. What is removed lies in the repository's "
        "trash for retention: grace:, and can be taken back from there.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="move what leaves to the trash")
    what.add_argument("--take-back", metavar="POINT", help="bring a point back out of the trash")
    what.add_argument("--empty", action="store_true", help="free what is past its grace")
    parser.add_argument(
        "--confirm", metavar="SITE", help="with --apply, the site's name: the answer for scripts"
    )
    parser.add_argument(
        "--replica",
        metavar="NAME",
        help="the points there, by the replica's own keep:; without --apply it only shows",
    )
    parser.set_defaults(run=run)
    pin = subparsers.add_parser("pin", parents=parents, help="keep a point, whatever the rules say")
    pin.add_argument("point", metavar="POINT", help="an id, a prefix of it, latest, or a time")
    pin.add_argument("--reason", metavar="TEXT", required=True, help="why; shown beside it")
    pin.set_defaults(run=run_pin)
    unpin = subparsers.add_parser("unpin", parents=parents, help="let the rules decide again")
    unpin.add_argument("point", metavar="POINT", help="an id, or a prefix of it")
    unpin.set_defaults(run=run_unpin)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Show, remove, take back or free; the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.retain_requests import EmptyTrashRequest, TakeBackRequest

    if arguments.confirm is not None and not arguments.apply:
        raise UsageError("NOTHING TO CONFIRM: --confirm goes with --apply.")
    if arguments.replica is not None:
        return _on_replica(arguments, context)
    if arguments.apply:
        return _apply(arguments.confirm, context)
    if arguments.take_back is not None:
        refuse_if_read_only(context.load(), "takes nothing back")
        point = _in_trash(arguments.take_back, context)
        return run_request(TakeBackRequest(point), context, summary=taken_back)
    if arguments.empty:
        refuse_if_read_only(context.load(), "frees nothing")
        context.repository()
        return run_request(EmptyTrashRequest(), context, summary=freed)
    looked = _look(context)
    context.emit(looked.document(context.repository()), lambda: _print(looked, context))
    return 0


def _on_replica(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli import retain_replica
    from fsbackup_tui.domain.errors import UsageError

    if arguments.take_back is not None or arguments.empty:
        raise UsageError(
            "NO TRASH THERE: --take-back and --empty are for the repository here.",
            why="On a replica a point that leaves is marked, and stays until the grace is over.",
            fix=f"fsbackup pin POINT --reason TEXT\nfsbackup retain --replica {arguments.replica}",
        )
    if arguments.apply:
        return retain_replica.apply(arguments.replica, arguments.confirm, context)
    return retain_replica.show(arguments.replica, context)


def _look(context: CliContext, *, confirmed: bool = False) -> RetentionLook:
    from fsbackup_tui.operations.retain_look import look

    return look(
        context.load(), context.environ, context.repository(), context.now(), confirmed=confirmed
    )


def _in_trash(text: str, context: CliContext) -> str:
    from fsbackup_tui.repository.trash import find_in_trash

    return find_in_trash(context.repository(), text).id


def _apply(confirm: str | None, context: CliContext) -> int:
    from fsbackup_tui.cli.express import may_ask
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import ConfirmationNeeded
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.retain import refused
    from fsbackup_tui.operations.retain_requests import RetainRequest

    refuse_if_read_only(context.load(), "removes no points")
    site = context.load().config.site
    refuse_other_site(confirm, site)
    confirmed = confirm is not None
    looked = _look(context, confirmed=confirmed)
    refusals = looked.decision.refusals
    if refusals:
        if not all(each.confirmable for each in refusals) or not may_ask(context):
            raise refused(refusals, site)
        _print(looked, context)
        if typed_site(site, context) != site:
            raise ConfirmationNeeded("NOT CONFIRMED: every point stays.")
        confirmed = True
    request = RetainRequest(looked.decision.leaving, confirmed)
    return run_request(request, context, summary=applied)


def refuse_other_site(confirm: str | None, site: str, command: str = "retain --apply") -> None:
    """Raise ConfirmationNeeded where another name than the site's was given."""
    from fsbackup_tui.domain.errors import ConfirmationNeeded

    if confirm is not None and confirm != site:
        raise ConfirmationNeeded(
            "NOT CONFIRMED: every point stays.",
            why=f"'{confirm}' is not the site's name: {site}.",
            fix=f"fsbackup {command} --confirm {site}",
        )


def typed_site(site: str, context: CliContext) -> str:
    """Return the line that a person types as the site's name."""
    import termios

    context.tell(f"Type the site's name, {site}, to remove them; anything else removes nothing.")
    # What was typed or pasted before the question stood there answers nothing.
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    context.stderr.write("name: ")
    context.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _print(looked: RetentionLook, context: CliContext) -> None:
    from fsbackup_tui.domain.text import many_text
    from fsbackup_tui.operations.wording import size_text
    from fsbackup_tui.repository.trash import freed_bytes

    repository, decision = context.repository(), looked.decision
    leaving = [repository.point_directory(point) for point in decision.leaving]
    room = size_text(freed_bytes(leaving))
    staying = len(decision.verdicts) - len(leaving)
    context.say_text(
        f"{many_text(len(decision.verdicts), 'point')}: "
        f"{len(leaving)} {'leaves' if len(leaving) == 1 else 'leave'}, "
        f"{staying} {'stays' if staying == 1 else 'stay'}"
        + (f"; {room} come free after {_grace(looked)} in the trash" if leaving else "")
    )
    for line in _point_lines(looked):
        say_line(line, context)
    say_refusals(decision.refusals, context)
    if looked.trash:
        context.say()
        context.say_text(f"In the trash: {len(looked.trash)}; fsbackup retain --take-back POINT")
        for line in _trash_lines(looked):
            say_line(line, context)
    if leaving and not decision.refusals:
        context.say()
        context.say("Nothing was removed. To do it: fsbackup retain --apply")


def say_refusals(refusals: Iterable[Refusal], context: CliContext) -> None:
    """Print why nothing leaves now."""
    for refusal in refusals:
        context.say()
        context.say_text(f"NOT NOW: {refusal.what}")
        context.say_text(refusal.why, first="Why   ")
        context.say_text(refusal.fix, first="Next  ")


def say_line(line: str, context: CliContext) -> None:
    """Print a line about a point, wrapped below where it begins."""
    indent = len(line) - len(line.lstrip())
    context.say_text(line, first=" " * indent, later=" " * (indent or 6))


def _point_lines(looked: RetentionLook) -> Iterator[str]:
    from fsbackup_tui.operations.wording import age_text, plain_text, size_text

    by_id = {candidate.id: candidate for candidate in looked.candidates}
    for verdict in looked.decision.verdicts:
        point = by_id[verdict.id]
        age = age_text((looked.now - point.created).total_seconds())
        why = plain_text("; ".join(verdict.keeps)) if verdict.keeps else "no rule keeps it"
        word = "LEAVES" if verdict.leaves else "stays "
        head = f"{word}  {plain_text(point.id)}  {age:>5}  {size_text(point.bytes):>7}"
        yield head
        yield f"      {why}"


def _trash_lines(looked: RetentionLook) -> Iterator[str]:
    from fsbackup_tui.operations.wording import plain_text, size_text, when_text

    for trashed in looked.trash:
        until = "-"
        if trashed.at is not None:
            until = when_text(trashed.at + looked.grace, looked.now, looked.zone)
        yield f"  {plain_text(trashed.id)}  {size_text(trashed.bytes)}  until {until}"
        yield f"      {plain_text(trashed.why)}"


def _grace(looked: RetentionLook) -> str:
    from fsbackup_tui.domain.retention import span_text

    return span_text(looked.grace)


def applied(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when points were removed."""
    from fsbackup_tui.domain.text import many_text
    from fsbackup_tui.operations.wording import size_text

    removed = result["removed"]
    lie = "it lies" if len(removed) == 1 else "they lie"
    lines = [f"{many_text(len(removed), 'point')} removed; {lie} in the trash"]
    if not removed:
        failed = len(result["problems"])
        lines = [f"No point was removed; {failed} should be:" if failed else "No point leaves."]
    lines += [f"  {point}" for point in removed]
    lines += [f"  {problem['what']}" for problem in result["problems"]]
    if result["freed"]:
        lines.append(f"Freed: {len(result['freed'])}, {size_text(result['freed_bytes'])}")
    if removed:
        lines.append("Back again: fsbackup retain --take-back POINT")
    return lines


def taken_back(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when a point was taken back."""
    return [
        f"Back: {result['point']}",
        f"  pinned: {result['pinned']}",
        f"  To let the rules decide again: fsbackup unpin {result['point']}",
    ]


def freed(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when the trash was freed."""
    from fsbackup_tui.domain.text import many_text
    from fsbackup_tui.operations.wording import size_text

    lie = "lies" if len(result["trash"]) == 1 else "lie"
    left = f"; {len(result['trash'])} still {lie} in the trash" if result["trash"] else ""
    lines = [
        f"Freed: {many_text(len(result['freed']), 'point')}, {size_text(result['bytes'])}{left}"
    ]
    lines += [f"  {why}; fsbackup retain --take-back POINT" for why in result.get("held", ())]
    return lines + [f"  {problem['what']}" for problem in result["problems"]]


def run_pin(arguments: argparse.Namespace, context: CliContext) -> int:
    """Record why a point stays, whatever the rules say."""
    from fsbackup_tui.domain.errors import UsageError

    reason = " ".join(arguments.reason.split())
    if not reason:
        raise UsageError(
            "NO REASON: a pin says why.",
            fix=f'fsbackup pin {arguments.point} --reason "before the release"',
        )
    point = _point(arguments.point, "pins no point", context)
    if point.pinned != reason:
        _pin(context, point.id, reason)
    document = {"ok": True, "point": point.id, "pinned": reason}
    context.emit(document, lambda: context.say_text(f"{point.id} is pinned: {reason}", later="  "))
    return 0


def run_unpin(arguments: argparse.Namespace, context: CliContext) -> int:
    """Record that the rules decide again."""
    point = _point(arguments.point, "unpins no point", context)
    if point.pinned:
        _pin(context, point.id, None, was=point.pinned)

    def human() -> None:
        if point.pinned:
            context.say_text(f"{point.id} is pinned no more; it was: {point.pinned}", later="  ")
        else:
            context.say(f"{point.id} was not pinned.")

    context.emit({"ok": True, "point": point.id, "was": point.pinned or None}, human)
    return 0


def _point(text: str, what: str, context: CliContext) -> PointSummary:
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.operations.read_only import refuse_if_read_only

    refuse_if_read_only(context.load(), what)
    return find_point(context, text, any_trust=True)


def _pin(context: CliContext, point: str, reason: str | None, *, was: str = "") -> None:
    from fsbackup_tui.jobs.supervisor import operator_name
    from fsbackup_tui.repository.pins import write_pin

    write_pin(
        context.repository(),
        point,
        reason,
        was=was,
        now=context.now(),
        job="-",
        operator=operator_name(context.environ),
    )
