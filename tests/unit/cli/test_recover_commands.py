"""What the faces of recovery print and take: answers, incidents, runbooks, rollback's refusals."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.cli.follow import Interrupts
from fsbackup_tui.cli.prompts import Left, Prompts
from fsbackup_tui.cli.recover_words import answer_value, default_words
from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.incident_now import now_text
from fsbackup_tui.recovery.library import SHIPPED
from fsbackup_tui.recovery.question import Option, Question
from fsbackup_tui.recovery.rollback import find_swapped
from tests.support.jobs import ROOT, make_site
from tests.support.recovering import make_desk, open_session

ROWS = Question(
    "What?",
    (Option("a:missing", "a"), Option("b:changed", "b"), Option("c d", "c")),
    several=True,
    default="a:missing, c d",
)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("1", "a:missing"),
        ("1,2", "a:missing, b:changed"),
        ("2 1", "b:changed, a:missing"),
        ("c d", "c d"),
        ("9", "9"),
        ("", ""),
    ],
)
def test_numbers_stand_for_answers(line: str, value: str) -> None:
    assert answer_value(ROWS, line) == value
    assert default_words(ROWS) == "1, 3"
    assert answer_value(Question("Free?"), "1, 2") == "1, 2"


def prompts_of(text: bytes) -> Prompts:
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return Prompts(reading, io.StringIO(), Interrupts())


def test_off_a_terminal_each_line_is_one_answer_and_the_end_is_leaving() -> None:
    prompts = prompts_of("first\n\n  näch\x1bste \nno newline".encode())
    assert [prompts.ask("?") for _ in range(4)] == ["first", "", "näch ste", "no newline"]
    with pytest.raises(Left):
        prompts.ask("?")
    os.close(prompts.descriptor)


def fsbackup(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.recover_scripted", str(site), "ana", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        check=False,
        timeout=60,
    )


def test_incidents_are_listed_shown_and_reported(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path))
    session.note("the app is up")
    session.leave()
    listed = fsbackup(tmp_path, "incidents", "--json")
    (told,) = json.loads(listed.stdout)["incidents"]
    assert (told["id"], told["state"], told["runbook"]) == (
        session.journal.id,
        "open",
        "partial-loss",
    )
    shown = fsbackup(tmp_path, "incidents", "show", session.journal.id[4:])
    assert "ana: note: the app is up" in shown.stdout
    told_of = [line for line in shown.stdout.splitlines()[:-1] if "fsbackup --config" not in line]
    assert max(map(len, told_of)) <= 80
    target = tmp_path / "report.md"
    done = fsbackup(tmp_path, "incidents", "report", "--output", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_text().startswith(f"# Incident {session.journal.id}")
    wrong = fsbackup(tmp_path, "incidents", "show", "1122-99")
    assert (wrong.returncode, wrong.stdout) == (2, "")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_runbook_is_readable_and_its_yaml_is_its_file(tmp_path: Path, name: str) -> None:
    make_site(tmp_path)
    shown = fsbackup(tmp_path, "runbook", "show", name)
    assert "1 Stop the bleeding" in shown.stdout
    # Where the machine is gone there is nothing whose place anything could take.
    assert ("asks for the typed name" in shown.stdout) == (name != "host-lost")
    text = fsbackup(tmp_path, "runbook", "show", name, "--yaml").stdout
    assert text.startswith(f"format: 1\nid: {name}\n")
    assert f"{name}: " in fsbackup(tmp_path, "runbook").stdout
    assert fsbackup(tmp_path, "runbook", "show", "nope").returncode == 2


def test_an_incident_that_is_over_is_rolled_back_only_by_its_name(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    with pytest.raises(UsageError, match="NOTHING TO ROLL BACK"):
        find_swapped(desk, None, None)
    session = open_session(desk)
    body = {"name": "swapped", "value": {"database": "shop", "kept_as": "shop__before_x"}}
    session.journal.append("set", body, desk.author, epoch=session.epoch)
    assert find_swapped(desk, None, None).id == session.journal.id
    session.close("done")
    with pytest.raises(SafetyRefusal, match="IT IS OVER"):
        find_swapped(desk, None, "db")
    assert find_swapped(desk, session.journal.id, None).id == session.journal.id
    session.leave()
    session.reopen("rollback")
    assert session.read().incident.closed is None
    other = open_session
    session.close("again")
    second = other(desk)
    with pytest.raises(SafetyRefusal, match="INCIDENT OPEN ALREADY"):
        session.reopen("rollback")
    second.leave()


def test_now_txt_brings_schemas_back_too(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path))
    pairs = [{"schema": "public", "kept_as": "public__before_1"}]
    for name, value in (("swapped", {"schemas": pairs}), ("live_name", "shop")):
        body = {"name": name, "value": value}
        session.journal.append("set", body, session.desk.author, epoch=session.epoch)
    text = now_text(session.read().incident, session.desk.now() + timedelta(seconds=1))
    assert '  \\connect "shop"\n  BEGIN;\n  ALTER SCHEMA "public" RENAME TO "public__after_' in text
    assert 'ALTER SCHEMA "public__before_1" RENAME TO "public";' in text
