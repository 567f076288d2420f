"""What lies in directories, byte for byte, to be compared before and after."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.repository.audit import AUDIT


def picture(*roots: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return every file and directory below, with mode, time of change, and content.

    The audit log is left out, which has what was refused, too; so is the catalogue, a cache.
    """
    found: dict[str, tuple[int, int, bytes]] = {}
    for root in roots:
        for path in [root, *sorted(root.rglob("*"))]:
            status = path.lstat()
            told = AUDIT in path.name or path.name.startswith("catalogue.sqlite")
            if told or path.is_socket():
                continue
            content = path.read_bytes() if path.is_file() else b""
            changed = 0 if path.is_dir() else status.st_mtime_ns
            found[str(path)] = (status.st_mode, changed, content)
    return found
