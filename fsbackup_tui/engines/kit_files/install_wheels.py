"""Unpack the wheels of a recovery kit into an environment of their own; needs Python alone.

Run by install.sh: ``python install_wheels.py WHEELHOUSE DIRECTORY``. No pip, no network.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path


def install(wheelhouse: Path, target: Path) -> int:
    """Make the environment and fill it; returns how many wheels were unpacked."""
    venv.create(target, symlinks=True, with_pip=False)
    base = {"base": str(target), "platbase": str(target)}
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    wheels = sorted(wheelhouse.glob("*.whl"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                _unpack(archive, entry, packages, target)
    return len(wheels)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, packages: Path, target: Path) -> None:
    parts = Path(entry.filename).parts
    if entry.is_dir() or ".." in parts or Path(entry.filename).is_absolute():
        return
    place = packages.joinpath(*parts)
    if parts[0].endswith(".data") and parts[1] == "scripts":
        place = target / "bin" / parts[-1]
    elif parts[0].endswith(".data") and parts[1] == "data":
        place = target.joinpath(*parts[2:])
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, place.open("wb") as file:
        shutil.copyfileobj(source, file)
    place.chmod(0o755 if entry.external_attr >> 16 & 0o100 else 0o644)


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
