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
    parser.add_argument("--part", metavar="P", help="only what belongs to this source")
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
    parts = _parts(arguments.part, context)
    trees = arguments.part if arguments.part and not parts else ""
    if arguments.drop is not None:
        return _drop(arguments.drop, arguments.confirm, parts, trees, context)
    return _list(parts, trees, context)


def _parts(named: str | None, context: CliContext) -> list[str]:
    """Return the databases whose servers are looked at; none where only trees are."""
    from fsbackup_tui.config.sources import ConfigSource
    from fsbackup_tui.operations.target import postgres_source
    from fsbackup_tui.operations.trees import TREE_SOURCES
    from fsbackup_tui.operations.watch_only import no_source

    loaded = context.load()
    sources = loaded.config.sources
    if named is not None and isinstance(sources.get(named), TREE_SOURCES):
        return []
    if named is not None:
        postgres_source(loaded, named)
        return [named]
    found: dict[tuple[object, object], str] = {}
    for name in loaded.config.databases:
        source = postgres_source(loaded, name)
        # The schema of a database is often a source of its own, at the same address.
        found.setdefault((source.url, source.admin), name)
    if not found and not any(
        isinstance(source, (*TREE_SOURCES, ConfigSource)) for source in sources.values()
    ):
        raise no_source(loaded, "what recoveries left is found on a source's server")
    return list(found.values())


def _found(
    parts: Sequence[str], trees: str, context: CliContext
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what was left on servers and beside trees, the oldest first, with remarks."""
    from fsbackup_tui.cli.follow import result_of
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.recovery_requests import LeftoversRequest
    from fsbackup_tui.operations.site_requests import TreesRequest

    items: list[dict[str, Any]] = []
    notes: list[str] = []
    for part in parts:
        try:
            result = result_of(LeftoversRequest(part), context)
        except FsbackupError as error:
            if len(parts) == 1:
                raise
            notes.append(f"{part} could not be looked at: {error.what} {error.why}".rstrip())
            continue
        known = {(item["kind"], item["name"], item["oid"]) for item in items}
        items += [
            {**item, "part": part}
            for item in result["items"]
            # Two servers may each have a closed database of one name: nothing tells them apart.
            if item["kind"] == "fence" or (item["kind"], item["name"], item["oid"]) not in known
        ]
        notes += [note for note in result["notes"] if note not in notes]
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


def _list(parts: Sequence[str], trees: str, context: CliContext) -> int:
    from fsbackup_tui.operations.status import site_zone

    items, notes = _found(parts, trees, context)
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
    told = {"part": item.get("part", ""), **{name: item[name] for name in names}}
    return {**told, "bytes": item["size_bytes"]}


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


def _drop(
    name: str, confirm: str | None, parts: Sequence[str], trees: str, context: CliContext
) -> int:
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
    items, notes = _found(parts, trees, context)
    item = _named(name, items)
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
    request: Request
    if "tree" in item:
        request = DropTreeRequest(trees, name=name, inode=item["oid"])
    else:
        request = DropLeftoverRequest(item["part"], name=name, oid=item["oid"])
    return run_request(request, context, summary=summary)


def _named(name: str, items: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the one of a name; UsageError where two databases have one each."""
    from fsbackup_tui.domain.errors import UsageError

    found = [item for item in items if item["name"] == name]
    owners = [str(item["part"]) for item in found if "part" in item]
    if len(found) > 1 and len(owners) > 1:
        raise UsageError(
            f"WHICH ONE? There are {len(found)} of the name {name}. Nothing was dropped.",
            why=f"They belong to {', '.join(owners)}.",
            fix="Name the source with --part.",
        )
    return found[0] if found else None


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
