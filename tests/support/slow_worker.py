"""A worker like the real one whose runner follows a test's scenario."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fsbackup_tui.jobs.worker import run_job
from tests.support.jobs import slow_runner

if __name__ == "__main__":
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    directory = Path(sys.argv[1])
    sys.exit(run_job(directory, resolve_runner=lambda _: slow_runner(directory)))
