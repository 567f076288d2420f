"""Parts of fsbackup that run as programs of their own, always of the version that runs now.

A Python started in mid-job imports what is installed by then, which may be another version. So
the sources are read when this module is imported, and a child gets them in a directory of its own.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

# All that engines.compression and engines.postgres.plain import of the package.
_MODULES = (
    "fsbackup_tui",
    "fsbackup_tui.domain",
    "fsbackup_tui.domain.errors",
    "fsbackup_tui.engines",
    "fsbackup_tui.engines.compression",
    "fsbackup_tui.engines.postgres",
    "fsbackup_tui.engines.postgres.plain",
    "fsbackup_tui.engines.postgres.toc",
)
_ROOT = Path(__file__).parents[2]


def _place(module: str) -> Path:
    parts = Path(*module.split("."))
    package = parts / "__init__.py"
    return package if (_ROOT / package).is_file() else parts.with_suffix(".py")


_SOURCES = {_place(module): (_ROOT / _place(module)).read_bytes() for module in _MODULES}


@contextmanager
def own_program(
    module: str, *arguments: str, work: Path
) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Give the command line that runs a module of ours, and the environment it needs.

    ``work`` takes the sources until the block ends.
    """
    directory = Path(mkdtemp(prefix="program-", dir=work))
    try:
        for place, source in _SOURCES.items():
            path = directory / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)
        environment = {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
        yield (sys.executable, "-P", "-m", module, *arguments), environment
    finally:
        shutil.rmtree(directory, ignore_errors=True)
