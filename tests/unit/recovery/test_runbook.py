"""Runbooks are checked whole, and an incident's place in one follows from its journal alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import ConfigError, UsageError
from fsbackup_tui.domain.incident import Entry, Incident, replay
from fsbackup_tui.recovery.flow import Flow, place_steps
from fsbackup_tui.recovery.runbook import Names, Runbook, parse_runbook, read_runbook

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
NAMES = Names(
    actions={
        "vacuum-off": "act",
        "freeze": "choose",
        "look": "check",
        "restore-beside": "act",
        "swap": "act",
        "tell": "confirm",
    },
    predicates={"a-table-is-named", "rows-are-gone"},
)
TEXT = """
format: 1
id: data-loss
title: Rows are gone or wrong
summary: The whole database goes back to a point; nothing of the damaged one is lost.
seen: [rows]
phases:
  stop:
    - id: keep-evidence
      kind: act
      do: vacuum-off
      title: Leave the dead rows where they are
      why: Vacuum would clear away what can still be read of them.
      when: a-table-is-named
    - {id: freeze, kind: choose, do: freeze, title: Stop writing, why: Each write makes it worse.}
  assess:
    - {id: look, kind: check, do: look, title: Look at the damage, why: It is read and not changed.}
  recover:
    - id: restore-beside
      kind: act
      do: restore-beside
      title: Restore beside
      why: The damaged database stays untouched until the copy is proven.
      usually: 10m
    - id: swap
      kind: act
      do: swap
      title: Swap
      why: The copy takes the name in one transaction.
      requires: [restore-beside, freeze]
      destructive: true
      guard: true
"""


def parsed(text: str = TEXT) -> Runbook:
    return parse_runbook(text, "data-loss.yaml", NAMES)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError, match="RUNBOOK NOT USABLE") as raised:
        parsed(text)
    return [problem.text() for problem in raised.value.problems]


def incident(*kinds: tuple[str, dict[str, Any]]) -> Incident:
    told = [("opened", {"site": "s", "source": "db", "seen": "rows"}), *kinds]
    entries = [
        Entry(number, NOW + timedelta(minutes=number), "ana", "db1", 1, kind, body)
        for number, (kind, body) in enumerate(told, 1)
    ]
    found = replay("20261122-01", entries)
    assert found is not None
    return found


def flow(*kinds: tuple[str, dict[str, Any]], **conditions: bool | None) -> Flow:
    told = {name.replace("_", "-"): holds for name, holds in conditions.items()}
    return place_steps(parsed(), incident(*kinds), told, NOW)


def done(step: str) -> tuple[str, dict[str, Any]]:
    return "done", {"step": step}


def test_a_good_one_is_read_with_its_steps_in_order(tmp_path: Path) -> None:
    path = tmp_path / "data-loss.yaml"
    path.write_text(TEXT)
    runbook = read_runbook(path, NAMES)
    assert [step.id for step in runbook.steps()] == [
        "keep-evidence",
        "freeze",
        "look",
        "restore-beside",
        "swap",
    ]
    assert runbook.steps()[3].usually == timedelta(minutes=10)
    with pytest.raises(UsageError, match="RUNBOOK NOT READ"):
        read_runbook(tmp_path / "none.yaml", NAMES)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("do: vacuum-off", "do: vacuum-of", "11: phases.stop[0].do: 'vacuum-of' is nothing"),
        ("when: a-table-is-named", "when: 1 == 1", "'1 == 1' is no condition"),
        ("kind: check, do: look", "kind: act, do: look", "is for a step of kind check, not act"),
        ("requires: [restore-beside, freeze]", "requires: [restore]", "no step 'restore' comes"),
        ("requires: [restore-beside, freeze]", "requires: [swap]", "no step 'swap' comes before"),
        ("id: swap", "id: look", "'look' is the id of two steps"),
        ("destructive: true", "destructive: true\n      shell: rm -rf /", "shell"),
        ("format: 1", "format: 2", "format"),
        ("  assess:", "  later:", "later"),
        ("guard: true", "guard: true\n      id: again", "twice"),
    ],
)
def test_every_mistake_has_its_line(old: str, new: str, said: str) -> None:
    found = problems(TEXT.replace(old, new))
    assert any(said in problem for problem in found), found


def test_no_phase_has_more_than_seven_steps_and_none_at_all_is_no_runbook() -> None:
    step = "    - {id: look-%d, kind: check, do: look, title: Look, why: To see what is there.}\n"
    many = TEXT.replace("  recover:", "".join(step % n for n in range(7)) + "  recover:")
    assert any("assess" in problem for problem in problems(many))
    empty = TEXT.partition("phases:")[0] + "phases: {}\n"
    assert any("there is no step" in problem for problem in problems(empty))


def test_one_is_at_the_first_step_that_is_not_behind() -> None:
    at = flow(a_table_is_named=True).current()
    assert at is not None
    assert (at.step.id, at.number, at.can_run) == ("keep-evidence", "1.1", True)
    at = flow(a_table_is_named=False).current()
    assert at is not None
    assert at.step.id == "freeze"
    there = flow(done("freeze"), done("look"), a_table_is_named=False)
    assert there.phase_words() == {
        "stop": "done",
        "preserve": "-",
        "assess": "done",
        "recover": "1/2",
        "resume": "-",
    }


def test_a_step_runs_only_when_what_it_requires_is_done_or_skipped() -> None:
    swap = flow(done("restore-beside")).find("swap")
    assert swap is not None
    assert (swap.waits_for, swap.can_run) == (("freeze",), False)
    skipped = ("skipped", {"step": "freeze", "reason": "the app is down"})
    swap = flow(done("restore-beside"), skipped).find("swap")
    assert swap is not None
    assert swap.can_run
    undone = flow(done("restore-beside"), skipped, ("undone", {"step": "restore-beside"}))
    swap = undone.find("swap")
    assert swap is not None
    assert swap.waits_for == ("restore-beside",)


def test_an_unknown_step_comes_first_and_can_t_be_run_before_it_is_settled() -> None:
    begun = flow(done("freeze"), ("intent", {"step": "swap", "job": "j1"}))
    at = begun.current()
    assert at is not None
    assert (at.step.id, at.can_run) == ("swap", False)


def test_done_steps_stay_done_when_all_is_done_there_is_none_left() -> None:
    steps = [done(step.id) for step in parsed().steps()]
    assert flow(*steps).current() is None
    assert flow(*steps).phase_words()["recover"] == "done"
