"""A backup file where a POINT is asked for: what is known of it, and what verifying it shows."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.domain.events import Event
    from fsbackup_tui.operations.requests import VerifyLevel

_LABEL = 12
_SCOPES = {"full": "definitions and rows", "schema": "definitions alone", "data": "rows alone"}


def file_argument(context: CliContext, text: str) -> Path | None:
    """Return the backup file that a POINT means by its path or its id; None for a point.

    Raises PointNotFound where the path leads to no backup file.
    """
    from pathlib import Path

    from fsbackup_tui.operations.foreign import backup_path, is_backup_path
    from fsbackup_tui.repository.foreign import ID_PREFIX

    if is_backup_path(text):
        return backup_path(text)
    if not text.startswith(ID_PREFIX):
        return None
    found = _listed(context, text)
    return None if found is None else Path(found)


def _listed(context: CliContext, text: str) -> str | None:
    from fsbackup_tui.operations.status import gather_status, site_catalogue

    loaded = context.load()
    # A repository that is not there yet hides none of the backups that are.
    gather_status(loaded, context.environ, context.now())
    with site_catalogue(loaded, context.environ) as (catalogue, _, _, _):
        if catalogue.in_memory:
            catalogue.refresh()
        named = catalogue.named(text)
    return named[0].foreign if len(named) == 1 else None


def verify_file_command(path: Path, level: VerifyLevel, context: CliContext) -> int:
    """Verify a backup file and print what was found; 0 where the level was reached.

    What takes a trial restore is a job of a site; reading needs nothing but the file.
    """
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.cli.verify import summary
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.operations.decryption import Keys
    from fsbackup_tui.operations.foreign import Level, Surroundings, remember, verify_file
    from fsbackup_tui.operations.private_work import private_work
    from fsbackup_tui.operations.requests import VerifyRequest

    loaded, zone = site_or_none(context)
    if level not in ("sealed", "readable"):
        if loaded is None:
            context.load()  # says that there is none, and how to make one
        request = VerifyRequest(point=str(path.absolute()), level=level)
        return run_request(request, context, summary=summary)
    with _ended_by_signals(), private_work() as work:
        around = Surroundings(
            zone=zone,
            work=work,
            environ=context.environ,
            now=context.now,
            report=_reporter(context),
            clients=loaded.config.clients if loaded is not None else (),
            keys=Keys(loaded, context.environ, Redactor()),
        )
        reach: Level = "sealed" if level == "sealed" else "readable"
        result = asyncio.run(verify_file(path, around, level=reach))
    if loaded is not None:
        remember(loaded, context.environ, path, result)

    def human() -> None:
        lines = summary(result)
        context.say(lines[0])
        if result["file"] is not None:
            for line in _file_lines(result["file"], context, zone):
                context.say(line)
        for line in lines[1:]:
            context.say_text(line.strip(), first="  " if line.startswith("  ") else "")

    context.emit(result, human)
    return 0 if result["ok"] else 1


def show_file_command(path: Path, context: CliContext) -> int:
    """Show what a look into a backup file tells; nothing is verified."""
    from dataclasses import replace

    from fsbackup_tui.operations.foreign import file_document, readable
    from fsbackup_tui.operations.status import restore_command_lines
    from fsbackup_tui.repository.foreign import ForeignPlaces, ForeignReader, found_at

    loaded, zone = site_or_none(context)
    state = None if loaded is None else context.state()
    reader = ForeignReader(ForeignPlaces((), zone, state))
    with readable(path):
        file, point = reader.look(found_at(path.absolute()))
    commands = list(restore_command_lines(replace(point, foreign=str(path))))
    document = {
        "ok": True,
        "id": point.id,
        "foreign": str(path),
        "trust": point.trust.word,
        "problems": list(point.problems),
        "file": file_document(file),
        "commands": {"fsbackup": commands},
    }

    def human() -> None:
        context.say(f"{point.id}  {point.trust.word.upper()}  foreign")
        context.say(f"  {'lies in':<{_LABEL}}{path}")
        for line in _file_lines(document["file"], context, zone):
            context.say(line)
        for note in file.notes:
            context.say_text(note, first=f"  {'note':<{_LABEL}}")
        for problem in point.problems:
            context.say_text(problem, first=f"  {'PROBLEM':<{_LABEL}}")
        context.say()
        for command in commands:
            context.say(f"  {command}")

    context.emit(document, human)
    return 0


def told_of_file(path: Path, context: CliContext) -> list[str]:
    """Return what a person should know of a backup file before it is restored."""
    from fsbackup_tui.operations.foreign import readable
    from fsbackup_tui.repository.foreign import ForeignPlaces, ForeignReader, found_at

    _loaded, zone = site_or_none(context)
    with readable(path):
        file, point = ForeignReader(ForeignPlaces((), zone, context.state())).look(
            found_at(path.absolute())
        )
    return [
        f"It is {file.what}, {point.trust.word.upper()}: it is read to its end before anything"
        " is created.",
        *(f"note: {note}" for note in file.notes),
        *(f"PROBLEM: {problem}" for problem in point.problems),
    ]


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _file_lines(document: object, context: CliContext, zone: tzinfo) -> Iterator[str]:
    from fsbackup_tui.cli.output import wrap_text
    from fsbackup_tui.domain.events import parse_time
    from fsbackup_tui.operations.wording import UNKNOWN, count_text, size_text, when_text

    if not isinstance(document, dict):
        return
    taken = when_text(parse_time(document["taken"]), context.now(), zone)
    facts = [
        ("what", document["what"]),
        ("size", size_text(document["bytes"])),
        ("taken", f"{taken}, by {document['taken_by']}"),
        ("complete", document["completeness"]),
    ]
    if document["form"] in ("plain", "custom", "directory", "tar"):
        facts += [
            ("holds", _SCOPES.get(document["scope"], UNKNOWN)),
            ("database", document["database"] or UNKNOWN),
            ("version", document["server_version"] or UNKNOWN),
        ]
    if document["files"] is not None:
        facts.append(("files", count_text(document["files"])))
    for label, text in facts:
        yield from wrap_text(str(text), first=f"  {label:<{_LABEL}}")


def site_or_none(context: CliContext) -> tuple[LoadedConfig | None, tzinfo]:
    """Return the site, if there is one, and the zone of times; a file needs no site."""
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.status import machine_zone, site_zone

    try:
        loaded = context.load()
    except FsbackupError:
        if context.config_path is not None or context.site is not None:
            raise
        return None, machine_zone(context.environ)
    return loaded, site_zone(loaded)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal end the block as ctrl-c does, so that what was unpacked is removed."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reporter(context: CliContext) -> Callable[[Event], None]:
    """Return what shows on a terminal how far the reading is."""
    from fsbackup_tui.domain.events import Progress
    from fsbackup_tui.operations.wording import plain_text, shorten, size_text

    on_terminal = context.stderr.isatty() and not context.json

    def report(event: Event) -> None:
        if on_terminal and isinstance(event, Progress):
            done = size_text(int(event.done)) if event.unit == "bytes" else f"{event.done:.0f}"
            text = shorten(plain_text(f"{event.detail}  {done}"), 78)
            context.stderr.write(f"\r{text:<78}\r")
            context.stderr.flush()

    return report
