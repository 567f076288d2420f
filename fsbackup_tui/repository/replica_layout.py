"""What of a repository lies on a replica, under which names, and what its root tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.repository.checksums import SUMS_NAME, parse_sums
from fsbackup_tui.repository.files import hash_file, list_files
from fsbackup_tui.repository.layout import RECOVER_NAME, Repository
from fsbackup_tui.repository.leftovers import MARKER_NAME, PARTIAL_PREFIX
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME, read_bytes
from fsbackup_tui.repository.recover_text import root_recover_text
from fsbackup_tui.repository.whereabouts import REPOSITORY_FORMAT, REPOSITORY_NAME

SMALL_NAMES = (PART_NAME, SUMS_NAME)
"""What tells of a part without being one of its artifacts."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it must lie on a replica: its SHA-256 and its bytes."""

    sha256: str
    bytes: int


def point_path(point: str, relative: str = "") -> str:
    """Return where a point's file lies, relative to the replica."""
    return f"points/{point}/{relative}" if relative else f"points/{point}"


def stored_files(repository: Repository, point: str) -> dict[str, Stored]:
    """Return every file of a whole point, by its path in the point, with what it must be.

    The hashes are those of its SHA256SUMS; only what those don't speak of is read.

    Raises:
        PointDamaged: there is no SHA256SUMS that can be read, or a file is missing.
    """
    directory = repository.point_directory(point)
    try:
        sums = parse_sums(read_bytes(directory / SUMS_NAME))
    except ValueError as error:
        raise PointDamaged(f"POINT DAMAGED: {point}.", why=f"{SUMS_NAME}: {error}.") from error
    found: dict[str, Stored] = {}
    for name in list_files(directory):
        if name == MARKER_NAME or name.startswith(PARTIAL_PREFIX):
            continue
        if name in sums:
            found[name] = Stored(sums[name], (directory / name).stat().st_size)
        else:
            found[name] = Stored(*hash_file(directory / name))
    missing = sorted({*sums, MANIFEST_NAME} - set(found))
    if missing:
        raise PointDamaged(
            f"POINT DAMAGED: {point} lacks {missing[0]}.",
            why=f"Its {SUMS_NAME} names it.",
            fix=f"fsbackup verify {point}",
        )
    return found


def record_names(repository: Repository, point: str) -> dict[str, int]:
    """Return the paths of a point's records relative to the repository, with their sizes."""
    directory = repository.records / point
    if not directory.is_dir():
        return {}
    return {
        f"records/{point}/{path.name}": path.stat().st_size
        for path in sorted(directory.glob("*.json"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }


def check_identity(content: bytes, home: Repository, name: str, place: str) -> None:
    """Raise SafetyRefusal where the file that names a replica's repository names another one."""
    document: Mapping[str, object] = {}
    try:
        parsed = json.loads(content)
        document = parsed if isinstance(parsed, dict) else {}
    except ValueError:
        pass
    found, version = document.get("id"), document.get("format")
    if isinstance(version, int) and version > REPOSITORY_FORMAT:
        raise SafetyRefusal(
            f"REPLICA TOO NEW: {name} has format {version}. Nothing was sent.",
            why=f"This fsbackup writes format {REPOSITORY_FORMAT}.",
            fix="Install a newer fsbackup: pip install --upgrade fsbackup-tui",
        )
    if found != home.id:
        raise SafetyRefusal(
            f"REPLICA OF ANOTHER REPOSITORY: {name}. Nothing was sent.",
            why=f"{place} holds that of {found or 'nothing known'}; ours is {home.id}.",
            fix="Give each repository a directory or prefix of its own there.",
        )


def write_root_texts(repository: Repository, place: str, fetch: str, directory: Path) -> list[str]:
    """Write into ``directory`` what stands at the root of a replica; return the names.

    ``fetch`` are the stock commands that bring the replica here.
    """
    text = root_recover_text(repository.site)
    head, separator, rest = text.partition("## 1. Choose a recovery point")
    chapter = (
        f"## 0. Fetch it\n\nThis is the replica {place}. Paste this in a directory of your own;\n"
        f"then the rest is as it says below.\n\n```sh\n{fetch}\n```\n\n"
        "To restore one point, its directory below `points/` alone is enough.\n\n"
    )
    (directory / RECOVER_NAME).write_text(f"{head}{chapter}{separator}{rest}", encoding="utf-8")
    (directory / REPOSITORY_NAME).write_bytes((repository.root / REPOSITORY_NAME).read_bytes())
    return [RECOVER_NAME, REPOSITORY_NAME]
