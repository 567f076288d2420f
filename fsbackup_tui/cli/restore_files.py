"""``fsbackup restore POINT --part P`` of files: put back, exchanged, beside, or elsewhere."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.domain.way import FilesWay
    from fsbackup_tui.recovery.express_files import FilesPlan
    from fsbackup_tui.recovery.session import RecoverySession


def run_files(
    arguments: argparse.Namespace, context: CliContext, point: str, patterns: tuple[str, ...]
) -> int:
    """Restore a part of files in the way that is asked for; the exit code of design §9."""
    from fsbackup_tui.domain.errors import UsageError

    if arguments.diff or arguments.in_place or arguments.apply_work:
        raise UsageError("NOT SO: --diff, --in-place and --apply-work are not for files.")
    if arguments.conflict and not patterns:
        raise UsageError(
            "NOT TOGETHER: --conflict goes with --files PATTERN.",
            why="Without patterns nothing that live has is touched.",
        )
    whole = arguments.to or arguments.exchange or arguments.beside is not None
    if whole and (patterns or arguments.all_missing):
        raise UsageError("NOT TOGETHER: the whole tree with --files or --all-missing.")
    if arguments.to or arguments.beside is not None:
        return _extract(arguments, context, point)
    if not (arguments.exchange or arguments.put_back or patterns):
        raise UsageError(
            "HOW? It is not said what becomes of the files.",
            fix="--put-back, --files PATTERN, --exchange, --beside or --to DIR",
        )
    return _into_live(arguments, context, point, patterns)


def _extract(arguments: argparse.Namespace, context: CliContext, point: str) -> int:
    from pathlib import Path

    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.site_requests import FilesBesideRequest

    if arguments.confirm is not None:
        raise UsageError("NOTHING TO CONFIRM: --to and --beside touch nothing that is live.")
    directory = str(Path(arguments.to).expanduser().absolute()) if arguments.to else ""
    request = FilesBesideRequest(
        arguments.part,
        point,
        tag=arguments.beside or "",
        directory=directory,
        reason_unsigned=arguments.reason_unsigned or "",
        replica=arguments.replica or "",
    )
    return run_request(request, context, summary=extracted_lines)


def extracted_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when a tree was extracted."""
    from fsbackup_tui.operations.wording import count_text, plain_text, size_text

    tree = plain_text(str(result["tree"]))
    files, size = count_text(result["files"]), size_text(result["bytes"])
    lines = [f"Restored {files} files, {size}, to {tree}"]
    lines.append("  each file's hash is the point's")
    lines.extend(f"  note: {plain_text(str(note))}" for note in result["notes"])
    return lines


def root_name(context: CliContext, part: str) -> str:
    """Return what is typed before a live tree is changed: the root directory's own name."""
    from fsbackup_tui.operations.files_ground import files_source, real_root

    root = real_root(files_source(context.load(), part))
    return root.name or str(root)


def _into_live(
    arguments: argparse.Namespace, context: CliContext, point: str, patterns: tuple[str, ...]
) -> int:
    from fsbackup_tui.cli.express import leaving_open, require_confirmation
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.cli.passphrase import open_asking_desk
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.site_requests import FilesBesideRequest
    from fsbackup_tui.recovery.express_files import FilesPlan, open_express

    refuse_if_read_only(context.load(), "puts no files back")
    name = root_name(context, arguments.part)
    way = _way(arguments, patterns)
    plan = FilesPlan(
        arguments.part,
        point,
        way,
        patterns,
        arguments.conflict or "keep",
        reason=arguments.reason or ("--all-missing" if arguments.all_missing else ""),
        reason_unsigned=arguments.reason_unsigned or "",
    )
    what = f"{name} is changed by its typed name alone."
    require_confirmation(arguments.confirm, name, what, context, _again(arguments, point))
    interrupts = Interrupts()
    desk = open_asking_desk(context, interrupts)
    desk.ready(FilesBesideRequest(arguments.part, point))
    with interrupts.listening():
        session = open_express(desk, plan)
        if not context.json:
            context.tell(f"Incident {session.journal.id} is open for it.")
        try:
            document = _through(session, plan, name, arguments.confirm, context, interrupts)
        except FsbackupError as error:
            raise leaving_open(error, session) from error
        finally:
            session.leave()
    context.emit(document, lambda: _print(document, session, context))
    return 0


def _way(arguments: argparse.Namespace, patterns: tuple[str, ...]) -> FilesWay:
    if arguments.exchange:
        return "exchange"
    if patterns:
        return "patterns"
    return "everything" if arguments.all_missing else "missing"


def _again(arguments: argparse.Namespace, point: str) -> list[str]:
    words = ["restore", point, "--part", arguments.part]
    if arguments.exchange:
        return [*words, "--exchange"]
    if not arguments.files:
        return [*words, "--put-back", *(["--all-missing"] if arguments.all_missing else [])]
    words += ["--files", arguments.files]
    return [*words, "--conflict", arguments.conflict] if arguments.conflict else words


def _through(
    session: RecoverySession,
    plan: FilesPlan,
    name: str,
    confirm: str | None,
    context: CliContext,
    interrupts: Interrupts,
) -> dict[str, Any]:
    from fsbackup_tui.cli.express import ask_name, waiting
    from fsbackup_tui.domain.errors import ConfirmationNeeded
    from fsbackup_tui.recovery.driving import look
    from fsbackup_tui.recovery.express_files import finish, prepare

    wait = waiting(context, interrupts)
    card = prepare(session, plan, wait)
    for text in card.shows if not context.json else ():
        context.tell(text, first="  ")
    typed = confirm
    if typed is None:
        what = "exchange the trees" if plan.way == "exchange" else "put the files back"
        typed = ask_name(card, name, what, context, interrupts)
        if typed == name and session.card(plan.last).needs_look:
            look(session, wait)  # somebody thought it over for longer than a look is good for
    if typed != name:
        raise ConfirmationNeeded(f"NOT CONFIRMED: '{typed}' is not {name}. Nothing was done.")
    return finish(session, plan, typed, wait)


def _print(document: Mapping[str, Any], session: RecoverySession, context: CliContext) -> None:
    from fsbackup_tui.operations.wording import duration_text, plain_text
    from fsbackup_tui.recovery.actions.files_back import after_lines

    took, root = duration_text(document["seconds"]), plain_text(document["target"])
    card = session.card("files-exchange" if "exchanged" in document else "files-back")
    for number, text in enumerate(card.shows):
        context.say_text(text if number else f"{text} ({root}, {took})", first="  " * bool(number))
    for text in after_lines(session.situation()):
        context.say_text(text, first="  ")
    facts = session.read().facts
    back, exchanged = facts.put_back, facts.exchanged
    if (back is not None and back.undo) or (exchanged is not None and exchanged.kept_as):
        incident = document["incident"]
        context.say_text(f"Way back: fsbackup rollback --incident {incident}", first="  ")


def run_rollback(
    session: RecoverySession, confirm: str | None, context: CliContext, interrupts: Interrupts
) -> dict[str, Any]:
    """Show what is undone, ask for the name, and undo it; returns the document of it."""
    from fsbackup_tui.cli.express import ask_name, waiting
    from fsbackup_tui.domain.errors import ConfirmationNeeded
    from fsbackup_tui.recovery.driving import look
    from fsbackup_tui.recovery.express_files import prepare_rollback, roll_back

    wait = waiting(context, interrupts)
    card = prepare_rollback(session, wait)
    name = root_name(context, session.read().incident.source)
    if not context.json:
        for text in (*card.shows, *_written(session)):
            context.tell(text, first="  ")
    typed = confirm
    if typed is None:
        typed = ask_name(card, name, "take it back", context, interrupts)
        if typed == name:
            look(session, wait)
    if typed != name:
        raise ConfirmationNeeded(f"NOT CONFIRMED: '{typed}' is not {name}. Nothing was done.")
    return roll_back(session, typed, wait)


def _written(session: RecoverySession) -> list[str]:
    from fsbackup_tui.operations.wording import count_text, plain_text

    written = session.read().facts.written_files
    if written is None or not written.count:
        return []
    names = ", ".join(plain_text(name) for name in written.names[:3])
    return [f"{count_text(written.count)} files were written since, and are taken along: {names}"]


def print_rollback(document: Mapping[str, Any], context: CliContext) -> None:
    """Print what was undone."""
    from fsbackup_tui.operations.wording import count_text, plain_text

    root = plain_text(str(document["root"] or "-"))
    back = document.get("rolled_back_tree")
    if back:
        context.say_text(f"Rolled back: {root} is the tree that it was before the exchange.")
        if document["kept_as"]:
            context.say_text(f"The restored one is kept, as {document['kept_as']}.", first="  ")
        if back["carried"]["count"]:
            count = count_text(back["carried"]["count"])
            context.say_text(f"{count} files that were written since came along.", first="  ")
        return
    taken = document["taken_back"]
    count = count_text(taken["removed"]["count"] + taken["restored"]["count"])
    context.say_text(f"Taken back: {count} files in {root} are as they were.")
    for note in taken["notes"]:
        context.say_text(plain_text(str(note)), first="  ")
    if taken["stays"]["names"]:
        names = ", ".join(shlex.quote(plain_text(name)) for name in taken["stays"]["names"][:5])
        context.say_text(names, first="    ")
