"""What every operation gets besides its request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor


@dataclass(frozen=True, slots=True)
class JobContext:
    """The job an operation runs in.

    ``work`` is a private directory (0700) that is removed when the job ends; ``environment`` is
    what secrets are read from (the site's env_file over the process environment); ``stage``
    is called with a stage's name where the operation enters it.
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
