"""What doctor says of the keys that are described: which of them is wrong, and how."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.encryption import age_passphrase
from fsbackup_tui.engines.encryption.age import new_identity
from fsbackup_tui.engines.encryption.age_passphrase import seal_with_passphrase
from fsbackup_tui.operations.doctor import Finding
from fsbackup_tui.operations.doctor_keys import check_encryption
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.operations.keys import encryption_key
from fsbackup_tui.repository.layout import open_repository
from tests.support.sites import Site, make_site

IDENTITY, RECIPIENT = new_identity()
OTHER, OTHER_RECIPIENT = new_identity()
PASSPHRASE = Secret("right horse")


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a passphrase protects be made, and opened, in no time."""
    monkeypatch.setattr(age_passphrase, "WORK_FACTOR", 4)


def site_with(tmp_path: Path, **encryption: object) -> Site:
    url = "postgresql://nobody@127.0.0.1:1/none"
    return make_site(tmp_path / "site", url, settings={"encryption": encryption})


async def findings(site: Site) -> list[Finding]:
    loaded = load_config(site.config, site.environ())
    repository = open_repository(site.repository)
    return await check_encryption(loaded, site.environ(), Redactor(), repository)


def private(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("", "empty"),
        ("age-secret: none of them\n", "NOT AN IDENTITY"),
        ("other", "opens "),
        ("sealed", "does not open it"),
    ],
)
async def test_the_identity_file_that_is_wrong_is_named(
    tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "escrow" / "key.txt"
    path.parent.mkdir()
    if content == "sealed":
        private(path, seal_with_passphrase(IDENTITY.reveal().encode(), Secret("another")))
    elif content == "other":
        private(path, OTHER.reveal())
        says += OTHER_RECIPIENT
    elif content is not None:
        private(path, content)
    opener = private(tmp_path / "opener", PASSPHRASE.reveal())
    site = site_with(
        tmp_path,
        method="age",
        recipients=[RECIPIENT],
        identity={"file": str(path)},
        identity_passphrase={"file": str(opener)},
    )
    named, whole = await findings(site)
    assert (named.severity, whole.severity) == ("warning", "warning")
    assert str(path) in named.what
    assert says in f"{named.what} {named.why}", named
    assert "CAN'T READ ITS OWN BACKUPS" in whole.what
    private(path, IDENTITY.reveal())
    (fine,) = await findings(site)
    assert (fine.severity, "read back here" in fine.what) == ("ok", True)


async def test_a_wrong_former_key_is_named_and_hides_no_right_one(tmp_path: Path) -> None:
    """What is no identity at all let no other identity be tried."""
    broken = private(tmp_path / "broken.txt", "no identity\n")
    missing = tmp_path / "missing"
    site = site_with(
        tmp_path,
        method="age",
        recipients=[RECIPIENT],
        identity=IDENTITY.reveal(),
        former=[
            {"identity": {"file": str(broken)}},
            {"identity": OTHER.reveal()},
            {"passphrase": {"file": str(missing)}},
            {"keyring": str(missing)},
        ],
    )
    *named, fine = await findings(site)
    assert (fine.severity, "read back here" in fine.what) == ("ok", True), fine
    paths = [str(path) for path in (broken, missing, missing)]
    assert [path in each.what for path, each in zip(paths, named, strict=True)] == [True] * 3


async def test_the_passphrase_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = private(tmp_path / "passphrase", PASSPHRASE.reveal())
    former = private(tmp_path / "former", "was never one")
    site = site_with(tmp_path, method="age", passphrase={"file": str(path)})
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    loaded = load_config(site.config, site.environ())
    source = KeySource(loaded, site.environ(), Redactor(), work, lambda: datetime.now(UTC))
    await encryption_key(source, open_repository(site.repository))
    (fine,) = await findings(site)
    assert fine.severity == "ok"
    private(path, "wrong horse")
    (wrong,) = await findings(site)
    assert (wrong.severity, wrong.what.partition(":")[0]) == ("error", "KEY WRONG")
    assert str(path) in wrong.why
    path.unlink()
    (missing,) = await findings(site)
    assert (missing.severity, str(path) in missing.what) == ("error", True)
    site.environment["FSBACKUP_PASSPHRASE"] = "wrong horse"
    lost, wrong = await findings(site)
    assert (lost.severity, str(path) in lost.what) == ("warning", True)
    assert "FSBACKUP_PASSPHRASE" in wrong.why
    assert str(path) not in wrong.why
    del site.environment["FSBACKUP_PASSPHRASE"]
    private(path, PASSPHRASE.reveal())
    site.settings = {
        "encryption": {
            "method": "age",
            "passphrase": {"file": str(path)},
            "former": [{"passphrase": {"file": str(former)}}],
        }
    }
    site.write_config()
    nothing, fine = await findings(site)
    assert (nothing.severity, fine.severity) == ("warning", "ok")
    assert str(former) in nothing.what
