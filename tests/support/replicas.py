"""Real servers on loopback that hold replicas: ``rclone serve s3`` and an SSH server."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.config.values import SecretText
from fsbackup_tui.engines.remote.programs import find
from tests.support.waiting import wait_until

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "canary-secret-key-of-the-bucket-0123456789"
BUCKET = "bucket"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def served(argv: Sequence[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
        )
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, timeout=120.0)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A bucket on loopback; ``files`` is where its objects lie as plain files."""

    port: int
    files: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def replica(self, prefix: str = "site", **settings: object) -> Replica:
        given: dict[str, object] = {
            "url": f"s3://{BUCKET}/{prefix}",
            "endpoint": self.endpoint,
            "access_key": SecretText(text=ACCESS_KEY),
            "secret_key": SecretText(text=SECRET_KEY),
        }
        return Replica.model_validate({**given, **settings})


@contextlib.contextmanager
def s3_server(directory: Path, port: int | None = None) -> Iterator[S3Server]:
    """Serve ``directory``/s3 as an S3 server with one bucket."""
    rclone = find("rclone")
    assert rclone is not None
    root = directory / "s3"
    (root / BUCKET).mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    argv = [
        *(rclone, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
        # Otherwise what a test changes behind its back gives an error of the server's own.
        *("--addr", f"127.0.0.1:{port}", "--dir-cache-time", "5ms", "--vfs-cache-mode", "off"),
        str(root),
    ]
    with served(
        argv,
        port,
        directory / "s3.log",
        RCLONE_CONFIG="/dev/null",
        RCLONE_CACHE_DIR=str(directory / "s3-cache"),
    ):
        yield S3Server(port, root / BUCKET)


@dataclass(frozen=True, slots=True)
class SshServer:
    """An SSH server on loopback, and what it takes to get in."""

    port: int
    files: Path
    key: Path
    known_hosts: Path
    user: str

    def sftp(self, directory: Path | None = None, **settings: object) -> Replica:
        place = directory or self.files
        given: dict[str, object] = {
            "url": f"sftp://{self.user}@127.0.0.1:{self.port}{place}",
            "key_file": self.key,
            "known_hosts": self.known_hosts,
        }
        return Replica.model_validate({**given, **settings})

    def rsync(self, directory: str | Path | None = None, **settings: object) -> Replica:
        given: dict[str, object] = {
            "rsync": f"{self.user}@127.0.0.1:{directory or self.files}",
            "key_file": self.key,
            "known_hosts": self.known_hosts,
            "port": self.port,
        }
        return Replica.model_validate({**given, **settings})


def _new_key(path: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=60
    )
    return path.with_suffix(".pub").read_text().strip()


@contextlib.contextmanager
def ssh_server(directory: Path, *, forced: str = "") -> Iterator[SshServer]:
    """Serve as this very user; ``forced`` is the only command that the key may run."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    home = directory / "ssh"
    home.mkdir(parents=True)
    files = directory / "far"
    files.mkdir()
    port = free_port()
    host_key = _new_key(home / "host")
    key = _new_key(home / "key")
    options = f'restrict,command="{forced}" ' if forced else "restrict "
    (home / "authorized_keys").write_text(f"{options}{key}\n")
    known = home / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host_key}\n")
    config = home / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {home}/host\n"
        f"AuthorizedKeysFile {home}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"PidFile none\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    if os.geteuid() == 0:
        # Where it starts as root it gives up its rights in this directory, which a machine that
        # never ran one lacks.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = [sshd, "-D", "-e", "-f", str(config)]
    with served(argv, port, directory / "sshd.log"):
        yield SshServer(port, files, home / "key", known, getpass.getuser())
