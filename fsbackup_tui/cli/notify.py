"""``fsbackup notify test``: whether those who should be told can be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "notify", parents=parents, help="test: send a message to everybody in notify:"
    )
    parser.add_argument("action", choices=("test",), metavar="test", help="send a test message")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Send a test to every target; exit code 1 where one was not reached."""
    import asyncio

    from fsbackup_tui.operations.notify import try_targets

    tried = asyncio.run(
        try_targets(context.load(), context.environ, context.state(), context.now())
    )
    reached = all(not one.why for one in tried)
    document = {
        "ok": reached,
        "targets": [
            {
                "target": one.target,
                "scheme": one.scheme,
                "delivered": not one.why,
                "why": one.why or None,
            }
            for one in tried
        ],
    }

    def human() -> None:
        for one in tried:
            said = f"NOT DELIVERED: {one.why}" if one.why else "delivered"
            context.say_text(said, first=f"{one.target} ({one.scheme})  ")

    context.emit(document, human)
    return 0 if reached else 1
