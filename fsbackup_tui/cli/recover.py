"""``fsbackup recover``: the guided emergency restore, on a screen or line by line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.cli.prompts import Prompts
    from fsbackup_tui.domain.incident import Seen
    from fsbackup_tui.recovery.desk import Desk
    from fsbackup_tui.recovery.session import RecoverySession
    from fsbackup_tui.repository.incidents import IncidentJournal

SEEN_WORDS = ("rows", "structure", "errors", "files", "server", "config", "unknown")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "recover",
        parents=parents,
        help="lead through an emergency, step by step; every step can be taken back",
    )
    parser.add_argument(
        "scenario",
        metavar="SCENARIO",
        nargs="?",
        help="data-loss, partial-loss, corruption, files-loss, config-or-code-loss or host-lost;"
        " without it, what is seen decides",
    )
    parser.add_argument(
        "--plain", action="store_true", help="questions line by line, on any terminal"
    )
    parser.add_argument(
        "--drill",
        action="store_true",
        help="practise it, on a damaged copy; nothing live is changed",
    )
    parser.add_argument("--resume", metavar="ID", help="go on with this incident, or watch it")
    parser.add_argument("--part", metavar="P", help="the source; needed if there are several")
    parser.add_argument("--point", metavar="POINT", help="the point that is offered first")
    parser.add_argument(
        "--last-right", metavar="TEXT", help="when it was last right: 02:45, 20 m ago, unknown"
    )
    parser.add_argument(
        "--seen", choices=SEEN_WORDS, metavar="WORD", help=f"what is seen: {', '.join(SEEN_WORDS)}"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Lead through an incident; 0 when it was left or closed."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.recovery.library import find_runbook

    if arguments.resume is not None and (arguments.scenario or arguments.drill or arguments.point):
        raise UsageError(
            "NOT TOGETHER: --resume with a scenario, --drill or --point.",
            why="The incident knows them already.",
            fix=f"fsbackup recover --resume {arguments.resume}",
        )
    if arguments.scenario is not None:
        find_runbook(arguments.scenario, context.load())
    from fsbackup_tui.cli import tui

    if arguments.plain or context.json or not tui.is_suitable(context):
        return run_plain(arguments, context)
    return _open(arguments, context)


def _open(arguments: argparse.Namespace, context: CliContext) -> int:
    """Open the application in mode 4; what the command line says is declared before.

    The application goes on with the incident that is open; another one is led line by line.
    """
    from fsbackup_tui.cli import tui
    from fsbackup_tui.recovery import desk as desks
    from fsbackup_tui.repository.incidents import find_open

    desk = desks.open_desk(context.load(), context.environ)
    told = (arguments.scenario, arguments.drill, arguments.part, arguments.point)
    journal = find_open(desk.state) or find_open(desk.state, is_drill=True)
    wanted = _journal(arguments, desk) if any((*told, arguments.resume)) else journal
    if wanted is not None and (journal is None or wanted.id != journal.id):
        return run_plain(arguments, context)
    answered = arguments.last_right is not None or arguments.seen is not None
    if wanted is None and (any(told) or answered):
        if journal is not None:
            return run_plain(arguments, context)
        _begin_on(context, arguments, desk).leave()
    return tui.open_application(context, mode="recover")


def _begin_on(context: CliContext, arguments: argparse.Namespace, desk: Desk) -> RecoverySession:
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.cli.prompts import Prompts

    interrupts = Interrupts()
    with interrupts.listening():
        return _sit_down(
            arguments, context, desk, Prompts(_descriptor(), context.stdout, interrupts)
        )


def run_plain(arguments: argparse.Namespace, context: CliContext) -> int:
    """Lead line by line, asking on standard input."""
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.cli.passphrase import open_asking_desk
    from fsbackup_tui.cli.prompts import Prompts
    from fsbackup_tui.cli.recover_plain import Plain

    interrupts = Interrupts()
    desk = open_asking_desk(context, interrupts)
    with interrupts.listening():
        out = context.stderr if context.json else context.stdout
        prompts = Prompts(_descriptor(), out, interrupts)
        session = _sit_down(arguments, context, desk, prompts)
        Plain(session, prompts, context.pasteable).run()
    if context.json:
        context.emit(_document(session), lambda: None)
    return 0


def _sit_down(
    arguments: argparse.Namespace, context: CliContext, desk: Desk, prompts: Prompts
) -> RecoverySession:
    from fsbackup_tui.cli.prompts import Left
    from fsbackup_tui.domain.errors import Interrupted, UsageError

    try:
        return begin(arguments, context, desk, prompts)
    except Left as left:
        if left.number is not None:
            raise Interrupted("INTERRUPTED: nothing was declared.") from left
        raise UsageError(
            "NOTHING WAS DECLARED: the two questions were not answered.",
            fix="fsbackup recover --plain --last-right '20 m ago' --seen rows",
        ) from left


def _descriptor() -> int:
    from fsbackup_tui.domain.errors import UsageError

    try:
        return sys.stdin.fileno()
    except (AttributeError, ValueError, OSError) as error:
        raise UsageError(
            "NOBODY TO ASK: standard input is closed.", fix="Run it in a terminal."
        ) from error


def _document(session: RecoverySession) -> dict[str, object]:
    reading = session.read()
    incident, current = reading.incident, reading.flow.current()
    running = [
        placed.state.job for placed in reading.flow.steps if placed.state.status == "unknown"
    ]
    return {
        "ok": True,
        "incident": incident.id,
        "state": "open" if incident.closed is None else "closed",
        "step": current.step.id if current is not None else None,
        "frozen": [freeze.what for freeze in incident.freezes],
        "running": running,
    }


def begin(
    arguments: argparse.Namespace, context: CliContext, desk: Desk, prompts: Prompts
) -> RecoverySession:
    """Sit down at the incident that is meant, or declare one by the two questions."""
    from fsbackup_tui.recovery.declare import attach

    journal = _journal(arguments, desk)
    if journal is None:
        return _declare(arguments, context, desk, prompts)
    prompts.say(f"Incident {journal.id} is open: it is gone on with.")
    session = attach(desk, journal)
    if arguments.point is not None and session.leads:
        session.prefer_point(_point(arguments, context))
    if arguments.scenario and arguments.scenario != session.read().incident.runbook:
        prompts.say(f"It follows {session.read().incident.runbook}; w changes to another runbook.")
    return session


def _journal(arguments: argparse.Namespace, desk: Desk) -> IncidentJournal | None:
    from fsbackup_tui.repository.incidents import find_incident, find_open

    if arguments.resume is not None:
        return find_incident(desk.state, arguments.resume)
    found = [
        find_open(desk.state, source=source, is_drill=arguments.drill)
        for source in _sources(arguments, desk)
    ]
    return max((each for each in found if each is not None), key=_id, default=None)


def _id(journal: IncidentJournal) -> str:
    return journal.id


def _sources(arguments: argparse.Namespace, desk: Desk) -> tuple[str, ...]:
    """Return the sources that may be meant, by what the command line says; at least one."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.recovery.kinds import drilled_sources, named_source, source_kinds, sources_for
    from fsbackup_tui.recovery.library import find_runbook

    if arguments.part is not None:
        return (named_source(desk.loaded, arguments.part),)
    found = tuple(source_kinds(desk.loaded))
    what = "no database with data, no files, configuration or code"
    if arguments.scenario is not None:
        about = find_runbook(arguments.scenario, desk.loaded).about
        found = sources_for(desk.loaded, "unknown", about)
        found = (drilled_sources(desk.loaded, about) or found) if arguments.drill else found
        what = f"nothing that {arguments.scenario} brings back"
    elif arguments.seen not in (None, "unknown"):
        found = sources_for(desk.loaded, arguments.seen)
        what = f"nothing of which {arguments.seen} could be seen"
    if not found:
        raise UsageError(
            f"NOTHING TO RECOVER: the configuration names {what}.",
            fix="Name one under sources:, or restore a file by hand (RECOVER.md).",
        )
    return found


def _point(arguments: argparse.Namespace, context: CliContext) -> str:
    from fsbackup_tui.cli.points import find_point

    if arguments.point is None:
        return ""
    return find_point(context, arguments.point, part=arguments.part, any_trust=True).id


def _declare(
    arguments: argparse.Namespace, context: CliContext, desk: Desk, prompts: Prompts
) -> RecoverySession:
    from fsbackup_tui.domain.last_right import echo_last_right
    from fsbackup_tui.recovery.declare import declare
    from fsbackup_tui.recovery.kinds import KIND_WORDS, source_kinds

    sources = _sources(arguments, desk)
    point = _point(arguments, context)
    config = desk.loaded.config
    kind = "A drill" if arguments.drill else "An incident"
    about = ""
    if len(sources) == 1:
        about = f", {KIND_WORDS[source_kinds(desk.loaded)[sources[0]]]} {sources[0]}"
    prompts.say(f"{kind} of {config.site}, {config.environment.upper()}{about}.")
    _tell_of_another(desk, prompts)
    if arguments.last_right is None or arguments.seen is None:
        prompts.say("Two questions, then it begins. Answering changes nothing.")
    last_right = _last_right(arguments, desk, prompts)
    prompts.say(echo_last_right(last_right, desk.now(), desk.zone), first="   ")
    seen = _seen(arguments, sources, desk, prompts)
    session = declare(
        desk,
        source=_source(sources, seen, desk, prompts),
        seen=seen,
        last_right=last_right,
        runbook=arguments.scenario or "",
        point=point,
        is_drill=arguments.drill,
    )
    prompts.say(f"Incident {session.journal.id} is open; retention waits until it is closed.")
    for note in session.read().incident.notes:
        prompts.say(note.text)
    return session


def _source(sources: tuple[str, ...], seen: Seen, desk: Desk, prompts: Prompts) -> str:
    """Return the source that is meant; where it can be several, it is asked for."""
    from fsbackup_tui.recovery.kinds import KIND_WORDS, source_kinds, sources_for

    fitting = sources_for(desk.loaded, seen)
    possible = [source for source in sources if source in fitting] or list(sources)
    if len(possible) == 1:
        return possible[0]
    kinds = source_kinds(desk.loaded)
    prompts.line()
    prompts.say("Which of them?", first="3. ")
    for number, source in enumerate(possible, 1):
        prompts.say(f"{source} ({KIND_WORDS[kinds[source]]})", first=f"   {number}  ")
    while True:
        said = prompts.ask("   Number or name:")
        if said.isdigit() and 1 <= int(said) <= len(possible):
            return possible[int(said) - 1]
        if said in possible:
            return said
        prompts.say(f"One of the numbers 1 to {len(possible)}, please.", first="   ")


def _tell_of_another(desk: Desk, prompts: Prompts) -> None:
    """Tell of an incident of another database, or of one that was called otherwise when it began.

    What it froze is frozen still.
    """
    from fsbackup_tui.repository.incidents import find_open

    other = find_open(desk.state)
    incident = other.read() if other is not None else None
    if incident is None:
        return
    known = incident.source in desk.loaded.config.sources
    prompts.say(
        f"Incident {incident.id} of {incident.source} is open"
        + ("" if known else ", which the configuration does not name any more")
        + (": WRITES ARE FROZEN by it" if incident.frozen_for(desk.now()) else "")
        + f". Go on with it: fsbackup recover --resume {incident.id}"
    )


def _last_right(arguments: argparse.Namespace, desk: Desk, prompts: Prompts) -> datetime | None:
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.domain.last_right import parse_last_right

    if arguments.last_right is not None:
        return parse_last_right(arguments.last_right, desk.now(), desk.zone)
    prompts.line()
    prompts.say("When was it last right?", first="1. ")
    prompts.say("Like 02:45, yesterday 14:00, Sat 02:00, 20 m ago.", first="   ")
    while True:
        try:
            said = prompts.ask("   (Enter: unknown):")
            return parse_last_right(said, desk.now(), desk.zone)
        except UsageError as error:
            for text in (error.what, error.fix):
                prompts.say(text, first="   ")


def _seen(
    arguments: argparse.Namespace, sources: tuple[str, ...], desk: Desk, prompts: Prompts
) -> Seen:
    from fsbackup_tui.domain.incident import SEEN_TEXTS
    from fsbackup_tui.recovery.kinds import seen_here, seen_of
    from fsbackup_tui.recovery.library import find_runbook

    fitting = {seen for source in sources for seen in seen_of(desk.loaded, source)}
    offered = tuple(seen for seen in seen_here(desk.loaded) if seen in fitting)
    given = next((seen for seen in offered if seen == arguments.seen), None)
    if given is not None:
        return given
    default: Seen = "unknown"
    if arguments.scenario:
        asked = find_runbook(arguments.scenario, desk.loaded).seen
        default = next((seen for seen in asked if seen in offered), default)
    prompts.line()
    prompts.say("What do you see?", first="2. ")
    for number, seen in enumerate(offered, 1):
        prompts.say(SEEN_TEXTS[seen], first=f"   {number}  ")
    preset = offered.index(default) + 1
    while True:
        said = prompts.ask(f"   Number (Enter: {preset}):") or str(preset)
        if said.isdigit() and 1 <= int(said) <= len(offered):
            return offered[int(said) - 1]
        if (named := next((seen for seen in offered if seen == said), None)) is not None:
            return named
        prompts.say(f"One of the numbers 1 to {len(offered)}, please.", first="   ")
