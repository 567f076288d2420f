"""A state directory for an emergency whose own is full, read-only or can't be made (design §3).

It lies in a place that outlives the session: a runtime directory, which goes at the last logout,
is taken where there is no other. Only directories that belong to this user alone are trusted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.repository.files import free_bytes, make_directory

PLACES = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - checked to be ours
HOME = "home"
_LEAST_FREE_BYTES = 8 * 1024 * 1024


def why_not_writable(state: Path) -> str:
    """Return why nothing can be written in a state directory; empty where it can, or for others.

    One that this user may not even read is another's: he may have an incident open in it.
    """
    probe = state / f".probe-{os.getpid()}"
    try:
        nearest = next(path for path in (state, *state.parents) if path.exists())
        if nearest.is_dir() and not os.access(nearest, os.R_OK | os.X_OK):
            return ""
        if free_bytes(nearest) < _LEAST_FREE_BYTES:
            return "its disk is full"
    except PermissionError:
        return ""
    try:
        for path in reversed([state, *state.parents]):
            if not path.exists():
                make_directory(path)
        probe.touch(mode=0o600)
    except OSError as error:
        return error.strerror or str(error)
    with suppress(OSError):
        probe.unlink()
    return ""


def make_elsewhere(state: Path, environ: Mapping[str, str]) -> Path | None:
    """Make a directory in the place of ``state``, 0700, which remembers it; None: nowhere to."""
    for place in _places(environ):
        try:
            if free_bytes(place) < _LEAST_FREE_BYTES:
                continue
            if not _is_ours(make_directory(place)):
                continue
            found = make_directory(place / state.name)
            if not _is_ours(found):
                continue
            with suppress(FileExistsError):
                (found / HOME).symlink_to(state)
            return found
        except OSError:
            continue
    return None


def find_elsewhere(state: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories that were made in the place of ``state``."""
    made = (place / state.name for place in _places(environ))
    return tuple(path for path in made if _is_ours(path.parent) and _is_ours(path))


def home_of(state: Path) -> Path | None:
    """Return the directory in whose place this one was made; None where it is no such one."""
    try:
        return (state / HOME).readlink()
    except OSError:
        return None


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    for place in PLACES:
        yield place / f"fsbackup-{os.geteuid()}"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        yield Path(runtime) / "fsbackup"


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return private and stat.S_ISDIR(found.st_mode)
