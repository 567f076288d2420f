"""Points that gpg encrypts, with a passphrase or to public keys; what can't work is told early."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.config.values import SecretAgent
from fsbackup_tui.domain.errors import KeyRefused, PointDamaged
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import Chain, read_artifact, write_artifact
from fsbackup_tui.engines.encryption.gpg_recipients import find_public_keys, has_private_key
from fsbackup_tui.engines.encryption.gpg_stream import GpgKey, GpgReading
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.secrets import read_secret
from fsbackup_tui.repository.files import remove_tree
from tests.support.encrypted import PASSPHRASE, SAME, encrypted_site, watched
from tests.support.foreign_files import shell
from tests.support.servers import MakeDatabase, execute, query
from tests.support.transfers import client_of

pytestmark = pytest.mark.machine
_SHELL_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
CONTENT = os.urandom(300_000)


@pytest.fixture(scope="module")
def keyring() -> Iterator[Path]:
    """A keyring with a good key, an expired one and one that only signs; short for its socket."""
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    gpg = f"gpg --homedir {home} -q --batch --passphrase ''"
    for command in (
        f"{gpg} --quick-gen-key ana@example.org rsa2048 encrypt never",
        f"{gpg} --quick-gen-key signs@example.org rsa2048 sign never",
        f"{gpg} --faked-system-time 20200101T000000 --quick-gen-key old@example.org rsa2048"
        " encrypt 1d",
    ):
        assert shell(command, home) == 0, command
    yield home
    shell(f"gpgconf --homedir {home} --kill gpg-agent", home)
    remove_tree(home)


async def fingerprint(name: str, keyring: Path, work: Path) -> str:
    (key,) = await find_public_keys(
        [name], environ={}, keyring=keyring, work=work, now=datetime.now(UTC)
    )
    return key.fingerprint


async def test_public_keys_are_found_usable_or_refused_with_the_reason(
    keyring: Path, tmp_path: Path
) -> None:
    for name, reason in {
        "nobody@example.org": "KEY MISSING",
        "old@example.org": "expired",
        "signs@example.org": "can only sign",
    }.items():
        with pytest.raises(KeyRefused, match=reason):
            await fingerprint(name, keyring, tmp_path)
    ana = await fingerprint("ana@example.org", keyring, tmp_path)
    assert len(ana) == 40
    assert await has_private_key(ana, environ={}, keyring=keyring, work=tmp_path)
    assert not await has_private_key(ana, environ={}, keyring=None, work=tmp_path)


async def test_streams_of_both_kinds_come_back_and_damage_is_found(
    keyring: Path, tmp_path: Path
) -> None:
    ana = await fingerprint("ana@example.org", keyring, tmp_path)
    secret = Secret(PASSPHRASE)
    pairs = {
        "symmetric": (
            GpgKey(KeyFacts("gpg", "k1"), tmp_path, {}, passphrase=secret),
            GpgReading(tmp_path, {}, secret, proven=True),
        ),
        "public": (
            GpgKey(KeyFacts("gpg", "k2"), tmp_path, {}, recipients=(ana,), keyring=keyring),
            GpgReading(tmp_path, {}, keyring=keyring, proven=True),
        ),
    }
    for name, (key, reader) in pairs.items():
        path = tmp_path / name
        chain = Chain("zstd:3", key)
        written = await write_artifact(path, chain, lambda sink: _nothing(sink.write(CONTENT)))
        artifact = written.artifact(tmp_path, name, "dump")
        keys = ReadingKeys(gpg=reader)
        read = await read_artifact(path, artifact, keys, lambda stream: stream.read(len(CONTENT)))
        assert CONTENT.startswith(read)
        good = path.read_bytes()
        middle, end = len(good) // 2, len(good) - 1
        for bad in (
            good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            good[:end] + bytes([good[end] ^ 1]),
            good[:middle],
            good[:-1],
            good[:12],
        ):
            path.write_bytes(bad)
            with pytest.raises(PointDamaged):
                await read_artifact(path, artifact, keys, lambda stream: stream.read(1))
    lost = GpgKey(KeyFacts("gpg", "k3"), tmp_path, {}, recipients=("0" * 40,), keyring=keyring)
    with pytest.raises(KeyRefused, match="KEY NOT USABLE"):
        await write_artifact(tmp_path / "lost", Chain(None, lost), lambda sink: None)
    assert not (tmp_path / "lost").exists()


def _nothing(_result: object) -> None:
    pass


async def test_the_agent_tells_what_it_keeps(keyring: Path) -> None:
    preset = "$(gpgconf --list-dirs libexecdir)/gpg-preset-passphrase"
    (keyring / "gpg-agent.conf").write_text("allow-preset-passphrase\n")
    shell(f"gpgconf --homedir {keyring} --reload gpg-agent", keyring)
    keeps = f"GNUPGHOME={keyring} {preset} --preset fsbackup:site"
    assert shell(f"printf 'canary: Stra\\303\\237e %%41' | {keeps}", keyring) == 0
    environment = {"GNUPGHOME": str(keyring)}
    redactor = Redactor()
    secret = await read_secret(
        SecretAgent(agent="fsbackup:site"), environment, redactor, what="passphrase"
    )
    assert secret.reveal() == "canary: Straße %41"
    assert redactor.redact(f"<{secret.reveal()}>") == "<***>"


async def test_a_point_with_a_passphrase_from_backup_to_pasted_commands(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    encryption = {"method": "gpg", "passphrase": {"file": str(secret)}}
    site = encrypted_site(tmp_path, server, make_database, encryption)
    with watched(site.repository, site.state, site.directory / "tmp") as seen:
        taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    assert not seen
    point = Path(taken.document["path"])
    verified = site.run("verify", "latest", "--level", "proven", "--json")
    assert verified.exit_code == 0, verified.stderr + verified.stdout
    assert verified.document["trust"] == "proven"

    client = await client_of(server)
    copy = f"pasted_{os.getpid()}_gpg"
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    # What a person types at gpg's question comes from a file here.
    (home / "gpg.conf").write_text(f"batch\npinentry-mode loopback\npassphrase-file {secret}\n")
    environment = {
        "PATH": f"{client.directory}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GNUPGHOME": str(home),
        "PGHOST": str(server.socket_directory),
        "PGPORT": str(server.port),
        "PGUSER": server.superuser,
        "NEW_DATABASE": copy,
        **client.env,
    }
    blocks = _SHELL_BLOCK.findall((point / "RECOVER.md").read_text())
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=point,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout
        assert query(server.url(copy), SAME) == query(site.url, SAME)
    finally:
        execute(server.url(), f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
        shell(f"gpgconf --homedir {home} --kill gpg-agent", home)
        remove_tree(home)

    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("tar", "nice", "setpriv"):
        if (found := shutil.which(name)) is not None:
            (bare / name).symlink_to(found)
    site.environment["PATH"] = str(bare)
    without = site.run("backup", "daily", "--json")
    assert without.exit_code == 1
    assert without.error["what"].startswith("NO GPG")
    assert [path.name for path in (site.repository / "points").iterdir()] == [point.name]


async def test_a_point_for_public_keys_is_read_where_the_private_key_is(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, keyring: Path
) -> None:
    encryption = {"method": "gpg", "recipients": ["ana@example.org"], "keyring": str(keyring)}
    site = encrypted_site(tmp_path, server, make_database, encryption)
    taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    verified = site.run("verify", "latest", "--level", "readable", "--json")
    assert verified.exit_code == 0, verified.stderr + verified.stdout

    others = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    try:
        export = f"gpg --homedir {keyring} -q --export ana@example.org"
        assert shell(f"{export} | gpg --homedir {others} -q --import", tmp_path) == 0
        site.settings = {"encryption": {**encryption, "keyring": str(others)}}
        site.write_config()
        blocked = site.run("verify", "latest", "--level", "readable", "--json")
        assert "needs the private key of" in blocked.document["blocked"][0]["what"]
        assert blocked.document["trust"] == "readable"
        site.settings = {"encryption": {**encryption, "recipients": ["old@example.org"]}}
        site.write_config()
        expired = site.run("backup", "daily", "--json")
        assert "expired" in expired.error["what"]
        assert len(list((site.repository / "points").iterdir())) == 1
    finally:
        shell(f"gpgconf --homedir {others} --kill gpg-agent", tmp_path)
        remove_tree(others)
