"""Who may read and write what the site keeps, and what must be mended of that."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fsbackup_tui.config.ownership import user_name
from fsbackup_tui.config.values import SecretFile
from fsbackup_tui.repository.files import is_shared

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.repository.layout import Repository

_OTHERS = stat.S_IRWXO
_GROUP = stat.S_IRWXG


@dataclass(frozen=True, slots=True)
class Open:
    """A path that others may read or write, or that belongs to somebody else.

    ``mode`` is what it should have; ``owner`` whose it should be, None where that is right.
    ``writable``: others may change it, not only read.
    """

    path: Path
    words: str
    mode: int | None
    owner: int | None = None
    writable: bool = False

    def command(self) -> str:
        """Return what mends it by hand."""
        name = shlex.quote(str(self.path))
        if self.owner is not None:
            return f"chown {shlex.quote(user_name(self.owner))} {name}"
        return f"chmod {self.mode or 0:o} {name}"


def open_repository_paths(repository: Repository, newest: Iterable[str] | None) -> Iterator[Open]:
    """Yield what of a repository is open to others, or is not its owner's.

    ``newest`` names the points that are looked into; None looks into all there is.
    """
    root = repository.root
    owner = root.stat().st_uid
    shared = is_shared(root)
    yield from _judged(root, owner, shared)
    for entry in sorted(root.iterdir()):
        yield from _judged(entry, owner, shared)
    if newest is None:
        trees = [entry for entry in sorted(root.iterdir()) if entry.is_dir()]
    else:
        trees = [
            parent / point for point in newest for parent in (repository.points, repository.records)
        ]
    for tree in trees:
        for path in _below(tree):
            yield from _judged(path, owner, shared)


def open_state_paths(state: Path) -> Iterator[Open]:
    """Yield what of the state is open to others; to a group it was given on purpose it may be."""
    if not state.is_dir():
        return
    owner = state.stat().st_uid
    yield from _judged(state, owner, is_shared(state))
    for entry in sorted(state.iterdir()):
        yield from _judged(entry, owner, is_shared(state))


def open_secret_files(loaded: LoadedConfig) -> Iterator[Open]:
    """Yield the files with secrets that every user of the machine may read, or others write."""
    config = loaded.config
    files = [config.env_file] if config.env_file is not None else []
    files += [found.file for found in _secret_files(config)]
    for path in dict.fromkeys(files):
        with suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            wrong = mode & (_OTHERS | stat.S_IWGRP)
            if wrong:
                may = "change" if wrong & (stat.S_IWGRP | stat.S_IWOTH) else "read"
                closed = mode & ~(_OTHERS | stat.S_IWGRP)
                yield Open(path, f"others may {may} it", closed, writable=may == "change")


def _secret_files(value: object) -> Iterator[SecretFile]:
    if isinstance(value, SecretFile):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secret_files(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _secret_files(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _secret_files(each)


def mend(found: Iterable[Open]) -> tuple[list[Path], list[tuple[Open, OSError]]]:
    """Set modes and owners right; return what was mended, and what could not be, with why."""
    mended: list[Path] = []
    failed: list[tuple[Open, OSError]] = []
    for one in found:
        try:
            if one.owner is not None:
                os.chown(one.path, one.owner, -1, follow_symlinks=False)
            if one.mode is not None:
                one.path.chmod(one.mode)
            mended.append(one.path)
        except OSError as error:
            failed.append((one, error))
    return mended, failed


def _judged(path: Path, owner: int, shared: bool) -> Iterator[Open]:
    """Yield what is wrong with one path; what goes meanwhile is nobody's."""
    try:
        facts = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(facts.st_mode):
        return
    mode = stat.S_IMODE(facts.st_mode)
    wrong = mode & (_OTHERS if shared else _OTHERS | _GROUP)
    if wrong:
        who = "every user" if mode & _OTHERS else "its group"
        writable = bool(wrong & (stat.S_IWGRP | stat.S_IWOTH))
        may = "change" if writable else "read"
        yield Open(path, f"{who} may {may} it", mode & ~wrong, writable=writable)
    if facts.st_uid not in (owner, 0):
        theirs = user_name(facts.st_uid)
        yield Open(path, f"it belongs to {theirs}, not {user_name(owner)}", None, owner)


def _below(tree: Path) -> Iterator[Path]:
    if not tree.is_dir():
        return
    yield tree
    for directory, directories, files in os.walk(tree):
        for name in (*directories, *files):
            yield Path(directory) / name


def shown(found: Iterable[Open], count: int) -> str:
    """Return the first few, a line each: the path, and who may do what."""
    return "\n".join(f"{one.path}: {one.words}" for one in islice(found, count))
