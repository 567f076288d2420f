"""Seals made to match whatever bytes lie in a point: what a wrong source would have stored."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.signature import SIGNATURE_NAMES
from fsbackup_tui.repository.checksums import SUMS_NAME, format_sums
from fsbackup_tui.repository.files import list_files
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME


class NotResealable(ValueError):
    """What tells of the artifacts can't be read any more: no source writes such a thing."""


def reseal(repository: Repository, point: str, *, believing: str = MANIFEST_NAME) -> None:
    """Hash everything anew, so that the point is sealed as it lies there.

    ``believing`` is the file that tells of the parts where the two differ: the manifest or
    ``part.json``. What was recorded about the point before is forgotten.

    Raises:
        NotResealable: that file is no JSON document of a point any more.
    """
    directory = repository.point_directory(point)
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
        manifest["parts"] = [
            _resealed_part(directory, part, believing) for part in manifest["parts"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise NotResealable(str(error)) from error
    _write(directory / MANIFEST_NAME, manifest)
    left = (SUMS_NAME, *SIGNATURE_NAMES)
    names = [name for name in list_files(directory) if name not in left]
    sums = {name: _digest(directory / name) for name in names}
    (directory / SUMS_NAME).write_bytes(format_sums(sums))
    shutil.rmtree(repository.records / point, ignore_errors=True)


def _resealed_part(directory: Path, told: dict[str, Any], believing: str) -> dict[str, Any]:
    part_directory = directory / told["source"]
    part = told
    if believing == PART_NAME:
        part = json.loads((part_directory / PART_NAME).read_bytes())
    present = [name for name in list_files(part_directory) if name not in (PART_NAME, SUMS_NAME)]
    known = {artifact["path"]: artifact for artifact in part["artifacts"]}
    part["artifacts"] = [
        {
            **known.get(name, {"role": "dump"}),
            "path": name,
            "bytes": (part_directory / name).stat().st_size,
            "sha256": _digest(part_directory / name),
        }
        for name in present
    ]
    _write(part_directory / PART_NAME, part)
    sums = {name: _digest(part_directory / name) for name in (*present, PART_NAME)}
    (part_directory / SUMS_NAME).write_bytes(format_sums(sums))
    return part


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, document: object) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
