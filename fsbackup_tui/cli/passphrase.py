"""Asking for a passphrase at a terminal, hidden, and seeing that it is right before anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.domain.secret import Secret
    from fsbackup_tui.operations.request import Request

_TRIES = 3
# What reads or writes the content of points; everything else works without a key.
_NEED_KEYS = frozenset(
    {
        *("backup", "verify", "verify-due", "drill", "restore", "check-copy", "rearm", "rekey"),
        *("files-look", "files-put-back", "files-beside", "files-compare", "files-carry"),
    }
)


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
    terminal; and it is tried against the repository's key first.

    Raises:
        KeyRefused: it was wrong three times.
    """
    if request.operation not in _NEED_KEYS or getattr(request, "level", "") == "sealed":
        return context.environ
    if not can_ask(context):
        return context.environ
    import asyncio

    typed = asyncio.run(_asked(request, context))
    if typed is None:
        return context.environ
    from fsbackup_tui.operations.key_sources import VARIABLE

    return {**context.environ, VARIABLE: typed.reveal()}


async def _asked(request: Request, context: CliContext) -> Secret | None:
    from fsbackup_tui.config.load import SiteEnvironment
    from fsbackup_tui.domain.errors import FsbackupError
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.operations.key_sources import KeySource
    from fsbackup_tui.operations.keys import fits, needs_to_be_asked
    from fsbackup_tui.operations.private_work import private_work

    loaded = context.load()
    if loaded.config.encryption is None or not _concerned(request, context):
        return None
    with private_work() as work:
        source = KeySource(
            loaded, SiteEnvironment(loaded, context.environ), Redactor(), work, context.now
        )
        try:
            repository = context.repository()
            if not await needs_to_be_asked(source):
                return None
        except FsbackupError:
            return None  # the job will say what is wrong
        for _try in range(_TRIES):
            typed = ask_hidden(context, f"Passphrase of {loaded.config.site}:")
            if typed is None:
                return None
            right = await fits(source, repository, typed)
            if right is False and request.operation == "rekey":
                right = None  # a new key may be what is wanted
            if right or (right is None and _typed_again(context, typed)):
                return typed
            if right is False:
                context.tell("It does not open the repository's key.")
    raise _wrong_each_time(loaded.config.site)


def _concerned(request: Request, context: CliContext) -> bool:
    """Whether anything that a backup captures is encrypted."""
    plan = context.load().config.plans.get(getattr(request, "plan", ""))
    if request.operation != "backup" or plan is None:
        return True
    sources = context.load().config.sources
    names = getattr(request, "sources", None) or plan.sources
    return not all(sources[name].plaintext for name in names if name in sources)


def _typed_again(context: CliContext, typed: Secret) -> bool:
    """Whether a passphrase that nothing can check yet was meant as it was typed."""
    again = ask_hidden(context, "It begins a new key. Once more, so that it is right:")
    if again == typed:
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
