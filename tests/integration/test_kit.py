"""The recovery kit: whole, private, without secrets, and enough to install fsbackup offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pyrage
import pytest

from fsbackup_tui import __version__
from fsbackup_tui.repository.kit import last_kit
from tests.support.replicas import ACCESS_KEY, SECRET_KEY, s3_server
from tests.support.sites import Site, make_site

PASSWORD = "canary-pass-of-the-database"
KEY = "canary-passphrase-of-the-points"
KIT_PASSPHRASE = "another passphrase, of the kit"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site", f"postgresql://ana:{PASSWORD}@localhost:1/shop")
    (site.directory / ".env").touch(mode=0o600)
    (site.directory / ".env").write_text(f"DATABASE_URL={site.url}\n")
    site.settings = {
        "env_file": str(site.directory / ".env"),
        "encryption": {"method": "age", "passphrase": {"env": "KEY"}, "hint": "the safe"},
        "replicas": {
            "s3": {
                "url": "s3://bucket/site",
                "endpoint": "http://127.0.0.1:1",
                "access_key": {"env": "AWS_ID"},
                "secret_key": {"env": "AWS_SECRET"},
            }
        },
    }
    site.environment = {"KEY": KEY}
    site.write_config()
    return site


def make_kit(site: Site, *arguments: str) -> Path:
    result = site.run("kit", "--json", *arguments)
    assert result.exit_code == 0, result.stderr + result.stdout
    return Path(result.document["path"])


def test_it_tells_what_is_needed_and_holds_no_secret(site: Site) -> None:
    kit = make_kit(site, "--no-wheelhouse", "--output", str(site.directory))
    assert sorted(path.name for path in kit.iterdir()) == ["KIT.md", "SHA256SUMS", "site.yaml"]
    assert kit.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kit.iterdir()} == {0o600}
    text = (kit / "KIT.md").read_text()
    assert "bootstrap s3://bucket/site --endpoint http://127.0.0.1:1" in text
    assert "IT IS NOT IN THIS KIT" in text
    assert "sources.db.url: the variable DATABASE_URL of" in text
    unbreakable = (str(site.directory), "bootstrap s3://")
    longer = [line for line in text.splitlines() if len(line) > 80]
    assert all(any(word in line for word in unbreakable) for line in longer), longer
    assert len(text.splitlines()) <= 110
    everything = b"".join(path.read_bytes() for path in kit.iterdir())
    assert PASSWORD.encode() not in everything
    assert KEY.encode() not in everything
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=kit, check=True, capture_output=True)


def test_when_it_was_made_and_of_what_is_remembered(site: Site) -> None:
    kit = make_kit(site, "--no-wheelhouse")
    (known,) = site.state.glob("*/kit.json")
    fact = last_kit(known.parent)
    assert fact is not None
    assert (fact.place, fact.version, fact.replicas) == (str(kit), __version__, ("s3",))
    assert fact.installs is False
    before = fact.config_digest
    site.settings = {**site.settings, "environment": "staging"}
    site.write_config()
    elsewhere = site.directory / "elsewhere"
    elsewhere.mkdir()
    make_kit(site, "--no-wheelhouse", "--output", str(elsewhere))
    again = last_kit(known.parent)
    assert again is not None
    assert again.config_digest != before


def test_the_text_alone_is_printed_and_nothing_is_written(site: Site) -> None:
    result = site.run("kit", "--print")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# face-swap: when the whole machine is gone\n")
    assert not list(site.state.glob("*/kit.json"))
    assert not list(site.directory.glob("fsbackup-kit*"))


def test_one_encrypted_file_opens_with_its_passphrase_and_holds_the_key_if_asked(
    site: Site, tmp_path: Path
) -> None:
    site.environment = {**site.environment, "FSBACKUP_KIT_PASSPHRASE": KIT_PASSPHRASE}
    plain = site.run("kit", "--with-key", "--no-wheelhouse", "--json")
    assert plain.exit_code == 2
    assert not list(site.directory.glob("fsbackup-kit*"))
    kit = make_kit(site, "--encrypt", "--with-key", "--no-wheelhouse")
    assert kit.name.endswith(".tar.age")
    assert kit.stat().st_mode & 0o777 == 0o600
    assert list(site.directory.glob(".partial*")) == []
    packed = tmp_path / "kit.tar"
    packed.write_bytes(pyrage.passphrase.decrypt(kit.read_bytes(), KIT_PASSPHRASE))
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "opened", filter="data")
    (opened,) = (tmp_path / "opened").iterdir()
    assert (opened / "KEY.txt").read_text() == f"{KEY}\n"
    assert "it is in KEY.txt" in (opened / "KIT.md").read_text()


def test_fsbackup_is_installed_from_it_without_a_network(site: Site, tmp_path: Path) -> None:
    kit = make_kit(site)
    home = tmp_path / "home"
    home.mkdir()
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    alone = shutil.which("unshare") is not None and os.geteuid() == 0
    offline = ["unshare", "--net"] if alone else []
    target = home / "opt"
    done = subprocess.run(
        [*offline, "sh", str(kit / "install.sh"), str(target)],
        env=bare,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"fsbackup {__version__}" in done.stdout
    doctor = subprocess.run(
        [str(target / "bin" / "fsbackup"), "--json", "--config", str(site.config), "list"],
        env=bare,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert doctor.returncode == 0, doctor.stderr
    assert json.loads(doctor.stdout)["points"] == []


def test_a_damaged_kit_installs_nothing(site: Site, tmp_path: Path) -> None:
    kit = make_kit(site)
    wheel = next((kit / "wheelhouse").glob("fsbackup_tui-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    target = tmp_path / "opt"
    done = subprocess.run(
        ["sh", str(kit / "install.sh"), str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert not target.exists()


def test_it_goes_to_a_replica_as_well(site: Site, tmp_path: Path) -> None:
    with s3_server(tmp_path) as server:
        site.settings = {
            **site.settings,
            "replicas": {"s3": {
                "url": "s3://bucket/site", "endpoint": server.endpoint,
                "access_key": {"env": "AWS_ID"}, "secret_key": {"env": "AWS_SECRET"},
            }},
        }  # fmt: skip
        site.write_config()
        (site.directory / ".env").write_text(f"AWS_ID={ACCESS_KEY}\nAWS_SECRET={SECRET_KEY}\n")
        kit = make_kit(site, "--no-wheelhouse", "--to-replica", "s3")
        there = server.files / "site" / "kit" / kit.name
        subprocess.run(
            ["sha256sum", "-c", "SHA256SUMS"], cwd=there, check=True, capture_output=True
        )
    refused = site.run("kit", "--no-wheelhouse", "--to-replica", "nowhere", "--json")
    assert refused.exit_code == 2
