"""Verdicts on tables and sequences, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsbackup_tui.domain.comparison import (
    FoundSequence,
    Measured,
    judge_sequence,
    judge_table,
    judge_tables,
    unproven_reason,
)
from fsbackup_tui.domain.point import Fingerprint, SequenceFacts, TableFacts
from fsbackup_tui.domain.proof import TableProof
from tests.support.points import facts

ROOT = ("public", "events")


def mark(value: int, method: str = "fsb1-text") -> Fingerprint:
    return Fingerprint(method, str(value))


def captured(name: str, rows: int | None, fingerprint: int | None = None) -> TableFacts:
    return TableFacts(
        "public",
        name,
        "table",
        rows,
        rows is not None,
        8192,
        None if fingerprint is None else mark(fingerprint),
    )


def leaf(name: str, rows: int | None, fingerprint: int | None = None) -> TableFacts:
    return replace(captured(name, rows, fingerprint), partition_root=ROOT)


PARTITIONED = TableFacts("public", "events", "partitioned", None, False, None)


def verdicts(tables: list[TableFacts], **found: Measured) -> dict[str, str]:
    here = {("public", name): measured for name, measured in found.items()}
    here.setdefault(ROOT, Measured(None))
    return {proof.name: proof.verdict for proof in judge_tables(facts(tables), here, {})}


def test_a_row_in_another_partition_is_expected_while_the_root_is_equal() -> None:
    tables = [PARTITIONED, leaf("e_0", 2, 10), leaf("e_1", 1, -4)]
    moved = verdicts(tables, e_0=Measured(1, mark(7)), e_1=Measured(2, mark(-1)))
    assert moved == {"events": "equal", "e_0": "expected", "e_1": "expected"}
    lost = verdicts(tables, e_0=Measured(1, mark(7)), e_1=Measured(1, mark(-4)))
    assert lost == {"events": "different", "e_0": "different", "e_1": "equal"}
    # As many rows as there were, but not the same ones.
    altered = verdicts(tables, e_0=Measured(2, mark(10)), e_1=Measured(1, mark(-5)))
    assert altered == {"events": "different", "e_0": "equal", "e_1": "different"}


def test_counts_excuse_no_content() -> None:
    tables = [PARTITIONED, leaf("e_0", 2, 10), leaf("e_1", 1)]
    found = verdicts(tables, e_0=Measured(2, mark(11)), e_1=Measured(1))
    assert found == {"events": "equal", "e_0": "different", "e_1": "equal"}
    tables = [PARTITIONED, leaf("e_0", 2), leaf("e_1", 1)]
    found = verdicts(tables, e_0=Measured(1), e_1=Measured(2))
    assert found == {"events": "equal", "e_0": "expected", "e_1": "expected"}


def test_a_missing_partition_is_excused_by_nothing() -> None:
    tables = [PARTITIONED, leaf("e_0", 2, 10), leaf("e_1", 0, 0)]
    found = verdicts(tables, e_0=Measured(2, mark(10)))
    assert found == {"events": "different", "e_0": "equal", "e_1": "missing"}


def test_a_root_of_uncounted_or_no_partitions() -> None:
    assert verdicts([PARTITIONED]) == {"events": "equal"}
    found = verdicts([PARTITIONED, leaf("e_0", None)], e_0=Measured(2))
    assert found == {"events": "unknown", "e_0": "unknown"}


def test_partitions_elsewhere_or_left_out_are_no_part_of_the_sum() -> None:
    far = replace(leaf("far", None), kind="foreign")
    dull = replace(leaf("dull", 7), data_excluded=True, counted=False)
    tables = [PARTITIONED, leaf("e_0", 2, 10), far, dull]
    found = verdicts(
        tables, e_0=Measured(2, mark(10)), far=Measured(None), dull=Measured(0, mark(0))
    )
    assert found == {"events": "equal", "e_0": "equal", "far": "expected", "dull": "expected"}


def judged(table: TableFacts, found: Measured | None) -> TableProof:
    return judge_table(table, found)


@pytest.mark.parametrize(
    ("table", "found", "verdict"),
    [
        (captured("t", 1, 5), Measured(1, mark(5)), "equal"),
        (captured("t", 1, 5), Measured(1, mark(6)), "different"),
        (captured("t", 1, 5), Measured(2, mark(5)), "different"),
        (captured("t", 1, 5), Measured(1, None, "no fingerprint: bad byte"), "different"),
        (captured("t", 1, 5), Measured(None, None, "not counted: bad page"), "different"),
        (captured("t", 1, 5), Measured(None, None, "no rights", blocked=True), "blocked"),
        (captured("t", 1, 5), None, "missing"),
        (captured("t", 1), Measured(1), "equal"),
        (captured("t", 0), Measured(0), "equal"),
        (captured("t", None), Measured(1), "unknown"),
        (replace(captured("t", 5), counted=False), Measured(5), "unknown"),
        (replace(captured("t", 1), fingerprint=mark(5, "fsb9-new")), Measured(1), "unknown"),
        (
            replace(captured("t", 1), fingerprint=mark(5, "fsb9-new")),
            Measured(1, mark(5)),
            "unknown",
        ),
        (replace(captured("m", 1, 5), kind="materialised view"), Measured(1, mark(5)), "equal"),
        (replace(captured("m", 1, 5), kind="materialised view"), Measured(1, mark(6)), "expected"),
        (replace(captured("m", None), kind="materialised view"), Measured(None), "expected"),
        (replace(captured("m", None), kind="materialised view"), None, "missing"),
        (replace(captured("u", 3, 5), kind="unlogged"), Measured(0, mark(0)), "expected"),
        (replace(captured("u", 3, 5), kind="unlogged"), Measured(2, mark(4)), "different"),
        (replace(captured("f", None), kind="foreign"), Measured(None), "expected"),
        (replace(captured("x", None), data_excluded=True), Measured(0), "expected"),
        (replace(captured("x", None), data_excluded=True), Measured(1), "different"),
    ],
)
def test_a_table_s_verdict(table: TableFacts, found: Measured | None, verdict: str) -> None:
    assert judged(table, found).verdict == verdict


def test_tables_too_many() -> None:
    proofs = judge_tables(facts(), {}, {("a", "b"): "", ("a", "c"): "made by an extension"})
    assert [(proof.name, proof.verdict) for proof in proofs] == [
        ("b", "different"),
        ("c", "expected"),
    ]


def sequence(last: int | None, *, called: bool = True, step: int = 1) -> SequenceFacts:
    return SequenceFacts("public", "s", last, called, step, "public.t.id")


@pytest.mark.parametrize(
    ("was", "now", "verdict"),
    [
        (sequence(5), FoundSequence(5, True, 1), "equal"),
        (sequence(5), FoundSequence(6, False, 1), "equal"),
        (sequence(5), FoundSequence(5, False, 1), "different"),
        (sequence(5), FoundSequence(4, True, 1), "different"),
        (sequence(5), FoundSequence(9, True, 1), "expected"),
        (sequence(5), FoundSequence(1, True, 1, cycles=True), "expected"),
        (sequence(-5, step=-1), FoundSequence(-4, True, -1), "different"),
        (sequence(-5, step=-1), FoundSequence(-6, True, -1), "expected"),
        (sequence(1, called=False), FoundSequence(1, False, 1), "equal"),
        (sequence(None), FoundSequence(1, False, 1), "unknown"),
        (sequence(5), FoundSequence(None, False, 1), "blocked"),
        (sequence(5), None, "missing"),
    ],
)
def test_a_sequence_s_verdict(was: SequenceFacts, now: FoundSequence | None, verdict: str) -> None:
    assert judge_sequence(was, now).verdict == verdict


def test_a_sequence_behind_its_column_is_noted() -> None:
    for step, last, highest in ((1, 5, 6), (-1, -5, -6), (5, 10, 15)):
        was = sequence(last, step=step)
        at_it = judge_sequence(was, FoundSequence(last, True, step, highest=highest))
        assert at_it.verdict == "equal"
        assert f"not beyond public.t.id, which reaches {highest}" in at_it.note
        beyond = judge_sequence(was, FoundSequence(last, True, step, highest=highest - step))
        assert beyond.note == ""


def test_what_keeps_a_part_from_being_proven() -> None:
    unknown = TableProof("public", "t", None, 3, "unknown", note="not counted")
    equal = TableProof("public", "u", 3, 3, "equal")
    assert unproven_reason(facts(), [equal], []) is None
    assert unproven_reason(facts(), [equal, unknown, unknown], []) == (
        "rows were not compared: public.t and 1 more (not counted)"
    )
    assert unproven_reason(facts(scope="schema"), [unknown], []) is None
