"""The files of a part as artifacts: none too many, none missing, each hashed by reading it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.errors import RepositoryError
from fsbackup_tui.domain.point import Artifact, ArtifactRole
from fsbackup_tui.repository.checksums import check_name
from fsbackup_tui.repository.files import hash_files, list_files
from fsbackup_tui.repository.leftovers import PART_MARKER_NAME

Advance = Callable[[int], None]


def hash_artifacts(
    directory: Path, roles: Mapping[str, ArtifactRole], advance: Advance | None = None
) -> tuple[Artifact, ...]:
    """Return every file of a part's directory as an artifact, hashed by reading it back.

    ``roles`` maps a file's path or its first component to its role (``also/…`` has its own).

    Raises:
        RepositoryError: a file is there that no role names, or a name can't be stored.
    """
    names = [name for name in list_files(directory) if name != PART_MARKER_NAME]
    wanted: list[tuple[str, ArtifactRole]] = []
    for name in names:
        check_name(name)
        first = name.partition("/")[0]
        role = roles.get(name) or roles.get(first) or ("also" if first == "also" else None)
        if role is None:
            raise _stray(directory, name)
        wanted.append((name, role))
    hashed = hash_files([directory / name for name, _ in wanted], advance)
    return tuple(
        Artifact(name, role, size, digest)
        for (name, role), (digest, size) in zip(wanted, hashed, strict=True)
    )


def complete_artifacts(
    directory: Path, artifacts: tuple[Artifact, ...], advance: Advance | None
) -> tuple[Artifact, ...]:
    """Return the artifacts with their hashes: those that have none yet are read back.

    Raises:
        RepositoryError: the files there are not those the artifacts name, or of another size.
    """
    present = set(list_files(directory))
    named = {artifact.path for artifact in artifacts}
    for name in sorted(present - named):
        raise _stray(directory, name)
    for name in sorted(named - present):
        raise RepositoryError(
            f"ARTIFACT MISSING: {directory / name} was not written.",
            why="The tool that should write it left nothing.",
            fix="Run the backup again.",
        )
    unhashed = [artifact for artifact in artifacts if not artifact.sha256]
    hashed = hash_files([directory / artifact.path for artifact in unhashed], advance)
    fresh = {
        artifact.path: replace(artifact, sha256=digest, bytes=size)
        for artifact, (digest, size) in zip(unhashed, hashed, strict=True)
    }
    for artifact in artifacts:
        check_name(artifact.path)
        size = (directory / artifact.path).stat().st_size
        if fresh.get(artifact.path, artifact).bytes != size:
            raise RepositoryError(
                f"ARTIFACT CHANGED: {directory / artifact.path} is {size} bytes now.",
                why="It was written to after it was hashed.",
                fix="Run the backup again.",
            )
    return tuple(fresh.get(artifact.path, artifact) for artifact in artifacts)


def _stray(directory: Path, name: str) -> RepositoryError:
    return RepositoryError(
        f"STRAY FILE: {directory / name} belongs to no artifact.",
        why="A part holds only what its manifest names.",
        fix="Run the backup again; tell the makers of fsbackup if it comes back.",
    )
