"""``fsbackup leftovers``: what past recoveries left; ``--drop NAME``: one of it, by typed name."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.operations.request import Request

_HEADINGS = ("KIND", "SIZE", "AGE", "OF", "NAME")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "leftovers",
        parents=parents,
        help="what past recoveries left: copies, trees, evidence, fences; drop one of them",
    )
    parser.add_argument(
        "--part", metavar="P", help="the source's name; needed if there are several"
    )
    parser.add_argument("--drop", metavar="NAME", help="drop this one; its name is asked for again")
    parser.add_argument(
        "--confirm", metavar="NAME", help="with --drop, the name again: the answer for scripts"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """List what is left, or drop one of it; the exit code of design §9."""
    from fsbackup_tui.domain.errors import UsageError

    if arguments.confirm is not None and arguments.drop is None:
        raise UsageError("NOTHING TO CONFIRM: --confirm goes with --drop NAME.")
    part = _part(arguments.part, context)
    trees = arguments.part if arguments.part and not part else ""
    if arguments.drop is not None:
        return _drop(arguments.drop, arguments.confirm, part, trees, context)
    return _list(part, trees, context)


def _part(named: str | None, context: CliContext) -> str:
    """Return the database whose server is looked at; empty where only trees are."""
    from fsbackup_tui.config.sources import ConfigSource
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.target import postgres_source
    from fsbackup_tui.operations.trees import TREE_SOURCES
    from fsbackup_tui.operations.watch_only import no_source

    loaded = context.load()
    sources = loaded.config.sources
    if named is not None and isinstance(sources.get(named), TREE_SOURCES):
        return ""
    if named is not None:
        postgres_source(loaded, named)
        return named
    names = list(loaded.config.databases)
    if len(names) == 1:
        return names[0]
    if not names and any(
        isinstance(source, (*TREE_SOURCES, ConfigSource)) for source in sources.values()
    ):
        return ""
    if not names:
        raise no_source(loaded, "what recoveries left is found on a source's server")
    raise UsageError(
        "WHICH PART? There are several databases.",
        why=f"{loaded.path} has {', '.join(names)}.",
        fix="Name one with --part.",
    )


def _found(part: str, trees: str, context: CliContext) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what was left on a server and beside trees, the oldest first, with remarks."""
    from fsbackup_tui.cli.follow import result_of
    from fsbackup_tui.operations.recovery_requests import LeftoversRequest
    from fsbackup_tui.operations.site_requests import TreesRequest

    items: list[dict[str, Any]] = []
    notes: list[str] = []
    if part:
        result = result_of(LeftoversRequest(part), context)
        items += [dict(item) for item in result["items"]]
        notes += result["notes"]
    if trees or _has_trees(context):
        result = result_of(TreesRequest(trees), context)
        items += [
            {**tree, "oid": tree["inode"], "size_bytes": tree["bytes"], "tree": True}
            for tree in result["trees"]
        ]
        notes += result["notes"]
    notes += _kept_files(context)
    items.sort(key=lambda item: (item["since"] is None, item["since"] or "", item["name"]))
    return items, notes


def _kept_files(context: CliContext) -> list[str]:
    """Return a remark on every file of a configuration that was kept when it was replaced."""
    from fsbackup_tui.config.sources import ConfigSource
    from fsbackup_tui.engines.config_restore import find_kept

    found = [
        path
        for source in context.load().config.sources.values()
        if isinstance(source, ConfigSource)
        for file in (*source.files, *source.optional)
        for path in find_kept(file.resolve())
    ]
    return [
        f"{path} was kept when a configuration was put back, and may hold secrets: remove it when "
        "it is needed no more."
        for path in found
    ]


def _has_trees(context: CliContext) -> bool:
    from fsbackup_tui.operations.trees import TREE_SOURCES

    sources = context.load().config.sources.values()
    return any(isinstance(source, TREE_SOURCES) for source in sources)


def _list(part: str, trees: str, context: CliContext) -> int:
    from fsbackup_tui.operations.status import site_zone

    items, notes = _found(part, trees, context)
    zone = site_zone(context.load())

    def human() -> None:
        if not items:
            context.say("Nothing is left of past recoveries.")
        for line in list_lines(items, context.now(), zone):
            context.say_text(line, later=" " * (len(line) - len(line.lstrip()) + 2))
        if items:
            context.say()
            context.say_text("Drop one: fsbackup leftovers --drop NAME")

    context.emit({"leftovers": [_document(item) for item in items], "notes": notes}, human)
    for note in notes:
        context.tell(note, first="note: ")
    return 0


def _document(item: Mapping[str, Any]) -> dict[str, object]:
    """Return an item as it stands in the JSON document."""
    names = ("kind", "name", "oid", "of", "since", "what", "held_by")
    return {**{name: item[name] for name in names}, "bytes": item["size_bytes"]}


def list_lines(items: Sequence[Mapping[str, Any]], now: datetime, zone: tzinfo) -> list[str]:
    """Return the list: two lines for each, and a third for what holds it."""
    from fsbackup_tui.domain.events import parse_time
    from fsbackup_tui.operations.wording import age_text, plain_text, size_text, when_text

    rows: list[tuple[str, ...]] = []
    more: list[list[str]] = []
    for item in items:
        since = parse_time(item["since"]) if item["since"] else None
        age = "-" if since is None else age_text((now - since).total_seconds())
        rows.append(
            (
                str(item["kind"]),
                size_text(item["size_bytes"]),
                age,
                plain_text(str(item["of"])),
                plain_text(str(item["name"])),
            )
        )
        told = plain_text(str(item["what"]))
        more.append([f"{told}, since {when_text(since, now, zone)}" if since else told])
        if item["held_by"]:
            more[-1].append(f"HELD: {plain_text(str(item['held_by']))}")
    if not rows:
        return []
    columns = list(zip(_HEADINGS, *rows, strict=True))[:-1]
    widths = [max(map(len, column)) for column in columns]

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        return "  ".join((*cells, row[-1])).rstrip()

    lines = [line(_HEADINGS)]
    for row, texts in zip(rows, more, strict=True):
        lines.append(line(row))
        lines.extend(f"  {text}" for text in texts)
    return lines


def _drop(name: str, confirm: str | None, part: str, trees: str, context: CliContext) -> int:
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.recovery_requests import DropLeftoverRequest
    from fsbackup_tui.operations.site_requests import DropTreeRequest
    from fsbackup_tui.operations.status import site_zone

    refuse_if_read_only(context.load(), "drops nothing")
    asks = confirm is None and not context.json and sys.stdin.isatty() and context.stderr.isatty()
    if not asks:
        _check_typed(name, confirm)
    items, notes = _found(part, trees, context)
    item = next((item for item in items if item["name"] == name), None)
    if item is None:
        raise UsageError(
            f"NO SUCH LEFTOVER: {name}.",
            why="\n".join(notes),
            fix="See what there is: fsbackup leftovers",
        )
    if item["held_by"]:
        raise SafetyRefusal(
            f"NOT DROPPED: {name} is held.",
            why=f"{item['held_by']}.",
            fix="Let go of it there first, then drop it again.",
        )
    if asks:
        for line in list_lines([item], context.now(), site_zone(context.load())):
            context.tell(line)
        _check_typed(name, _ask(name, context))
    request: Request = DropLeftoverRequest(part, name=name, oid=item["oid"])
    if "tree" in item:
        request = DropTreeRequest(trees, name=name, inode=item["oid"])
    return run_request(request, context, summary=summary)


def _ask(name: str, context: CliContext) -> str:
    context.tell("It can't be brought back. Type its name to drop it; anything else leaves it.")
    context.stderr.write("name: ")
    context.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _check_typed(name: str, typed: str | None) -> None:
    from fsbackup_tui.domain.errors import ConfirmationNeeded

    if typed == name:
        return
    raise ConfirmationNeeded(
        f"NOT CONFIRMED: {name} was not dropped.",
        why="" if typed is None else f"'{typed}' is not its name.",
        fix=f"fsbackup leftovers --drop {shlex.quote(name)} --confirm {shlex.quote(name)}",
    )


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when one was dropped."""
    from fsbackup_tui.operations.wording import size_text

    freed = f", {size_text(result['bytes'])} freed" if result["bytes"] else ""
    word = "Undone" if result["kind"] == "fence" else "Dropped"
    return [f"{word}: {result['dropped']}{freed}"]
