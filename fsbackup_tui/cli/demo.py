"""``fsbackup demo``: the whole program on a sample site with a server of its own."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.demo.run import DemoReport


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo", parents=parents, help="try it all on a sample site with its own PostgreSQL"
    )
    parser.add_argument(
        "--dir", type=Path, metavar="D", help="work here and leave it (a new or empty directory)"
    )
    parser.add_argument(
        "--size", default="50MB", metavar="SIZE", help="of the sample database (default: 50MB)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the directory when the demo ends"
    )
    parser.add_argument(
        "--no-tui", action="store_true", help="print the summary and end, without the TUI"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Run the demo; 0 only if the restored copy's dump equals the original's."""
    from fsbackup_tui.config.values import parse_size
    from fsbackup_tui.demo.run import DemoOptions, running_demo
    from fsbackup_tui.domain.errors import UsageError

    try:
        size = parse_size(arguments.size)
    except ValueError as error:
        raise UsageError(f"SIZE NOT UNDERSTOOD: {arguments.size!r}.", why=f"{error}.") from error
    options = DemoOptions(arguments.dir, int(str(size)), arguments.keep)
    with running_demo(options, environ=context.environ, stream=context.stderr) as report:
        opens = not (arguments.no_tui or context.json) and _is_terminal(context)
        context.emit(_document(report), lambda: _print(report, context, opens=opens))
        ended = _open_tui(arguments, report, context) if opens and report.comparison.equal else 0
    if ended:
        return ended
    if not context.json:
        _say_goodbye(report, context)
    return 0 if report.ok else 1


def _is_terminal(context: CliContext) -> bool:
    return sys.stdin.isatty() and context.stdout.isatty()


def _open_tui(arguments: argparse.Namespace, report: DemoReport, context: CliContext) -> int:
    """Show the application on the demo's site; not 0 when a signal ended it, or its terminal."""
    from fsbackup_tui.cli import tui
    from fsbackup_tui.cli.context import CliContext as Context

    return tui.run(arguments, Context(config_path=report.place.config, environ=context.environ))


def _document(report: DemoReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "directory": str(report.place.root),
        "kept": report.place.kept,
        "config": str(report.place.config),
        "repository": str(report.place.repository),
        "server_version": report.server_version,
        "copy": report.copy,
        "backup": report.backup,
        "verify": report.verify,
        "restore": report.restore,
        "compared": {
            "equal": report.comparison.equal,
            "lines": report.comparison.lines,
            "bytes": report.comparison.bytes,
            "difference": report.comparison.difference,
        },
        "seconds": report.seconds,
    }


def _print(report: DemoReport, context: CliContext, *, opens: bool) -> None:
    from fsbackup_tui.operations.findings import verification_texts
    from fsbackup_tui.operations.wording import count_text, size_text

    place, compared, entries = report.place, report.comparison, report.restore["entries"]
    outcome = "EQUAL" if compared.equal else "DIFFERENT"
    lines = [
        "",
        f"Backed up, {report.verify['trust']}, restored beside, compared: {outcome}",
        f"  {count_text(compared.lines)} lines ({size_text(compared.bytes)}) of SQL in each dump",
    ]
    if compared.difference is not None:
        lines.append(f"  first difference: {compared.difference}")
    lines += [f"  {text}" for text in verification_texts(report.verify)]
    lines += [
        "",
        "What was done",
        f"  server      PostgreSQL {report.server_version}, embedded, reached by Unix socket only",
        f"  backup      {report.backup['point']}",
        f"              {size_text(report.backup['bytes'])} in {report.seconds['backup']:.1f} s, "
        f"trust now {report.verify['trust']}",
        f"  restore     {entries['restored']} entries restored, {entries['benign']} known-benign, "
        f"{entries['deferred']} deferred, {entries['lost']} lost, "
        f"in {report.seconds['restore']:.1f} s",
        f"              into {report.copy}, beside the live database",
        *_parts_told(report),
        "",
        "Where everything is",
        f"  config      {place.config}",
        f"  repository  {place.repository}",
        f"  jobs        {place.state}",
        f"  site        {place.site}  ({size_text(report.uploads_bytes)} of uploads)",
        f"  key         {place.identity}  (yours would lie elsewhere)",
        "",
    ]
    for line in lines:
        context.say(line)
    if opens:
        context.say("The TUI opens now. Meanwhile, in another terminal:")
        _say_commands(report, context, server=True)


def _parts_told(report: DemoReport) -> Iterator[str]:
    """Yield what the point holds, part by part, encrypted as it lies there."""
    from fsbackup_tui.operations.wording import count_text, size_text

    for number, part in enumerate(report.parts):
        words = f"{part.source} ({part.kind}) {size_text(part.bytes)}"
        if part.files is not None:
            words += f", {count_text(part.files.files)} files"
        head = "  parts       " if number == 0 else " " * 14
        yield f"{head}{words}, {part.key.method if part.key else 'not'} encrypted"
    for link in report.links:
        told = f"{count_text(link.rows)} rows, {count_text(link.missing.count)} without their file"
        yield f"              {link.table}.{link.column}: {told}"


def _say_goodbye(report: DemoReport, context: CliContext) -> None:
    place = report.place
    if not place.kept:
        context.say(f"Server stopped, {place.root} removed. To keep all but the server:")
        context.say(f"  {_program()} demo --no-tui --dir ~/fsbackup-demo")
        return
    context.say("Server stopped; the rest stays, and opens without it:")
    _say_commands(report, context, server=False)
    context.say("Begin again with a new server (what is there is replaced):")
    context.say(f"  {_program()} demo --dir {place.root}")
    context.say(f"Remove it: rm -r {place.root}")


def _say_commands(report: DemoReport, context: CliContext, *, server: bool) -> None:
    point = str(report.backup["point"])
    commands = ["list", f"show {point}", f"verify {point}"]
    if server:
        commands += ["backup daily", f"restore {point} --beside another_copy", "jobs"]
    context.say(f"  export FSBACKUP_CONFIG={report.place.config}")
    for command in commands:
        context.say(f"  {_program()} {command}")


def _program() -> str:
    """Return how this fsbackup is called from here: by name where that finds it."""
    called = Path(sys.argv[0])
    if called.name != "fsbackup":
        return f"{sys.executable} -m fsbackup_tui"
    found = shutil.which("fsbackup")
    return "fsbackup" if found and Path(found).samefile(called) else str(called)
