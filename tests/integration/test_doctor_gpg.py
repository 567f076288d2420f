"""What doctor, and a restore, say of gpg: none here, keys missing, ending, locked or useless."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.doctor import Finding
from fsbackup_tui.operations.doctor_keys import check_encryption
from fsbackup_tui.repository.layout import open_repository
from tests.support.file_sites import PART, make_file_site
from tests.support.signing_keys import private_keyring
from tests.support.sites import Site, make_site

pytestmark = pytest.mark.machine
ANA, PASSPHRASE = "ana@example.org", "canary: Straße"


@pytest.fixture(scope="module")
def keyring() -> Iterator[Path]:
    """Ana's locked key; one that only signs, one that is past, one that ends soon, one twice."""
    with private_keyring(ANA, PASSPHRASE) as home:
        gpg = ["gpg", "--homedir", str(home), "-q", "--batch", "--pinentry-mode", "loopback"]
        for words in (
            ["--quick-gen-key", "signs@example.org", "ed25519", "sign", "never"],
            ["--quick-gen-key", "soon@example.org", "rsa2048", "encrypt", "9d"],
            ["--quick-gen-key", "Two <two@example.org>", "rsa2048", "encrypt"],
            ["--quick-gen-key", "Zwei <two@example.org>", "rsa2048", "encrypt"],
            [
                *("--faked-system-time", "20200101T000000"),
                *("--quick-gen-key", "past@example.org", "rsa2048", "encrypt", "1d"),
            ],
        ):
            subprocess.run([*gpg, "--passphrase", "", *words], check=True, capture_output=True)
        yield home


def site_with(directory: Path, keyring: Path, recipient: str = ANA, **more: object) -> Site:
    key = {"recipients": [recipient], "keyring": str(keyring), "hint": "the safe"}
    return make_site(
        directory / "site",
        "postgresql://nobody@127.0.0.1:1/none",
        settings={"encryption": {"method": "gpg", **key, **more}},
    )


async def findings(site: Site) -> list[Finding]:
    loaded = load_config(site.config, site.environ())
    repository = open_repository(site.repository)
    return await check_encryption(loaded, site.environ(), Redactor(), repository)


@pytest.mark.parametrize(
    ("recipient", "what", "says", "fix"),
    [
        ("nobody@example.org", "KEY MISSING", "nothing is written unencrypted", "gpg --import"),
        ("signs@example.org", "can only sign", "signs@example.org", "name another"),
        ("past@example.org", "is expired", "past@example.org", "--quick-set-expire"),
        ("two@example.org", "means 2 keys", "Zwei", "fingerprint"),
    ],
)
async def test_a_public_key_that_is_of_no_use_is_an_error_that_says_why(
    tmp_path: Path, keyring: Path, recipient: str, what: str, says: str, fix: str
) -> None:
    (found,) = await findings(site_with(tmp_path, keyring, recipient))
    assert found.severity == "error"
    assert what in found.what
    assert recipient in found.what
    assert says in found.why
    assert fix in found.fix


async def test_a_key_that_ends_soon_is_told_with_its_day(tmp_path: Path, keyring: Path) -> None:
    soon, fine = await findings(site_with(tmp_path, keyring, "soon@example.org"))
    assert (soon.severity, soon.what[:16]) == ("warning", "KEY EXPIRES SOON")
    assert "soon@example.org" in soon.what
    assert "backups will fail" in soon.why
    assert (fine.severity, "read back here" in fine.what) == ("ok", True)


async def test_a_locked_private_key_is_told_from_one_that_is_not_here(
    tmp_path: Path, keyring: Path
) -> None:
    for more, says in (
        ({}, "gives none"),
        ({"identity_passphrase": "another"}, "gives another"),
    ):
        locked, whole = await findings(site_with(tmp_path / says, keyring, **more))
        assert locked.severity == whole.severity == "warning"
        assert locked.what == f"PRIVATE KEY NOT OPENED: it is in {keyring}."
        assert says in locked.why
        assert "asked for" in locked.fix
        assert "no private key opens them here" in whole.what
    right = site_with(tmp_path / "right", keyring, identity_passphrase=PASSPHRASE)
    (fine,) = await findings(right)
    assert fine.severity == "ok"


async def test_a_keyring_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    *_, named = sorted(
        await findings(site_with(tmp_path, missing)), key=lambda each: "KEYRING" in each.what
    )
    assert named.what == f"KEYRING NOT READABLE: {missing}."
    assert not missing.exists()


def all_but_gpg(tools: Path) -> Path:
    """Make a directory of all programs that are here, for PATH, without gpg and its like."""
    tools.mkdir()
    for directory in map(Path, os.environ["PATH"].split(":")):
        for path in directory.glob("*"):
            if not path.name.startswith("gpg") and not (tools / path.name).is_symlink():
                (tools / path.name).symlink_to(path)
    return tools


async def test_without_gpg_nothing_is_begun_and_the_remedy_is_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_file_site(tmp_path)
    site = tree.site
    site.settings = {**site.settings, "encryption": {"method": "gpg", "passphrase": PASSPHRASE}}
    site.write_config()
    tree.back_up()
    points = sorted((site.repository / "points").iterdir())
    tools = all_but_gpg(tmp_path / "tools")
    monkeypatch.setenv("PATH", str(tools))
    (found,) = await findings(site)
    assert (found.severity, found.what[:6]) == ("error", "NO GPG")
    assert "apt-get install gnupg" in found.fix
    site.environment["PATH"] = str(tools)
    backup = site.run("backup", "daily", "--json")
    assert (backup.exit_code, backup.error["what"][:6]) == (1, "NO GPG")
    assert sorted((site.repository / "points").iterdir()) == points
    restore = site.run("restore", "latest", "--part", PART, "--to", "copy", "--json")
    assert "needs gpg, which is not installed here" in restore.error["what"]
    assert "apt-get install gnupg" in restore.error["fix"]
    assert "FSBACKUP_PASSPHRASE" not in restore.error["fix"]
