"""What a schema's comment remembers of it, read back."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.engines.postgres.schema_marks import (
    Mark,
    Memory,
    Tie,
    beside_name,
    check_different,
    check_tag,
    parse_mark,
)


def test_a_mark_is_read_back_as_it_was_written() -> None:
    tie = Tie("constraint", "a, at b", "orders", "fk", "FOREIGN KEY (x) REFERENCES c.d(e)", False)
    memory = Memory("a comment\nof 'two' lines {}", (tie,), (("crm", "notes", "notes_user"),))
    for kind in ("unfinished", "restored", "before", "after"):
        mark = Mark(kind, "a, at b", "2026-11-22T02:00:00Z", "job-1", memory)
        assert parse_mark(mark.comment()) == mark


def test_other_comments_are_none() -> None:
    mark = Mark("before", "s", "2026-11-22T02:00:00Z", "job-1", Memory())
    for comment in (None, "", "standard public schema", mark.comment()[:-1] + "]", "x"):
        assert parse_mark(comment) is None


def test_names_keep_their_ends_and_stay_different() -> None:
    name = beside_name("ü" * 40, "k3f9")
    assert name.endswith("ü__r_k3f9")
    assert len(name.encode()) <= 63
    with pytest.raises(UsageError, match="SAME NAME TWICE"):
        check_different([beside_name("x" * 60 + "1", "a"), beside_name("x" * 60 + "2", "a")])
    for tag in ("", "K", "a b", "_a", "x" * 25):
        with pytest.raises(UsageError, match="NO TAG"):
            check_tag(tag)
    check_tag("k3f9")
    check_tag("20261122_01_2")  # an incident's, the second time
