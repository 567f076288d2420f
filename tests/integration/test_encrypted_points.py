"""Encrypted points: nothing in plain on any disk, proven and restored with the key alone."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.encryption.age import new_identity
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.encrypted import CANARY, PASSPHRASE, SAME, encrypted_site, watched
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site
from tests.support.tty import Tty

HINT = "the safe in the office"


def back_up(site: Site) -> Path:
    """Take a point while the disk is watched, and return where it lies."""
    with watched(site.repository, site.state, site.directory / "tmp") as seen:
        taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stderr + taken.stdout
    assert not seen
    return Path(taken.document["path"])


def altered(path: Path, at: int) -> bytes:
    """Flip a bit of a file, and return what it was."""
    good = path.read_bytes()
    path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    return good


def test_with_a_passphrase_of_age(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    site = encrypted_site(tmp_path, server, make_database, {"method": "age", "hint": HINT})
    nobody = site.run("backup", "daily", "--json")
    assert nobody.error["kind"] == "key-refused"
    assert "PASSPHRASE MISSING" in nobody.error["what"]
    assert not list((site.repository / "points").iterdir())

    site.environment["FSBACKUP_PASSPHRASE"] = PASSPHRASE
    point = back_up(site)
    stored = sorted(path.name for path in (point / "db").rglob("*") if path.is_file())
    plain = [name for name in stored if not name.endswith(".zst.age")]
    assert plain == ["SHA256SUMS", "part.json"], stored
    verified = site.run("verify", "latest", "--level", "proven", "--json")
    assert verified.exit_code == 0, verified.stderr + verified.stdout
    assert verified.document["trust"] == "proven"
    copy = f"copy_{os.getpid()}_age"
    restored = site.run("restore", "latest", "--part", "db", "--beside", copy, "--json")
    try:
        assert restored.exit_code == 0, restored.stderr + restored.stdout
        assert query(server.url(copy), SAME) == query(site.url, SAME)
    finally:
        execute(server.url(), f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
    # What was decrypted for these is gone.
    with watched(site.repository, site.state, site.directory / "tmp") as seen:
        pass
    assert not seen

    site.environment["FSBACKUP_PASSPHRASE"] = "another one"
    wrong = site.run("backup", "daily", "--json")
    assert wrong.error["kind"] == "key-refused"
    assert wrong.error["what"].startswith("KEY WRONG")
    assert HINT in wrong.error["what"]
    assert [path.name for path in (site.repository / "points").iterdir()] == [point.name]
    blocked = site.run("verify", "latest", "--level", "readable", "--json")
    assert "needs another passphrase" in blocked.document["blocked"][0]["what"]

    site.environment["FSBACKUP_PASSPHRASE"] = PASSPHRASE
    lone = tmp_path / "lone"
    lone.mkdir()
    dump = point / "db" / "database.dump.zst.age"
    identity = next(point.glob("*.identity.age"))
    for path in (dump, identity):
        (lone / path.name).write_bytes(path.read_bytes())
    options = ("--identity", str(lone / identity.name), "--decompress")
    opened = site.run("decrypt", str(lone / dump.name), *options, "--output", str(lone / "out"))
    assert opened.exit_code == 0, opened.stderr
    assert (lone / "out").read_bytes().startswith(b"PGDMP")
    assert CANARY.encode() in (lone / "out").read_bytes()
    streamed = site.run("decrypt", str(lone / dump.name), *options, "--output", "-")
    assert streamed.exit_code == 2
    assert not (site.directory / "-").exists()
    again = site.run("decrypt", str(dump), *options, "--output", str(lone / "out"), "--json")
    assert "FILE EXISTS" in again.error["what"]
    for at in (40, dump.stat().st_size - 1):
        good = altered(lone / dump.name, at)
        failed = site.run("decrypt", str(lone / dump.name), *options, "--output", str(lone / "no"))
        assert failed.exit_code == 1
        assert sorted(path.name for path in lone.iterdir()) == sorted(
            [dump.name, identity.name, "out"]
        )
        (lone / dump.name).write_bytes(good)
    altered(dump, dump.stat().st_size // 2)
    damaged = site.run("verify", "latest", "--level", "proven", "--json")
    assert damaged.document["trust"] == "damaged"


def test_without_the_private_key_a_machine_can_not_read_its_own_points(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    identity, recipient = new_identity()
    encryption: dict[str, object] = {"method": "age", "recipients": [recipient], "hint": HINT}
    site = encrypted_site(tmp_path, server, make_database, encryption)
    back_up(site)
    verified = site.run("verify", "latest", "--level", "proven", "--json")
    (blocked,) = verified.document["blocked"]
    assert f"needs the private key of {recipient} ({HINT})" in blocked["what"]
    assert verified.document["trust"] == "sealed"
    assert not verified.document["problems"]
    told = site.run("doctor", "--json").document["findings"]
    (found,) = [finding for finding in told if finding["id"] == "encryption"]
    assert found["severity"] == "warning"
    assert "CAN'T READ ITS OWN BACKUPS" in found["what"]

    key = tmp_path / "escrow.txt"
    key.write_text(f"# public key: {recipient}\n{identity.reveal()}\n")
    key.chmod(0o600)
    site.settings = {"encryption": {**encryption, "identity": {"file": str(key)}}}
    site.write_config()
    drilled = site.run("drill", "--json")
    assert drilled.exit_code == 0, drilled.stderr + drilled.stdout
    assert drilled.document["key"]["opens"] is True
    told = site.run("doctor", "--json").document["findings"]
    assert "read back here" in next(f["what"] for f in told if f["id"] == "encryption")
    journals = b"".join(p.read_bytes() for p in site.state.rglob("*") if p.is_file())
    assert identity.reveal().encode() not in journals
    assert Secret(identity.reveal()) == identity


def test_at_a_terminal_the_passphrase_is_asked_for_hidden_and_tried_first(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    site = encrypted_site(tmp_path, server, make_database, {"method": "age"})
    asked = "Passphrase of face-swap:"
    terminal = Tty(site.command("backup", "daily"), site.environ(), site.directory)
    try:
        terminal.child.expect_exact(asked)
        terminal.child.sendline(PASSPHRASE)
        terminal.child.expect_exact("Once more")
        terminal.child.sendline("a slip of the finger")
        terminal.child.expect_exact("Those two differ.")
        for question in (asked, "Once more"):
            terminal.child.expect_exact(question)
            terminal.child.sendline(PASSPHRASE)
        terminal.child.expect_exact("Backed up:", timeout=60)
        assert PASSPHRASE.encode() not in (terminal.child.before or b"")
    finally:
        terminal.child.close(force=True)
    again = Tty(site.command("verify", "latest"), site.environ(), site.directory)
    try:
        for _try in range(3):
            again.child.expect_exact(asked)
            again.child.sendline("another")
            again.child.expect_exact("It does not open the key ")
        again.child.expect_exact("KEY WRONG")
    finally:
        again.child.close(force=True)
    assert len(site.run("jobs", "--json").document["jobs"]) == 1
