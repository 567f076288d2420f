"""A part's rows against a good one's: what differs, the worst losses first, nothing guessed."""

from __future__ import annotations

from dataclasses import replace

from fsbackup_tui.domain.anomaly import RowChange, row_changes
from fsbackup_tui.domain.point import TableFacts
from tests.support.points import part, table


def changes(before: list[TableFacts], now: list[TableFacts], **more: object) -> list[RowChange]:
    return list(row_changes(part(tables=now, **more), part(tables=before)))  # type: ignore[arg-type]


def test_vanished_then_fallen_then_new_then_grown() -> None:
    before = [table("a", 10), table("b", 100), table("c", 5), table("d", 7), table("same", 1)]
    now = [table("b", 90), table("c", 1), table("d", 8), table("e", 3), table("same", 1)]
    assert changes(before, now) == [
        RowChange("a", 10, None, vanished=True),
        RowChange("c", 5, 1),
        RowChange("b", 100, 90),
        RowChange("e", None, 3),
        RowChange("d", 7, 8),
    ]


def test_estimates_and_what_the_config_leaves_out_are_not_compared() -> None:
    before = [table("guessed", 1000), table("left", 10), table("audit", 4, schema="log")]
    now = [table("guessed", 1, counted=False)]
    assert changes(before, now, excluded_tables=("left",), excluded_schemas=("log",)) == []


def test_partitions_count_with_their_table() -> None:
    def partitioned(*leaves: tuple[str, int]) -> list[TableFacts]:
        root = replace(table("events", None, counted=False), kind="partitioned")
        return [
            root,
            *(
                replace(table(name, rows), partition_root=("public", "events"))
                for name, rows in leaves
            ),
        ]

    before = partitioned(("events_1", 50), ("events_2", 60))
    now = partitioned(("events_2", 60), ("events_3", 10))
    assert changes(before, now) == [RowChange("events", 110, 70)]


def test_parts_of_another_scope_have_nothing_in_common() -> None:
    assert changes([table("a", 1)], [table("a", 2)], scope="data") == []
