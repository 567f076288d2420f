"""``python -m fsbackup_tui`` and the console script ``fsbackup``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line with the arguments of this process; returns the exit code."""
    from fsbackup_tui.cli.main import run_command_line

    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    if not sys.flags.safe_path:
        # ``python -m`` looks into the current directory first: a yaml.py there is not ours.
        del sys.path[0]
    sys.exit(main())
