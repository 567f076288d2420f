"""This very fsbackup as files to install elsewhere: wheels made of what is installed, and Python.

Nothing is downloaded: what runs here is what is packed, and a kit can be made without a network.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import fsbackup_tui
from fsbackup_tui.domain.errors import FsbackupError

OWN = "fsbackup-tui"
_EXTRAS = ("offsite", "notify")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_OF_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")
_LEFT_OUT = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
_NOT_OF_PYTHON = {
    *("__pycache__", "test", "idlelib", "tkinter", "turtledemo", "lib2to3"),
    *("site-packages", "dist-packages", "ensurepip"),
}
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def needed_distributions() -> dict[str, Distribution]:
    """Return fsbackup and all it depends on, as installed, by name.

    Of the extras what is installed goes along: the way to a replica, and notifications.
    """
    found: dict[str, Distribution] = {}
    waiting = [(OWN, frozenset(_EXTRAS))]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extras = waiting.pop()
        try:
            installed = found.get(name) or distribution(name)
        except PackageNotFoundError:
            # A marker of another platform, or an extra that nobody installed.
            continue
        found[name] = installed
        for text in installed.requires or ():
            wanted = _OF_EXTRA.search(text)
            if wanted is not None and wanted[1] not in extras:
                continue
            match = _REQUIREMENT.match(text)
            if match is None:
                continue
            key, asked = _plain(match[1]), frozenset(re.findall(r"[\w.-]+", match[2] or ""))
            news = {(key, ""), *((key, extra) for extra in asked)} - seen
            if news:
                seen |= news
                waiting.append((key, asked))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pack_wheels(target: Path) -> list[Path]:
    """Write a wheel of everything that is needed into a directory; returns them, sorted.

    Raises:
        FsbackupError: something installed can't be packed: it did not come as a wheel.
    """
    made = [
        _pack(installed, target, is_own=name == OWN)
        for name, installed in needed_distributions().items()
    ]
    if not any(path.name.startswith("fsbackup_tui-") for path in made):
        raise FsbackupError(
            "NOT PACKED: this fsbackup is not installed as a package.",
            why="Python knows of no distribution fsbackup-tui.",
            fix="Install it with pip, or leave it out of the kit: --no-wheelhouse",
        )
    return sorted(made)


def _pack(installed: Distribution, target: Path, *, is_own: bool) -> Path:
    name = re.sub(r"[-_.]+", "_", installed.metadata["Name"])
    told = installed.read_text("WHEEL")
    if told is None or (installed.files is None and not is_own):
        raise FsbackupError(
            f"NOT PACKED: {name} did not come as a wheel.",
            why="Only what pip or uv installed can be packed again.",
            fix="Install fsbackup into an environment of its own; or --no-wheelhouse",
        )
    stem = f"{name}-{installed.version}"
    content = dict(_own_files() if is_own and _is_editable(installed) else _files(installed, stem))
    content |= {
        f"{stem}.dist-info/{path.relative_to(info)}": path
        for info in [_info_directory(installed)]
        for path in sorted(info.rglob("*"))
        if path.is_file() and path.name not in _LEFT_OUT and "__pycache__" not in path.parts
    }
    wheel = target / f"{stem}-{_tags(told)}.whl"
    _write_wheel(wheel, content, f"{stem}.dist-info/RECORD")
    return wheel


def _info_directory(installed: Distribution) -> Path:
    for file in installed.files or ():
        if file.name == "METADATA":
            return Path(str(file.locate())).parent
    raise FsbackupError(
        f"NOT PACKED: {installed.metadata['Name']} has no list of its files.",
        fix="Install fsbackup into an environment of its own; or --no-wheelhouse",
    )


def _is_editable(installed: Distribution) -> bool:
    return '"editable": true' in (installed.read_text("direct_url.json") or "")


def _own_files() -> Iterator[tuple[str, Path]]:
    package = Path(fsbackup_tui.__file__).parent
    for root in (package, package.parent / "themes"):
        inside = package.name if root == package else f"{package.name}/themes"
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{inside}/{path.relative_to(root).as_posix()}", path


def _files(installed: Distribution, stem: str) -> Iterator[tuple[str, Path]]:
    """Return the files of a wheel by their names in it; its ``.dist-info`` is not among them."""
    scripts = Path(sysconfig.get_path("scripts")).resolve()
    prefix = Path(sys.prefix).resolve()
    made = {entry.name for entry in installed.entry_points if "scripts" in entry.group}
    for file in installed.files or ():
        path = Path(str(file.locate())).resolve()
        if "__pycache__" in file.parts or f"{stem}.dist-info" in file.parts or not path.is_file():
            continue
        if any(part.endswith(".dist-info") for part in file.parts[:1]):
            continue
        if ".." not in file.parts:
            yield file.as_posix(), path
        elif path.parent == scripts:
            if path.name not in made:
                yield f"{stem}.data/scripts/{path.name}", path
        elif path.is_relative_to(prefix):
            yield f"{stem}.data/data/{path.relative_to(prefix).as_posix()}", path


def _tags(told: str) -> str:
    """Return the tag in a wheel's name, from those that its WHEEL tells."""
    tags = [line.partition(":")[2].strip() for line in told.splitlines() if line[:4] == "Tag:"]
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(part)) for part in parts) or "py3-none-any"


def _write_wheel(wheel: Path, content: Mapping[str, Path], record: str) -> None:
    lines = []
    with zipfile.ZipFile(wheel, "x", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, path in content.items():
            data = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            quoted = f'"{name}"' if "," in name else name
            lines.append(f"{quoted},sha256={digest},{len(data)}")
            archive.writestr(_entry(name, path.stat().st_mode), data)
        archive.writestr(_entry(record, 0o644), "\n".join([*lines, f"{record},,", ""]))
    wheel.chmod(0o600)


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr = (0o100000 | (0o755 if mode & 0o100 else 0o644)) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def pack_python(target: Path) -> None:
    """Write the Python that runs this, with its standard library, as a ``.tar.gz``.

    It is for a machine of the same kind that has no such Python; what the system's libraries
    must bring is tried by who installs it.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    with tarfile.open(target, "x:gz", compresslevel=3) as archive:
        archive.add(program, f"python/bin/{version}")
        shared = sysconfig.get_config_var("INSTSONAME")
        if sysconfig.get_config_var("Py_ENABLE_SHARED") and shared:
            place = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(shared)
            if place.is_file():
                archive.add(place.resolve(), f"python/lib/{shared}")
        archive.add(library, f"python/lib/{version}", filter=_of_python)
    target.chmod(0o600)


def _of_python(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = PurePosixPath(member.name).parts
    if any(part in _NOT_OF_PYTHON or part.startswith("config-") for part in parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def python_needed() -> str:
    """Return which Python the wheels are for, as people read it."""
    kind = os.uname()
    implementation = sys.implementation.name.replace("cpython", "CPython")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{implementation} {version}, {kind.sysname} {kind.machine}"
