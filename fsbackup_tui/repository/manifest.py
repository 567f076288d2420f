"""Manifests as JSON: written readable and stable, read strictly (design §5).

pydantic is imported at the first use, so that a first paint from the catalogue does without.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import MANIFEST_FORMAT, Manifest, PartManifest
from fsbackup_tui.repository.files import create_whole, is_plain_path

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_NAME = "manifest.json"
PART_NAME = "part.json"
_LARGEST_BYTES = 512 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_Value = TypeVar("_Value", Manifest, PartManifest)


@functools.cache
def _adapters() -> dict[type, TypeAdapter[Any]]:
    from pydantic import TypeAdapter

    return {Manifest: TypeAdapter(Manifest), PartManifest: TypeAdapter(PartManifest)}


def to_json(value: Manifest | PartManifest | Mapping[str, object]) -> bytes:
    """Return the value as UTF-8 JSON, indented, ending in a newline."""
    if isinstance(value, Manifest | PartManifest):
        plain = _adapters()[type(value)].dump_python(value)
    else:
        plain = dict(value)
    text = json.dumps(plain, indent=1, ensure_ascii=False, default=_plain, allow_nan=False)
    return (text + "\n").encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(path: Path, value: Manifest | PartManifest | Mapping[str, object]) -> bytes:
    """Write a value create-only, whole and durable; return the bytes written."""
    content = to_json(value)
    create_whole(path, content)
    return content


def read_manifest(path: Path) -> Manifest:
    """Return a point's manifest; PointDamaged names the file and the field that is wrong."""
    return parse_manifest(path, read_bytes(path))


def read_part(path: Path) -> PartManifest:
    """Return a part's ``part.json``; PointDamaged names the file and the field."""
    part = _parse(PartManifest, path, read_bytes(path))
    _refuse(path, _part_problems(part, "$"))
    return part


def parse_manifest(path: Path, content: bytes) -> Manifest:
    """Return the manifest that ``content``, read from ``path``, holds (as ``read_manifest``)."""
    manifest = _parse(Manifest, path, content)
    _refuse(path, _manifest_problems(manifest, path.parent.name))
    return manifest


def read_bytes(path: Path) -> bytes:
    """Return a small file of a point; PointDamaged when it is missing, a link or unreadable."""
    try:
        if path.is_symlink():
            raise damaged(path, "it is a symbolic link")
        if path.stat().st_size > _LARGEST_BYTES:
            raise damaged(path, "it is far too large")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(path, "it is missing") from error
    except OSError as error:
        raise damaged(path, f"it can't be read ({error.strerror})") from error


def damaged(path: Path, why: str) -> PointDamaged:
    """Return the error that names the file and what is wrong with it."""
    return PointDamaged(
        f"POINT DAMAGED: {path}",
        why=f"{path.name}: {why}.",
        fix="Other points are not touched by this: fsbackup list",
    )


def _parse(kind: type[_Value], path: Path, content: bytes) -> _Value:
    from pydantic import ValidationError

    try:
        value: _Value = _adapters()[kind].validate_json(content, strict=True)
    except ValidationError as error:
        newer = _newer_format(content)
        if newer is not None:
            raise _too_new(path, newer) from error
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise damaged(path, f"{field}: {first['msg']}") from error
    if value.format != MANIFEST_FORMAT:
        raise _too_new(path, value.format)
    return value


def _newer_format(content: bytes) -> int | None:
    try:
        found = json.loads(content).get("format")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, int) and found > MANIFEST_FORMAT else None


def _too_new(path: Path, found: int) -> PointDamaged:
    return damaged(path, f"format: {found} is unknown here (this fsbackup reads {MANIFEST_FORMAT})")


def _refuse(path: Path, problems: Iterator[str]) -> None:
    for problem in problems:
        raise damaged(path, problem)


def _manifest_problems(manifest: Manifest, directory: str) -> Iterator[str]:
    if manifest.id != directory:
        yield f"id: {manifest.id!r} lies in the directory {directory!r}"
    # 0 is that of an adopted backup: when it was captured among the others is not known.
    if manifest.sequence < 0:
        yield f"sequence: {manifest.sequence} is less than 0"
    if not manifest.parts:
        yield "parts: there are none"
    yield from _moment_problems(manifest, ("started", "finished"), "$")
    yield from _phase_problems(manifest.phases, "phases")
    sources = [part.source for part in manifest.parts]
    if len(set(sources)) != len(sources):
        yield "parts: a source stands there twice"
    for index, part in enumerate(manifest.parts):
        yield from _part_problems(part, f"parts.{index}")


def _part_problems(part: PartManifest, where: str) -> Iterator[str]:
    prefix = "" if where == "$" else f"{where}."
    if part.format != MANIFEST_FORMAT:
        yield f"{prefix}format: {part.format} is unknown here"
    if not _SOURCE.fullmatch(part.source):
        yield f"{prefix}source: {part.source!r} is no source name"
    yield from _moment_problems(part, ("started", "finished"), where)
    yield from _phase_problems(part.phases, f"{prefix}phases")
    if part.postgres is not None:
        yield from _moment_problems(
            part.postgres, ("snapshot_at", "replay_at"), f"{prefix}postgres"
        )
    seen: set[str] = set()
    for index, artifact in enumerate(part.artifacts):
        field = f"{prefix}artifacts.{index}"
        if not is_plain_path(artifact.path):
            yield f"{field}.path: {artifact.path!r} leads out of the part"
        if artifact.path in seen:
            yield f"{field}.path: {artifact.path!r} stands there twice"
        if not _SHA256.fullmatch(artifact.sha256):
            yield f"{field}.sha256: not 64 lower-case hexadecimal digits"
        if artifact.bytes < 0:
            yield f"{field}.bytes: {artifact.bytes} is less than nothing"
        seen.add(artifact.path)


def _moment_problems(value: object, names: tuple[str, ...], where: str) -> Iterator[str]:
    for name in names:
        moment = getattr(value, name)
        if moment is not None and moment.tzinfo is None:
            yield f"{'' if where == '$' else f'{where}.'}{name}: the time has no zone"


def _phase_problems(phases: Mapping[str, float], where: str) -> Iterator[str]:
    for name, seconds in phases.items():
        if not math.isfinite(seconds):
            yield f"{where}.{name}: not a number"
