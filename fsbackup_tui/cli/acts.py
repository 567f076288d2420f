"""Which commands change something: what a read-only site refuses, and the audit log tells of.

Every command of the parser stands here, or among those that only read (a test holds that).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Told = Callable[[argparse.Namespace], str]
READS = frozenset({"list", "show", "jobs", "attach", "runbook", "check", "metrics"})


def _always(_: argparse.Namespace) -> bool:
    return True


def _given(*names: str) -> Callable[[argparse.Namespace], bool]:
    return lambda arguments: any(getattr(arguments, name, None) for name in names)


def _one_of(name: str, *values: str) -> Callable[[argparse.Namespace], bool]:
    return lambda arguments: getattr(arguments, name, None) in values


def _words(*names: str) -> Told:
    def told(arguments: argparse.Namespace) -> str:
        values = (getattr(arguments, name, None) for name in names)
        return " ".join(str(value) for value in values if value not in (None, False, True))

    return told


def _flags(text: str, *names: str) -> Told:
    """Return a sentence with the arguments' values in it; what was not given is left out."""
    subject = _words(*names)
    return lambda arguments: f"{text} {subject(arguments)}".strip()


_SUBJECT = _words("point", "plan", "name", "job", "file", "path")


@dataclass(frozen=True, slots=True)
class Act:
    """A command that changes something.

    ``refuses`` follows ``this configuration``; ``would`` says what it would have done.
    ``changes`` tells by its arguments whether it does; ``tells`` whether its own jobs and its
    incident stand in the log, so that only what came before them is added.
    """

    refuses: str
    would: Told
    changes: Callable[[argparse.Namespace], bool] = _always
    tells: bool = False
    subject: Told = _SUBJECT


def _changes_restore(arguments: argparse.Namespace) -> bool:
    return not getattr(arguments, "diff", False)


def _holds_drill(arguments: argparse.Namespace) -> bool:
    return not getattr(arguments, "list", False)


def _changes_schedule(arguments: argparse.Namespace) -> bool:
    action = getattr(arguments, "action", None)
    return action not in (None, "show") and not getattr(arguments, "print", False)


def _writes_kit(arguments: argparse.Namespace) -> bool:
    return not getattr(arguments, "print", False)


ACTS: Mapping[str, Act] = {
    "demo": Act("plays no sample site", _flags("make a sample site in", "dir"), tells=True),
    "init": Act(
        "makes nothing",
        _flags("write a configuration, and make a repository at", "repository"),
        subject=_words("repository"),
    ),
    "doctor": Act(
        "mends nothing", _flags("close to others what is open to them"), changes=_given("fix")
    ),
    "backup": Act("takes no backups", _flags("run the plan", "plan", "source"), tells=True),
    "clear": Act("clears no point", _flags("clear", "point")),
    "pin": Act("pins nothing", _flags("pin", "point")),
    "unpin": Act("unpins nothing", _flags("unpin", "point")),
    "verify": Act(
        "records no proofs",
        _flags("verify what is due", "budget"),
        changes=_given("due", "keep_spare"),
        tells=True,
    ),
    "drill": Act(
        "records no drills",
        _flags("prove a point, timed:", "point"),
        changes=_holds_drill,
        tells=True,
    ),
    "recover": Act(
        "opens no incident", _flags("open an incident", "scenario", "part", "resume"), tells=True
    ),
    "incidents": Act(
        "writes no rows out",
        _flags("write the rows that only live has into files, of", "incident"),
        changes=_one_of("what", "export"),
        tells=True,
    ),
    "restore": Act(
        "restores nothing",
        _flags("restore", "point", "part"),
        changes=_changes_restore,
        tells=True,
    ),
    "rollback": Act("changes nothing that is live", _flags("undo the last swap"), tells=True),
    "leftovers": Act(
        "drops nothing",
        _flags("drop", "drop"),
        changes=_given("drop"),
        tells=True,
        subject=_words("drop"),
    ),
    "decrypt": Act("decrypts nothing", _flags("decrypt", "file")),
    "rekey": Act("rekeys nothing", _flags("re-encrypt to the present key", "points"), tells=True),
    "adopt": Act("adopts nothing", _flags("make a point of", "path"), tells=True),
    "cancel": Act("cancels nothing", _flags("end the job", "job"), tells=True),
    "retain": Act(
        "removes no points",
        _flags("move what the plans' keep: lets go to the trash", "take_back"),
        changes=_given("apply", "take_back", "empty"),
        tells=True,
        subject=_words("take_back"),
    ),
    "replicate": Act("copies nothing", _flags("copy points to their replicas"), tells=True),
    "fetch": Act("fetches nothing", _flags("bring back from a replica", "point"), tells=True),
    "schedule": Act(
        "installs nothing",
        _flags("change or run what the clock runs:", "action", "entry"),
        changes=_changes_schedule,
        subject=_words("action", "entry"),
    ),
    "kit": Act("writes no kit", _flags("write the recovery kit"), changes=_writes_kit),
    "bootstrap": Act("rebuilds nothing", _flags("rebuild a site from", "url")),
    "notify": Act("sends nothing", _flags("send a message to everybody who is notified")),
    "audit": Act(
        "begins no log anew",
        _flags("lay the audit log aside and begin another"),
        changes=_given("begin_anew"),
        tells=True,
    ),
}


def command_of(arguments: argparse.Namespace) -> str:
    """Return the name of the command that was given; ``tui`` without one."""
    words = str(arguments.parser.prog).split()
    return words[1] if len(words) > 1 else "tui"


def act_of(arguments: argparse.Namespace) -> Act | None:
    """Return what the command changes; None where, as it is called, it only reads."""
    act = ACTS.get(command_of(arguments))
    return act if act is not None and act.changes(arguments) else None
