"""A merge's values come out of a journal as they went in."""

from __future__ import annotations

import dataclasses
import json
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.merge import (
    Drift,
    ForeignKey,
    LeftOut,
    LinkDifference,
    Merged,
    MergePlan,
    MergePreview,
    Proposed,
    Recreated,
    SampleRow,
    SampleValue,
    TableChoice,
    TableDifference,
    TableEffect,
)
from fsbackup_tui.operations.merge_documents import (
    choices_text,
    parse_choices,
    parse_expected,
    preview_text,
    read_merged,
    read_plan,
    read_preview,
    read_proposed,
)
from fsbackup_tui.operations.plain import plain

_Kind = TypeVar("_Kind")


def whole(kind: type[_Kind]) -> st.SearchStrategy[_Kind]:
    """Return values of which every field is drawn, also those with a default."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return st.builds(kind, **dict.fromkeys(names, ...))


for _kind in (
    SampleValue,
    SampleRow,
    Drift,
    ForeignKey,
    LinkDifference,
    TableDifference,
    TableChoice,
    TableEffect,
    LeftOut,
    Recreated,
    Proposed,
    MergePreview,
):
    st.register_type_strategy(_kind, whole(_kind))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def journaled(value: object) -> object:
    return json.loads(json.dumps(plain(value)))


@settings(max_examples=30)
@given(whole(MergePlan))
def test_plans(plan: MergePlan) -> None:
    assert read_plan(journaled(plan)) == plan


@settings(max_examples=30)
@given(whole(Merged))
def test_what_a_merge_did(merged: Merged) -> None:
    assert read_merged(journaled(merged)) == merged


@settings(max_examples=30)
@given(st.lists(whole(Proposed)).map(tuple))
def test_proposals(proposed: tuple[Proposed, ...]) -> None:
    assert read_proposed(journaled(proposed)) == proposed


@settings(max_examples=30)
@given(whole(MergePreview))
def test_previews(preview: MergePreview) -> None:
    assert read_preview(journaled(preview)) == preview
    assert parse_expected(preview_text(preview)) == preview


@settings(max_examples=30)
@given(st.lists(whole(TableChoice)).map(tuple))
def test_choices(choices: tuple[TableChoice, ...]) -> None:
    assert parse_choices(choices_text(choices)) == choices


def test_what_is_not_there_is_none() -> None:
    for nothing in (None, {}, "", {"tables": 3}):
        assert read_plan(nothing) is None
        assert read_merged(nothing) is None
    assert read_proposed(None) == ()
    assert read_preview({"effects": "no"}) is None


def test_a_choice_may_name_its_table_alone() -> None:
    assert parse_choices('[{"table": ["public", "users"]}]') == (TableChoice(("public", "users")),)


@pytest.mark.parametrize("text", ["", "{}", '[{"table": "users"}]', '[{"missing": true}]', "null"])
def test_choices_that_are_none_are_refused_with_the_place(text: str) -> None:
    with pytest.raises(UsageError, match="choices can't be read"):
        parse_choices(text)
    with pytest.raises(UsageError, match="foretelling can't be read"):
        parse_expected(text)
