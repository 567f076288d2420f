"""Another Unix user at an open incident: who is kept out, who watches, who takes over and leads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal, StaleLeader
from fsbackup_tui.recovery.declare import attach
from tests.support.other_user import OtherUser
from tests.support.servers import FreshServer
from tests.support.shop import Shop, open_shop
from tests.support.walking import declare_at, walk
from tests.support.walkthrough import Walkthrough
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.machine

GROUP = "users"
NAME = "daemon"
"""An account that every machine has, and that runs nothing."""


@pytest.fixture
def shop(tmp_path: Path, fresh_server: FreshServer) -> Iterator[Shop]:
    """A site of root's whose configuration everybody may read; its state is the group's."""
    with open_shop(tmp_path, fresh_server(tcp=True), {"group": GROUP}) as made:
        made.site.config.chmod(0o644)
        made.site.directory.chmod(0o755)
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    shutil.chown(directory, NAME)
    return directory


def environ(shop: Shop, home: Path) -> dict[str, str]:
    return {**shop.site.environ(), "HOME": str(home), "TERM": "xterm", "TMPDIR": "/tmp"}


def run(shop: Shop, home: Path, *words: str, groups: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run fsbackup as the other user; returns its exit code and all that it said."""
    command = OtherUser(NAME, groups).command(shop.site.command(*words), shop.site.directory, home)
    done = subprocess.run(
        command,
        env=environ(shop, home),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_colleague_of_the_group_watches_takes_over_and_leads_to_the_end(
    shop: Shop, home: Path
) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("DROP TABLE likes, videos")
    session = declare_at(shop.site, "unknown")
    walk(session, {"freeze": "role", "choose-way": "swap"}, until="swap")

    code, said = run(shop, home, "recover", "--plain", "--seen", "rows", "--last-right", "unknown")
    said = " ".join(said.split())
    assert code == 1
    state = shop.site.state
    assert f"STATE DIRECTORY NOT READABLE: {state} belongs to root and the group {GROUP}." in said
    assert list(home.iterdir()) == []
    code, said = run(shop, home, "incidents", groups=(GROUP,))
    assert code == 0, said
    assert session.journal.id in said

    command = OtherUser(NAME, (GROUP,)).command(shop.site.command(), shop.site.directory, home)
    with closing(Terminal(environ(shop, home), command=command)) as terminal:
        shown = Walkthrough(terminal)
        shown.settle("root leads; you watch")
        assert "INCIDENT" in terminal.text().splitlines()[0]
        terminal.type("\r")
        terminal.until_text("You watch: root leads; T asks for the lead")
        asks(shown, "Ask root for the lead?")
        terminal.until_text("root was asked, and has 20 s to refuse.")
        session.poll()
        session.refuse_take_over("not now")
        terminal.until_text("root keeps the lead: not now")
        asks(shown, "Ask root for the lead?")
        session.leave()
        terminal.until_text("The lead is free: T takes it.")
        asks(shown, "Take over the lead?")
        shown.settle(f"{NAME} leads")
        entries = session.journal.entries()
        assert [entry.operator for entry in entries if entry.kind == "led"] == [NAME]

        mine = attach(session.desk, session.journal)
        assert not mine.leads
        with pytest.raises((SafetyRefusal, StaleLeader)):
            mine.begin("swap")

        shown.press("Enter")
        shown.settle(f"Type {shop.live} to run")
        terminal.type(shop.live)
        shown.settle(f" > {shop.live}")
        shown.press("Enter")
        shown.settle(lambda: shown.step.startswith("4.6"))
        assert "root watches" in terminal.text()
        while shown.step and not shown.step.endswith("Take a fresh backup"):
            step = shown.step
            shown.press("Enter")
            shown.settle(lambda: shown.step != step)  # noqa: B023
        shown.press("S")
        terminal.until_text("Esc")
        terminal.type("the repository is root's")
        shown.settle("the repository is root's")
        shown.press("Enter")
        shown.settle(lambda: shown.step.endswith("Tell people it runs"))
        shown.press("Enter")
        shown.settle("All steps are behind.")
        shown.press("C")
        shown.settle("A word on how it ended")
        terminal.type("all is back")
        shown.settle("> all is back")
        shown.press("Enter")
        shown.settle("closed, ")
        mine.leave()
    assert shop.content() == before
    assert shop.works_for_the_application()
    # Who closed it may not write the repository: its owner's next backup takes the hold away.
    assert list((shop.site.repository / "holds").iterdir())
    done = shop.site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stderr
    assert list((shop.site.repository / "holds").iterdir()) == []
    assert "incident" not in shop.site.run("show", str(done.document["point"])).stdout


def asks(shown: Walkthrough, question: str) -> None:
    """Press T, and y once it counts: at first, keys are not taken for an answer."""
    shown.terminal.type("T")
    shown.terminal.until_text(question)

    def answered() -> bool:
        if question in shown.terminal.text():
            shown.terminal.type("y")
        return question not in shown.terminal.text()

    shown.terminal.until(answered, "y answers")
