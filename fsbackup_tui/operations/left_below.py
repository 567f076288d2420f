"""What recoveries left below a work tree: it is none of the code, and may hold secrets."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import ConfigSource
from fsbackup_tui.engines.config_restore import find_kept
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.operations.trees import TREE_SOURCES, trees_of
from fsbackup_tui.repository.tree_marks import mark_path


def left_below(top: Path, loaded: LoadedConfig) -> tuple[Path, ...]:
    """Return the trees and the settings that recoveries keep below a directory, told from it.

    Trees that were restored, or taken out of their place, with their marks; files of a
    configuration that others took the place of.
    """
    found: list[Path] = []
    for name, source in loaded.config.sources.items():
        if isinstance(source, TREE_SOURCES):
            for marked in trees_of(place_paths(loaded, name)[0]):
                found += (marked.path, mark_path(marked.path))
        elif isinstance(source, ConfigSource):
            for file in (*source.files, *source.optional):
                found += find_kept(Path(os.path.realpath(file)))
    real = Path(os.path.realpath(top))
    places = (Path(os.path.realpath(path.parent), path.name) for path in found)
    return tuple(sorted({place.relative_to(real) for place in places if real in place.parents}))
