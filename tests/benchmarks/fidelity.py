"""``python -m tests.benchmarks.fidelity``: a tree of a million files there and back, compared.

A site of files alone, every oddity among them, is backed up, proven, backed up again unchanged,
and restored by the commands; then GNU tar alone extracts the point's archive. Both trees must equal
the original in names, bytes, modes, owners, times, links, holes and attributes, and pass the
point's own list of sums. Prints seconds and the workers' peak memory; exit code 0 when nothing
differs and the memory is within its bar, else 1. As root owners and attributes are among it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.repository.layout import create_repository
from tests.benchmarks.bars import Bar
from tests.benchmarks.memory import WorkerMemory
from tests.benchmarks.running import judge, work_directory
from tests.support.odd_trees import NOT_UTF8, entry_state, is_archived, make_odd_tree

_IN_A_DIRECTORY = 1000
_ODD_TREES = 10
_SHOWN = 20
_NAMES = (b"%d.jpg", b"new\nline %d", b"tab\t%d", b"back\\slash %d", NOT_UTF8 + b"%d", b"-%d *?[x]")
_MODES = (0o644, 0o600, 0o755, 0o444, 0o000, 0o640, 0o777)
_CONFIGURATION = """\
site: many
repository: "{0}/repository"
state: "{0}/state"
sources:
  uploads: {{kind: files, root: "{0}/tree"}}
plans:
  daily: {{sources: [uploads], link_unchanged: true}}
"""


@dataclass
class Told:
    """What one command took: seconds, and the peak memory of its worker in bytes."""

    what: str
    seconds: float
    peak: int


def main() -> int:
    """Make, back up, restore, compare, and print it; returns 0, or 1 if anything differs."""
    arguments = _arguments()
    with work_directory(arguments.dir) as directory:
        make_tree(directory / "tree", arguments.files)
        user = "root" if os.geteuid() == 0 else "an ordinary user"
        print(f"{arguments.files} files, as {user}", flush=True)
        told, wrong = _there_and_back(directory)
    for one in told:
        print(f"{one.what:<34}{one.seconds:>9.1f} s{one.peak / 1e6:>8.0f} MB")
    print("\n".join(wrong[:_SHOWN]))
    peak = max(one.peak for one in told) / 1e6
    return judge(
        [
            Bar("differences", len(wrong), "at most", 0, "entries"),
            Bar("peak memory of a worker", peak, "at most", 120, "MB"),
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fidelity")
    parser.add_argument("--files", type=int, default=1_000_000, help="how many of them")
    parser.add_argument("--dir", type=Path, help="where to work: 10 kB a file are needed")
    return parser.parse_args()


def make_tree(root: Path, count: int) -> None:
    """Make a tree of so many small files, every oddity among them."""
    root.mkdir()
    as_root = os.geteuid() == 0
    for number in range(_ODD_TREES):
        make_odd_tree(root / f"odd-{number}", as_root=as_root)
    numbers = random.Random(3)
    base = os.fsencode(root)
    for number in range(count):
        directory = base + b"/%02d/%05d" % (number // 100_000, number // _IN_A_DIRECTORY)
        if number % _IN_A_DIRECTORY == 0:
            os.makedirs(directory)
        name = _NAMES[number % 37] if number % 37 < len(_NAMES) else _NAMES[0]
        _make(directory + b"/" + name % number, number, numbers, as_root=as_root)


def _make(path: bytes, number: int, numbers: random.Random, *, as_root: bool) -> None:
    if number % 53 == 1:
        os.symlink(b"../%d.jpg" % numbers.randrange(number), path)
        return
    if number % 71 == 1:
        other = os.path.dirname(path) + b"/hard %d" % number
        _write(other, b"two names")
        os.link(other, path)
        return
    _write(path, numbers.randbytes(numbers.choice((0, 20, 300, 700, 3000))))
    if number % 503 == 0:
        os.truncate(path, 1 << 20)
    os.utime(path, ns=(0, numbers.randrange(-(10**17), 4 * 10**18)))
    if number % 5 == 0:
        if as_root:
            os.chown(path, number % 3000, number % 700)
        os.chmod(path, _MODES[number // 5 % len(_MODES)])
    if as_root and number % 997 == 0:
        os.setxattr(path, b"user.note", b"%d" % number)


def _write(path: bytes, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _there_and_back(given: Path) -> tuple[list[Told], list[str]]:
    directory = given.resolve()
    (directory / "fsbackup.yaml").write_text(_CONFIGURATION.format(directory))
    create_repository(directory / "repository", "many", datetime.now(UTC))
    told = [
        _command(directory, "backup", "backup", "daily"),
        _command(directory, "verify", "verify", "latest"),
        _command(directory, "backup, nothing changed", "backup", "daily"),
        _command(directory, "restore", "restore", "latest", "--to", f"{directory}/restored"),
    ]
    wrong = [
        f"restored: {each}" for each in differences(directory / "tree", directory / "restored")
    ]
    shutil.rmtree(directory / "restored")
    started = time.monotonic()
    wrong += [f"tar alone: {each}" for each in _by_tar(directory)]
    print(f"extracted by tar, sums checked and compared in {time.monotonic() - started:.0f} s")
    return told, wrong


def _command(directory: Path, what: str, *words: str) -> Told:
    argv = [sys.executable, "-P", "-m", "fsbackup_tui", words[0]]
    argv += ["--config", f"{directory}/fsbackup.yaml", "--json", *words[1:]]
    started = time.monotonic()
    with WorkerMemory(directory / "state") as memory:
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    seconds = time.monotonic() - started
    if done.returncode or not json.loads(done.stdout)["ok"]:
        raise SystemExit(f"{what} failed: {done.stdout.decode(errors='replace')}")
    return Told(what, seconds, memory.peak_bytes)


def _by_tar(directory: Path) -> Iterator[str]:
    """Extract the newest point's archive as its RECOVER.md says; yield what differs."""
    part = max((directory / "repository" / "points").iterdir()) / "uploads"
    target = directory / "extracted"
    target.mkdir()
    options = "--extract --preserve-permissions --xattrs --xattrs-include=* --acls"
    options += " --delay-directory-restore --warning=no-timestamp"
    with subprocess.Popen(["zstd", "-qdc", part / "files.tar.zst"], stdout=subprocess.PIPE) as zstd:
        argv = ["tar", *options.split(), f"--directory={target}", "--file=-"]
        subprocess.run(argv, stdin=zstd.stdout, check=True)
    sums = directory / "sums"
    subprocess.run(["zstd", "-qd", part / "files.sha256.zst", "-o", sums], check=True)
    checked = subprocess.run(["sha256sum", "--check", "--quiet", sums], cwd=target, check=False)
    if checked.returncode:
        yield "sha256sum -c fails"
    yield from differences(directory / "tree", target, keeps_set_id=True)


def differences(one: Path, other: Path, *, keeps_set_id: bool = False) -> Iterator[str]:
    """Yield what differs between two trees, directory by directory.

    Without ``keeps_set_id`` the other tree's programs of root must have lost these bits.
    """
    # The first name of each file that has several, by its inode in either tree.
    first_names: dict[tuple[int, int], bytes] = {}
    left, right = os.fsencode(one), os.fsencode(other)
    directories = [b"."]
    while directories:
        directory = directories.pop()
        names, others = (set(_archived(base + b"/" + directory)) for base in (left, right))
        for name in names ^ others:
            yield f"{directory!r}: {name!r} is in one of them only"
        for name in names & others:
            path = directory + b"/" + name
            status, other_status = os.lstat(left + b"/" + path), os.lstat(right + b"/" + path)
            if stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(other_status.st_mode):
                directories.append(path)
            before, after = entry_state(left + b"/" + path), entry_state(right + b"/" + path)
            if not keeps_set_id and stat.S_ISREG(status.st_mode) and status.st_uid == 0:
                before = (before[0], status.st_mode & 0o1777, *before[2:])
            if before != after:
                yield f"{path!r}: {before} became {after}"
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                key = (0, status.st_ino)
                first = first_names.setdefault(key, path)
                if os.lstat(right + b"/" + first).st_ino != other_status.st_ino:
                    yield f"{path!r} is no other name of {first!r} any more"


def _archived(directory: bytes) -> Iterator[bytes]:
    with os.scandir(directory) as found:
        for entry in found:
            if is_archived(entry.stat(follow_symlinks=False).st_mode):
                yield entry.name


if __name__ == "__main__":
    sys.exit(main())
