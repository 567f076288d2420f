"""Which runbook and which way a damage asks for: by cases, and by what must hold for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.damage import Candidate, DamageReport, SchemaDamage, TableDamage
from fsbackup_tui.domain.incident import SEEN_TEXTS
from fsbackup_tui.domain.way import propose_runbook, recommended, weigh_ways

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
VIDEOS = TableDamage("app", "videos", 5340, 40)
USERS = TableDamage("app", "users", 300, 310)
TAGS = TableDamage("app", "tags", 20, 20)


def candidate(point: str = "p1", **changes: object) -> Candidate:
    base = Candidate(point, NOW, "proven", 61.0, 10, 5300, after_damage=False, seconds=100.0)
    return replace(base, **changes)  # type: ignore[arg-type]


def report(*tables: TableDamage, **changes: object) -> DamageReport:
    base = DamageReport(NOW, "p1", NOW, tables=tables, candidates=(candidate(),), born_and_gone=0)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_rows_lost_from_one_table_are_a_partial_loss() -> None:
    runbook, reasons = propose_runbook("rows", report(VIDEOS, USERS, TAGS))
    assert runbook == "partial-loss"
    assert reasons == (
        "app.videos: 5 340 to 40 rows",
        "2 tables lost no row: a restore of all would set them back, too",
    )


def test_a_column_that_is_gone_is_a_partial_loss() -> None:
    gone = SchemaDamage("column", "app.users.plan", "gone", "text")
    runbook, reasons = propose_runbook("structure", report(USERS, TAGS, schema=(gone,)))
    assert (runbook, reasons) == (
        "partial-loss",
        ("not defined any more: column app.users.plan",),
    )


def test_what_shows_no_loss_may_be_changed_rows() -> None:
    runbook, reasons = propose_runbook("unknown", report(USERS, TAGS))
    assert runbook == "partial-loss"
    assert reasons == ("no table has fewer rows: changed ones show in the comparison",)


def test_a_database_that_is_gone_or_emptied_is_a_data_loss() -> None:
    gone = [replace(table, live_rows=None, missing=True) for table in (VIDEOS, USERS, TAGS)]
    assert propose_runbook("rows", report(*gone, live="gone")) == (
        "data-loss",
        ("the live database is gone",),
    )
    assert propose_runbook("rows", report(*gone))[0] == "data-loss"
    empty = [replace(table, live_rows=0) for table in (VIDEOS, USERS, TAGS)]
    assert propose_runbook("rows", report(*empty)) == (
        "data-loss",
        ("live has no table with rows left",),
    )
    most = [replace(VIDEOS, live_rows=1), replace(USERS, live_rows=2), TAGS]
    assert propose_runbook("rows", report(*most)) == (
        "data-loss",
        ("2 tables of 3 lost rows, 5 637 of 5 660",),
    )


def test_damaged_pages_are_corruption_whatever_is_seen() -> None:
    hurt = report(VIDEOS, corrupt=True, health=("app.videos: it can't be read",))
    assert propose_runbook("rows", hurt) == ("corruption", ("app.videos: it can't be read",))
    runbook, reasons = propose_runbook("errors", report(USERS))
    assert runbook == "corruption"
    assert reasons == ("you see errors; this first look found none: the whole check may",)


def test_a_merge_loses_least_as_long_as_there_is_what_to_merge_into() -> None:
    ways = weigh_ways(report(VIDEOS, USERS, born_and_gone=7))
    assert [(way.way, way.recommended) for way in ways] == [("merge", True), ("swap", False)]
    assert ways[0].why == (
        "loses nothing of what live has; swap: loses 10 rows and the changes of 61 minutes;"
        " at most 7 rows born since the point come back by no way"
    )
    assert ways[0].duration_seconds == (80.0, 240.0)
    assert (ways[1].loss_rows, ways[1].loss_minutes) == (10, 61.0)
    gone = report(replace(VIDEOS, live_rows=None, missing=True), live="gone")
    swap, merge = weigh_ways(gone)
    assert (swap.way, swap.recommended, merge.possible) == ("swap", True, False)
    assert merge.why == "live has nothing left to merge into"


def test_a_spare_makes_the_swap_a_matter_of_seconds() -> None:
    spare = candidate(spare="shop__spare_ab12", spare_oid=5)
    (swap,) = [w for w in weigh_ways(report(USERS, candidates=(spare,))) if w.way == "swap"]
    assert swap.duration_seconds == (0.1, 1.0)
    unknown = candidate(seconds=None)
    (swap,) = [w for w in weigh_ways(report(USERS, candidates=(unknown,))) if w.way == "swap"]
    assert swap.duration_seconds is None


def test_where_databases_cannot_be_renamed_schemas_are() -> None:
    hurt = report(replace(VIDEOS, corrupt=True, live_rows=None), USERS, corrupt=True)
    ways = {way.way: way for way in weigh_ways(hurt, can_rename=False)}
    assert not ways["swap"].possible
    assert ways["schema swap"].recommended
    assert not ways["merge"].possible
    assert ways["salvage"].possible
    assert ways["salvage"].loss_rows is None


def test_points_that_cannot_be_used_are_told_and_salvage_is_left() -> None:
    damaged = candidate(trust="damaged", doubt="damaged")
    hurt = report(replace(VIDEOS, corrupt=True, live_rows=None), corrupt=True)
    ways = weigh_ways(replace(hurt, candidates=(damaged,)))
    best = recommended(ways)
    assert best is not None
    assert best.way == "salvage"
    assert {way.why for way in ways if not way.possible} == {"the point is damaged"}
    assert recommended(weigh_ways(report(USERS, candidates=(damaged,)))) is None
    assert weigh_ways(report(USERS, candidates=())) == ()


def test_while_nobody_knows_when_it_was_right_a_point_that_brings_rows_back_is_better() -> None:
    new = candidate("new", after_damage=None, rows_back=0, minutes=5.0)
    old = candidate("old", after_damage=None, rows_back=5300, minutes=65.0)
    best = recommended(weigh_ways(report(VIDEOS, candidates=(new, old))))
    assert best is not None
    assert (best.way, best.point) == ("merge", "old")


rows = st.none() | st.integers(0, 10**7)
candidates = st.lists(
    st.builds(
        Candidate,
        point=st.text("abc", min_size=1, max_size=3),
        at=st.just(NOW),
        trust=st.sampled_from(["damaged", "incomplete", "unverified", "sealed", "proven"]),
        minutes=st.floats(0, 10**5),
        rows_lost=rows,
        rows_back=rows,
        after_damage=st.sampled_from([None, True, False]),
        doubt=st.sampled_from(["", "", "suspect: x", "taken after the damage"]),
        spare=st.sampled_from(["", "spare"]),
        seconds=st.none() | st.floats(0, 10**5),
    ),
    max_size=6,
    unique_by=lambda one: one.point,
)
tables = st.lists(
    st.builds(
        TableDamage,
        schema=st.just("app"),
        name=st.text("xyz", min_size=1, max_size=2),
        point_rows=rows,
        live_rows=rows,
        note=st.sampled_from(["", "not read"]),
        missing=st.booleans(),
        corrupt=st.booleans(),
    ),
    max_size=5,
)
reports = st.builds(
    DamageReport,
    at=st.just(NOW),
    point=st.just("a"),
    point_at=st.just(NOW),
    tables=tables.map(tuple),
    candidates=candidates.map(tuple),
    born_and_gone=rows,
    live=st.sampled_from(["there", "gone", "unreadable"]),
    corrupt=st.booleans(),
)


@given(reports, st.booleans())
def test_exactly_one_way_is_recommended_if_any_is_possible(
    found: DamageReport, can_rename: bool
) -> None:
    ways = weigh_ways(found, can_rename=can_rename)
    chosen = [way for way in ways if way.recommended]
    assert len(chosen) == (1 if any(way.possible for way in ways) else 0)
    assert all(way.possible and way.why for way in chosen)
    assert all(way.why for way in ways if not way.possible)
    assert chosen in ([], [ways[0]] if ways else [])


@given(reports, st.booleans())
def test_no_doubtful_point_is_recommended_over_a_clean_one_nor_a_greater_loss(
    found: DamageReport, can_rename: bool
) -> None:
    ways = weigh_ways(found, can_rename=can_rename)
    best = recommended(ways)
    if best is None:
        return
    clean = [way for way in ways if way.possible and not way.doubt]
    assert not (best.doubt and clean)
    sure = all(one.after_damage is not None for one in found.candidates)
    if sure and not best.doubt and best.loss_rows is not None:
        known = [way.loss_rows for way in clean if way.loss_rows is not None]
        assert best.loss_rows == min(known)


@given(st.sampled_from(list(SEEN_TEXTS)), reports)
def test_a_runbook_is_always_proposed_with_reasons(seen: str, found: DamageReport) -> None:
    runbook, reasons = propose_runbook(seen, found)  # type: ignore[arg-type]
    assert runbook in ("data-loss", "partial-loss", "corruption")
    assert reasons
    damaged = found.live != "gone" and (found.corrupt or seen == "errors")
    assert (runbook == "corruption") == damaged
