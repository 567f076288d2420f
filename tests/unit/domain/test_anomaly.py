"""The hard rules: what makes a part suspect, and what must not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fsbackup_tui.domain.anomaly import losses_by_table, suspect_reasons
from fsbackup_tui.domain.point import Artifact, Fingerprint, PartManifest, TableFacts
from tests.support.points import facts, part, table


def judged(
    before: list[TableFacts], after: list[TableFacts], *, fall: float = 0.3, **changes: Any
) -> tuple[str, ...]:
    return suspect_reasons(part(tables=after, **changes), part(tables=before), fall=fall)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (5340, 0, ("videos 5340 to 0",)),
        (1, 0, ("videos 1 to 0",)),
        (5340, 40, ("videos 5340 to 40",)),
        (100, 69, ("videos 100 to 69",)),
        (100, 70, ()),
        (100, 71, ()),
        (20, 11, ()),
        (20, 10, ("videos 20 to 10",)),
        (9, 1, ()),
        (0, 0, ()),
        (100, 100, ()),
        (100, 100_000, ()),
    ],
)
def test_rows_of_one_table(before: int, after: int, said: tuple[str, ...]) -> None:
    assert judged([table("videos", before)], [table("videos", after)]) == said


def test_the_share_is_the_config_s() -> None:
    tables = [table("videos", 1000)], [table("videos", 890)]
    assert judged(*tables, fall=0.1) == ("videos 1000 to 890",)
    assert judged(*tables, fall=0.3) == ()
    assert judged([table("videos", 1000)], [table("videos", 0)], fall=1.0) == ("videos 1000 to 0",)


def test_a_vanished_table_comes_first_and_says_what_it_had() -> None:
    before = [table("videos", 5340), table("users", 12), table("a", 70, schema="audit")]
    after = [table("videos", 40)]
    assert judged(before, after) == (
        "audit.a vanished (had 70 rows)",
        "users vanished (had 12 rows)",
        "videos 5340 to 40",
    )


def test_an_empty_table_that_vanished_is_told_too() -> None:
    assert judged([table("queue", 0)], []) == ("queue vanished (had 0 rows)",)


def test_a_table_of_the_same_name_in_another_schema_is_another() -> None:
    before = [table("t", 50), table("t", 50, schema="old")]
    assert judged(before, [table("t", 50)]) == ("old.t vanished (had 50 rows)",)


def test_estimates_raise_nothing_about_rows() -> None:
    before, after = table("videos", 5340), table("videos", 0, counted=False)
    assert judged([before], [after]) == ()
    assert judged([dataclasses.replace(before, counted=False)], [table("videos", 0)]) == ()
    assert judged([before], [table("videos", None, counted=False)]) == ()


def test_bytes_speak_where_rows_do_not() -> None:
    big, small = 500_000_000, 40_000_000
    before = table("videos", 5340, counted=False, size=big)
    after = table("videos", 5340, counted=False, size=small)
    assert judged([before], [after]) == ("videos 500.0 MB to 40.0 MB",)
    tiny = table("videos", 5340, counted=False, size=500_000)
    assert judged([tiny], [dataclasses.replace(tiny, bytes=8192)]) == ()


def test_a_table_made_smaller_without_a_loss_is_not_suspect() -> None:
    same = Fingerprint("rows-hash-1", "123")
    before = dataclasses.replace(table("videos", 50, size=500_000_000), fingerprint=same)
    after = dataclasses.replace(before, bytes=8192)
    assert judged([before], [after]) == ()
    emptied = dataclasses.replace(after, fingerprint=Fingerprint("rows-hash-1", "77"))
    assert judged([before], [emptied]) == ("videos 500.0 MB to 8.2 kB",)


def test_what_the_config_leaves_out_did_not_vanish() -> None:
    before = [table("videos", 50), table("Log", 9), table("old", 5, schema="archive_2020")]
    after = [table("videos", 50)]
    assert judged(before, after, excluded_tables=('"Log"',), excluded_schemas=("archive_*",)) == ()
    assert judged(before, after, excluded_tables=("log",), excluded_schemas=("archive_*",)) == (
        "Log vanished (had 9 rows)",
    )
    out = dataclasses.replace(table("videos", None, counted=False), data_excluded=True)
    assert judged([table("videos", 50)], [out]) == ()


def test_a_table_left_out_all_along_does_not_hide_a_loss() -> None:
    good = part(tables=[table("videos", 50)], excluded_tables=("videos",))
    new = part(tables=[], excluded_tables=("videos",))
    assert suspect_reasons(new, good) == ("videos vanished (had 50 rows)",)


def test_many_small_losses_are_seen_in_the_whole() -> None:
    before = [table(f"t{number}", 20) for number in range(50)]
    after = [table(f"t{number}", 11) for number in range(50)]
    assert judged(before, after) == ("all tables together 1000 to 550 rows",)


def _dumped(size: int, compression: str = "zstd") -> PartManifest:
    stored = Artifact("database.dump", "dump", size, "0" * 64, compression=compression)
    return dataclasses.replace(part(tables=[table("videos", 50)]), artifacts=(stored,))


def test_a_dump_that_shrank_is_seen_unless_it_is_packed_otherwise() -> None:
    assert suspect_reasons(_dumped(40_000_000), _dumped(310_000_000)) == (
        "the dump 310.0 MB to 40.0 MB",
    )
    assert suspect_reasons(_dumped(40_000_000), _dumped(310_000_000, "gzip")) == ()


def test_without_something_to_compare_nothing_is_said() -> None:
    new = part(tables=[table("videos", 0)])
    assert suspect_reasons(new, None) == ()
    assert suspect_reasons(new, part(tables=[table("videos", 9)], scope="schema")) == ()


def test_a_schema_point_is_suspect_when_a_table_vanished_only() -> None:
    good = part(tables=[table("videos", 50), table("users", 5)], scope="schema")
    new = part(tables=[table("videos", 0)], scope="schema")
    assert suspect_reasons(new, good) == ("users vanished (had 5 rows)",)


def test_names_can_not_forge_a_line() -> None:
    assert judged([table("a\x1b[31m\nb", 50)], []) == ("a [31m b vanished (had 50 rows)",)


def _partition(name: str, rows: int) -> TableFacts:
    return dataclasses.replace(table(name, rows), partition_root=("public", "events"))


def _partitioned() -> TableFacts:
    return dataclasses.replace(table("events", 0), kind="partitioned", rows=None, counted=False)


def test_a_partitioned_table_is_compared_as_a_whole() -> None:
    before = [_partitioned(), *(_partition(f"events_{month}", 500) for month in (1, 2, 3, 4))]
    month_on = [_partitioned(), *(_partition(f"events_{month}", 500) for month in (2, 3, 4, 5))]
    assert judged(before, month_on) == ()
    emptied = [_partitioned(), *(_partition(f"events_{month}", 0) for month in (2, 3, 4))]
    assert judged(before, emptied) == ("events 2000 to 0",)
    assert judged(before, [_partitioned()]) == ("events 2000 to 0",)
    assert judged(before, before[:3]) == ("events 2000 to 1000",)
    assert judged(before, []) == ("events vanished (had 2000 rows)",)


def test_each_loss_names_its_table_whole() -> None:
    before = [table("videos", 5340), table("a", 70, schema="audit")]
    losses = losses_by_table(part(tables=[table("videos", 40)]), part(tables=before))
    assert losses == (
        ("audit.a", "audit.a vanished (had 70 rows)"),
        ("public.videos", "videos 5340 to 40"),
    )
    many = [table(f"t{number}", 10) for number in range(10)]
    fewer = [table(f"t{number}", 6) for number in range(10)]
    assert losses_by_table(part(tables=fewer), part(tables=many)) == (
        (None, "all tables together 100 to 60 rows"),
    )


def _captured_from(**changes: Any) -> PartManifest:
    identity = dataclasses.replace(facts().identity, **changes)
    return part(tables=[table("videos", 9)], identity=identity)


def test_another_server_or_database_than_before_is_suspect() -> None:
    good = _captured_from(system_identifier="7", database="app")
    assert suspect_reasons(_captured_from(system_identifier="8", database="app"), good) == (
        "captured from another server: its system identifier is 8, was 7",
    )
    assert suspect_reasons(_captured_from(system_identifier="7", database="staging"), good) == (
        "captured from another database: staging, was app",
    )
    # A standby of the server, another way to it, or a server that may not be asked.
    alike = _captured_from(
        system_identifier="7", database="app", host="db2", standby=True, database_oid=1
    )
    assert suspect_reasons(alike, good) == ()
    unknown = _captured_from(system_identifier=None, database="")
    assert suspect_reasons(unknown, good) == suspect_reasons(good, unknown) == ()
