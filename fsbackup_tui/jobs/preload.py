"""Imports all that a job can need before it begins, so that an upgrade in mid-job is harmless."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import sys
from collections.abc import Sequence

ROOMS = (
    "fsbackup_tui.domain",
    "fsbackup_tui.config",
    "fsbackup_tui.engines",
    "fsbackup_tui.repository",
    "fsbackup_tui.operations",
)
# What other packages and the standard library import only when it is needed.
LATE = (
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",
    "pydantic.type_adapter",
    "pydantic.dataclasses",
    "asyncio.subprocess",
    "asyncio.taskgroups",
    "asyncio.unix_events",
    "concurrent.futures.thread",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "encodings.utf_8_sig",
    "linecache",
    "locale",
    "shutil",
    "stringprep",
    "tempfile",
    "traceback",
    "zoneinfo",
)


# New objects before the collector looks at them. Python's own 700 make it look at a million
# entries of a tree over and over, a sixth of what capturing small files takes: none is in a cycle.
_COLLECTED_AFTER = 20_000


def preload(rooms: Sequence[str] = ROOMS) -> list[str]:
    """Import every module of the rooms; returns those that could not be, told on stderr.

    A module that can't be imported (an optional package is missing) fails no job that does
    without it. The garbage collector does not look at what was imported, and later seldom.
    """
    gc.disable()
    try:
        return _import_all(rooms)
    finally:
        gc.freeze()
        gc.set_threshold(_COLLECTED_AFTER, *gc.get_threshold()[1:])
        gc.enable()


def _import_all(rooms: Sequence[str]) -> list[str]:
    failed: list[str] = []
    for room in (*LATE, *rooms):
        failed.extend(_import(room))
        path = getattr(sys.modules.get(room), "__path__", None) if room in rooms else None
        for module in pkgutil.walk_packages(path or [], prefix=f"{room}.", onerror=failed.append):
            failed.extend(_import(module.name))
    return failed


def _import(name: str) -> list[str]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        sys.stderr.write(f"not imported: {name}: {error}\n")
        return [name]
    return []
