"""``recover --plain`` out of six kinds of damage: a real process on a terminal, a busy application.

Whoever answers reads what stands there, and knows the steps by their titles alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.domain.text import cell_width
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.damages import (
    NO_NEW_BACKUP,
    Damage,
    check_column,
    delete_all,
    drop_column,
    drop_tables,
    open_damaged_shop,
    spoil,
    truncate_all,
    update_all,
)
from tests.support.prompting import Person
from tests.support.shop import Shop

pytestmark = pytest.mark.timeout(300)
ROWS, STRUCTURE, ERRORS = "1", "2", "3"
MERGE, SWAP = "1", "2"


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_damaged_shop(tmp_path, server) as made:
        yield made


def begin(damage: Damage, seen: str) -> Person:
    person = Person(damage.shop.site, "recover", "--plain")
    person.say(damage.right, seen)
    return person


def close(person: Person) -> None:
    """Close the incident; nothing that stood there was too wide, but for commands."""
    assert person.leave("c it runs again") == 0, person.seen
    assert "is closed. Its report:" in person.page
    long = [line for line in person.seen.splitlines() if cell_width(line) > 80]
    commands = re.compile(r"^Runs {4}|fsbackup --config|^ {8}(?:ALTER DATABASE|/)|^<<")
    assert [line for line in long if not commands.search(line)] == []


def test_dropped_tables_by_swap_and_back_and_what_was_written_since_by_merge(shop: Shop) -> None:
    with shop.application():
        damage = drop_tables(shop)
        person = begin(damage, STRUCTURE)
        person.walk({"Choose the way": SWAP, "Take a fresh backup": NO_NEW_BACKUP})
        damage.check_back()
    (kept,) = [name for name in shop.databases() if "__before_" in name]
    at_the_swap, newer = damage.visits(kept), damage.visits()
    since = newer - at_the_swap
    assert since
    assert shop.query("SELECT to_regclass('videos') IS NULL", kept) == [(True,)]
    users = shop.content(["users"], kept)

    person.say("u")
    counted = re.search(r"public\.visits: ([\d ]+) inserted, 0 updated, 0 deleted", person.page)
    assert counted is not None, person.page
    assert int(counted[1].replace(" ", "")) == len(since)
    person.say(shop.live)
    assert "TAKEN BACK: live is the database that it was at the swap." in person.seen
    assert damage.visits() == at_the_swap
    assert shop.content(["users"]) == users
    (after,) = [name for name in shop.databases() if "__after_" in name]
    assert damage.visits(after) == newer
    assert f"restore {after} --tables public." in person.seen

    with shop.application() as client:
        person.say("a 3.3", MERGE)
        person.walk({"Take a fresh backup": NO_NEW_BACKUP})
        assert client.errors == []
    damage.check_back()
    assert at_the_swap | since <= damage.visits()
    close(person)


def test_a_delete_without_where_by_merge_under_a_later_point(shop: Shop) -> None:
    with shop.application() as client:
        damage = delete_all(shop)
        person = begin(damage, ROWS)
        person.walk({"Keep the evidence": "users", "Choose the way": MERGE})
        assert client.errors == []
        assert client.written
    assert "AFTER DAMAGE" in person.seen
    damage.check_back()
    assert shop.count("visits") > client.written
    assert shop.query("SELECT mail FROM users WHERE id > 300") == [("new@example.org",)]
    close(person)


def test_a_bad_update_is_set_back_by_choosing_the_changed_rows(shop: Shop) -> None:
    with shop.application() as client:
        damage = update_all(shop)
        person = begin(damage, ROWS)
        person.walk({"Keep the evidence": "videos"}, until="Choose what is put back")
        assert "Enter alone puts nothing back" in person.page
        assert "title: oops, in the copy video 1" in person.page
        person.walk({"Choose what is put back": "1", "Take a fresh backup": NO_NEW_BACKUP})
        assert client.errors == []
    assert "1 500 set back" in person.seen
    damage.check_back()
    close(person)


def test_what_was_truncated_by_swap_while_the_application_is_kept_out(shop: Shop) -> None:
    with shop.application() as client:
        damage = truncate_all(shop)
        person = begin(damage, ROWS)
        answers = {"Choose the way": SWAP, "Take a fresh backup": NO_NEW_BACKUP}
        person.walk({**answers, "Freeze writing?": "3"}, until="Let writing go on")
        assert "WRITES FROZEN for" in person.page
        assert any("permission denied" in error for error in client.errors)
        person.walk(answers)
    damage.check_back()
    (kept,) = [name for name in shop.databases() if "__before_" in name]
    assert damage.visits(kept) - damage.visits()
    close(person)


def test_a_dropped_column_by_merge_with_the_value_that_is_asked_for(shop: Shop) -> None:
    with shop.application() as client:
        damage = drop_column(shop)
        person = begin(damage, STRUCTURE)
        person.walk({"Choose the way": MERGE}, until="Fill what nobody knows")
        assert "WHICH COLUMN? users=free" in person.say("users=free")
        person.say("free")
        person.walk({"Take a fresh backup": NO_NEW_BACKUP})
        assert client.errors == []
    check_column(damage)
    close(person)


def test_a_corrupted_page_by_swap_and_what_only_the_damaged_one_had(shop: Shop) -> None:
    damage = spoil(shop)
    with shop.application():
        person = begin(damage, ERRORS)
        person.walk({"Keep what there is": "3", "Take a fresh backup": NO_NEW_BACKUP})
    damage.check_back()
    (kept,) = [name for name in shop.databases() if "__before_" in name]
    (salvaged,) = [name for name in shop.databases() if name.endswith("_read")]
    assert "public.videos: part, " in person.seen
    # What the application wrote between the salvage and the swap is in the kept one alone.
    assert damage.visits(salvaged) <= damage.visits()
    assert shop.count("visits", kept) >= 500
    close(person)
