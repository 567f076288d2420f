"""The worker, telling at its end in ``modules`` what it imported after it was ready."""

from __future__ import annotations

import sys
from pathlib import Path

from fsbackup_tui.jobs import worker
from fsbackup_tui.jobs.session import JobSession

MODULES = "modules"


def main(argv: list[str]) -> int:
    """Run the job in the directory named."""
    ready: set[str] = set()
    begin = JobSession.begin

    def begin_watched(session: JobSession) -> None:
        ready.update(sys.modules)
        begin(session)

    JobSession.begin = begin_watched  # type: ignore[method-assign, assignment]
    status = worker.main(argv)
    (Path(argv[1]) / MODULES).write_text("\n".join(sorted(set(sys.modules) - ready)))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
