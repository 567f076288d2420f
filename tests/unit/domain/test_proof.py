"""What a proof says of itself, and that it survives being written down."""

from __future__ import annotations

import json

import pytest

from fsbackup_tui.domain.proof import (
    Blocker,
    Proof,
    ProofCheck,
    Receipt,
    TableProof,
    Verdict,
    conclude,
    parse_proof,
    table_difference,
)

EQUAL = TableProof("public", "users", 3, 3, "equal", "12", "12")
FEWER = TableProof("public", "videos", 5, 4, "different", "7", "6")
PROOF = Proof(
    place="own server 17.6",
    restored="ok",
    proven="failed",
    receipt=Receipt(40, (("COMMENT - EXTENSION x", "its owner's"),), ("EXTENSION - pg_cron",), ()),
    tables=(EQUAL, FEWER),
    checks=(ProofCheck("query", "every video has a user", "different", "3 rows, none expected"),),
    blockers=(Blocker("extension postgis is missing", "install it"),),
    notes=("a note",),
    phases={"start": 1.5, "restore": 2.0},
)


def test_it_is_read_back_as_it_was_written() -> None:
    assert parse_proof(json.loads(json.dumps(PROOF.document()))) == PROOF


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"place": "x", "restored": "perhaps"},
        {"place": "x", "restored": "ok", "tables": [{"a": 1}]},
    ],
)
def test_what_is_no_proof_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_proof(document)


def test_its_problems_name_the_table_or_the_check() -> None:
    assert PROOF.problems() == [
        ("public.videos", "4 rows restored, 5 captured"),
        (None, "query every video has a user: 3 rows, none expected"),
    ]


def test_equal_counts_of_other_content_are_told_as_that() -> None:
    changed = TableProof("public", "users", 3, 3, "different", "12", "13")
    assert table_difference(changed) == "as many rows as captured, but their content differs"


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        ((), "ok"),
        (("equal", "expected", "unknown"), "ok"),
        (("equal", "blocked"), "blocked"),
        (("blocked", "missing"), "failed"),
        (("different",), "failed"),
    ],
)
def test_one_failure_fails_and_one_block_blocks(
    verdicts: tuple[Verdict, ...], outcome: str
) -> None:
    tables = [TableProof("s", "t", 1, 1, verdict) for verdict in verdicts[:1]]
    checks = [ProofCheck("view", "v", verdict) for verdict in verdicts[1:]]
    assert conclude(tables, checks) == outcome


def test_what_is_blocked_is_listed_whoever_found_it() -> None:
    proof = Proof("p", "ok", "blocked", checks=(ProofCheck("command", "npm", "blocked", "absent"),))
    assert [blocker.what for blocker in proof.blocked()] == ["command npm: absent"]
