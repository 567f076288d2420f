"""``fsbackup`` without a command: the terminal application."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from fsbackup_tui.cli.context import CliContext

_HUNG_UP = 129


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Open the application; returns 0, or 128 + the signal that ended it.

    Raises UsageError where there is no terminal to show it in, and there with the words of the
    first screen where there is no configuration either.
    """
    del arguments
    return open_application(context)


def is_suitable(context: CliContext) -> bool:
    """Whether the application can be shown in this terminal."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.tui.terminal import refuse_unsuitable

    tty = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    try:
        refuse_unsuitable(context.environ, tty=tty)
    except UsageError:
        return False
    return True


def open_application(context: CliContext, *, mode: str = "") -> int:
    """Open the application in a mode, its own choice where none is named; as ``run``."""
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.tui.settings import SETTINGS_NAME, load_settings
    from fsbackup_tui.tui.terminal import prepare_environment, refuse_unsuitable
    from fsbackup_tui.tui.theme import user_config

    tty = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    try:
        refuse_unsuitable(context.environ, tty=tty)
    except UsageError:
        # Without a configuration there is nothing to show in any terminal: that comes first.
        context.config_file()
        raise
    settings = load_settings(user_config(context.environ) / SETTINGS_NAME)
    # Textual reads these when it is imported, so they are set before anything imports it.
    prepare_environment(os.environ, fps=settings.fps)

    from fsbackup_tui.tui.launch import run_application

    code, words = run_application(context, settings, mode=mode)
    if code != _HUNG_UP and words:
        context.say(words)
    return code
