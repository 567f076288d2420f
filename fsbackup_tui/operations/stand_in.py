"""The tree that a drill plays on: in every job of the drill it stands in the live one's place.

Only the configuration that the job sees is otherwise; no operation knows of drills.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import CodeSource, FilesSource
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.repository.incidents import IncidentJournal

STAND_IN = "stand_in"
"""The parameter of an incident that has the tree's path."""
_OF_LIVE = ("rehearse-tree", "drop-tree", "trees", "look-place")


def with_stand_in(loaded: LoadedConfig, operation: str, incident: Path | None) -> LoadedConfig:
    """Return the configuration as a job of an incident sees it.

    Raises:
        SafetyRefusal: it is a drill whose tree was not made yet.
    """
    told = None if incident is None else IncidentJournal(incident).read()
    if told is None or not told.is_drill:
        return loaded
    source = loaded.config.sources.get(told.source)
    path = told.parameters.get(STAND_IN)
    makes_or_drops = operation in _OF_LIVE[:3]
    if not isinstance(source, FilesSource | CodeSource) or makes_or_drops:
        return loaded
    if not isinstance(path, str) or not path:
        if operation in _OF_LIVE:
            return loaded
        raise SafetyRefusal(
            "NOT YET: there is no tree to practise on. Nothing was done.",
            fix="First make it: that is the drill's first step.",
        )
    setting = "root" if isinstance(source, FilesSource) else "worktree"
    practised = source.model_copy(update={setting: Path(path)})
    sources = {**loaded.config.sources, told.source: practised}
    return replace(loaded, config=loaded.config.model_copy(update={"sources": sources}))
