"""What is offered where a point is damaged here: its copy elsewhere comes before another point."""

from __future__ import annotations

from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.copies import copies_of
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records


def another_way(context: JobContext, reader: PointReader, otherwise: str) -> str:
    """Return the remedy for a damaged point: the same one from a replica, then ``otherwise``."""
    if context.borrowed is not None:
        return otherwise
    configured = context.loaded.config.replicas
    names = [
        copy.replica
        for copy in copies_of(read_records(reader.repository, reader.id))
        if copy.state == "whole" and copy.replica in configured
    ]
    if not names:
        return otherwise
    offers = [f"{name} has it whole: the same command with --replica {name}" for name in names]
    back = f"To mend it here for good: fsbackup fetch {reader.id} --replica {names[0]}"
    return "\n".join([*offers, back, otherwise])
