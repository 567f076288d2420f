"""The paths of a source that is no database: where they are by the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import CodeSource, ConfigSource, FilesSource
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.place import PathIdentity, PlaceKind

PlaceSource = FilesSource | ConfigSource | CodeSource


def place_source(loaded: LoadedConfig, name: str) -> PlaceSource:
    """Return the source of that name; UsageError where it is none of files, config or code."""
    source = loaded.config.sources.get(name)
    if isinstance(source, FilesSource | ConfigSource | CodeSource):
        return source
    known = ", ".join(
        each
        for each, found in loaded.config.sources.items()
        if isinstance(found, FilesSource | ConfigSource | CodeSource)
    )
    raise UsageError(
        f"NO SUCH SOURCE: {name}.",
        why=f"{loaded.path} has of files, configuration and code: {known or 'none'}.",
    )


def place_paths(loaded: LoadedConfig, name: str) -> tuple[Path, ...]:
    """Return the paths of a source, absolute; the first is the one that is told of.

    Of a tree it is the directory itself where a link to it is configured.

    A configuration of variables and outputs alone has the directory of the settings' own file.
    """
    source, home = place_source(loaded, name), loaded.path.parent
    found = tuple(home / path for path in _paths(source))
    if isinstance(source, FilesSource | CodeSource):
        found = tuple(Path(os.path.realpath(path)) for path in found)
    return found or (home,)


def configured_path(loaded: LoadedConfig, name: str) -> str:
    """Return the first path as the configuration has it; empty where it names none."""
    first = next(_paths(place_source(loaded, name)), None)
    return "" if first is None else str(loaded.path.parent / first)


def _paths(source: PlaceSource) -> Iterator[Path]:
    if isinstance(source, FilesSource):
        yield source.root
    elif isinstance(source, CodeSource):
        yield source.worktree
    else:
        yield from (*source.files, *source.optional)


def identity_of(path: Path) -> PathIdentity:
    """Return what a path leads to now, through a link at its end."""
    try:
        facts = path.stat()
    except OSError:
        return PathIdentity(os.fspath(path))
    return PathIdentity(os.fspath(path), facts.st_dev, facts.st_ino)


def kind_of(source: PlaceSource) -> PlaceKind:
    """Return a source's kind."""
    return source.kind
