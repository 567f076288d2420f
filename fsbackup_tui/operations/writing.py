"""Whether this host may still write: asked before anything is added to the repository."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from fsbackup_tui.config.load import state_directory
from fsbackup_tui.domain.errors import DiskFull, RepositoryUnwritable
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.writers import Writer, refuse_retired, retirements, this_writer


def require_writer(context: JobContext, repository: Repository) -> Writer:
    """Return who this host is to the repository; WriterRetired where another took its place."""
    # Not the place that a full state directory is replaced by: the id outlives an emergency.
    state = state_directory(context.loaded, os.environ) / repository.id
    try:
        writer = this_writer(repository, state, context.host, context.now())
    except (DiskFull, RepositoryUnwritable):
        # Its state is full or read-only, as in some emergencies: an id that can't be kept can't
        # be retired either, and the host's name can.
        writer = Writer("", context.host, datetime.max.replace(tzinfo=UTC))
    refuse_retired(writer, retirements(repository), str(repository.root))
    return writer
