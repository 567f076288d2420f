"""What a merge proposes, and how its foretellings are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.foreign_key_graph import parents_first, related
from fsbackup_tui.domain.merge import (
    Action,
    Drift,
    ForeignKey,
    LeftOut,
    LinkDifference,
    MergePlan,
    MergePreview,
    TableChoice,
    TableDifference,
    TableEffect,
)
from fsbackup_tui.domain.merge_proposal import propose


def table(name: str) -> tuple[str, str]:
    return "public", name


def key(child: str, parent: str, on_delete: Action = "no action") -> ForeignKey:
    return ForeignKey(
        f"{child}_{parent}", table(child), (f"{parent}_id",), table(parent), ("id",), on_delete
    )


def plan(missing: Mapping[str, int], *links: LinkDifference) -> MergePlan:
    return MergePlan(
        tuple(
            TableDifference(table(name), ("id",), ("id",), 10, 10, missing=count)
            for name, count in missing.items()
        ),
        links,
        (),
        {},
        tuple(link.key for link in links),
    )


def proposed(found: MergePlan, *names: str) -> dict[str, TableChoice]:
    return {p.choice.table[1]: p.choice for p in propose(found, [table(name) for name in names])}


def test_parents_come_before_their_children_and_cycles_together() -> None:
    keys = [
        key("likes", "videos"),
        key("videos", "users"),
        key("users", "teams"),
        key("teams", "users"),
        key("users", "users"),
        key("videos", "elsewhere"),
    ]
    names = [table(name) for name in ("likes", "videos", "teams", "users", "alone")]
    order = parents_first(names, keys)
    assert sorted(order) == sorted(
        [(table("teams"), table("users")), (table("videos"),), (table("likes"),), (table("alone"),)]
    )
    chain = [group for group in order if group != (table("alone"),)]
    assert chain == [
        (table("teams"), table("users")),
        (table("videos"),),
        (table("likes"),),
    ]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30))
def test_each_group_stands_after_all_that_it_refers_to(edges: list[tuple[int, int]]) -> None:
    names = [table(str(number)) for number in range(8)]
    keys = [key(str(child), str(parent)) for child, parent in edges]
    order = parents_first(names, keys)
    assert sorted(name for group in order for name in group) == names
    place = {name: number for number, group in enumerate(order) for name in group}
    assert all(place[k.parent] <= place[k.table] for k in keys)
    for group in order:
        for name in group:
            # In one group with whom it reaches and is reached by, and nobody else.
            there = _reached(name, keys)
            assert {n for n in there if name in _reached(n, keys)} | {name} == set(group)


def _reached(start: tuple[str, str], keys: list[ForeignKey]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    queue = [start]
    while queue:
        name = queue.pop()
        for parent in {k.parent for k in keys if k.table == name} - found:
            found.add(parent)
            queue.append(parent)
    return found


def test_a_chain_of_ten_thousand_tables_needs_no_stack() -> None:
    names = [table(f"{number:05}") for number in range(10_000)]
    keys = [key(f"{number:05}", f"{number + 1:05}") for number in range(9_999)]
    assert parents_first(names, keys) == tuple((name,) for name in reversed(names))


def test_a_loss_reaches_those_who_follow_and_all_that_they_need() -> None:
    keys = [
        key("videos", "users", "cascade"),
        key("videos", "channels"),
        key("notes", "videos", "set null"),
        key("bills", "users", "restrict"),
        key("channels", "plans"),
        key("other", "plans", "cascade"),
    ]
    names = {name[1] for name in related([table("users")], keys)}
    assert names == {"users", "videos", "notes", "channels", "plans", "bills"}


def test_children_that_went_with_their_parents_are_proposed_narrowed_to_them() -> None:
    found = plan(
        {"users": 3, "videos": 8, "likes": 9, "elsewhere": 2, "notes": 0},
        LinkDifference(key("videos", "users", "cascade"), lost_with_parent=5),
        LinkDifference(key("likes", "videos", "cascade"), lost_with_parent=7),
        LinkDifference(key("notes", "users", "set null"), unlinked=4),
    )
    assert proposed(found, "users") == {
        "users": TableChoice(table("users")),
        "videos": TableChoice(table("videos"), narrow=("with parents",)),
        "likes": TableChoice(table("likes"), narrow=("with parents",)),
        "notes": TableChoice(
            table("notes"), missing=False, overwrite=("users_id",), narrow=("with parents",)
        ),
    }
    reasons = {p.choice.table[1]: p.reasons for p in propose(found, [table("users")])}
    assert reasons["videos"] == ("5 rows went with public.users (videos_users)",)
    assert reasons["notes"] == ("4 rows lost their public.users (notes_users)",)
    assert reasons["users"] == ("rows are missing",)


def test_without_a_name_all_tables_with_missing_rows_are_proposed_whole() -> None:
    found = plan(
        {"users": 3, "videos": 8, "elsewhere": 2, "same": 0},
        LinkDifference(key("videos", "users", "cascade"), lost_with_parent=5),
    )
    assert proposed(found) == {
        name: TableChoice(table(name)) for name in ("users", "videos", "elsewhere")
    }


def test_a_needed_parent_brings_itself_and_not_its_other_children() -> None:
    found = plan(
        {"videos": 2, "users": 9, "bills": 4},
        LinkDifference(key("videos", "users", "cascade"), lost_with_parent=2),
        LinkDifference(key("bills", "users", "cascade"), lost_with_parent=4),
    )
    assert proposed(found, "videos") == {
        "videos": TableChoice(table("videos")),
        "users": TableChoice(table("users"), narrow=("needed",)),
    }


def test_a_child_that_outlives_its_parent_did_not_go_with_it() -> None:
    found = plan(
        {"users": 2, "notes": 3},
        LinkDifference(key("notes", "users", "set null"), lost_with_parent=3),
    )
    assert set(proposed(found, "users")) == {"users"}
    assert proposed(found, "notes")["users"].narrow == ("needed",)


@pytest.mark.parametrize("names", [(), ("a",), ("b",)])
def test_tables_that_refer_to_each_other_come_to_an_end(names: tuple[str, ...]) -> None:
    found = plan(
        {"a": 1, "b": 1},
        LinkDifference(key("a", "b", "cascade"), lost_with_parent=1),
        LinkDifference(key("b", "a", "cascade"), lost_with_parent=1),
        LinkDifference(key("a", "a", "cascade"), lost_with_parent=1),
    )
    assert set(proposed(found, *names)) == {"a", "b"}


def test_a_preview_that_would_do_something_else_says_where() -> None:
    before = MergePreview(
        (TableEffect(table("users"), 3, 2, 1), TableEffect(table("videos"), 5)), ()
    )
    left = LeftOut(table("users"), "missing", "clash", "users_email_key", 1)
    after = MergePreview(
        (TableEffect(table("users"), 2, 2, 1), TableEffect(table("videos"), 5)), (left,)
    )
    assert before.differs_from(before) == ()
    assert after.differs_from(before) == (
        "public.users: 2 in, 2 over, 1 out, it was 3 in, 2 over, 1 out",
    )
    gone = MergePreview((), ())
    assert "nothing" in gone.differs_from(before)[0]
    assert (before.rows, gone.rows) == (11, 0)
    assert left.text == "another row has what must be unique: users_email_key"


def test_definitions_are_proposed_for_what_a_person_names_and_never_with_a_guess() -> None:
    users = table("users")
    drift = (
        Drift("column", users, "plan", "text NOT NULL", None, needs_value=True),
        Drift("column", users, "note", "text", None),
        Drift("column", users, "number", "int", None, obstacle="a sequence numbers it"),
        Drift("column", users, "new", None, "text"),
        Drift("index", users, "users_note", "CREATE INDEX …", None),
        Drift("table", table("gone"), None, "a table", None),
    )
    found = replace(plan({"users": 3}), drift=drift)
    assert proposed(found) == {"users": TableChoice(users)}
    assert proposed(found, "users", "gone") == {
        "users": TableChoice(users, columns=("note",), objects=("users_note",)),
        "gone": TableChoice(table("gone"), missing=False, recreate=True),
    }


def test_rows_of_a_table_without_a_key_are_never_proposed() -> None:
    link = LinkDifference(key("visits", "users", "cascade"), lost_with_parent=4)
    found = plan({"users": 3, "visits": 4}, link)
    tables = tuple(replace(t, whole_rows=t.table == table("visits")) for t in found.tables)
    found = replace(found, tables=tables)
    assert set(proposed(found)) == {"users"}
    assert proposed(found, "visits") == {}
