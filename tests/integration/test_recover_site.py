"""Files, configuration and code recovered on real trees, as a person does: lost, back, undone."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from fsbackup_tui.cli.follow import Interrupts
from fsbackup_tui.cli.output import Pasteable
from fsbackup_tui.cli.prompts import Prompts
from fsbackup_tui.cli.recover_plain import Plain
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.operations.requests import request_document
from fsbackup_tui.recovery.actions.registry import ACTIONS
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.reading import read_incident
from fsbackup_tui.recovery.report import report_markdown
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import NOW as NOW_TXT
from tests.support.code_sites import git, site_of_code
from tests.support.file_sites import PART, FileSite, make_file_site, snapshot
from tests.support.in_process import InProcessJobs, declare_real, real_desk
from tests.support.killed_work import run_until_killed
from tests.support.recovering import do_step
from tests.support.site_recovering import TO_THE_WAY
from tests.support.sites import demand_signatures, make_site
from tests.tui.recoveries import enter_name, recover_app, until_step
from tests.tui.screens import press, until_text

ENTER = ""


def led_by(session: RecoverySession, *answers: str) -> str:
    """Answer the plain walkthrough's questions one after the other; return all that it said."""
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{answer}\n" for answer in answers).encode())
    os.close(writing)
    out = io.StringIO()
    try:
        Plain(session, Prompts(reading, out, Interrupts()), Pasteable()).run()
    finally:
        os.close(reading)
    return " ".join(out.getvalue().split())


def lose(tree: FileSite) -> dict[str, tuple[object, ...]]:
    """Take away what a careless script would, and write something new; return what is left."""
    shutil.rmtree(tree.root / "faces")
    (tree.root / "latest").unlink()
    (tree.root / "new.txt").write_text("written since")
    return snapshot(tree.root, times=True)


def report_of(session: RecoverySession) -> str:
    """Return the incident's report."""
    journal = session.journal
    return report_markdown(read_incident(session.desk, journal), journal.entries())


def test_missing_files_come_back_line_by_line_and_go_again(tmp_path: Path) -> None:
    tree = make_file_site(tmp_path, verify="proven")
    point = tree.back_up()
    session = declare_real(tree.site, PART, "files")
    left = lose(tree)
    # What deletes, tell, keep, look, the point, the way, say when, put back.
    seen = led_by(session, *[ENTER] * 8, "u 4.1", "u", "h")
    assert "missing 7 files" in seen
    assert f"Live now against {point}" in seen
    assert "PUT BACK: 7 files" in seen
    assert "TAKEN OUT AGAIN: live is as it was." in seen
    assert "Way back not needed: live was not changed" in seen
    assert snapshot(tree.root, times=True) == left

    # On another day: once more, and to the end.
    resumed = attach(real_desk(tree.site), session.journal)
    led_by(resumed, *[ENTER] * 6, "c the clean-up script is mended")
    now = snapshot(tree.root, times=True)
    assert now.pop("new.txt") == left["new.txt"]
    assert now == tree.before
    report = report_of(resumed)
    for words in (
        *("- Seen: files gone", f"- Point: `{point}`", "**7 files", "was not taken back"),
        *("Still missing of what the point has: **0 files, 0 B**", "the clean-up script is mended"),
    ):
        assert words in report, report
    assert resumed.read().incident.closed is not None


def test_what_a_lost_attempt_put_back_goes_with_the_one_after_it(tmp_path: Path) -> None:
    tree, session, left = led_to_the_way(tmp_path)
    session = attach(session.desk, session.journal)
    for step in ("choose-way", "files-back"):
        do_step(session, step)
    # As if its worker had been killed after it put in all that it could, and said nothing.
    (tree.root / "faces" / "0.jpg").unlink()
    state = session.read().incident.steps["files-back"]
    session.append("intent", step="files-back", title="t", request=dict(state.request), commands=[])
    for name in ("put_back", "attempts"):
        session.append("set", name=name, value=None)
    session.settle("files-back")
    card = session.card("files-back")
    assert (card.status, card.can_undo) == ("FAILED", True)
    do_step(session, "files-back")
    assert snapshot(tree.root, times=True).keys() == tree.before.keys() | {"new.txt"}
    session.look_now()
    session.poll()
    session.undo("files-back")
    session.poll()
    assert session.read().incident.steps["files-back"].status == "undone"
    assert snapshot(tree.root, times=True) == left


def test_an_unsigned_tree_comes_back_for_a_written_reason(tmp_path: Path) -> None:
    tree = make_file_site(tmp_path, verify="proven")
    point = tree.back_up()
    demand_signatures(tree.site)
    session = declare_real(tree.site, PART, "files")
    left = lose(tree)
    why = "from before we signed, see ticket 12"
    # What deletes, tell, keep, look, the point, why, and back it comes.
    seen = led_by(session, *[ENTER] * 4, "1", why, *[ENTER] * 3, "h")
    assert "It is in doubt: not signed." in seen, seen
    assert "PUT BACK: 7 files" in seen, seen
    assert {**snapshot(tree.root, times=True), **left} == {**tree.before, **left}
    assert f"In doubt: not signed; taken because: {why}" in report_of(session)
    jobs = session.desk.start
    assert isinstance(jobs, InProcessJobs)
    told = [event.text for event in jobs.told if isinstance(event, Warned)]
    assert [text for text in told if point in text and text.endswith(f"who wrote: {why}")]


@pytest.mark.machine
def test_unsigned_settings_and_code_come_back_for_a_written_reason(tmp_path: Path) -> None:
    site, top = site_of_code(tmp_path)
    (top / ".env").write_text("API_KEY=canary-wrong\n")
    demand_signatures(site)
    env = declare_real(site, "env", "config")
    do_step(env, "damage")
    card = env.card("choose-point")
    assert card.question is not None
    (option,) = card.question.options
    assert (option.doubt, "1 of its entries differs" in option.label) == ("not signed", True)
    do_step(env, "choose-point", Answer(option.key, "from before we signed"))
    do_step(env, "choose-config-files", Answer(f"{top}/.env"))
    do_step(env, "config-back")
    assert "canary-9c1" in (top / ".env").read_text()
    code = declare_real(site, "code", "config")
    for step in ("damage", "choose-point", "choose-work", "code-beside"):
        do_step(code, step, Answer(option.key if step == "choose-point" else "", "so it was"))
        assert code.read().incident.steps[step].status == "done", code.read().incident.steps[step]


def drilled(session: RecoverySession, *steps: str, **answers: str) -> None:
    """Do a drill's steps, each to its end."""
    for step in steps:
        do_step(session, step, Answer(answers.get(step.replace("-", "_"), "")))
        state = session.read().incident.steps[step]
        assert state.status == "done", (step, state)


def test_a_drill_of_files_touches_nothing_that_is_live(tmp_path: Path) -> None:
    tree = make_file_site(tmp_path, verify="proven")
    tree.back_up()
    tree.site.settings = {**tree.site.settings, "commands": {"pause_jobs": ["false"]}}
    tree.site.write_config()
    live = snapshot(tree.root.parent, times=True)
    session = declare_real(tree.site, PART, "files", is_drill=True)
    do_step(session, "damage")
    assert session.read().incident.steps["damage"].status == "failed"
    drilled(session, "rehearsal")
    (around,) = (name for name in tree.beside if not name.startswith("."))
    made = tree.root.parent / around / tree.root.name
    assert "4 of 12 files were deleted" in session.card("rehearsal").shows[0]
    drilled(session, *TO_THE_WAY, "choose-way", "files-back", "files-check")
    assert snapshot(made, times=True) == tree.before
    assert session.card("files-back").shows[0].startswith("PUT BACK: 4 files")
    session.look_now()
    session.poll()
    session.undo("files-back")
    session.poll()
    assert len(snapshot(made)) == len(tree.before) - 4
    session.again("choose-way")
    drilled(session, "choose-way", "files-beside", "files-compare", choose_way="exchange")
    drilled(session, "files-carry", files_carry="nothing")
    do_step(session, "files-exchange", Answer(typed=tree.root.name))
    assert snapshot(made, times=True) == tree.before
    assert session.card("fresh-backup").by_hand.startswith("A drill")
    (left,) = tree.site.run("leftovers", "--json").document["leftovers"]
    assert left["name"] == around
    drilled(session, "drop-rehearsal")
    session.close("it was practised")
    assert snapshot(tree.root.parent, times=True) == live


@pytest.mark.machine
def test_a_drill_of_code_touches_nothing_that_is_live(tmp_path: Path) -> None:
    site, top = site_of_code(tmp_path)
    live, beside = snapshot(top), sorted(top.parent.iterdir())
    one = git(top, "rev-parse", "HEAD")
    session = declare_real(site, "code", "config", is_drill=True)
    drilled(session, "rehearsal", "damage", "choose-point", "choose-work", "code-beside")
    assert "live is at ANOTHER commit" in "\n".join(session.card("damage").shows)
    made = Path(str(session.read().incident.parameters["stand_in"]))
    assert git(made, "rev-parse", "HEAD") != one
    do_step(session, "code-back", Answer(typed="srv"))
    assert git(made, "rev-parse", "HEAD") == one
    assert session.card("stop-app").by_hand.startswith("A drill")
    drilled(session, "drop-rehearsal")
    assert (snapshot(top), sorted(top.parent.iterdir())) == (live, beside)


def test_what_deletes_is_paused_until_it_may_go_on(tmp_path: Path) -> None:
    tree = make_file_site(tmp_path)
    tree.site.write_config()
    script = tmp_path / "clean.py"
    script.write_text(f"# find {tree.root} -mtime +30 -delete\nimport signal\nsignal.pause()\n")
    cleaner = subprocess.Popen([sys.executable, script.name], cwd=tmp_path)
    try:
        session = declare_real(tree.site, PART, "files")
        session.look_now()
        session.poll()
        question = session.card("stop-deleting").question
        assert question is not None
        found = question.option(f"process {cleaner.pid}")
        assert found is not None, question
        assert f"mentions {tree.root}, in {script}" in found.detail[0]
        do_step(session, "stop-deleting", Answer(found.key))
        assert state_of(cleaner.pid) == "T"
        assert [each.undo for each in session.read().incident.freezes] == [
            (f"kill -CONT {cleaner.pid}",)
        ]
        with pytest.raises(SafetyRefusal, match="NOT CLOSED"):
            session.close("done")
        for step in ("damage", "tell-first"):
            session.skip(step, "only what deletes is of interest")
        for step in ("choose-point", "choose-way", "files-check"):
            session.skip(step, "the same")
        do_step(session, "let-go")
        assert state_of(cleaner.pid) in "RS"
        assert session.read().incident.freezes == ()
    finally:
        cleaner.kill()
        cleaner.wait()


def state_of(pid: int) -> str:
    """Return a process's state: T is one that was stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def led_to_the_way(
    directory: Path,
) -> tuple[FileSite, RecoverySession, dict[str, tuple[object, ...]]]:
    """Return a site that lost files, its incident led to where the way is chosen."""
    tree = make_file_site(directory, verify="proven")
    tree.back_up()
    session = declare_real(tree.site, PART, "files")
    left = lose(tree)
    for step in TO_THE_WAY:
        do_step(session, step)
    session.leave()
    return tree, session, left


async def test_the_whole_tree_is_exchanged_and_let_back_by_keys_alone(tmp_path: Path) -> None:
    tree, session, left = await asyncio.to_thread(led_to_the_way, tmp_path)
    app = recover_app(session.desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_step(pilot, "choose-way")
        await until_text(pilot, "lost: 7 files")
        await press(pilot, "3", "enter")
        for step in ("tell-eta", "files-beside", "files-compare", "files-carry"):
            await until_step(pilot, step)
            await press(pilot, "enter")
        await until_step(pilot, "files-exchange")
        await until_text(pilot, "It runs by its typed name alone")
        await press(pilot, "enter")
        await enter_name(pilot, "storage")
        await until_step(pilot, "files-check")
        now = snapshot(tree.root, times=True)
        assert now.pop("new.txt") == left["new.txt"]
        assert now == tree.before
        (tree.root / "since.txt").write_text("after the exchange")
        await press(pilot, "tab", "k", "enter")
        await until_step(pilot, "files-exchange")
        await press(pilot, "U")
        await until_text(pilot, "Written since the exchange: 1 files: they come along")
        await enter_name(pilot, "storage")
        await until_text(pilot, "TAKEN BACK: live is the tree that it was.")
        await press(pilot, "escape")
        await until_step(pilot, "files-beside")
    back = snapshot(tree.root, times=True)
    assert back.pop("since.txt")[0] == b"after the exchange"
    assert back == left
    kept = [name for name in tree.beside if name.startswith("storage.after-")]
    assert len(kept) == 1


def by_hand(session: RecoverySession, title: str) -> None:
    """Run what NOW.txt says under a title, as somebody does who has nothing of fsbackup."""
    lines = (session.journal.directory / NOW_TXT).read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(title)) + 1
    commands = list(takewhile(lambda line: line.startswith("  "), lines[first:]))
    script = "\n".join(("set -e", *commands))
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


def test_settings_that_a_killed_job_put_back_are_taken_back(tmp_path: Path) -> None:
    here, gone = tmp_path / "a.env", tmp_path / "b.env"
    for path in (here, gone):
        path.write_text("PIN=good\n")
    source = {"kind": "config", "files": [str(here), str(gone)], "plaintext": True}
    plans = {"daily": {"sources": ["env"], "verify": "readable"}}
    site = make_site(tmp_path / "site", "", settings={"sources": {"env": source}, "plans": plans})
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    here.write_text("PIN=wrong\n")
    here.chmod(0o640)
    gone.unlink()
    env = declare_real(site, "env", "config")
    jobs = env.desk.start
    assert isinstance(jobs, InProcessJobs)
    for step in ("damage", "choose-point", "choose-config-files"):
        do_step(env, step, Answer(f"{here}, {gone}" if step == "choose-config-files" else ""))
    gates = [f"fsbackup_tui.engines.config_restore:{name}" for name in ("_create", "_exchange")]
    gates += ["pathlib:Path.hardlink_to", "pathlib:Path.replace"]

    def was_killed(moment: int) -> bool:
        """Begin it, and let it be killed; whether it was, before it came to its end."""
        make = ACTIONS["config-back"].request
        asked = None if make is None else make(env.situation("config-back"), Answer())
        assert asked is not None
        body = {"title": "t", "request": request_document(asked), "commands": []}
        env.append("intent", step="config-back", **body)
        killed = run_until_killed(lambda: jobs.run_for(env, asked), gates, moment)
        env.settle("config-back")
        card = env.card("config-back")
        assert (card.status, card.can_undo) == ("FAILED", True)
        return killed

    def undo() -> None:
        env.look_now()
        env.poll()
        env.undo("config-back")
        env.poll()
        assert env.read().incident.steps["config-back"].status == "undone"
        assert (here.read_text(), gone.exists()) == ("PIN=wrong\n", False)
        assert here.stat().st_mode & 0o777 == 0o640
        left = [path.name for path in tmp_path.glob("*.env*") if ".after-" not in path.name]
        assert (left, list(tmp_path.glob(".*.fsbackup-*"))) == (["a.env"], [])

    moments = 0
    while was_killed(moments):
        undo()
        moments += 1
    undo()
    assert moments == 8
    # One that is done again goes on from where it was killed, and is undone as a whole.
    assert was_killed(6)
    do_step(env, "config-back")
    assert (here.read_text(), gone.read_text()) == ("PIN=good\n", "PIN=good\n")
    undo()


@pytest.mark.machine
def test_code_and_settings_come_back_and_what_was_there_does_too(tmp_path: Path) -> None:
    site, top = site_of_code(tmp_path)
    one = git(top, "rev-parse", "HEAD")
    (top / "server.js").write_text("crash()\n")
    git(top, "commit", "--quiet", "--all", "--message=two")
    two = git(top, "rev-parse", "HEAD")
    (top / "server.js").write_text("crash() // somebody was at it\n")
    (top / ".next/app.js").write_text("built of two\n")
    (top / ".env").write_text("API_KEY=canary-wrong\n")
    before = snapshot(top)

    code = declare_real(site, "code", "config")
    for step in ("damage", "choose-point", "choose-work", "code-beside"):
        do_step(code, step)
        assert code.read().incident.steps[step].status == "done", code.read().incident.steps[step]
    assert "live is at ANOTHER commit" in "\n".join(code.card("damage").shows)
    do_step(code, "code-back", Answer(typed="srv"))
    shown = "\n".join(code.card("code-back").shows)
    assert f"is at {one[:12]}, detached; it was at {two[:12]}, branch main" in shown, shown
    assert git(top, "rev-parse", "HEAD") == one
    assert (top / "server.js").read_text() == "serve()\n"
    assert (top / ".next/app.js").read_text() == "built of one\n"
    assert (top / "uploads/me.jpg").read_text() == "a picture"
    code.look_now()
    code.poll()
    code.undo("code-back", Answer(typed="srv"))
    code.poll()
    assert git(top, "rev-parse", "HEAD", "--abbrev-ref", "HEAD") == f"{two}\nmain"
    work = {name: facts for name, facts in snapshot(top).items() if not name.startswith(".git/")}
    assert work == {name: facts for name, facts in before.items() if not name.startswith(".git/")}

    # Once more, and back by the commands of NOW.txt alone.
    do_step(code, "code-beside")
    do_step(code, "code-back", Answer(typed="srv"))
    assert git(top, "rev-parse", "HEAD") == one
    by_hand(code, "To go back by hand")
    assert (top / "server.js").read_text() == "crash() // somebody was at it\n"
    assert (top / ".next/app.js").read_text() == "built of two\n"
    left = site.run("leftovers", "--json").document["leftovers"]
    assert {each["kind"] for each in left} == {"restore", "before", "after"}
    assert all(each["held_by"].startswith(f"incident {code.journal.id}") for each in left)
    code.close("it was the settings")
    whats = {each["kind"]: each["what"] for each in left}
    assert whats["restore"] == f"a restored tree, beside {top}"
    assert whats["before"] == f"files of {top} that others took the place of"
    for name in [str(each["name"]) for each in left]:
        dropped = site.run("leftovers", "--drop", name, "--confirm", name)
        assert dropped.exit_code == 0, dropped.stdout + dropped.stderr
    assert site.run("leftovers", "--json").document["leftovers"] == []
    marked = [path.name for path in top.parent.glob("*srv.*") if ".built-" not in path.name]
    assert marked == []

    env = declare_real(site, "env", "config")
    do_step(env, "damage")
    told = "\n".join(env.card("damage").shows)
    assert f"file {top}/.env: CHANGED; gone: DATABASE_URL; other: API_KEY" in told, told
    do_step(env, "choose-point")
    do_step(env, "choose-config-files", Answer(f"{top}/.env"))
    do_step(env, "config-back")
    good = (top / ".env").read_text()
    assert good.endswith("API_KEY=canary-9c1\n")
    env.look_now()
    env.poll()
    env.undo("config-back")
    env.poll()
    assert (top / ".env").read_text() == "API_KEY=canary-wrong\n"
    do_step(env, "config-back")
    by_hand(env, "To go back by hand")
    assert (top / ".env").read_text() == "API_KEY=canary-wrong\n"
    written = [path for path in site.state.rglob("*") if path.is_file()]
    assert not [path for path in written if b"canary" in path.read_bytes()]


@pytest.mark.machine
def test_files_come_back_by_the_commands_of_now_txt_alone(tmp_path: Path) -> None:
    tree = make_file_site(tmp_path, verify="proven")
    tree.back_up()
    session = declare_real(tree.site, PART, "files")
    left = lose(tree)
    for step in ("damage", "choose-point"):
        do_step(session, step)
    by_hand(session, "Its RECOVER.md says")
    assert {**snapshot(tree.root, times=True)} | left == {**tree.before, **left}
    left = lose(tree)
    do_step(session, "choose-way", Answer("exchange"))
    for step in ("files-beside", "files-compare"):
        do_step(session, step)
    do_step(session, "files-carry", Answer("nothing"))
    do_step(session, "files-exchange", Answer(typed="storage"))
    assert snapshot(tree.root, times=True) == tree.before
    by_hand(session, "To go back by hand")
    assert snapshot(tree.root, times=True) == left
