"""Counts in what commands print: one point is one point."""

from __future__ import annotations

from fsbackup_tui.cli import backup, rekey, retain
from fsbackup_tui.domain.text import many_text


def test_one_is_told_as_one() -> None:
    assert [many_text(count, "point") for count in (0, 1, 2, 41_890)] == [
        "0 points", "1 point", "2 points", "41 890 points",
    ]  # fmt: skip


def test_retain_counts_what_it_removed_and_freed() -> None:
    one = {"removed": ["a"], "problems": [], "freed": [], "freed_bytes": 0}
    assert retain.applied(one)[0] == "1 point removed; it lies in the trash"
    two = {**one, "removed": ["a", "b"]}
    assert retain.applied(two)[0] == "2 points removed; they lie in the trash"
    freed = {"freed": ["a"], "bytes": 310_000_000, "trash": ["b"], "problems": []}
    assert retain.freed(freed) == ["Freed: 1 point, 310 MB; 1 still lies in the trash"]


def test_backup_and_rekey_count_one_point() -> None:
    stages = {"retain": {"problem": None, "removed": ["a"]}}
    assert "1 point left for the trash" in "\n".join(backup._retain_lines(stages["retain"]))
    result = {"rekeyed": [], "key": "k1", "problems": [], "notes": [], "trash": ""}
    assert rekey.summary(result)[0] == "Key k1: 0 points re-encrypted"
