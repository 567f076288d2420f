"""git set up so that LFS files are read and filled in by a program of our own.

git-lfs would write what it reads into the repository it is asked about, needs to be there, and
may ask a server for what is missing.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from fsbackup_tui.engines.git import lfs_filter
from fsbackup_tui.engines.git.program import Git

# Read at once: what is installed when git starts it may be another version.
_SOURCE = Path(lfs_filter.__file__).read_bytes()
_NAME = "lfs-filter.py"


def lfs_settings(git: Git, objects: Path, *others: Path, store: bool = False) -> dict[str, str]:
    """Return the settings; ``objects`` is the directory that git-lfs keeps its objects in.

    ``others`` are looked into for what it lacks. ``store``: what is added to the repository, or
    found in the others, is put there. The program lies in ``git.work``, which must stay as long as
    they are used.
    """
    program = git.work / _NAME
    if not program.exists():
        program.write_bytes(_SOURCE)
    mode = lfs_filter.STORE if store else lfs_filter.READ
    argv = (sys.executable, "-I", "-S", str(program), mode, *map(str, (objects, *others)))
    return {
        "filter.lfs.process": shlex.join(argv),
        "filter.lfs.clean": "",
        "filter.lfs.smudge": "",
        "filter.lfs.required": "true",
    }
