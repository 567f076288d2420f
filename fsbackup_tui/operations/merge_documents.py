"""PLACEHOLDER until branch merging."""

from __future__ import annotations

from fsbackup_tui.domain.merge import MergePlan, MergePreview, Proposed


def read_plan(document: object) -> MergePlan | None:
    return None


def read_preview(document: object) -> MergePreview | None:
    return None


def read_proposed(document: object) -> tuple[Proposed, ...]:
    return ()
