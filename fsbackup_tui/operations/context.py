"""What every operation gets besides its request."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import session_name
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Holder


@dataclass(frozen=True, slots=True)
class JobContext:
    """The job an operation runs in.

    ``work`` is a private directory (0700) that is removed when the job ends; ``environment`` is
    what secrets are read from (the site's env_file over the process environment), and nothing
    else: it is read when it is first asked for, and may raise SecretUnavailable then. ``stage``
    is called with a stage's name where the operation enters it. ``incident`` is the directory of
    the incident that the job belongs to, and ``epoch`` the leadership it was asked under.
    ``borrowed`` is a point that came from a replica, in a repository of its own.
    """

    job: str
    loaded: LoadedConfig
    environment: Mapping[str, str]
    redactor: Redactor
    report: Report
    stage: Callable[[str], None]
    work: Path
    operator: str
    host: str
    now: Callable[[], datetime]
    incident: Path | None = None
    epoch: int | None = None
    borrowed: Repository | None = None

    @property
    def application_name(self) -> str:
        """The name that every server session of the job carries, so that it can be found."""
        return session_name(self.job)

    def holder(self) -> Holder:
        """Return who holds a lock that this job takes."""
        return Holder(self.operator, self.host, os.getpid(), self.job, self.now())
