"""What is timed: the seed's script, the raw tools, and fsbackup doing the same work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.memory import WorkerMemory
from tests.benchmarks.site import BenchSite

# The seed's scripts/backup-database.sh, word for word but for BACKUP_DIR.
SEED_SCRIPT = r"""#!/bin/bash
set -e

# Configuration
BACKUP_DIR="${BACKUP_DIR}"
DATABASE_URL="${DATABASE_URL}"
RETENTION_DAYS=30

# Create backup directory
mkdir -p $BACKUP_DIR

# Generate backup filename
TIMESTAMP=$(date +%Y%m%d_%H%M%S)
BACKUP_FILE="$BACKUP_DIR/backup_$TIMESTAMP.sql"

# Create backup
echo "Creating database backup..."
pg_dump $DATABASE_URL > $BACKUP_FILE

# Compress backup
gzip $BACKUP_FILE
echo "Backup created: $BACKUP_FILE.gz"

# Clean old backups (keep last 30 days)
find $BACKUP_DIR -name "backup_*.sql.gz" -mtime +$RETENTION_DAYS -delete
echo "Old backups cleaned (older than $RETENTION_DAYS days)"

# Verify backup
gunzip -t $BACKUP_FILE.gz
if [ $? -eq 0 ]; then
    echo "Backup verification: SUCCESS"
else
    echo "Backup verification: FAILED"
    exit 1
fi
"""
_ONLY_LISTS = {"--version", "--list", "-l", "--schema-only", "-s"}
SEED_RESTORE = "set -eo pipefail; gunzip -c $BACKUP_FILE | psql $DATABASE_URL > /dev/null"


@dataclass(frozen=True, slots=True)
class Timed:
    """One run: seconds on the wall, what fsbackup answered, its worker's peak memory (bytes)."""

    seconds: float
    document: dict[str, Any]
    peak_bytes: int = 0


def _timed(command: Sequence[str], **environment: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        list(command),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - started


def _with_path(site: BenchSite) -> dict[str, str]:
    return {"PATH": f"{site.binaries}:{os.environ['PATH']}"}


def settle(site: BenchSite) -> None:
    """Write out what earlier runs left in memory, so that no run pays for another."""
    site.sql("CHECKPOINT")
    os.sync()


def seed_backup(site: BenchSite) -> Timed:
    """Run the seed's backup script; its dump is kept for ``seed_restore``."""
    target = site.directory / "seed"
    shutil.rmtree(target, ignore_errors=True)
    script = site.directory / "backup-database.sh"
    script.write_text(SEED_SCRIPT)
    environment = {**_with_path(site), "BACKUP_DIR": str(target), "DATABASE_URL": site.url}
    return Timed(_timed(["bash", str(script)], **environment), {})


def raw_backup(site: BenchSite, options: Sequence[str]) -> Timed:
    """Run pg_dump alone with the options that fsbackup gave it; kept for ``raw_restore``."""
    target = site.directory / "raw"
    shutil.rmtree(target, ignore_errors=True)
    command = [site.tool("pg_dump"), *options, f"--file={target}", f"--dbname={site.url}"]
    return Timed(_timed(command), {})


def fsbackup_backup(site: BenchSite, plan: str) -> Timed:
    """Run ``fsbackup backup PLAN`` as a user would."""
    return _fsbackup(site, "backup", plan, "--json")


def fsbackup_verify(site: BenchSite, point: str, level: str) -> Timed:
    """Run ``fsbackup verify POINT --level LEVEL`` as a user would."""
    return _fsbackup(site, "verify", point, "--level", level, "--json")


def fsbackup_keep_spare(site: BenchSite, point: str) -> Timed:
    """Run ``fsbackup verify POINT --keep-spare`` as a user would."""
    return _fsbackup(site, "verify", point, "--keep-spare", "--json")


def seed_restore(site: BenchSite) -> Timed:
    """Load the seed's dump with psql as the seed does, into a database made for it."""
    dump = next((site.directory / "seed").glob("backup_*.sql.gz"))
    with _new_database(site, "bench_seed"):
        environment = {**_with_path(site), "BACKUP_FILE": str(dump)}
        url = site.server.url("bench_seed")
        return Timed(_timed(["bash", "-c", SEED_RESTORE], DATABASE_URL=url, **environment), {})


def raw_restore(site: BenchSite, options: Sequence[str]) -> Timed:
    """Run pg_restore alone and then VACUUM (ANALYZE), with the jobs that fsbackup took."""
    with _new_database(site, "bench_raw"):
        url = site.server.url("bench_raw")
        command = [site.tool("pg_restore"), *options, f"--dbname={url}"]
        seconds = _timed([*command, str(site.directory / "raw")])
        vacuum = [site.tool("psql"), "-Xq", "-d", url, "-c", "VACUUM (ANALYZE)"]
        return Timed(seconds + _timed(vacuum), {})


def fsbackup_restore(site: BenchSite, point: str, part: str) -> Timed:
    """Run ``fsbackup restore POINT --beside`` as a user would, and drop the copy."""
    name = "bench_copy"
    try:
        return _fsbackup(site, "restore", point, "--part", part, "--beside", name, "--json")
    finally:
        site.sql(f"DROP DATABASE IF EXISTS {name}")


def _fsbackup(site: BenchSite, *arguments: str) -> Timed:
    with WorkerMemory(site.state) as memory:
        started = time.perf_counter()
        completed = subprocess.run(site.fsbackup(*arguments), capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if completed.returncode != 0:
        raise SystemExit(f"fsbackup failed: {completed.stdout}{completed.stderr}")
    return Timed(seconds, json.loads(completed.stdout), memory.peak_bytes)


@contextmanager
def _new_database(site: BenchSite, name: str) -> Iterator[None]:
    site.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield
    finally:
        site.sql(f"DROP DATABASE {name}")


def command_of(site: BenchSite, program: str) -> list[str]:
    """Return the newest (redacted) command line of ``program`` in the journals of the site."""
    journals = sorted(site.state.rglob("journal.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    for journal in reversed(journals):
        for line in journal.read_text().splitlines():
            argv = [str(word) for word in json.loads(line).get("argv", ())]
            names = [Path(word).name for word in argv]
            if program in names and not _ONLY_LISTS.intersection(argv):
                return argv[names.index(program) :]
    raise SystemExit(f"no journal tells of {program}")


def kept_options(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the options of ``names`` (long or short) in a command line, with their values."""
    kept: list[str] = []
    words = iter(argv[1:])
    for word in words:
        if any(word.startswith(f"{name}=") for name in names if name.startswith("--")):
            kept.append(word)
        elif word in names:
            kept += [word, next(words)]
        elif any(word.startswith(name) for name in names if not name.startswith("--")):
            kept.append(word)
    return kept
