"""``fsbackup audit``: who did what, from where, and how it went; whether the log is whole."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.numbers import positive_count

if TYPE_CHECKING:
    from datetime import datetime, tzinfo
    from pathlib import Path

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.repository.audit import Verified

_LISTED = 20
_HEADINGS = ("WHEN", "WHO", "RESULT", "WHAT")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "audit",
        parents=parents,
        help="who did what, hash-chained",
        description="Lists what was changed, and what was refused or failed: who, from where, "
        "what, how it went; the newest first. Each line hangs on the one before by its hash, and "
        "the repository knows the last one: --verify tells the first that does not fit.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="whether every line fits; else exit 1")
    what.add_argument(
        "--begin-anew",
        action="store_true",
        help="lay a log that does not fit aside, as it is, and begin another (needs --reason)",
    )
    parser.add_argument("--reason", metavar="TEXT", help="with --begin-anew: what happened to it")
    parser.add_argument("--since", metavar="T", help="from this time, or of this age, on")
    parser.add_argument(
        "--limit",
        type=positive_count,
        metavar="N",
        help="the newest N (default: 20; with --since: all)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """List, verify, or begin anew; exit code 1 where a line does not fit."""
    if arguments.begin_anew:
        return _begin_anew(arguments, context)
    return _verify(context) if arguments.verify else _list(arguments, context)


def _list(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.cli.inventory import parse_since
    from fsbackup_tui.operations.status import site_zone

    zone, now = site_zone(context.load()), context.now()
    since = parse_since(arguments.since, now, zone) if arguments.since else None
    limit = arguments.limit or (None if since is not None else _LISTED)
    entries = _entries(context.state(), since, limit)

    def human() -> None:
        if not entries:
            context.say("Nothing is in the audit log" + (" since then." if since else " yet."))
        for line in list_lines(entries, now, zone):
            context.say(line)

    context.emit({"entries": entries}, human)
    return 0


def _entries(state: Path, since: datetime | None, limit: int | None) -> list[dict[str, Any]]:
    """Return what the site's logs tell, the newest first."""
    from collections import deque

    from fsbackup_tui.domain.audit import read_line
    from fsbackup_tui.domain.events import format_time
    from fsbackup_tui.repository.audit import AUDIT, logs_of, read_log
    from fsbackup_tui.repository.files import reading

    first = format_time(since) if since is not None else ""
    found: list[dict[str, Any]] = []
    for each in logs_of(state):
        kept: deque[dict[str, Any]] = deque(maxlen=limit)
        with reading(each / AUDIT):
            for line in read_log(each):
                document = read_line(line)
                if document is not None and str(document.get("at", "")) >= first:
                    kept.append(document)
        found += reversed(kept)
    found.sort(key=lambda document: str(document.get("at", "")), reverse=True)
    return found[:limit]


def list_lines(entries: Sequence[Mapping[str, Any]], now: datetime, zone: tzinfo) -> list[str]:
    """Return the list in lines of 80 columns: what was done, and below it from where, and why."""
    from fsbackup_tui.cli.output import wrap_text
    from fsbackup_tui.domain.events import parse_time
    from fsbackup_tui.operations.wording import plain_text, when_text

    def when(text: object) -> str:
        try:
            return when_text(parse_time(str(text)), now, zone)
        except ValueError:
            return "-"

    rows = [
        (when(entry.get("at")), str(entry.get("operator", "-")), str(entry.get("result", "-")))
        for entry in entries
    ]
    rows = [(at, plain_text(who), plain_text(result)) for at, who, result in rows]
    if not rows:
        return []
    columns = zip(_HEADINGS[:3], *rows, strict=True)
    widths = [max(map(len, column)) for column in columns]

    def head(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))

    lines = [f"{head(_HEADINGS[:3])}  {_HEADINGS[3]}"]
    for cells, entry in zip(rows, entries, strict=True):
        lines += wrap_text(_what(entry), first=f"{head(cells)}  ")
        lines += wrap_text(_from(entry), first="  from ")
        if entry.get("problem"):
            lines += wrap_text(str(entry["problem"]), first="  ")
    return lines


def _what(entry: Mapping[str, Any]) -> str:
    arguments = entry.get("arguments")
    reason = arguments.get("reason") if isinstance(arguments, Mapping) else None
    words = [str(entry.get("action", "-")), str(entry.get("subject") or "")]
    incident = entry.get("incident")
    words += [f"(incident {incident})" if incident else "", f": {reason}" if reason else ""]
    return " ".join(word for word in words if word).replace(" : ", ": ")


def _from(entry: Mapping[str, Any]) -> str:
    origin = entry.get("origin")
    told: Mapping[str, Any] = origin if isinstance(origin, Mapping) else {}
    words = [str(told[name]) for name in ("host", "tty", "address", "via") if told.get(name)]
    if told.get("sudo"):
        words.append(f"sudo from {told['sudo']}")
    job = entry.get("job")
    return ", ".join(words or ["-"]) + (f"; job {job}" if job else "")


def _verify(context: CliContext) -> int:
    from fsbackup_tui.repository.audit import AUDIT, logs_of, verify_log
    from fsbackup_tui.repository.files import reading

    state = context.state()
    found: list[tuple[Path, Verified]] = []
    for each in logs_of(state) or [state]:
        with reading(each / AUDIT):
            found.append((each / AUDIT, verify_log(each)))
    broken = [verified for _, verified in found if verified.misfit is not None]
    document = {
        "ok": not broken,
        "logs": [
            {
                "log": str(path),
                "lines": verified.lines,
                "torn": verified.torn,
                "misfit": None
                if verified.misfit is None
                else {"line": verified.misfit.line, "what": verified.misfit.what},
            }
            for path, verified in found
        ],
    }

    def human() -> None:
        for path, verified in found:
            misfit = verified.misfit
            if misfit is None:
                count = f"{verified.lines} line{'' if verified.lines == 1 else 's'}"
                torn = "; one more was never finished" if verified.torn else ""
                context.say_text(f"{path}: {count}, all of them fit{torn}.", later="  ")
            else:
                context.say_text(
                    f"AUDIT LOG BROKEN: {path}, line {misfit.line}: {misfit.what}.", later="  "
                )
        if broken:
            context.say_text(
                "Keep a copy of it, and find out who could write there. Then: "
                'fsbackup audit --begin-anew --reason "what happened"'
            )

    context.emit(document, human)
    return 1 if broken else 0


def _begin_anew(arguments: argparse.Namespace, context: CliContext) -> int:
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.repository.audit import AUDIT, begin_anew
    from fsbackup_tui.repository.files import writing
    from fsbackup_tui.repository.origin import acting_operator, acting_origin

    reason = (arguments.reason or "").strip()
    if not reason:
        raise UsageError(
            "NO REASON: a log is only laid aside with one.",
            fix='fsbackup audit --begin-anew --reason "restored the state directory from a copy"',
        )
    state = context.state()
    with writing(state / AUDIT):
        aside = begin_anew(
            state,
            operator=acting_operator(),
            origin=acting_origin(),
            reason=reason,
            now=context.now(),
        )
    document = {"ok": True, "log": str(state / AUDIT), "former": str(aside) if aside else None}

    def human() -> None:
        context.say_text(f"Begun anew: {state / AUDIT}", later="  ")
        if aside is not None:
            context.say_text(f"The former one, as it was: {aside}", later="  ")

    context.emit(document, human)
    return 0
