"""A real PgBouncer in front of a scratch server, with a console for its administrator."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.waiting import wait_until

PASSWORD = "pooler-password"


@dataclass
class RunningPooler:
    """A PgBouncer that serves; ``process`` may be killed."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    @property
    def admin(self) -> str:
        return self.url("pgbouncer", "administrator")


@contextmanager
def running_pooler(
    server: ScratchServer,
    directory: Path,
    databases: dict[str, str],
    *,
    mode: str = "transaction",
    roles: Sequence[str] = ("postgres",),
) -> Iterator[RunningPooler]:
    """Run a PgBouncer; ``databases`` are the names for clients and what they lead to."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    directory.mkdir(parents=True)
    users = directory / "users.txt"
    users.write_text("".join(f'"{name}" "{PASSWORD}"\n' for name in (*roles, "administrator")))
    entries = "\n".join(
        f"{name} = host={server.socket_directory} port={server.port} dbname={database}"
        for name, database in databases.items()
    )
    settings = directory / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{entries}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"auth_type = plain\nauth_file = {users}\nadmin_users = administrator\n"
        f"pool_mode = {mode}\nunix_socket_dir =\nlogfile = {directory}/log\n"
        "server_login_retry = 1\n"
    )
    user: int | None = None
    if os.geteuid() == 0:  # it refuses to run as root, and the socket lets its owner in alone
        user = server.socket_directory.stat().st_uid
        for path in (directory, users, settings):
            os.chown(path, user, -1)
        _open_to(directory)
    with (directory / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [program, str(settings)], stdout=errors, stderr=errors, user=user, extra_groups=[]
        )
    pooler = RunningPooler(port, process)
    try:
        wait_until(lambda: _answers(pooler))
        yield pooler
    finally:
        process.kill()
        process.wait()


def _open_to(directory: Path) -> None:
    """Let others pass through the temporary directories of a test."""
    for parent in directory.parents:
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o111 != 0o111:
            parent.chmod(parent.stat().st_mode | 0o111)


def _answers(pooler: RunningPooler) -> bool:
    if pooler.process.poll() is not None:
        raise AssertionError("pgbouncer ended at once")
    try:
        psycopg.connect(pooler.admin, autocommit=True).close()
    except psycopg.Error:
        return False
    return True
