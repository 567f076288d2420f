"""``fsbackup rollback``: undo the last swap, or what files came back; what is newer is kept."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.domain.incident import Incident
    from fsbackup_tui.recovery.session import RecoverySession


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "rollback",
        parents=parents,
        help="undo the last swap, or exchange of files; the newer one is kept",
    )
    parser.add_argument(
        "--incident", metavar="ID", help="whose swap; needed once the incident is closed"
    )
    parser.add_argument("--part", metavar="P", help="the source, where there are several")
    parser.add_argument(
        "--confirm", metavar="NAME", help="the live database's name: the answer for scripts"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Look, count what was written since, ask for the name, and swap back."""
    from fsbackup_tui.cli.express import leaving_open, require_confirmation
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.cli.restore_files import print_rollback, root_name, run_rollback
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.recovery import desk as desks
    from fsbackup_tui.recovery.declare import attach
    from fsbackup_tui.recovery.rollback import find_swapped
    from fsbackup_tui.recovery.session import RecoverySession

    refuse_if_read_only(context.load(), "changes nothing that is live")
    desk = desks.open_desk(context.load(), context.environ)
    journal = find_swapped(desk, arguments.incident, arguments.part)
    incident = journal.read()
    was_open = incident is not None and incident.closed is None
    of_files = incident is not None and _is_of_files(incident)
    if incident is not None and of_files:
        name = root_name(context, incident.source)
    else:
        known = incident.parameters if incident is not None else {}
        name = str(known.get("live_name") or known["swapped"].get("database"))
    again = ["rollback", "--incident", journal.id]
    what = f"a rollback of {name} sets aside what was written since."
    require_confirmation(arguments.confirm, name, what, context, again)
    interrupts = Interrupts()
    with interrupts.listening():
        if was_open:
            session = attach(desk, journal)
        else:
            session = RecoverySession(desk, journal, lead=False)
            session.reopen("rollback")
        done = False
        try:
            through = run_rollback if of_files else _through
            document = through(session, arguments.confirm, context, interrupts)
            done = True
        except FsbackupError as error:
            if not was_open and _nothing_done(session):
                session.close("nothing was rolled back")
                raise
            raise leaving_open(error, session) from error
        finally:
            if done and not was_open:
                session.close("rolled back")
            session.leave()
    if of_files:
        context.emit(document, lambda: print_rollback(document, context))
    else:
        context.emit(document, lambda: _print(document, session, context))
    return 0


def _is_of_files(incident: Incident) -> bool:
    return bool(incident.parameters.get("exchanged") or incident.parameters.get("put_back"))


def _nothing_done(session: RecoverySession) -> bool:
    """Whether what is undone stands as it stood, so that the incident can be as over as it was."""
    steps = session.read().incident.steps
    states = [steps[name] for name in ("swap", "files-exchange", "files-back") if name in steps]
    return session.leads and bool(states) and states[0].status == "done"


def _through(
    session: RecoverySession, confirm: str | None, context: CliContext, interrupts: Interrupts
) -> dict[str, Any]:
    from fsbackup_tui.cli.express import ask_name, waiting
    from fsbackup_tui.operations.wording import age_text
    from fsbackup_tui.recovery.actions.words import written_lines
    from fsbackup_tui.recovery.driving import look
    from fsbackup_tui.recovery.rollback import prepare_rollback, roll_back

    wait = waiting(context, interrupts)
    card = prepare_rollback(session, wait)
    reading = session.read()
    if not context.json:
        at = reading.incident.step("swap", reading.now).at
        age = age_text((reading.now - at).total_seconds())
        kept = reading.facts.document("swapped").get("kept_as") or "what was before"
        context.tell(f"The swap of incident {reading.incident.id} is {age} old; {kept} comes back.")
        for text in written_lines(reading.facts.written):
            context.tell(text, first="  ")
    typed = confirm
    if typed is None:
        typed = ask_name(card, card.undo_typed, "swap back", context, interrupts)
        look(session, wait)
    return roll_back(session, typed, wait)


def _print(document: dict[str, Any], session: RecoverySession, context: CliContext) -> None:
    from fsbackup_tui.recovery.report_follow import follow_ups

    name = document["database"] or session.read().facts.live_name
    context.say_text(f"Rolled back: {name} is as it was before the swap.")
    if document["kept_as"]:
        context.say_text(f"The restored one is kept, as {document['kept_as']}.", first="  ")
    if document["merge"]:
        context.say_text("What was written to it since is put into live by:", first="  ")
        context.say_text(document["merge"], first="    ")
    for text in follow_ups(session.read()):
        context.say_text(text, first="To do  ")
