"""A point's copies on replicas, as the command line prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import Copy
from fsbackup_tui.operations.wording import UNKNOWN, plain_text, when_text


def copies_cell(copies: Sequence[Copy]) -> str:
    """Return the replicas that have the point whole, those that do not in capitals."""
    return " ".join(
        copy.replica if copy.state == "whole" else f"{copy.replica}:WRONG"
        for copy in copies
        if copy.state != "removed"
    )


def copies_documents(copies: Sequence[Copy]) -> list[dict[str, object]]:
    """Return the copies as JSON holds them; times are UTC."""
    return [
        {
            "replica": copy.replica,
            "state": copy.state,
            "at": format_time(copy.at),
            "checked_at": None if copy.checked_at is None else format_time(copy.checked_at),
            "why": copy.why or None,
        }
        for copy in copies
    ]


def copy_lines(copies: Sequence[Copy], now: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield a line for each copy: where, since when, when all of it was read back."""
    for copy in copies:
        at = when_text(copy.at, now, zone)
        if copy.state == "wrong":
            text = f"WRONG, found {at}: {copy.why or UNKNOWN}. fsbackup replicate {copy.replica}"
        elif copy.state == "removed":
            text = f"removed there {at}: {copy.why or UNKNOWN}"
        else:
            read = "never" if copy.checked_at is None else when_text(copy.checked_at, now, zone)
            text = f"whole since {at}; all of it read back: {read}"
        name = plain_text(copy.replica)
        yield from wrap_text(f"copy on {name}: {text}", first="  ", later="    ")


def wrong_notes(copies: Sequence[Copy]) -> list[str]:
    """Return what the list says below a point of which a copy is not right."""
    return [f"copy on {copy.replica} WRONG: {copy.why}" for copy in copies if copy.state == "wrong"]
