"""``fsbackup`` with a desk whose jobs are scripted: SITE_DIRECTORY OPERATOR COMMAND …

``FSBACKUP_TEST_REPLIES`` names the problem of an operation: ``restore=DISK FULL.``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.__main__ import main as run_main
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.recovery import desk as desks
from tests.support.recovering import Clock, jobs_of, make_desk


def main() -> int:
    directory, operator, *arguments = sys.argv[1:]
    clock = Clock(datetime.now(UTC))

    def open_desk(loaded: object, environ: Mapping[str, str], **_: Any) -> desks.Desk:
        desk = make_desk(Path(directory), operator=operator, clock=clock)
        told = os.environ.get("FSBACKUP_TEST_REPLIES", "")
        if told:
            operation, _sign, what = told.partition("=")
            jobs_of(desk).replies[operation] = Problem("failed", what, "It is so.", "Do this.")
        return desk

    vars(desks)["open_desk"] = open_desk
    sys.argv = ["fsbackup", "--config", str(Path(directory) / "fsbackup.yaml"), *arguments]
    return int(run_main() or 0)


if __name__ == "__main__":
    sys.exit(main())
