"""Runs a request as the backup command does, with the slow worker: SITE_DIRECTORY SCENARIO."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.cli.follow import run_request
from fsbackup_tui.cli.output import print_problem
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.jobs import supervisor
from fsbackup_tui.jobs.launch import launch_worker
from tests.support.jobs import SLOW_WORKER, slow_environment, slow_request


class Context(CliContext):
    """A context whose state directory needs no repository."""

    def state(self) -> Path:
        return Path(sys.argv[1]) / "state"


def main() -> int:
    vars(supervisor)["launch_worker"] = partial(launch_worker, module=SLOW_WORKER)
    as_json = "--json" in sys.argv
    context = Context(
        config_path=Path(sys.argv[1]) / "fsbackup.yaml", json=as_json, environ=slow_environment()
    )
    try:
        return run_request(
            slow_request(sys.argv[2]),
            context,
            summary=lambda result: [f"Done: {result['point']}"],
        )
    except FsbackupError as error:
        print_problem(error.problem(), as_json=as_json, stdout=sys.stdout, stderr=sys.stderr)
        return error.problem().exit_code


if __name__ == "__main__":
    sys.exit(main())
