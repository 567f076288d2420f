"""Backups that gpg encrypted: opened where that can be, *blocked* by name where it can't."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.encryption.gpg import decrypt
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.files import remove_tree
from tests.support.foreign_files import MADE_AT, ROWS, contents, foreign_files, shell
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import PROJECT, CommandResult, Site, make_site

PASSPHRASE = "canary: Straße & 'quotes'"
COPY = "copy_of_a_secret"


@pytest.fixture(scope="module")
def keyring() -> Iterator[Path]:
    """A keyring with one key; short, since an agent's socket lies in it."""
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    gpg = f"gpg --homedir {home} -q --batch"
    key = f"{gpg} --passphrase '' --quick-gen-key ana@example.org rsa2048 encrypt"
    assert shell(key, home) == 0
    yield home
    shell(f"gpgconf --homedir {home} --kill gpg-agent", home)
    # The agent removes its sockets meanwhile.
    remove_tree(home)


@pytest.fixture(scope="module")
def backups(
    tmp_path_factory: pytest.TempPathFactory, server: ScratchServer, keyring: Path
) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("encrypted")
    secret = made.parent / f"{made.name}-passphrase"
    secret.write_text(PASSPHRASE, encoding="utf-8")
    with foreign_files(tmp_path_factory.mktemp("plain"), server) as plain:
        gpg = f"gpg --homedir {keyring} -q --batch --pinentry-mode loopback"
        symmetric = f"{gpg} --passphrase-file {secret} --symmetric --cipher-algo AES256"
        for command in (
            f"{symmetric} -o {made}/backup_20240630_120000.sql.gpg backup_20240630_120000.sql",
            f"{symmetric} -o {made}/supabase_backup.dump.gpg supabase_backup.sql",
            f"{symmetric} -o {made}/packed.sql.gz.gpg packed.sql.gz",
            f"{symmetric} -o {made}/storage.tar.gz.gpg storage_backup_20240630_120000.tar.gz",
            f"{symmetric} -o {made}/failed.sql.gpg failed.sql.gz",
            f"{symmetric} -o {made}/twice.sql.gpg {made}/packed.sql.gz.gpg",
            f"{gpg} --trust-model always -e -r ana@example.org -o {made}/keyed.sql.gpg"
            " backup_20240630_120000.sql",
        ):
            assert shell(command, plain) == 0, command
    content = bytearray((made / "supabase_backup.dump.gpg").read_bytes())
    content[len(content) // 2] ^= 1
    (made / "altered.sql.gpg").write_bytes(content)
    (made / "cut.sql.gpg").write_bytes(content[: len(content) // 2])
    for path in made.iterdir():
        os.utime(path, (MADE_AT, MADE_AT))
    before = contents(made)
    yield made
    assert contents(made) == before


@pytest.fixture
def site(
    tmp_path: Path, backups: Path, server: ScratchServer, make_database: MakeDatabase
) -> Iterator[Site]:
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    settings = {"adopt": [str(backups)], "adopt_passphrase": {"file": str(secret)}}
    made = make_site(tmp_path / "site", make_database(server), settings=settings)
    made.environment["HOME"] = str(tmp_path)
    yield made
    execute(server.socket_url(), f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
    assert not (tmp_path / ".gnupg").exists()
    kept = [*made.state.rglob("*"), *made.directory.rglob("*.log")]
    texts = [content for path in kept if (content := content_of(path)) is not None]
    assert not any(b"canary" in text for text in texts)
    # Neither a decrypted dump nor a keyring of ours outlives its job.
    assert not any(b"PostgreSQL database dump" in text for text in texts)
    assert not any(path.name in ("plain", "gnupg") for path in kept)


def content_of(path: Path) -> bytes | None:
    """The bytes of a file; None for what is none, or is replaced at this moment."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None


def verify(directory: Path, path: Path, environment: Mapping[str, str]) -> CommandResult:
    """Run ``fsbackup verify FILE --json`` where there is no configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "fsbackup_tui", "verify", str(path), "--json"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            **environment,
        },
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


KNOWN = {"FSBACKUP_GPG_PASSPHRASE": PASSPHRASE}


@pytest.mark.parametrize(
    ("name", "environment", "trust", "said"),
    [
        ("backup_20240630_120000.sql.gpg", KNOWN, "readable", ""),
        ("packed.sql.gz.gpg", KNOWN, "readable", ""),
        ("storage.tar.gz.gpg", KNOWN, "readable", ""),
        ("failed.sql.gpg", KNOWN, "damaged", "there is nothing in it (20 bytes of packing)"),
        ("altered.sql.gpg", KNOWN, "damaged", "it is damaged or cut off: gpg says"),
        ("cut.sql.gpg", {}, "damaged", "it is cut off: its last packet is not all there"),
        ("packed.sql.gz.gpg", {}, "unverified", "its passphrase is not known here"),
        (
            "packed.sql.gz.gpg",
            {"FSBACKUP_GPG_PASSPHRASE": "another"},
            "unverified",
            "its passphrase is another one than is known here",
        ),
        ("keyed.sql.gpg", KNOWN, "unverified", "is not in the keyring here"),
        ("twice.sql.gpg", KNOWN, "unverified", "in it is another file that is encrypted (gpg"),
        (
            "packed.sql.gz.gpg",
            {**KNOWN, "PATH": str(Path(sys.executable).parent)},
            "unverified",
            "gpg is not installed here",
        ),
    ],
)
def test_an_encrypted_file_is_opened_damaged_or_blocked_by_name(
    tmp_path: Path,
    backups: Path,
    name: str,
    environment: Mapping[str, str],
    trust: str,
    said: str,
) -> None:
    done = verify(tmp_path, backups / name, environment)
    document = done.document
    level = document["levels"]["readable"]["ok"]
    expected = {"readable": (True, True, 0), "damaged": (False, False, 1)}
    found = (level, document["ok"], done.exit_code)
    assert found == expected.get(trust, (None, False, 1)), done.stdout
    assert document["trust"] == trust
    where = "problems" if trust == "damaged" else "blocked"
    assert any(said in item["what"] for item in document[where])
    assert "canary" not in done.stdout + done.stderr
    # Neither plain text nor a keyring is left, and nothing was made in the home directory.
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_the_users_own_keyring_needs_no_passphrase(
    tmp_path: Path, backups: Path, keyring: Path
) -> None:
    done = verify(tmp_path, backups / "keyed.sql.gpg", {"GNUPGHOME": str(keyring)})
    assert (done.exit_code, done.document["trust"]) == (0, "readable"), done.stdout
    file = done.document["file"]
    assert (file["path"], file["form"]) == (str(backups / "keyed.sql.gpg"), "plain")
    assert file["what"].endswith("encrypted (gpg, with a key)")
    assert list(tmp_path.iterdir()) == []


async def test_where_there_is_no_room_nothing_is_written(tmp_path: Path, backups: Path) -> None:
    told: list[int] = []

    def check_space(needed: int) -> None:
        told.append(needed)
        raise DiskFull("NOT ENOUGH SPACE")

    target = tmp_path / "plain"
    path = backups / "backup_20240630_120000.sql.gpg"
    with pytest.raises(DiskFull, match="NOT ENOUGH SPACE"):
        await decrypt(
            path,
            target,
            passphrase=Secret(PASSPHRASE),
            environ={"HOME": str(tmp_path)},
            work=tmp_path,
            check_space=check_space,
        )
    # The file tells how large its content is, long before that is written.
    (needed,) = told
    assert needed > path.stat().st_size


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path, backups: Path) -> None:
    left = tmp_path / "fsbackup-file-dead"
    (left / "plain").mkdir(parents=True)
    (left / "plain" / "backup.sql").write_text("secret rows")
    (left / ".lock").touch()
    assert verify(tmp_path, backups / "packed.sql.gz.gpg", KNOWN).exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["supabase_backup.dump.gpg", "packed.sql.gz.gpg"])
def test_it_is_tried_out_restored_and_adopted(
    site: Site, backups: Path, server: ScratchServer, name: str
) -> None:
    path = str(backups / name)
    tried = site.run("verify", path, "--level", "restored", "--json")
    assert (tried.exit_code, tried.document["trust"]) == (0, "restored"), tried.stdout
    restored = site.run("restore", path, "--beside", COPY, "--json")
    assert restored.exit_code == 0, restored.stdout + restored.stderr
    assert restored.document["entries"]["lost"] == 0
    assert query(server.url(COPY), "SELECT count(*) FROM users") == [(ROWS,)]
    adopted = site.run("adopt", path, "--json").document
    assert adopted["from"] == path
    assert any("no longer encrypted" in note for note in adopted["notes"])
    assert site.run("verify", adopted["point"]).exit_code == 0


def test_what_is_blocked_is_neither_restored_nor_adopted(
    site: Site, backups: Path, tmp_path: Path
) -> None:
    (tmp_path / "passphrase").write_text("a wrong one")
    path = str(backups / "packed.sql.gz.gpg")
    for words in (("restore", path, "--beside", COPY), ("adopt", path)):
        done = site.run(*words)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "NOT DECRYPTED: packed.sql.gz.gpg is encrypted (gpg, with a passphrase)." in (
            " ".join(done.stderr.split())
        )
        assert "Its passphrase is another one" in " ".join(done.stderr.split())
    assert list((site.repository / "points").iterdir()) == []
    listed = site.run("list", "--json").document["points"]
    assert {point["trust"] for point in listed} == {"unverified"}
