"""A real site under a passphrase that nothing tells: on the screens, line by line, in one go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.encryption import age_passphrase
from fsbackup_tui.engines.encryption.age import new_identity
from tests.support.file_sites import PART, FileSite, make_file_site, snapshot
from tests.support.keys import at_the_keys
from tests.support.prompting import Person
from tests.support.signing_keys import private_keyring

pytestmark = pytest.mark.timeout(300)
RIGHT, WRONG = "canary: Straße & 'zq'", "canary of another"
ASKED = "Passphrase of face-swap (the safe)"
REFUSED = "It does not open the key "


def encrypted_tree(directory: Path, verify: str) -> FileSite:
    """Return a site with an encrypted point, and with nothing that opens it."""
    made = make_file_site(directory, verify=verify)
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


async def test_on_the_screens_it_is_asked_for_once(tmp_path: Path) -> None:
    tree = encrypted_tree(tmp_path, "sealed")
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
        await keys.until_text("runs. 2 shows it")
        await keys.press("2")
        await keys.until(lambda: keys.text.count(" ok ") == 3, "all jobs have ended well")
    jobs = tree.site.run("jobs", "--json").document["jobs"]
    assert [(job["operation"], job["state"]) for job in jobs] == [
        *(("backup", "ok"), ("verify", "ok"), ("backup", "ok"))
    ]
    first, *_ = (point for point in tree.site.points() if point["id"] == tree.point)
    assert first["trust"] == "readable"
    check_nothing_tells_it(tree)


def test_line_by_line_and_before_files_come_back_in_one_go(tmp_path: Path) -> None:
    tree = encrypted_tree(tmp_path, "proven")
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


LOCKED = "Passphrase of the private key of face-swap (the safe)"
STILL_LOCKED = "It does not open the private key of "


@pytest.fixture
def keyring() -> Iterator[Path]:
    """A keyring with ana's private key, which is locked, and no agent that remembers it."""
    with private_keyring("ana@example.org", RIGHT) as home:
        yield home


@pytest.fixture(params=["age", pytest.param("gpg", marks=pytest.mark.machine)])
def locked_tree(request: pytest.FixtureRequest, tmp_path: Path) -> FileSite:
    """A site with an encrypted point; the private key lies there, and what unlocks it nowhere."""
    made = make_file_site(tmp_path)
    if request.param == "age":
        identity, recipient = new_identity()
        path = tmp_path / "identity.age"
        path.touch(mode=0o600)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(age_passphrase, "WORK_FACTOR", 4)
            text = identity.reveal().encode()
            path.write_bytes(age_passphrase.seal_with_passphrase(text, Secret(RIGHT)))
        key: dict[str, object] = {"recipients": [recipient], "identity": {"file": str(path)}}
    else:
        home = request.getfixturevalue("keyring")
        key = {"recipients": ["ana@example.org"], "keyring": str(home)}
    encryption = {"method": request.param, "hint": "the safe", **key}
    made.site.settings = {**made.site.settings, "encryption": encryption}
    made.site.write_config()
    made.back_up()
    return made


def test_what_a_locked_private_key_needs_is_asked_for(locked_tree: FileSite) -> None:
    tree = locked_tree
    (tree.root / "faces" / "0.jpg").unlink()
    restore = ("restore", "latest", "--part", PART)
    put_back = (*restore, "--put-back", "--confirm", tree.root.name, "--reason", "r")
    elsewhere = (*restore, "--to", str(tree.site.directory / "copy"), "--json")
    # Nobody sits there: before anything is begun it says what is missing, and what to do.
    alone = tree.site.run(*elsewhere)
    assert alone.exit_code == 1
    assert "needs the passphrase of the private key of " in alone.error["what"]
    assert "(the safe)" in alone.error["what"]
    assert "at a terminal" in alone.error["fix"]
    assert "identity_passphrase" in alone.error["fix"]
    sealed = tree.site.run("verify", "latest", "--level", "readable", "--json").document
    assert (sealed["trust"], sealed["problems"]) == ("sealed", [])
    tree.site.environment["FSBACKUP_PASSPHRASE"] = WRONG
    wrong = tree.site.run(*elsewhere)
    assert "needs another passphrase than is known here" in wrong.error["what"]
    del tree.site.environment["FSBACKUP_PASSPHRASE"]
    assert not (tree.site.directory / "copy").exists()

    assert LOCKED in (person := Person(tree.site, *put_back)).page
    assert "NOTHING STARTED" in (page := person.say(""))
    assert "identity_passphrase: " in " ".join(page.split())
    assert tree.site.run("incidents", "--json").document["incidents"] == []
    person = Person(tree.site, *put_back)
    assert STILL_LOCKED in person.say(WRONG)
    person.say(RIGHT)
    assert snapshot(tree.root, times=True) == tree.before, person.seen
    check_nothing_tells_it(tree)


def test_how_far_a_verification_comes_without_it_is_up_to_who_sits_there(
    locked_tree: FileSite,
) -> None:
    words = ("verify", "latest", "--level", "readable")
    person = Person(locked_tree.site, *words)
    assert f"{LOCKED} (Enter: goes on without it)" in person.page
    assert "readable  blocked" in person.say("")
    assert "READABLE" in Person(locked_tree.site, *words).say(RIGHT)


async def test_on_the_screens_a_locked_private_key_is_asked_for(locked_tree: FileSite) -> None:
    tree = locked_tree
    async with at_the_keys(tree.site) as keys:
        await keys.until_text("1/1")
        await keys.press("v")
        await keys.until_text("Verify readable")
        await keys.press("2")
        await keys.until_text(LOCKED)
        await keys.press(*WRONG, "enter")
        await keys.until_text(STILL_LOCKED)
        await keys.press(*RIGHT)
        assert "canary" not in keys.text
        await keys.press("enter")
        await keys.until_text("2 shows it")
        await keys.press("2")
        await keys.until(lambda: keys.text.count(" ok ") == 2, "all jobs have ended well")
    assert tree.site.points()[0]["trust"] == "readable"
    check_nothing_tells_it(tree)
