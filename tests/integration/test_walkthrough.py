"""What a fresh engineer sees: a data loss at 80 by 24, in 16 colours, on 1200 bytes a second.

The screens stand in walkthrough/data-loss.txt, to be read by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.jobs.supervisor import operator_name
from tests.support.servers import FreshServer
from tests.support.shop import Shop, open_shop
from tests.support.waiting import wait_until
from tests.support.walkthrough import Walkthrough, compare
from tests.tui.terminal import Terminal

RECORDS = Path(__file__).parent / "walkthrough"
BYTES_PER_SECOND = 1200
MOST_BYTES = 4_000
"""What one screen may cost, with all that comes and goes while its job runs."""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def shop(tmp_path: Path, fresh_server: FreshServer) -> Iterator[Shop]:
    server = fresh_server(tcp=True)
    with open_shop(tmp_path, server, names=("face_swap", "face_swap_app")) as made:
        yield made


@pytest.fixture
def loss(shop: Shop) -> tuple[object, datetime]:
    """What the database held, and when it was last right."""
    before = shop.content()
    return before, damaged(shop)


@pytest.fixture
def walk(shop: Shop, loss: tuple[object, datetime]) -> Iterator[Walkthrough]:
    """The application, opened when it has happened."""
    environ = {**shop.site.environ(), "TERM": "xterm", "LANG": "C.UTF-8", "SUDO_USER": "ana"}
    terminal = Terminal(
        environ, command=shop.site.command("recover"), bytes_per_second=BYTES_PER_SECOND
    )
    yield Walkthrough(terminal, operator_name(environ))
    terminal.close()


def damaged(shop: Shop) -> datetime:
    """Lose two tables a while after the backup; returns when it was last right."""
    shop.back_up()
    shop.execute("INSERT INTO visits SELECT FROM generate_series(1, 31)")
    # The whole second that is typed lies behind the backup, and the loss behind it.
    right = _next_second()
    _next_second()
    shop.execute("DROP TABLE likes, videos")
    return right


def _next_second() -> datetime:
    before = datetime.now(UTC)
    wait_until(lambda: datetime.now(UTC).replace(microsecond=0) > before)
    return datetime.now(UTC).replace(microsecond=0)


def declare(walk: Walkthrough, right: datetime) -> None:
    walk.see("fsbackup recover", "> Declare an incident")
    walk.press("Enter")
    walk.see("Enter", "When was it last right?")
    walk.terminal.type(f"{right:%H:%M:%S}")
    walk.see("hh:mm:ss", " UTC, ")
    walk.press("Enter")
    walk.see("Enter", "> 5  don't know")
    walk.press("Enter")
    walk.see("Enter", lambda: walk.step.startswith("1.1"))


def do_step(walk: Walkthrough) -> None:
    """Do what the step on the screen asks for, and see the next one."""
    step = walk.step
    match step[4:]:
        case "Keep the evidence":
            if "Esc back" not in walk.terminal.text():
                walk.press("Enter")
                walk.see("Enter", "Esc back")
        case "Freeze writing?":
            walk.see(walk.choose("face_swap_app"), lambda: True)
        case "Choose the way":
            walk.see(walk.choose("swap"), lambda: True)
        case "Swap it in":
            walk.press("Enter")
            walk.see("Enter", "Type face_swap to run")
            walk.terminal.type("face_swap")
            walk.see("face_swap", " > face_swap")
    walk.press("Enter")
    walk.see("Enter", lambda: walk.step != step)


def test_a_data_loss_seen_for_the_first_time(
    shop: Shop, loss: tuple[object, datetime], walk: Walkthrough
) -> None:
    before, right = loss
    declare(walk, right)
    while walk.step:
        do_step(walk)
    assert "All steps are behind." in walk.terminal.text()
    walk.press("C")
    walk.see("C", "A word on how it ended")
    walk.terminal.type("all tables are back")
    walk.settle("> all tables are back")
    walk.press("Enter")
    walk.see("all tables are back, Enter", "closed, ")
    walk.press("q")
    assert walk.terminal.wait() == 0
    assert shop.content() == before
    assert shop.works_for_the_application()
    assert max(count for _, count in walk.bytes) < MOST_BYTES
    assert not re.search(rb"[34]8;[25];", walk.terminal.sent())
    record = RECORDS / "data-loss.txt"
    compare(record, walk.record(), wrapped_alike=walk.operator == "ana")
