"""What ``check`` says of gpg's keys: one that ends, one that is past, one that is not there."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.check import PROBES, look
from tests.support.signing_keys import private_keyring
from tests.support.sites import Site, make_site

pytestmark = pytest.mark.machine
KEYS = tuple(probe for probe in PROBES if probe.name in ("key", "signing"))


@pytest.fixture(scope="module")
def keyring() -> Iterator[Path]:
    """Ana's key without an end, and one that encrypts and one that signs for sixty days."""
    with private_keyring("ana@example.org", "") as home:
        gpg = ["gpg", "--homedir", str(home), "-q", "--batch", "--pinentry-mode", "loopback"]
        for words in (
            ["--quick-gen-key", "soon@example.org", "rsa2048", "encrypt", "60d"],
            ["--quick-gen-key", "signs@example.org", "ed25519", "sign", "60d"],
        ):
            subprocess.run([*gpg, "--passphrase", "", *words], check=True, capture_output=True)
        yield home


def found(site: Site, days: float) -> dict[str, Finding]:
    """What is found in so many days."""
    site.write_config()
    loaded = load_config(site.config, site.environ())
    now = datetime.now(UTC) + timedelta(days=days)
    check = asyncio.run(look(loaded, site.environ(), now, probes=KEYS))
    return {finding.id.partition(":")[0]: finding for finding in check.findings}


def site_of(directory: Path, **settings: object) -> Site:
    return make_site(directory / "site", "postgresql://x@127.0.0.1:1/x", settings=settings)


def test_a_key_that_is_encrypted_to_is_told_a_month_before_it_ends(
    tmp_path: Path, keyring: Path
) -> None:
    key = {"method": "gpg", "keyring": str(keyring), "recipients": ["soon@example.org"]}
    site = site_of(tmp_path, encryption=key)
    assert found(site, 0) == {}
    assert found(site, 40)["key-expires"].severity == "warning"
    assert "soon@example.org" in found(site, 40)["key-expires"].what
    assert found(site, 55)["key-expires"].severity == "critical"
    assert found(site, 61)["key"].what.startswith("KEY NOT USABLE")
    key["recipients"] = ["ana@example.org"]
    assert found(site, 61) == {}
    key["recipients"] = ["nobody@example.org"]
    assert found(site, 0)["key"].what.startswith("KEY MISSING")


def test_a_key_that_signs_is_told_a_month_before_it_ends(tmp_path: Path, keyring: Path) -> None:
    key = {"method": "gpg", "keyring": str(keyring), "key": "signs@example.org"}
    site = site_of(tmp_path, signing=key)
    assert found(site, 0) == {}
    assert found(site, 40)["signing-expires"].severity == "warning"
    assert found(site, 61)["signing-expires"].what.startswith("KEY EXPIRED")
    key["key"] = "nobody@example.org"
    assert found(site, 0)["signing-key"].severity == "critical"
    key["key"] = "ana@example.org"
    assert found(site, 61) == {}


def test_ssh_signers_are_told_a_month_before_none_counts_any_more(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed_signers"
    ends = datetime.now(UTC) + timedelta(days=60)
    line = f'ana@example.org valid-before="{ends:%Y%m%d}" ssh-ed25519 AAAA\n'
    allowed.write_text(f"# who counts\n{line}")
    private = tmp_path / "signing_key"
    private.write_text("x")
    key = {"method": "ssh", "key": str(private), "allowed_signers": str(allowed)}
    site = site_of(tmp_path, signing=key)
    assert found(site, 0) == {}
    assert found(site, 40)["signing-expires"].severity == "warning"
    allowed.write_text(f"{line}ben@example.org ssh-ed25519 AAAA\n")
    assert found(site, 40) == {}
    private.unlink()
    assert found(site, 0)["signing-key"].severity == "critical"
