"""Stopping what deletes, so that it goes on where it stood: processes and timers.

What is stopped is written into the incident before it is, with the command that lets it go on.
A process is paused (SIGSTOP) and not ended: it may be in the middle of something.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.errors import FsbackupError, StaleLeader
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.incident import SHELL, STOPPED, Freeze
from fsbackup_tui.domain.place import touch_key
from fsbackup_tui.domain.tree import Touching
from fsbackup_tui.engines.process import Command
from fsbackup_tui.engines.process import run as run_program
from fsbackup_tui.engines.trees.touching import find_touching
from fsbackup_tui.operations import command
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import FreezeJournal
from fsbackup_tui.operations.look_place import own_processes
from fsbackup_tui.operations.place_requests import LetTouchRequest, StopTouchingRequest
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import CommandRequest


@dataclass
class _Done:
    did: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)

    def leave(self, context: JobContext, what: str, why: str, fix: str) -> None:
        """Note what could not be done, with what does it by hand."""
        self.left.append({"what": what, "why": why, "fix": fix})
        context.report(Warned(f"{what}: {why}. By hand: {fix}"))

    def document(self, did: str, ran: Mapping[str, Any]) -> dict[str, object]:
        """Return the result."""
        return {
            "ok": not self.left,
            did: self.did,
            "gone": self.gone,
            "left": self.left,
            "ran": {name: value for name, value in ran.items() if name != "ok"},
            "problems": [
                {"what": f"{each['what']}: {each['why']}", "fix": each["fix"]} for each in self.left
            ],
        }


async def run(request: StopTouchingRequest, context: JobContext) -> dict[str, object]:
    """Stop what was named, as far as it is still there, then what runs by the clock.

    ``ok`` is false where something is left; what is gone by itself is told.

    Raises:
        SafetyRefusal: there is no incident. StaleLeader: somebody else leads by now.
        FsbackupError: the site's own command failed; the rest is stopped.
    """
    refuse_if_read_only(context.loaded, "stops nothing")
    journal = FreezeJournal(context)
    context.stage("stop")
    root = place_paths(context.loaded, request.part)[0]
    found, _ = await asyncio.to_thread(find_touching, root, ignore=own_processes())
    there = {touch_key(each): each for each in found}
    done = _Done()
    for key in request.what:
        touching = there.get(key)
        if touching is None:
            done.gone.append(key)
            context.report(Log(f"Not there any more: {key}."))
            continue
        await _stop(touching, context, journal, done)
    ran: Mapping[str, Any] = {}
    if request.pause_jobs:
        asked = CommandRequest(request.part, command="pause_jobs")
        ran = await command.run(asked, context)
    return done.document("stopped", ran)


async def _stop(
    touching: Touching, context: JobContext, journal: FreezeJournal, done: _Done
) -> None:
    freeze = _freeze(touching)
    argv = _stopping(touching)
    if journal.known(freeze) is None:
        journal.frozen(freeze)
    try:
        await _do(argv, context)
    except StaleLeader:
        raise
    except FsbackupError as error:
        journal.thawed(freeze, why="it could not be stopped")
        why = error.why or error.what
        done.leave(context, freeze.what, why, f"sudo {shlex.join(argv)}")
    else:
        done.did.append(freeze.what)
        context.report(Log(f"Stopped: {freeze.what}."))


async def run_let(request: LetTouchRequest, context: JobContext) -> dict[str, object]:
    """Let go on what was stopped, the last first; what is gone meanwhile is told.

    Raises:
        SafetyRefusal: there is no incident. StaleLeader: somebody else leads by now.
        FsbackupError: the site's own command failed; the rest goes on.
    """
    refuse_if_read_only(context.loaded, "starts nothing")
    journal = FreezeJournal(context)
    context.stage("let go on")
    done = _Done()
    for freeze in reversed(journal.read().freezes):
        if freeze.grade == STOPPED:
            await _let(freeze, context, journal, done)
    ran: Mapping[str, Any] = {}
    if request.resume_jobs:
        asked = CommandRequest(request.part, command="resume_jobs")
        ran = await command.run(asked, context)
    return done.document("going", ran)


async def _let(freeze: Freeze, context: JobContext, journal: FreezeJournal, done: _Done) -> None:
    try:
        for text in freeze.undo:
            await _do(tuple(shlex.split(text)), context)
    except StaleLeader:
        raise
    except FsbackupError as error:
        done.leave(context, freeze.what, error.why or error.what, "; ".join(freeze.undo))
        return
    journal.thawed(freeze)
    done.did.append(freeze.what)
    context.report(Log(f"Goes on: {freeze.what}."))


def _freeze(touching: Touching) -> Freeze:
    from datetime import UTC, datetime

    going = " ".join(_going(touching))
    if touching.kind == "process":
        what = f"process {touching.where} ({touching.what})"
        cost = "It stands where it stood; whoever waits for it waits."
    else:
        what = f"timer {touching.what}"
        cost = "What it starts does not run until it is started again."
    # The entry's own time counts (domain/incident.py).
    now = datetime.now(UTC)
    return Freeze(what, now, undo=(going,), grade=STOPPED, cost=cost, place=SHELL)


def _stopping(touching: Touching) -> tuple[str, ...]:
    if touching.kind == "process":
        return ("kill", "-STOP", touching.where)
    return tuple(shlex.split(touching.stop)) or ("systemctl", "stop", touching.what)


def _going(touching: Touching) -> tuple[str, ...]:
    if touching.kind == "process":
        return ("kill", "-CONT", touching.where)
    return ("systemctl", "start", touching.what)


async def _do(argv: tuple[str, ...], context: JobContext) -> None:
    """Send a signal, or run systemctl.

    Raises:
        FsbackupError: it may not be, or the program is not there. One that is gone is none.
    """
    if argv[0] != "kill":
        await run_program(Command(argv), report=context.report, redactor=context.redactor)
        return
    number = signal.SIGCONT if argv[1] == "-CONT" else signal.SIGSTOP
    pid = int(argv[2])
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        context.report(Log(f"Process {pid} has ended by itself."))
    except PermissionError as error:
        raise FsbackupError(
            f"NOT SIGNALLED: process {pid}.", why=f"it belongs to {_owner(pid)}"
        ) from error


def _owner(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}").owner()
    except (OSError, KeyError):
        return "another user"
