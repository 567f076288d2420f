"""``fsbackup replicate``: copies on other machines, brought up to date or checked."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext

_SHOWN = 10


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "replicate",
        parents=parents,
        help="send points to the copies elsewhere, and read a share of those back",
        description="Sends what the replicas of the configuration lack. Nothing is ever deleted "
        "there. A run that was interrupted goes on where it stopped.",
    )
    parser.add_argument(
        "replicas", nargs="*", metavar="REPLICA", help="names of the config (default: all)"
    )
    parser.add_argument(
        "--point", metavar="P", help="this point alone, whatever its plan says about replicas"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="send nothing: read back all that should be there, and compare it",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Start the job and follow it; returns the exit code of design §9."""
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.operations.requests import ReplicateRequest

    context.repository()
    point = ""
    if arguments.point is not None:
        point = find_point(context, arguments.point, any_trust=True).id
    request = ReplicateRequest(tuple(arguments.replicas), point, arguments.check)
    return run_request(request, context, summary=summary)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    return [line for name, one in result["replicas"].items() for line in replica_lines(name, one)]


def replica_lines(name: str, one: Mapping[str, Any]) -> Iterator[str]:
    """Yield how it went with one replica."""
    from fsbackup_tui.operations.wording import duration_text, size_text

    word = "ok" if one["ok"] else "NOT OK"
    told = [f"{len(one['sent'])} sent"] if one["sent"] else []
    told += [f"{len(one['mended'])} mended"] if one["mended"] else []
    told += [f"{one['whole']} were there"] if one["whole"] else []
    told += [f"{size_text(one['bytes'])} in {duration_text(one['seconds'])}"] if told else []
    yield f"{name}: {word}" + (f", {', '.join(told)}" if told else "")
    read = one["read_back"]
    if read["files"]:
        share = f"{size_text(read['bytes'])} of {size_text(read['of_bytes'])}"
        yield f"  read back and compared: {read['files']} files, {share}"
    for wrong in read["wrong"]:
        mended = " (sent again)" if wrong["point"] in one["mended"] else ""
        yield f"  WRONG THERE: {wrong['point']}{mended}"
        yield from (f"    {what}" for what in wrong["what"][:_SHOWN])
    for refused in one["refused"]:
        yield f"  {refused.get('what') or refused['point'] + ': ' + refused['why']}"
        if refused.get("what"):
            yield from (f"    {line}" for line in refused["why"].splitlines())
        yield from (f"    Next  {line}" for line in refused["fix"].splitlines())
    for skipped in one["skipped"][:_SHOWN]:
        yield f"  not sent: {skipped['point']}: {skipped['why']}"
    if one["object_lock"]:
        yield f"  {one['object_lock']}"
    yield from (f"  note: {note}" for note in one["notes"])
    if (problem := one["problem"]) is not None:
        yield f"  {problem['what']}"
        yield from (f"  Why   {line}" for line in problem["why"].splitlines())
        yield from (f"  Next  {line}" for line in problem["fix"].splitlines())
