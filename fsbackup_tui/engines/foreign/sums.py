"""Checksums that somebody left beside a file: ``FILE.sha256``, ``SHA256SUMS`` and their like."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_KINDS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
_LARGEST_BYTES = 1 << 20
_LINE = re.compile(r"\\?(?P<digest>[0-9a-fA-F]{32,128})(?:[ \t]+[ *]?(?P<name>.+))?")
_TAGGED = re.compile(r"[A-Z0-9-]+ ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9a-fA-F]{32,128})")


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that is known of a file: the algorithm, its value, where it stands."""

    algorithm: str
    digest: str
    place: Path


def known_checksum(path: Path) -> Checksum | None:
    """Return the strongest checksum that lies beside a file for it, None for none."""
    for algorithm, digits in _KINDS.items():
        for place in (
            *(path.with_name(f"{path.name}.{algorithm}{ending}") for ending in ("", "sum")),
            path.with_name(f"{algorithm.upper()}SUMS"),
        ):
            digest = _digest_in(place, path.name, digits)
            if digest is not None:
                return Checksum(algorithm, digest, place)
    return None


def _digest_in(place: Path, name: str, digits: int) -> str | None:
    try:
        if not place.is_file() or place.stat().st_size > _LARGEST_BYTES:
            return None
        lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for line in lines:
        match = _TAGGED.fullmatch(line) or _LINE.fullmatch(line)
        if match is None or len(match["digest"]) != digits:
            continue
        named = match["name"]
        # Scripts write the name as they were given it: a path, or nothing at all.
        if named is not None and Path(named.strip()).name == name:
            return match["digest"].lower()
        if named is None and len(lines) == 1 and place.name.startswith(name):
            return match["digest"].lower()
    return None


def compute(path: Path, algorithm: str, advance: Callable[[int], None] | None = None) -> str:
    """Return a file's checksum in hexadecimal digits; OSError where it can't be read."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if advance is not None:
                advance(len(block))
    return digest.hexdigest()
