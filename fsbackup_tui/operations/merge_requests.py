"""What a merge asks for: to find what differs, to foretell, to put back, to undo, to keep beside.

``staging`` is the schema of live that holds what was found; ``live_oid`` 0 is not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fsbackup_tui.operations.recovery_requests import RecoveryRequest
from fsbackup_tui.operations.request import Request


@dataclass(frozen=True, slots=True)
class MergePlanRequest(RecoveryRequest):
    """Find by key what differs between the restored copy and live; stage it in live.

    Returns ``{"staging", "plan": domain/merge.py:MergePlan, "proposed": [Proposed],
    "preview": MergePreview of what is proposed, "problem", "resolve": [commands]}``. ``preview`` is
    None where what is proposed can't be foretold yet, and ``problem`` says why. ``resolve`` are the
    commands for the migrations' own history, should something that live lost be made again.
    ``named`` are the tables a person named, ``where`` a condition on the copy's rows of the one
    that was named.
    """

    operation: ClassVar[str] = "merge-plan"
    runner: ClassVar[str] = "fsbackup_tui.operations.merge:run_plan"
    stages: ClassVar[tuple[str, ...]] = ("stage", "compare", "propose")
    copy: str = ""
    copy_oid: int = 0
    named: tuple[str, ...] = ()
    where: str = ""
    live_oid: int = 0


@dataclass(frozen=True, slots=True)
class MergePreviewRequest(RecoveryRequest):
    """Tell what a choice comes to now; ``{"preview": MergePreview}``.

    ``choices`` is the JSON of a list of ``domain/merge.py:TableChoice``.
    """

    operation: ClassVar[str] = "merge-preview"
    runner: ClassVar[str] = "fsbackup_tui.operations.merge:run_preview"
    stages: ClassVar[tuple[str, ...]] = ("preview",)
    staging: str = ""
    choices: str = "[]"
    live_oid: int = 0


@dataclass(frozen=True, slots=True)
class MergeRequest(RecoveryRequest):
    """Put the chosen rows back in one transaction, undo written first; ``{"merged": Merged}``.

    ``expected`` is the JSON of the MergePreview that the person saw.
    """

    operation: ClassVar[str] = "merge"
    runner: ClassVar[str] = "fsbackup_tui.operations.merge:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "merge", "settle")
    staging: str = ""
    choices: str = "[]"
    expected: str = "{}"
    live_oid: int = 0


@dataclass(frozen=True, slots=True)
class MergeUndoRequest(RecoveryRequest):
    """Undo a merge; ``{"merged": Merged, "left": [LeftOut], "preview": MergePreview}``.

    ``preview_only`` changes nothing, and ``merged`` is None.
    """

    operation: ClassVar[str] = "merge-undo"
    runner: ClassVar[str] = "fsbackup_tui.operations.merge:run_undo"
    stages: ClassVar[tuple[str, ...]] = ("check", "undo")
    staging: str = ""
    set_number: int = 0
    including_moved: bool = False
    preview_only: bool = False
    live_oid: int = 0


@dataclass(frozen=True, slots=True)
class ExportRequest(RecoveryRequest):
    """Write the rows that are only in live into CSV files of the incident, one per table.

    Returns ``{"directory", "tables": [{"table", "rows", "file"}]}``.
    """

    operation: ClassVar[str] = "export-only-live"
    runner: ClassVar[str] = "fsbackup_tui.operations.export:run"
    stages: ClassVar[tuple[str, ...]] = ("export",)
    staging: str = ""


MERGE_REQUESTS: tuple[type[Request], ...] = (
    MergePlanRequest,
    MergePreviewRequest,
    MergeRequest,
    MergeUndoRequest,
    ExportRequest,
)
