"""What a job that vanishes leaves undone outside of fsbackup, written down while it is so.

A hook that pauses deletions has another that resumes them. A worker that is killed in between
runs neither; whoever hears of its end must hear of that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = "owed.json"


@contextmanager
def owed(directory: Path, name: str, words: str) -> Iterator[None]:
    """Keep ``words`` in a job's directory under a name as long as the block has not ended."""
    _write(directory, {**_read(directory), name: words})
    try:
        yield
    finally:
        _write(directory, {key: told for key, told in _read(directory).items() if key != name})


def told_owed(directory: Path) -> list[str]:
    """Return what the job of a directory owes still; empty where that can't be read."""
    return list(_read(directory).values())


def _read(directory: Path) -> dict[str, str]:
    try:
        document = json.loads((directory / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {str(key): str(told) for key, told in document.items()}


def _write(directory: Path, document: dict[str, str]) -> None:
    path = directory / _NAME
    # Where it can't be written down, the job itself must not fail for that.
    with suppress(OSError):
        if document:
            _replace(path, document)
        else:
            path.unlink(missing_ok=True)


def _replace(path: Path, document: dict[str, str]) -> None:
    temporary = path.with_name(f".{_NAME}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
