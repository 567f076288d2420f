"""Asking for a passphrase at a terminal, hidden, and seeing that it is right before anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.cli.follow import Interrupts
    from fsbackup_tui.domain.errors import FsbackupError, PassphraseNeeded
    from fsbackup_tui.domain.secret import Secret
    from fsbackup_tui.operations.request import Request
    from fsbackup_tui.recovery.desk import Desk

_TRIES = 3


def can_ask(context: CliContext) -> bool:
    """Whether somebody sits there: what is typed comes from a terminal."""
    return sys.stdin.isatty() and context.stderr.isatty()


def ask_hidden(context: CliContext, question: str) -> Secret | None:
    """Return what is typed, not shown; None where nothing is."""
    import getpass

    from fsbackup_tui.domain.secret import Secret

    try:
        typed = getpass.getpass(f"{question} ", stream=context.stderr)
    except EOFError:
        return None
    return Secret(typed) if typed else None


def environment_for(request: Request, context: CliContext) -> Mapping[str, str]:
    """Return the environment of the request's job: with the passphrase that was asked for.

    It is asked for only where the job needs one, nothing tells it and somebody sits at a
    terminal; it is tried against the key first, and asked for once in a run.

    Raises:
        PassphraseNeeded: nothing was typed.
        KeyRefused: it was wrong three times.
    """
    if not _may_be_asked(context):
        return context.environ
    ask_for(request, context)
    return context.asked().environ


def open_asking_desk(context: CliContext, interrupts: Interrupts | None = None) -> Desk:
    """Return the desk of the site, whose jobs begin once a passphrase they need was asked for.

    With ``interrupts`` ctrl-c at the question is as good as nothing typed.
    """
    from fsbackup_tui.recovery import desk as desks

    if not _may_be_asked(context):
        return desks.open_desk(context.load(), context.environ)

    def ready(request: Request) -> None:
        ask_for(request, context, interrupts)

    return desks.open_desk(context.load(), context.asked().environ, ready=ready)


def _may_be_asked(context: CliContext) -> bool:
    return can_ask(context) and context.load().config.encryption is not None


def ask_for(request: Request, context: CliContext, interrupts: Interrupts | None = None) -> None:
    """Ask for the passphrase that a request's job needs, where nothing told it yet.

    Raises PassphraseNeeded, KeyRefused as ``environment_for`` does.
    """
    from fsbackup_tui.domain.errors import PassphraseNeeded

    try:
        context.asked().require(request, context.load())
    except PassphraseNeeded as needed:
        _ask(needed, context, interrupts)


def _ask(needed: PassphraseNeeded, context: CliContext, interrupts: Interrupts | None) -> None:
    asked, question = context.asked(), needed.question
    without = " (Enter: goes on without it)" if question.can_go_without else ""
    words = f"{question.words}{without}:"
    for _try in range(_TRIES):
        typed = _typed(words, context, interrupts)
        if typed is None and not question.can_go_without:
            raise needed
        if typed is None:
            asked.keep(question, None)
            return
        verdict = asked.check(question, typed, context.load())
        if verdict == "right" or (verdict == "new" and _typed_again(typed, context, interrupts)):
            asked.keep(question, typed)
            return
        if verdict == "wrong":
            context.tell(question.wrong)
    raise _wrong_each_time(question.site)


def _typed(words: str, context: CliContext, interrupts: Interrupts | None) -> Secret | None:
    if interrupts is None:
        return ask_hidden(context, words)
    try:
        with interrupts.asking():
            return ask_hidden(context, words)
    except KeyboardInterrupt:
        context.tell("")
        return None


def _typed_again(typed: Secret, context: CliContext, interrupts: Interrupts | None) -> bool:
    """Whether a passphrase that nothing can check yet was meant as it was typed."""
    words = "It begins a new key. Once more, so that it is right:"
    if _typed(words, context, interrupts) == typed:
        return True
    context.tell("Those two differ.")
    return False


def _wrong_each_time(site: str) -> FsbackupError:
    from fsbackup_tui.domain.errors import KeyRefused

    return KeyRefused(
        f"KEY WRONG: no passphrase that was typed is that of {site}.",
        why="Nothing was begun.",
        fix="Look where the key is kept: fsbackup doctor tells its hint.",
    )
