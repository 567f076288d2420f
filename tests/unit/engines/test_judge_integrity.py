"""What an integrity query's answer is worth, for every form of expectation."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.config.model import IntegrityQuery
from fsbackup_tui.domain.point import IntegrityResult
from fsbackup_tui.engines.postgres.integrity import judge_integrity, queries_about

FORMS: tuple[object, ...] = (
    "no rows",
    "same as at capture",
    {"value": "42"},
    {"min": 1},
    {"max": 3},
    {"min": 1, "max": 3},
)
texts = st.none() | st.text(max_size=20)
results = st.builds(IntegrityResult, st.just("q"), st.integers(0, 5), texts)
errors = st.builds(
    IntegrityResult, st.just("q"), st.none(), st.none(), st.text(min_size=1, max_size=20)
)
numbers = st.integers(-(10**6), 10**6)


def asked(expect: object, source: str | None = None) -> IntegrityQuery:
    return IntegrityQuery.model_validate(
        {"name": "q", "sql": "SELECT 1", "expect": expect, "source": source}
    )


def verdict(expect: object, found: IntegrityResult, captured: IntegrityResult | None = None) -> str:
    return judge_integrity(asked(expect), captured, found).verdict


def one(value: str | None) -> IntegrityResult:
    return IntegrityResult("q", 1, value)


@given(st.sampled_from(FORMS), errors, st.none() | results | errors)
def test_an_error_is_never_a_good_answer(
    expect: object, found: IntegrityResult, captured: IntegrityResult | None
) -> None:
    check = judge_integrity(asked(expect), captured, found)
    assert check.verdict in ("different", "blocked")
    assert check.note == found.note


@given(st.sampled_from(FORMS), results, st.none() | results | errors)
def test_every_answer_has_a_verdict_and_a_note(
    expect: object, found: IntegrityResult, captured: IntegrityResult | None
) -> None:
    check = judge_integrity(asked(expect), captured, found)
    assert check.kind == "query"
    assert check.verdict in ("equal", "different", "unknown")
    assert check.note
    assert (check.verdict == "unknown") <= (captured is None or captured.rows is None)


@given(results)
def test_the_same_answer_is_the_same(found: IntegrityResult) -> None:
    if found.value is not None or not found.rows:
        assert verdict("same as at capture", found, found) == "equal"


@given(results, results)
def test_another_answer_is_not_the_same(first: IntegrityResult, second: IntegrityResult) -> None:
    if verdict("same as at capture", first, second) == "equal":
        assert first.rows == second.rows
        if first.value != second.value:
            assert Decimal(first.value or "") == Decimal(second.value or "")


@given(results)
def test_no_rows_means_none(found: IntegrityResult) -> None:
    assert (verdict("no rows", found) == "equal") == (found.rows == 0)


@given(numbers, numbers, numbers)
def test_a_range_holds_its_ends(low: int, high: int, value: int) -> None:
    inside = low <= value <= high
    assert (verdict({"min": low, "max": high}, one(str(value))) == "equal") == inside
    assert (verdict({"min": low}, one(f"{value}.0")) == "equal") == (low <= value)
    assert (verdict({"max": high}, one(f"{value}e0")) == "equal") == (value <= high)


@given(numbers, st.integers(0, 5))
def test_numbers_are_equal_whatever_their_trailing_zeros(value: int, zeros: int) -> None:
    written = f"{value}.{'0' * zeros}"
    assert verdict({"value": value}, one(written)) == "equal"
    assert verdict({"value": value}, one(f"{value}.{'0' * zeros}1")) == "different"


@pytest.mark.parametrize(
    ("expect", "value", "good"),
    [
        ({"value": 42}, "42", True),
        ({"value": True}, "t", True),
        ({"value": "t"}, "true", False),
        ({"value": 0.1}, "0.1", True),
        ({"value": "1_0"}, "10", False),
        ({"value": "NaN"}, "NaN", True),
        ({"value": "x"}, None, False),
        ({"value": ""}, "", True),
        ({"min": 0.1}, "0.1", True),
        ({"min": 1}, "NaN", False),
        ({"min": 1}, "Infinity", False),
        ({"min": 1}, "many", False),
        ({"min": 1}, None, False),
        ({"max": 1e300}, "1e301", False),
        ({"min": float("nan")}, "1", False),
    ],
)
def test_values_as_postgresql_writes_them(expect: object, value: str | None, good: bool) -> None:
    assert (verdict(expect, one(value)) == "equal") == good


@pytest.mark.parametrize("expect", [{"value": 1}, {"min": 1}, {"min": 1, "max": 2}])
def test_no_rows_are_no_value(expect: object) -> None:
    check = judge_integrity(asked(expect), None, IntegrityResult("q", 0))
    assert check.verdict == "different"
    assert check.note.startswith("no rows; expected was")


def test_what_was_so_at_capture_is_told_with_the_failure() -> None:
    orphans = IntegrityResult("q", 3, "17")
    check = judge_integrity(asked("no rows"), orphans, orphans)
    assert check.verdict == "different"
    assert check.note == "3 rows, the first 17; expected were none; it answered the same at capture"


def test_a_question_that_had_no_answer_at_capture_is_not_known() -> None:
    captured = IntegrityResult("q", None, None, "permission denied for table t")
    check = judge_integrity(asked("same as at capture"), captured, one("1"))
    assert check.verdict == "unknown"
    assert "permission denied" in check.note


def test_a_query_belongs_to_its_source_or_to_all() -> None:
    queries = [asked("no rows"), asked("no rows", "db"), asked("no rows", "other")]
    assert queries_about(queries, "db") == (queries[0], queries[1])
