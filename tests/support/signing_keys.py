"""Keys that sign, made for tests: ssh's, and a keyring of gpg's in a short directory."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.repository.files import remove_tree

PASSPHRASE = "canary: Straße & 'quotes'"


@dataclass(frozen=True)
class SshKeys:
    """Ana's key has a passphrase and is allowed; mallory's is not."""

    directory: Path

    @property
    def ana(self) -> Path:
        return self.directory / "ana"

    @property
    def mallory(self) -> Path:
        return self.directory / "mallory"

    @property
    def allowed(self) -> Path:
        return self.directory / "allowed_signers"

    def public(self, who: str) -> str:
        """The key's kind and text, as a line of allowed signers has them."""
        return " ".join((self.directory / f"{who}.pub").read_text().split()[:2])


def make_ssh_keys(directory: Path) -> SshKeys:
    """Make two keys, and allow one of them."""
    keys = SshKeys(directory)
    directory.mkdir(mode=0o700)
    for name, passphrase in (("ana", PASSPHRASE), ("mallory", "")):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-C", name, "-N", passphrase, "-f"]
        subprocess.run([*words, directory / name], check=True)
    keys.allowed.touch(mode=0o600)
    keys.allowed.write_text(f"ana@example.org {keys.public('ana')}\n")
    return keys


@contextmanager
def gpg_keyring() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a keyring with ana's and mallory's keys, and their fingerprints."""
    # Short, since an agent's socket lies in it.
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    gpg = ["gpg", "--homedir", str(home), "-q", "--batch", "--pinentry-mode", "loopback"]
    try:
        for name, passphrase in (("ana", PASSPHRASE), ("mallory", "")):
            made = ["--passphrase", passphrase, "--quick-gen-key", f"{name}@example.org"]
            subprocess.run([*gpg, *made, "ed25519", "sign"], check=True)
        listed = subprocess.run(
            [*gpg, "--with-colons", "-K"], capture_output=True, text=True, check=True
        )
        found = [line.split(":")[9] for line in listed.stdout.splitlines() if line[:3] == "fpr"]
        # Nothing that the agent remembers may stand in for a passphrase.
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
        yield home, dict(zip(("ana", "mallory"), found, strict=True))
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)
        remove_tree(home)


@contextmanager
def private_keyring(name: str, passphrase: str) -> Iterator[Path]:
    """Give a keyring with one key that decrypts, locked with a passphrase that nobody keeps."""
    home = Path(tempfile.mkdtemp(prefix="gpg", dir="/tmp"))
    gpg = ["gpg", "--homedir", str(home), "-q", "--batch", "--pinentry-mode", "loopback"]
    try:
        made = ["--passphrase", passphrase, "--quick-gen-key", name, "rsa2048", "encrypt"]
        subprocess.run([*gpg, *made], check=True)
        # Nothing is remembered, now or when it was told once.
        (home / "gpg-agent.conf").write_text("default-cache-ttl 0\nmax-cache-ttl 0\n")
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)
        remove_tree(home)
