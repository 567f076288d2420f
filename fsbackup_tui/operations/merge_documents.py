"""What a merge's requests and results hold, written as plain values and read again.

Faces, the recovery and the worker read with these alone; ``plain`` writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.merge import Merged, MergePlan, MergePreview, Proposed, TableChoice
from fsbackup_tui.operations.merge_requests import MergeRequest, MergeUndoRequest
from fsbackup_tui.operations.plain import plain

_Kind = TypeVar("_Kind")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_plan(document: object) -> MergePlan | None:
    """Return a plan; None where there is none."""
    return _read(MergePlan, _by_table(document, "refused"))


def read_merged(document: object) -> Merged | None:
    """Return what a merge did; None where it is not told."""
    return _read(Merged, _by_table(document, "sequences"))


def read_preview(document: object) -> MergePreview | None:
    """Return a foretelling; None where there is none."""
    return _read(MergePreview, document)


def read_proposed(document: object) -> tuple[Proposed, ...]:
    """Return what a plan proposes."""
    return _read(tuple[Proposed, ...], document) or ()


def _read(kind: type[_Kind], document: object) -> _Kind | None:
    if not document:
        return None
    key: Any = kind
    try:
        value: _Kind = _adapter(key).validate_python(document)
    except ValidationError:
        return None
    return value


def _by_table(document: object, field: str) -> object:
    """Return the document with the field's pairs as a mapping: JSON has no tables for keys."""
    if not isinstance(document, Mapping) or not isinstance(document.get(field), list):
        return document
    pairs = {tuple(name): value for name, value in document[field]}
    return {**document, field: pairs}


def parse_choices(text: str) -> tuple[TableChoice, ...]:
    """Return the choices of a request; UsageError where they are none."""
    choices: tuple[TableChoice, ...] = _parse(tuple[TableChoice, ...], text, "choices")
    return choices


def parse_expected(text: str) -> MergePreview:
    """Return the preview that a person saw; UsageError where there was none."""
    preview: MergePreview = _parse(MergePreview, text, "foretelling")
    return preview


def _parse(kind: Any, text: str, what: str) -> Any:
    try:
        return _adapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"NOT UNDERSTOOD: the request's {what} can't be read. Nothing was done.",
            why=f"{place or 'the whole'}: {first['msg']}",
            fix="Plan the merge and look at its preview first; its result holds them.",
        ) from error


def choices_text(choices: tuple[TableChoice, ...]) -> str:
    """Return choices as a request holds them."""
    return json.dumps(plain(choices))


def preview_text(preview: MergePreview) -> str:
    """Return a foretelling as a request holds it."""
    return json.dumps(plain(preview))


def digest_of(request: MergeRequest | MergeUndoRequest) -> str:
    """Return what tells a request from any other that asks for something else."""
    if isinstance(request, MergeRequest):
        parts = (request.operation, request.choices, request.expected)
    else:
        parts = (request.operation, str(request.set_number), str(request.including_moved))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def note_text(asked: str, merged: Merged) -> str:
    """Return what is kept with a merge's undo: who asked (a digest), and what was done."""
    return json.dumps({"request": asked, "merged": plain(merged)})


def merged_by(asked: str, notes: Iterable[str]) -> Merged | None:
    """Return what the request of that digest did, by the notes in force; None: nothing."""
    for text in notes:
        note: dict[str, Any] = json.loads(text)
        if note.get("request") == asked:
            return read_merged(note["merged"])
    return None
