"""What an incident's entries add up to, and that other versions' entries harm nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.incident import Entry, Incident, parse_entry, replay

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
OPENED = {"site": "face-swap", "source": "db", "seen": "rows", "last_right": None}


def entries(*kinds: tuple[str, dict[str, Any]], operator: str = "ana") -> list[Entry]:
    """Return entries a minute apart, the opening first, all of epoch 1."""
    told = [("opened", OPENED), *kinds]
    return [
        Entry(number, START + timedelta(minutes=number - 1), operator, "db1", 1, kind, body)
        for number, (kind, body) in enumerate(told, 1)
    ]


def after(*kinds: tuple[str, dict[str, Any]]) -> Incident:
    incident = replay("20261122-01", entries(*kinds))
    assert incident is not None
    return incident


def test_an_entry_comes_back_from_its_line() -> None:
    entry = Entry(3, START, "ana", "db1", 2, "note", {"text": "naïve \u2028"})
    assert parse_entry(json.loads(json.dumps(entry.document()))) == entry


def test_what_was_begun_and_not_ended_is_unknown_until_somebody_looked() -> None:
    begun = after(("intent", {"step": "swap", "job": "j1"}))
    assert begun.step("swap", START).status == "unknown"
    assert begun.step("swap", START).job == "j1"
    assert not begun.step("swap", START).settled
    assert begun.step("never", START).status == "open"
    looked = after(("intent", {"step": "swap", "job": "j1"}), ("not-done", {"step": "swap"}))
    assert looked.step("swap", START).status == "open"
    done = after(
        ("intent", {"step": "swap", "job": "j1"}),
        ("done", {"step": "swap", "result": {"closed_seconds": 0.2}}),
    )
    state = done.step("swap", START)
    assert (state.status, state.job, state.result["closed_seconds"]) == ("done", "j1", 0.2)
    assert state.began == START + timedelta(minutes=1)
    assert state.at - state.began == timedelta(minutes=1)


def test_frozen_counts_from_the_first_freeze_until_the_last_is_undone() -> None:
    frozen = (
        ("frozen", {"what": "table public.users", "undo": ["GRANT …"]}),
        ("frozen", {"what": "role app"}),
        ("frozen", {"what": "table public.users", "undo": ["GRANT … again"]}),
    )
    now = START + timedelta(minutes=10)
    assert after().frozen_for(now) is None
    assert after(*frozen).frozen_for(now) == timedelta(minutes=9)
    assert {freeze.undo for freeze in after(*frozen).freezes} == {(), ("GRANT … again",)}
    one = after(*frozen, ("thawed", {"what": "table public.users"}))
    assert one.frozen_for(now) == timedelta(minutes=8)
    assert after(*frozen, ("thawed", {"what": "role app"})).frozen_for(now) == timedelta(minutes=9)


def test_the_damage_time_can_be_corrected_and_everything_follows() -> None:
    assert after().damage is None
    told = after(("damage-time", {"last_right": "2026-11-22T02:45:00.000Z"}))
    assert told.damage is not None
    assert told.damage.covers(datetime(2026, 11, 22, 3, 0, tzinfo=UTC)) is True
    assert told.damage.covers(datetime(2026, 11, 22, 2, 0, tzinfo=UTC)) is False
    corrected = after(
        ("damage-time", {"last_right": "2026-11-22T02:45:00.000Z"}),
        ("damage-time", {"last_right": None}),
    )
    assert corrected.last_right is None


def test_a_take_over_is_another_epoch_and_the_clock_runs_from_declaring() -> None:
    told = entries(("note", {"text": "videos gone"}))
    told.append(Entry(3, START + timedelta(minutes=5), "ben", "db2", 2, "led", {"why": "shift"}))
    incident = replay("20261122-01", told)
    assert incident is not None
    assert incident.leader is not None
    assert (incident.leader.operator, incident.epoch) == ("ben", 2)
    assert incident.opened_by == "ana"
    assert [note.text for note in incident.notes] == ["videos gone"]
    assert incident.elapsed(START + timedelta(hours=1)) == timedelta(hours=1)
    told.append(Entry(4, START + timedelta(minutes=30), "ben", "db2", 2, "closed", {"why": "done"}))
    closed = replay("20261122-01", told)
    assert closed is not None
    assert closed.elapsed(START + timedelta(hours=9)) == timedelta(minutes=30)


def test_nothing_before_it_was_opened_and_no_unknown_entry_harms() -> None:
    assert replay("x", []) is None
    assert replay("x", entries(("note", {"text": "a"}))[1:]) is None
    odd = after(
        ("weather", {"rain": True}),
        ("intent", {"step": None}),
        ("done", {"step": "s", "result": "not a mapping"}),
        ("set", {"name": "point", "value": "20261122T020000Z-daily-k3f9", "later": 1}),
    )
    assert odd.step("s", START).status == "done"
    assert odd.parameters == {"point": "20261122T020000Z-daily-k3f9"}
    assert odd.entries == 5


KINDS = "opened led damage-time runbook set note frozen thawed closed intent done failed undone ?"
FIELDS = ["step", "result", "what", "undo", "name", "value", "last_right", "runbook"]
VALUES = st.none() | st.text(max_size=4) | st.integers() | st.lists(st.text(max_size=2))


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS.split()), st.dictionaries(st.sampled_from(FIELDS), VALUES))
    )
)
def test_no_journal_breaks_the_reading(kinds: list[tuple[str, dict[str, Any]]]) -> None:
    incident = replay("x", entries(*kinds))
    assert incident is not None
    assert incident.entries == len(kinds) + 1
