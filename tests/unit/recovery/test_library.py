"""The shipped runbooks, and what a site's configuration makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import ConfigError, UsageError
from fsbackup_tui.recovery.actions.registry import ACTIONS, PREDICATES
from fsbackup_tui.recovery.library import SHIPPED, find_runbook, runbook_ids, shipped_text
from fsbackup_tui.recovery.question import Answer
from tests.support.jobs import make_site
from tests.support.recovering import do_step, jobs_of, make_desk, open_session
from tests.support.sites import PROJECT
from tests.unit.config.support import write_config

WARM = (
    "recovery:\n"
    "  steps:\n"
    "    - {runbook: data-loss, phase: resume, after: start-app, id: warm-cache,\n"
    "       title: Warm the cache, why: The first users would else wait for minutes.,\n"
    "       command: [touch, warmed]}\n"
)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_is_whole_and_names_only_what_there_is(name: str) -> None:
    runbook = find_runbook(name, None)
    assert [phase for phase, steps in runbook.phases.named() if not steps] == []
    for step in runbook.steps():
        assert ACTIONS[step.do].kind == step.kind
        assert step.when is None or step.when in PREDICATES
        # What can hurt asks for a name, and says how it is taken back.
        assert not step.destructive or (step.undo and step.guard)


def test_every_action_and_condition_has_a_place() -> None:
    used = [step for name in SHIPPED for step in find_runbook(name, None).steps()]
    drills = {"rehearsal", "drop-rehearsal", "rehearse-tree", "drop-rehearsed-tree"}
    drills |= {"host-stage", "host-unstage"}
    assert set(ACTIONS) - {step.do for step in used} - drills == {"site-step", "confirm"}


def test_a_site_adds_a_step_with_its_command(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, more=WARM)
    steps = [step.id for step in find_runbook("data-loss", desk.loaded).phases.resume]
    assert steps[steps.index("start-app") + 1] == "warm-cache"
    assert "warm-cache" not in [step.id for step in find_runbook("corruption", desk.loaded).steps()]
    session = open_session(desk, runbook="data-loss")
    assert session.card("warm-cache").runs == ("touch warmed",)
    do_step(session, "warm-cache")
    assert [getattr(each, "command", "") for each in jobs_of(desk).requests] == ["warm-cache"]


def test_a_step_in_no_place_is_told_with_its_line(tmp_path: Path) -> None:
    loaded = make_site(tmp_path, more=WARM.replace("start-app", "start-ap"))
    with pytest.raises(ConfigError, match="no step 'start-ap'") as caught:
        find_runbook("data-loss", loaded)
    assert caught.value.problems[0].line is not None


def test_a_site_replaces_a_runbook(tmp_path: Path) -> None:
    own = shipped_text("data-loss").replace("The whole database back", "Our own way")
    (tmp_path / "ours.yaml").write_text(own, encoding="utf-8")
    more = "recovery:\n  runbooks: {data-loss: ours.yaml}\n"
    loaded = make_site(tmp_path, more=more)
    assert find_runbook("data-loss", loaded).title == "Our own way"
    assert runbook_ids(loaded) == SHIPPED


def test_one_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="NO SUCH RUNBOOK") as caught:
        find_runbook("dataloss", None)
    assert "data-loss" in caught.value.why


def test_messages_are_filled_in_and_go_to_the_sites_command(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, more="commands: {notify_people: [mail, team]}\n")
    session = open_session(desk, runbook="data-loss")
    shown = "\n".join(session.card("tell-first").shows)
    assert "shop: we have a problem with the data (rows gone or wrong)" in shown
    assert "Next word by" in shown
    do_step(session, "tell-first")
    request = jobs_of(desk).requests[-1]
    assert getattr(request, "message", "") in shown
    assert session.card("tell-first").runs == ("mail team",)


def test_without_a_command_a_person_does_it(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    assert session.card("stop-app").by_hand == "Stop the application by hand."
    do_step(session, "stop-app", Answer())
    assert session.card("stop-app").status == "done"
    assert jobs_of(session.desk).requests == []


def test_the_step_in_the_example_has_its_place(tmp_path: Path) -> None:
    text = (PROJECT / "config.example.yaml").read_text(encoding="utf-8")
    loaded = load_config(write_config(tmp_path, text), {})
    resume = [step.id for step in find_runbook("data-loss", loaded).phases.resume]
    assert resume[resume.index("start-app") + 1] == "clear-cdn"
