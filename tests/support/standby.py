"""A hot standby of a scratch server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer


def make_standby(primary: ScratchServer, standby: ScratchServer, work: Path) -> None:
    """Turn a fresh server into a streaming standby of the other."""
    copy = work / "base"
    subprocess.run(
        [
            str(primary.bin_directory / "pg_basebackup"),
            f"--dbname={primary.url()}",
            f"--pgdata={copy}",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
    )
    owner = standby.data_directory.stat()
    standby.stop()
    for path in standby.data_directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(copy, standby.data_directory, dirs_exist_ok=True)
    (standby.data_directory / "standby.signal").touch()
    with (standby.data_directory / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{primary.url()}'\n")
    for root, directories, files in os.walk(standby.data_directory):
        for name in (*directories, *files):
            os.chown(Path(root) / name, owner.st_uid, owner.st_gid)
    standby.start()
