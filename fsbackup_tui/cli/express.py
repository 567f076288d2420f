"""What ``restore --swap``, ``restore --tables`` and ``rollback`` share: following, and asking."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.session import RecoverySession


def waiting(context: CliContext, interrupts: Interrupts) -> Callable[[RecoverySession], None]:
    """Return what waits for a session's job, shown as any job is."""
    from fsbackup_tui.cli.follow import follow_job
    from fsbackup_tui.domain.errors import Interrupted, JobLost
    from fsbackup_tui.recovery.driving import wait_quietly

    def wait(session: RecoverySession) -> None:
        watch = session.watch
        if watch is not None:
            try:
                finished = follow_job(watch.job, context, interrupts)
            except JobLost:
                finished = True  # how it ended is found out by looking
            if not finished:
                incident = session.journal.id
                raise Interrupted(
                    f"LEFT RUNNING: {watch.job.id} goes on without this terminal.",
                    fix=f"Back to it: fsbackup recover --resume {incident}",
                )
        wait_quietly(session)

    return wait


def may_ask(context: CliContext) -> bool:
    """Whether there is somebody to type the name."""
    return not context.json and sys.stdin.isatty() and context.stderr.isatty()


def require_confirmation(
    confirm: str | None, name: str, what: str, context: CliContext, again: Sequence[str]
) -> None:
    """Raise ConfirmationNeeded before anything is begun that nobody could confirm."""
    from fsbackup_tui.domain.errors import ConfirmationNeeded

    if confirm == name or (confirm is None and may_ask(context)):
        return
    raise ConfirmationNeeded(
        f"NOT CONFIRMED: {what} Nothing was done.",
        why="" if confirm is None else f"'{confirm}' is not its name: {name}.",
        fix=shlex.join(["fsbackup", *again, "--confirm", name]),
    )


def ask_name(card: Card, name: str, what: str, context: CliContext, interrupts: Interrupts) -> str:
    """Show whom it concerns, and return the name as it was typed on a fresh question."""
    from fsbackup_tui.domain.errors import Interrupted

    for text in card.target:
        context.tell(text, first="  ")
    context.tell(f"Type the name {name} to {what}; anything else does nothing.")
    _forget_typed()
    context.stderr.write("name: ")
    context.stderr.flush()
    try:
        with interrupts.asking():
            return sys.stdin.readline().rstrip("\r\n")
    except KeyboardInterrupt as error:
        context.stderr.write("\n")
        raise Interrupted(f"INTERRUPTED: {name} is as it was.") from error


def _forget_typed() -> None:
    import termios

    # What was typed or pasted before the question stood there answers nothing.
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def live_name(context: CliContext, part: str) -> str:
    """Return the name of the live database, by the configuration."""
    import asyncio

    from fsbackup_tui.config.load import site_environment
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.operations.target import source_address

    loaded = context.load()
    environment = site_environment(loaded, context.environ)
    address = asyncio.run(source_address(loaded, environment, Redactor(), part))
    return address.database


def leaving_open(error: FsbackupError, session: RecoverySession) -> FsbackupError:
    """Return the error with how its incident is gone on with."""
    from fsbackup_tui.domain.errors import JobError
    from fsbackup_tui.recovery.driving import still_open

    return JobError(still_open(error, session))


def run_express(arguments: argparse.Namespace, context: CliContext, part: str, point: str) -> int:
    """Swap a point in, or put rows of its tables back; the exit code of design §9."""
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.cli.passphrase import open_asking_desk
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.requests import RestoreBesideRequest
    from fsbackup_tui.recovery.express import ExpressPlan, open_express

    refuse_if_read_only(context.load(), "changes no database")
    tables = tuple(name.strip() for name in (arguments.tables or "").split(",") if name.strip())
    plan = ExpressPlan(
        part,
        point,
        tables,
        where=arguments.where or "",
        reason=arguments.reason or "",
        reason_unsigned=arguments.reason_unsigned or "",
        kept="" if point else arguments.point,
        changed=arguments.changed,
        values=tuple(arguments.value or ()),
        freeze=arguments.freeze,
    )
    name = live_name(context, part)
    how = ["--tables", ",".join(tables)] if tables else ["--swap"]
    what = f"{name} is changed by its typed name alone."
    again = ["restore", point or plan.kept, "--part", part, *how]
    require_confirmation(arguments.confirm, name, what, context, again)
    interrupts = Interrupts()
    desk = open_asking_desk(context, interrupts)
    if point:
        # Before anything is opened, or frozen.
        desk.ready(RestoreBesideRequest(point, part, ""))
    with interrupts.listening():
        session = open_express(desk, plan)
        if not context.json:
            context.tell(f"Incident {session.journal.id} is open for it.")
        try:
            document = _through(session, plan, arguments.confirm, context, interrupts)
        except FsbackupError as error:
            raise leaving_open(error, session) from error
        finally:
            session.leave()
    context.emit(document, lambda: _print(document, session, context))
    return 0


def _through(
    session: RecoverySession,
    plan: Any,
    confirm: str | None,
    context: CliContext,
    interrupts: Interrupts,
) -> dict[str, Any]:
    from fsbackup_tui.recovery.driving import look
    from fsbackup_tui.recovery.express import finish, prepare

    wait = waiting(context, interrupts)
    card = prepare(session, plan, wait)
    for text in card.shows if not context.json else ():
        context.tell(text, first="  ")
    typed = confirm
    if typed is None:
        what = "put the rows back into it" if plan.tables else "swap the copy in"
        typed = ask_name(card, card.typed, what, context, interrupts)
        if session.card(plan.last).needs_look:
            look(session, wait)  # somebody thought it over for longer than a look is good for
    return finish(session, plan, typed, wait)


def _print(document: dict[str, Any], session: RecoverySession, context: CliContext) -> None:
    from fsbackup_tui.operations.wording import count_text, duration_text
    from fsbackup_tui.recovery.actions.words import only_before
    from fsbackup_tui.recovery.report_follow import follow_ups
    from fsbackup_tui.recovery.report_text import mappings, table_name

    took = duration_text(document["seconds"])
    target, incident = document["target"], document["incident"]
    if "swapped" in document:
        kept = document["swapped"].get("kept_as")
        context.say_text(f"Swapped: {target} is {document['point']} now, after {took}.")
        if kept:
            context.say_text(f"The former one is whole, as {kept}.", first="  ")
        context.say_text(f"Way back: fsbackup rollback --incident {incident}", first="  ")
        rows = only_before(session.situation())
        if kept and rows:
            context.say_text(f"Rows that only {kept} has are put back by:", first="  ")
            context.say_text(f"fsbackup restore {kept} --tables {','.join(rows)}", first="    ")
    else:
        source = document["point"] or document["kept"]
        context.say_text(f"Put back into {target} from {source}, in {took}:")
        for each in mappings(document["merged"].get("effects")):
            counts = [
                f"{count_text(each.get(key))} {word}"
                for key, word in (
                    ("inserted", "rows in"),
                    ("overwritten", "set back"),
                    ("deleted", "deleted"),
                )
                if each.get(key)
            ]
            context.say_text(f"{table_name(each.get('table'))}: {', '.join(counts)}", first="  ")
        context.say_text(f"All about it: fsbackup incidents report {incident}", first="  ")
    for text in follow_ups(session.read()):
        context.say_text(text, first="To do  ")
