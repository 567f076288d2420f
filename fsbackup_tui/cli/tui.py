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

    Raises UsageError where there is no terminal to show it in.
    """
    from fsbackup_tui.tui.settings import SETTINGS_NAME, load_settings
    from fsbackup_tui.tui.terminal import prepare_environment, refuse_unsuitable
    from fsbackup_tui.tui.theme import user_config

    del arguments
    tty = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    refuse_unsuitable(context.environ, tty=tty)
    settings = load_settings(user_config(context.environ) / SETTINGS_NAME)
    # Textual reads these when it is imported, so they are set before anything imports it.
    prepare_environment(os.environ, fps=settings.fps)

    from fsbackup_tui.tui.launch import run_application

    code, words = run_application(context, settings)
    if code != _HUNG_UP and words:
        context.say(words)
    return code
