"""``recover --plain`` as a person meets it: questions and answers, on a terminal and off one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest

from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.text import cell_width
from fsbackup_tui.repository.incidents import Author, IncidentJournal, list_incidents
from tests.support.jobs import ROOT, make_site
from tests.support.recovering import NOW
from tests.support.waiting import wait_until

MODULE = "tests.support.recover_scripted"
DECLARED = ["20 m ago", "1"]
TO_THE_SWAP = [
    "videos",  # 1.1 which tables
    "",  # 1.2 pause jobs, by hand
    "3",  # 1.3 freeze: the application's role
    "",  # 1.4 stop the application
    "",  # 1.5 tell people
    "",  # 2.1 keep what there is
    "",  # 3.1 look at the damage
    "",  # 3.2 the point that is proposed
    "2",  # 3.3 swap
    "",  # 3.4 tell when it is back
    "",  # 4.1 restore
    "",  # 4.2 prove the copy
]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    make_site(tmp_path)
    return tmp_path


def environment(**more: str) -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1", **more}


def recover(
    site: Path, lines: list[str], *arguments: str, operator: str = "ana", **more: str
) -> subprocess.CompletedProcess[str]:
    """Answer from a script, one line after the other."""
    return subprocess.run(
        [sys.executable, "-m", MODULE, str(site), operator, "recover", "--plain", *arguments],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        env=environment(**more),
        cwd=ROOT,
        check=False,
        timeout=120,
    )


def incident_of(site: Path) -> Incident:
    incident = list_incidents(site / "state")[0].read()
    assert incident is not None
    return incident


def check_lines(text: str) -> None:
    """Check that any terminal and any screen reader can show it: no escapes, 80 columns."""
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")
    long = [line for line in text.splitlines() if cell_width(line) > 80]
    commands = re.compile(r"^Runs {4}|fsbackup --config|^  /|pg_restore|^ {8}ALTER DATABASE")
    assert [line for line in long if not commands.search(line)] == []


def test_a_data_loss_is_led_to_its_end_from_a_script(site: Path) -> None:
    lines = [*DECLARED, *TO_THE_SWAP, "", "shop", *[""] * 6, "c runs again"]
    done = recover(site, lines, "data-loss")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    incident = incident_of(site)
    assert incident.closed is not None, done.stdout
    assert incident.closed_why == "runs again"
    assert incident.steps["swap"].status == "done"
    for words in (
        "When was it last right?",
        "Nothing destructive happens before step 4.5.",
        "Type the name shop to do it (Enter: nothing is done): shop",
        "What you lose by swapping",
        "All steps are done.",
        "Look on until",
    ):
        assert words in done.stdout, words
    check_lines(done.stdout)


@pytest.mark.parametrize("typed", ["", "sho", "SHOP", "yes", "shop shop"])
def test_without_the_name_nothing_is_swapped(site: Path, typed: str) -> None:
    done = recover(site, [*DECLARED, *TO_THE_SWAP, "", typed], "data-loss")
    assert "NOT CONFIRMED: shop was not typed. Nothing was done." in done.stdout
    assert "swap" not in incident_of(site).steps
    assert "stays open. Back:" in done.stdout


def test_enter_alone_for_ever_never_swaps(site: Path) -> None:
    recover(site, ["", "", *[""] * 80], "data-loss")
    steps = incident_of(site).steps
    assert not {"swap", "merge"} & {name for name, step in steps.items() if step.began}


def test_one_leaves_and_comes_back_to_the_same_step(site: Path) -> None:
    first = recover(site, [*DECLARED, "videos", "", "q"], "data-loss")
    assert "You left. Nothing is frozen." in first.stdout
    again = recover(site, ["n the app is still up", "l"])
    assert f"Incident {incident_of(site).id} is open: it is gone on with." in again.stdout
    assert " > 1.3  to do       Freeze writing?" in again.stdout
    assert incident_of(site).notes[0].text == "the app is still up"
    assert incident_of(site).epoch == 2
    named = recover(site, ["q"], "--resume", incident_of(site).id)
    assert "1.3 Freeze writing?" in named.stdout
    closed = recover(site, ["c a false alarm"])
    assert "To do: what runs by the clock is paused, and nobody wrote" in closed.stdout
    wrong = recover(site, [], "--resume", "x-99")
    assert wrong.returncode == 2
    assert "NO SUCH INCIDENT: x-99." in wrong.stderr


def test_commands_at_the_prompt(site: Path) -> None:
    lines = [
        *DECLARED,
        "s not now",
        "3.2",
        "",
        "s",
        "",
        "1.3",
        "s",
        "nobody writes anyway",
        "a 1.3",
        "t 02:45",
        "w 2",
        "h",
        "r",
        "?",
        "u",
        "levitate",
        "p",
        "q",
    ]
    done = recover(site, lines, "data-loss")
    incident = incident_of(site)
    text = done.stdout
    assert incident.steps["keep-evidence"].reason == "not now"
    assert incident.steps["freeze"].status == "open"
    assert incident.runbook == "partial-loss"
    assert "NOT NOW: 3.2 Choose the point is to do." in text
    assert "It waits for 3.1 Look at the damage." in text
    assert "Why is 3.2 left out?" in text
    assert "WHICH STEP?" in text
    assert "NOT UNDERSTOOD: levitate." in text
    assert "Risks     none known" in text
    report = site / "state" / "incidents" / incident.id / "report.md"
    assert report.read_text().startswith(f"# Incident {incident.id}: shop, db")
    check_lines(text)


def test_a_doubtful_point_wants_a_reason(site: Path) -> None:
    lines = [*DECLARED, *TO_THE_SWAP[:7], "2", "", "2", "it is all we have", "q"]
    done = recover(site, lines, "data-loss")
    assert "A REASON IS NEEDED" in done.stdout
    known = incident_of(site).parameters
    assert known["point_reason"] == "it is all we have"


def test_a_step_that_fails_is_told_and_can_be_run_again(site: Path) -> None:
    lines = [*DECLARED, *TO_THE_SWAP[:-1], "q"]
    more = {"FSBACKUP_TEST_REPLIES": "restore=DISK FULL: db1 has 2 GB."}
    done = recover(site, lines, "data-loss", **more)
    assert "DISK FULL: db1 has 2 GB.\nWhy   It is so.\nNext  Do this." in done.stdout
    again = recover(site, ["", "q"])
    assert "4.1 Restore beside: done" in again.stdout
    assert incident_of(site).steps["restore"].status == "done"


def test_where_the_server_can_not_be_seen_nothing_is_changed(site: Path) -> None:
    more = {"FSBACKUP_TEST_REPLIES": "look=SERVER NOT REACHED: db1 is gone."}
    done = recover(site, [*DECLARED, "videos", "q"], "data-loss", **more)
    assert "SERVER NOT REACHED: db1 is gone." in done.stdout
    assert "keep-evidence" not in incident_of(site).steps


def test_the_swap_is_taken_back_by_the_typed_name(site: Path) -> None:
    lines = [*DECLARED, *TO_THE_SWAP, "", "shop", "u 4.5", "", "u 4.5", "shop", "q"]
    done = recover(site, lines, "data-loss")
    assert "Counting what was written since" in done.stdout
    assert done.stdout.count("Type the name shop to take it back") == 2
    assert "4.5 Swap it in: taken back." in done.stdout
    assert incident_of(site).steps["swap"].status == "undone"


def test_who_does_not_lead_watches_and_takes_over_when_the_leader_is_gone(site: Path) -> None:
    recover(site, [*DECLARED, "q"], "data-loss")
    watch = recover(site, ["s me", "n I see it, too", "q"], operator="ben")
    assert "You watch: ana on db1 leads." in watch.stdout
    assert "YOU WATCH: only ana on db1 can act." in watch.stdout
    assert incident_of(site).notes[0].operator == "ben"
    lead = recover(site, ["T ana went home", "q"], operator="ben")
    assert "You lead now." in lead.stdout
    leader = incident_of(site).leader
    assert leader is not None
    assert (leader.operator, leader.epoch) == ("ben", 2)


def test_answers_before_and_json_after(site: Path) -> None:
    arguments = ["data-loss", "--last-right", "unknown", "--seen", "errors", "--json"]
    done = recover(site, ["q"], *arguments)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    incident = incident_of(site)
    assert incident.seen == "errors"
    assert (incident.runbook, incident.last_right) == ("data-loss", None)
    assert f'"incident": "{incident.id}", "state": "open", "step": "keep-evidence"' in done.stdout
    assert "Two questions" not in done.stderr


def test_nothing_is_declared_by_an_end_of_input(site: Path) -> None:
    done = recover(site, ["20 m ago"], "data-loss")
    assert done.returncode == 2
    assert "NOTHING WAS DECLARED" in done.stderr
    assert list_incidents(site / "state") == []
    odd = recover(site, ["tomorrow", "02:45", "9", "q"], "no-such")
    assert odd.returncode == 2
    assert "NO SUCH RUNBOOK: no-such." in odd.stderr
    for line in ("NOT A TIME: tomorrow.", "One of the numbers 1 to 5, please."):
        assert line in recover(site, ["tomorrow", "02:45", "9"], "data-loss").stdout


def terminal(site: Path, *arguments: str) -> pexpect.spawn[str]:
    child: pexpect.spawn[Any] = pexpect.spawn(
        sys.executable,
        ["-m", MODULE, str(site), "ana", "recover", "--plain", *arguments],
        env={**environment()},
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 80),
    )
    child.delaybeforesend = None
    return child


def test_on_a_terminal_what_is_typed_ahead_answers_nothing(site: Path) -> None:
    """A paste of all the answers, and of the name, reaches no question but the first."""
    child = terminal(site, "data-loss", "--last-right", "unknown", "--seen", "rows")
    child.expect("Answer \\(Enter: unknown\\):")
    child.send("videos\n" + "\n" * 30 + "shop\n" * 3)
    child.expect("1.2 Pause what runs by the clock")
    child.expect("Enter when it is done")
    child.sendintr()
    child.expect("You left. Nothing is frozen.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert set(incident_of(site).steps) == {"keep-evidence"}


def test_on_a_dumb_terminal_without_plain_it_is_plain(site: Path) -> None:
    child: pexpect.spawn[Any] = pexpect.spawn(
        sys.executable,
        ["-m", MODULE, str(site), "ana", "recover"],
        env={**environment()},
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=30,
    )
    child.expect("When was it last right")
    child.sendeof()
    child.expect("NOTHING WAS DECLARED")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2


def test_the_leader_is_told_that_somebody_asks_and_may_keep_the_lead(site: Path) -> None:
    child = terminal(site, "data-loss", "--last-right", "unknown", "--seen", "rows")
    child.expect("Answer \\(Enter: unknown\\):")
    journal = IncidentJournal(list_incidents(site / "state")[0].directory)
    journal.append("take-over-asked", {}, Author("ben", "db2", lambda: NOW), epoch=None)
    child.expect("ben on db2 asks for the lead, and gets it in 20 s.")
    child.sendline("no I am at it")
    child.expect("You keep the lead.")

    def refused() -> bool:
        asked = incident_of(site).take_over
        return asked is not None and asked.refused == "I am at it"

    wait_until(refused)
    child.expect("Answer \\(Enter: unknown\\):")
    child.sendline("q")
    child.expect(pexpect.EOF)
    child.close()
