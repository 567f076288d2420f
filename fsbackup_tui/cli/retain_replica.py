"""``fsbackup retain --replica NAME``: what leaves a replica by its own rules, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.operations.replica_retain_look import ReplicaRetentionLook


def show(name: str, context: CliContext) -> int:
    """Print what leaves and why the others stay; nothing is changed."""
    looked = _look(name, context)
    context.emit(looked.document(), lambda: _print(looked, context))
    return 0


def apply(name: str, confirm: str | None, context: CliContext) -> int:
    """Mark what leaves, and remove what was marked long enough; the exit code of design §9."""
    from fsbackup_tui.cli.express import may_ask
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.retain import refuse_other_site, typed_site
    from fsbackup_tui.domain.errors import ConfirmationNeeded
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.retain import refused
    from fsbackup_tui.operations.retain_requests import RetainReplicaRequest

    refuse_if_read_only(context.load(), "removes no points")
    site = context.load().config.site
    again = f"retain --replica {name} --apply"
    refuse_other_site(confirm, site, again)
    confirmed = confirm is not None
    looked = _look(name, context, confirmed=confirmed)
    refusals = looked.decision.refusals
    if refusals:
        if not all(each.confirmable for each in refusals) or not may_ask(context):
            raise refused(refusals, site, again)
        _print(looked, context)
        if typed_site(site, context) != site:
            raise ConfirmationNeeded("NOT CONFIRMED: every point stays.")
        confirmed = True
    request = RetainReplicaRequest(name, looked.decision.leaving, confirmed)
    return run_request(request, context, summary=applied)


def _look(name: str, context: CliContext, *, confirmed: bool = False) -> ReplicaRetentionLook:
    import asyncio
    import tempfile
    from pathlib import Path

    from fsbackup_tui.config.load import SiteEnvironment
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.operations.replica_retain import look_now

    loaded, home = context.load(), context.repository()
    environment = SiteEnvironment(loaded, context.environ)
    with tempfile.TemporaryDirectory(prefix="fsbackup-") as work:
        return asyncio.run(
            look_now(
                loaded,
                environment,
                Redactor(),
                home,
                Path(work),
                name,
                context.now(),
                confirmed=confirmed,
            )
        )


def _print(looked: ReplicaRetentionLook, context: CliContext) -> None:
    from fsbackup_tui.cli.retain import say_line, say_refusals
    from fsbackup_tui.domain.retention import span_text
    from fsbackup_tui.domain.text import many_text
    from fsbackup_tui.operations.wording import plain_text, size_text

    decision, name = looked.decision, looked.far.name
    leaving = len(decision.leaving)
    staying = len(decision.verdicts) - leaving
    context.say_text(
        f"{many_text(len(decision.verdicts), 'point')} on {plain_text(name)}, "
        f"{plain_text(looked.far.remote.describe)}: "
        f"{leaving} {'leaves' if leaving == 1 else 'leave'}, "
        f"{staying} {'stays' if staying == 1 else 'stay'}"
        + (f"; {size_text(decision.leaving_bytes)} in what leaves" if leaving else "")
    )
    for line in _point_lines(looked):
        say_line(line, context)
    say_refusals(decision.refusals, context)
    for point in sorted(looked.begun):
        context.say_text(f"The removal of {plain_text(point)} was begun, and is not finished.")
    if decision.refusals or not (leaving or looked.begun or looked.to_unmark):
        return
    context.say()
    context.say_text(
        "Nothing was removed. What leaves is marked there first, and removed by a later run, "
        f"{span_text(looked.grace)} after it was marked."
        if looked.grace
        else "Nothing was removed."
    )
    context.say(f"To do it: fsbackup retain --replica {name} --apply")


def _point_lines(looked: ReplicaRetentionLook) -> Iterator[str]:
    from fsbackup_tui.operations.wording import age_text, plain_text, size_text, when_text

    by_id = {candidate.id: candidate for candidate in looked.candidates}
    due = set(looked.due)
    for verdict in looked.decision.verdicts:
        point = by_id[verdict.id]
        age = age_text((looked.now - point.created).total_seconds())
        word = "LEAVES" if verdict.leaves else "stays "
        yield f"{word}  {plain_text(point.id)}  {age:>5}  {size_text(point.bytes):>7}"
        at = looked.leaves_at(verdict.id)
        if verdict.keeps:
            why = plain_text("; ".join(verdict.keeps))
            yield f"      {why}{'; the mark that it leaves goes' if at is not None else ''}"
        elif verdict.id in due:
            yield "      no rule keeps it; marked long enough: it goes now"
        elif at is not None:
            until = when_text(at, looked.now, looked.zone)
            yield f"      no rule keeps it; marked, to go from {until}"
        else:
            yield "      no rule keeps it; to be marked"


def applied(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.domain.text import many_text
    from fsbackup_tui.operations.wording import size_text

    name, lines = result["replica"], []
    if result["removed"]:
        count, size = many_text(len(result["removed"]), "point"), size_text(result["removed_bytes"])
        lines += [f"Gone from {name}: {count}, {size}"]
        lines += [f"  {point}" for point in result["removed"]]
    if result["marked"]:
        lines += [f"Marked to leave {name}: {many_text(len(result['marked']), 'point')}"]
        lines += [f"  {point}" for point in result["marked"] if point not in result["removed"]]
        lines += [f"Run it again after the grace: fsbackup retain --replica {name} --apply"]
    if result["unmarked"]:
        lines += [f"To stay after all: {many_text(len(result['unmarked']), 'point')}"]
        lines += [f"  {point}" for point in result["unmarked"]]
    lines += [f"  stays: {each['point']}, {each['lock']}" for each in result["locked"]]
    lines += [f"Finished: the removal of {point}" for point in result["begun"]]
    for problem in result["problems"]:
        lines += [problem["what"], *(f"  Why   {line}" for line in problem["why"].splitlines())]
        lines += [f"  Next  {line}" for line in problem["fix"].splitlines()]
    return lines or [f"No point leaves {name} now."]
