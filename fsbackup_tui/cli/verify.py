"""``fsbackup verify``: a point up the trust ladder, the live database, or all that is stale."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fsbackup_tui.cli.numbers import duration_seconds
from fsbackup_tui.cli.replica_points import add_replica_option

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext

_LEFT_SHOWN = 10
_FINDINGS_SHOWN = 40
_USUAL_LEVEL: Final = "readable"
LEVELS = ("sealed", "readable", "restored", "proven")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "verify", parents=parents, help="check a stored point, level by level"
    )
    parser.add_argument(
        "point",
        metavar="POINT",
        nargs="?",
        help="an id, a prefix of it, latest, latest:PLAN, a time, or a backup file",
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        help="sealed: every SHA-256; readable: also every byte of the archive (default);"
        " restored: also a trial restore; proven: also its content compared",
    )
    add_replica_option(parser, "read it from this replica of the configuration")
    parser.add_argument(
        "--keep-spare",
        action="store_true",
        help="prove it beside the live database and keep the copy there, fenced off and ready to"
        " be swapped in; it replaces the former spare",
    )
    parser.add_argument(
        "--reason-unsigned",
        metavar="TEXT",
        help="with --keep-spare: why a point is trusted that lacks the demanded signature",
    )
    live = parser.add_argument_group(
        "the live database",
        "It is only read, but reading lets the server clean up rows deleted just before: after"
        " an accidental DELETE copy its files first.",
    )
    live.add_argument("--live", action="store_true", help="look for damage in the live database")
    live.add_argument("--source", metavar="S", help="which database, where the site has several")
    due = parser.add_argument_group("what has gone stale")
    due.add_argument(
        "--due",
        action="store_true",
        help="all points whose plan's verify_every is over, the oldest proof first",
    )
    due.add_argument(
        "--budget",
        type=duration_seconds,
        metavar="TIME",
        help="begin no further point that would not be done by then, e.g. 1h",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the verification and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.foreign import file_argument, verify_file_command
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import VerifyRequest

    if arguments.replica is not None:
        return _run_on_replica(arguments, context)
    if arguments.keep_spare:
        _refuse_beside_spare(arguments)
    elif arguments.reason_unsigned is not None:
        raise UsageError("NOT ALONE: --reason-unsigned goes with --keep-spare.")
    if arguments.due or arguments.budget is not None:
        return _run_due(arguments, context)
    if arguments.live:
        return _run_live(arguments, context)
    if arguments.source is not None:
        raise UsageError("NOT TOGETHER: --source goes with --live.", fix="fsbackup verify --help")
    if arguments.point is None:
        raise UsageError(
            "WHICH POINT: name one, or --live for the live database.",
            fix="fsbackup verify latest",
        )
    if (file := file_argument(context, arguments.point)) is not None:
        if arguments.keep_spare:
            raise UsageError(
                "NO SPARE OF A FILE: only a point's databases have one.",
                fix=f"First make a point of it: fsbackup adopt {arguments.point}",
            )
        return verify_file_command(file, arguments.level or _USUAL_LEVEL, context)
    point = find_point(context, arguments.point)
    request = VerifyRequest(
        point=point.id,
        level="proven" if arguments.keep_spare else (arguments.level or _USUAL_LEVEL),
        keep_spare=arguments.keep_spare,
        reason_unsigned=arguments.reason_unsigned or "",
    )
    return run_request(request, context, summary=summary)


def _run_on_replica(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.replica_points import find_on_replica
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import VerifyRequest

    others = ("keep_spare", "live", "source", "due", "budget", "reason_unsigned")
    if arguments.point is None or any(getattr(arguments, name) for name in others):
        raise UsageError(
            "NOT TOGETHER: --replica goes with a point and --level.",
            fix=f"fsbackup verify latest --replica {arguments.replica}",
        )
    point, _view = find_on_replica(context, arguments.replica, arguments.point, any_trust=True)
    request = VerifyRequest(
        point=point.id, level=arguments.level or _USUAL_LEVEL, replica=arguments.replica
    )
    return run_request(request, context, summary=summary)


def _refuse_beside_spare(arguments: argparse.Namespace) -> None:
    from fsbackup_tui.domain.errors import UsageError

    if arguments.live or arguments.due or arguments.source is not None:
        raise UsageError(
            "NOT TOGETHER: --keep-spare keeps the copy of one point.",
            fix="fsbackup verify latest --keep-spare",
        )
    if arguments.level not in (None, "proven"):
        raise UsageError(
            f"NOT TOGETHER: --keep-spare and --level {arguments.level}.",
            why="Only a proven copy becomes the spare.",
            fix="Leave --level away.",
        )


def _run_live(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.health_text import health_lines, live_source
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import LiveHealthRequest

    if arguments.point is not None:
        raise UsageError(
            "NOT TOGETHER: a point and --live.",
            why="--live looks at the live database, a point is verified in the repository.",
            fix="fsbackup verify --live",
        )
    source = live_source(context.load(), arguments.source)
    return run_request(LiveHealthRequest(source=source), context, summary=health_lines)


def _run_due(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.requests import VerifyDueRequest
    from fsbackup_tui.operations.watch_only import no_plan

    if not arguments.due:
        raise UsageError("NOT ALONE: --budget goes with --due.", fix="fsbackup verify --help")
    if arguments.point is not None or arguments.live or arguments.source is not None:
        raise UsageError(
            "NOT TOGETHER: --due, and a point or --live.",
            why="--due takes the points that have gone stale, by their plans' verify_every.",
            fix="fsbackup verify --due",
        )
    if not context.load().config.plans:
        raise no_plan(context.load())
    context.repository()
    request = VerifyDueRequest(budget_seconds=arguments.budget)
    return run_request(request, context, summary=due_summary)


def due_summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when what was due is done."""
    from fsbackup_tui.operations.wording import duration_text

    verified, left = result["verified"], result["left"]
    if not verified and not left:
        if result["asked_for"]:
            return ["Nothing is due: every proof is younger than its plan's verify_every."]
        return ["Nothing is ever due: no plan says verify_every."]
    held = sum(outcome["ok"] is True and not outcome.get("accepted") for outcome in verified)
    lines = [f"{held} of {len(verified)} held, in {duration_text(result['seconds'])}"]
    for outcome in verified:
        blocked = outcome["blocked"] or outcome.get("accepted")
        word = "FAILED" if outcome["problems"] else "blocked" if blocked else "ok"
        took = duration_text(outcome["seconds"])
        lines.append(f"  {outcome['point']}  {word}, {outcome['trust']}, {took}")
        lines.extend(f"    {text}" for text in _outcome_texts(outcome))
    if left:
        lines.append(f"Left for the next time: {len(left)}")
        lines.extend(f"  {_left_text(item)}" for item in left[:_LEFT_SHOWN])
        if len(left) > _LEFT_SHOWN:
            lines.append(f"  and {len(left) - _LEFT_SHOWN} more")
    return lines


def _outcome_texts(outcome: Mapping[str, Any]) -> list[str]:
    from fsbackup_tui.operations.findings import accepted_texts
    from fsbackup_tui.repository.standing import problem_text

    blocked = [*map(problem_text, outcome["blocked"]), *accepted_texts(outcome)]
    problems = [problem_text(problem) for problem in outcome["problems"]]
    return [*problems, *(f"blocked: {text}" for text in blocked)]


def _left_text(item: Mapping[str, Any]) -> str:
    from fsbackup_tui.operations.wording import duration_text

    proven = f"last {item['wanted']} {item['proven']}" if item["proven"] else "never shown"
    return f"{item['point']}  {proven}, takes {duration_text(item['expected_seconds'])}"


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.findings import accepted_texts, spare_texts
    from fsbackup_tui.operations.wording import duration_text, level_word
    from fsbackup_tui.repository.standing import problem_text

    lines = [_headline(result)]
    for level, check in result["levels"].items():
        lines.append(f"  {level:<9} {level_word(check['ok']):<7} {duration_text(check['seconds'])}")
    signature = result.get("signature")
    if signature is not None and signature["state"] in ("good", "unchecked"):
        lines.append(f"  {signature['text']}")
    # What is wrong with the point as a whole is wrong with each of its parts.
    texts = list(dict.fromkeys(problem_text(problem) for problem in result["problems"]))
    absent = signature is not None and signature["state"] == "absent"
    if signature is not None and absent and not any(signature["text"] in each for each in texts):
        lines.append(f"  {signature['text']}")
    texts += [f"blocked: {problem_text(item)}" for item in result.get("blocked", ())]
    lines.extend(f"  {text}" for text in texts[:_FINDINGS_SHOWN])
    if len(texts) > _FINDINGS_SHOWN:
        lines.append(f"  and {len(texts) - _FINDINGS_SHOWN} more: --json has them all")
    lines.extend(f"  blocked: {text}" for text in accepted_texts(result))
    lines.extend(_proof_line(source, proof) for source, proof in result.get("proofs", {}).items())
    lines.extend(f"  {line}" for line in spare_texts(result))
    lines.extend(f"  note: {note}" for note in dict.fromkeys(result.get("notes", ())))
    told = [*result["problems"], *result.get("blocked", ())]
    fixes = dict.fromkeys(line for item in told for line in str(item["fix"] or "").splitlines())
    lines.extend(f"Next  {fix}" for fix in fixes)
    return lines


def _headline(result: Mapping[str, Any]) -> str:
    """Return the point and its trust, which what was blocked or failed now may not have touched."""
    trust = str(result["trust"]).upper()
    ended = [level for level, check in result["levels"].items() if check["ok"] is not True]
    wanted = str(result.get("wanted", ""))
    reached = result["levels"].get(wanted, {}).get("ok") is True
    if ended and trust == wanted.upper() and not reached:
        return f"{result['point']}: {trust} before; this time {ended[-1]} could not be tried"
    return f"{result['point']}: {trust}"


def _proof_line(source: str, proof: Mapping[str, Any]) -> str:
    """Return in one line what a trial restore brought back, and where."""
    from fsbackup_tui.operations.wording import place_words

    entries = proof["entries"]
    if entries is None:
        return f"  {source}: no trial restore"
    tables = ", ".join(f"{count} {verdict}" for verdict, count in proof["tables"].items())
    if not tables and proof["proven"] is not None:
        tables = "none"
    brought = f"{entries['restored']} entries restored, {entries['lost']} lost"
    return (
        f"  {source}: {brought}; tables: {tables or 'not compared'} ({place_words(proof['place'])})"
    )
