"""A real site under a passphrase that nothing tells: on the screens, line by line, in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.file_sites import PART, FileSite, make_file_site, snapshot
from tests.support.keys import at_the_keys
from tests.support.prompting import Person

pytestmark = pytest.mark.timeout(300)
RIGHT, WRONG = "canary: Straße & 'zq'", "canary of another"
ASKED = "Passphrase of face-swap (the safe)"
REFUSED = "It does not open the key "


@pytest.fixture
def tree(tmp_path: Path) -> FileSite:
    """Return a site with an encrypted point, and with nothing that opens it."""
    made = make_file_site(tmp_path)
    made.site.settings = {
        **made.site.settings,
        "encryption": {"method": "age", "hint": "the safe"},
    }
    made.site.write_config()
    made.site.environment["FSBACKUP_PASSPHRASE"] = RIGHT
    made.back_up()
    del made.site.environment["FSBACKUP_PASSPHRASE"]
    return made


def check_nothing_tells_it(tree: FileSite) -> None:
    for place in (tree.site.state, tree.site.repository):
        for path in place.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert b"canary" not in content, path


async def test_on_the_screens_it_is_asked_for_once(tree: FileSite) -> None:
    async with at_the_keys(tree.site) as keys:
        await keys.until_text("1/1")
        for text, shown in ((WRONG, REFUSED), (RIGHT, "2 shows it")):
            if text == WRONG:
                await keys.press("v")
                await keys.until_text("Verify readable")
                await keys.press("2")
                await keys.until_text(ASKED)
            await keys.press(*text)
            assert "zq" not in keys.text
            assert "canary" not in keys.text
            await keys.press("enter")
            await keys.until_text(shown)
        await keys.press("b", "1")
        await keys.until_text("2/2")
        await keys.press("2")
        await keys.until(lambda: "running" not in keys.text, "both jobs have ended")
    jobs = tree.site.run("jobs", "--json").document["jobs"]
    assert [(job["operation"], job["state"]) for job in jobs] == [
        *(("backup", "ok"), ("verify", "ok"), ("backup", "ok"))
    ]
    first, *_ = (point for point in tree.site.points() if point["id"] == tree.point)
    assert first["trust"] == "readable"
    check_nothing_tells_it(tree)


def test_line_by_line_and_before_files_come_back_in_one_go(tree: FileSite) -> None:
    (tree.root / "faces" / "0.jpg").unlink()
    put_back = ("restore", "latest", "--part", PART, "--put-back", "--confirm", tree.root.name)
    assert "NOTHING STARTED" in Person(tree.site, *put_back).say("")
    assert tree.site.run("incidents", "--json").document["incidents"] == []

    person = Person(
        tree.site, "recover", "files-loss", "--plain", "--last-right", "unknown", "--seen", "files"
    )
    person.walk({}, until="Look at the damage")
    assert ASKED in person.say("")
    assert REFUSED in person.say(WRONG)
    person.say(RIGHT)
    # Never again, to the end.
    person.walk({})
    assert person.seen.count(ASKED) == 2
    assert person.leave("c it is there again") == 0, person.seen
    assert snapshot(tree.root, times=True) == tree.before
    check_nothing_tells_it(tree)
