"""Reading a stored point: its manifest, its artifacts, its seal; and which point is meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, PointNotFound
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.point import Artifact, Manifest, PartManifest
from fsbackup_tui.domain.signature import SIGNATURE_NAMES
from fsbackup_tui.repository.checksums import SUMS_NAME, parse_sums
from fsbackup_tui.repository.files import (
    hash_file,
    is_inside,
    list_files,
    reading,
    refuse_unreadable,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import MARKER_NAME, PARTIAL_PREFIX, whole_parts
from fsbackup_tui.repository.manifest import (
    MANIFEST_NAME,
    PART_NAME,
    damaged,
    read_bytes,
    read_manifest,
    read_part,
)
from fsbackup_tui.repository.points import resolve_point
from fsbackup_tui.repository.records import read_records, was_whole

__all__ = ["PointReader", "resolve_point"]
_PROGRESS_STEP = 16 << 20


class PointReader:
    """One stored point, by its id; nothing is written through it."""

    def __init__(self, repository: Repository, point_id: str) -> None:
        self.repository = repository
        self.id = point_id
        self.directory = repository.point_directory(point_id)
        with reading(self.directory):
            is_there = self.directory.is_dir() and not self.directory.is_symlink()
        if not is_there:
            raise PointNotFound(
                f"NO SUCH POINT: {point_id}.", fix="fsbackup list shows what there is."
            )

    @functools.cached_property
    def manifest(self) -> Manifest | None:
        """The manifest, None where there is none (an incomplete point).

        Raises:
            PointDamaged: there is one, but it can't be read; names the file and the field.
        """
        path = self.directory / MANIFEST_NAME
        if not path.is_symlink() and not path.exists():
            return None
        return read_manifest(path)

    def parts(self) -> list[PartManifest]:
        """Return the parts: the manifest's, else those that stand whole without one.

        Raises:
            PointDamaged: a part's own ``part.json`` can't be read either.
        """
        try:
            manifest = self.manifest
        except PointDamaged:
            manifest = None
        if manifest is not None:
            return list(manifest.parts)
        return [
            read_part(self.directory / source / PART_NAME) for source in whole_parts(self.directory)
        ]

    def part(self, source: str) -> PartManifest:
        """Return one part; PointNotFound names those that are there."""
        parts = {part.source: part for part in self.parts()}
        if source not in parts:
            raise PointNotFound(
                f"NO SUCH PART: {source} is not in {self.id}.",
                why=f"It has: {', '.join(sorted(parts)) or 'no whole part'}.",
                fix=f"fsbackup show {self.id}",
            )
        return parts[source]

    def artifact_path(self, source: str, artifact: Artifact) -> Path:
        """Return where an artifact lies; PointDamaged when it is missing or leads elsewhere."""
        return self.path_inside(source, artifact.path)

    def path_inside(self, source: str, relative: str) -> Path:
        """Return a path below a part (an artifact, or the directory that a dump is).

        Raises:
            PointDamaged: missing, or it leaves the part, or a link is on the way.
        """
        part, path = self.directory / source, self.directory / source / relative
        if not is_inside(self.directory, f"{source}/{relative}"):
            raise damaged(path, "it leads out of the part, or over a symbolic link")
        if not part.is_dir() or not path.exists():
            raise damaged(path, "it is missing")
        return path

    def check_sealed(self, source: str, report: Report, *, beside_parts: bool = True) -> list[str]:
        """Read every byte of a part again and return what differs from its seal; [] is sealed.

        Compared are SHA256SUMS in its canonical form with the files that are there, every
        file's hash, part.json with the manifest, and, unless ``beside_parts`` is False, what
        stands beside the parts: the manifest and its hash in the records too. ``report`` is
        told the progress in bytes.

        Raises:
            RepositoryUnreadable: this process may not read it all; nothing was found out.
        """
        self.refuse_if_unreadable()
        with reading(self.directory):
            return self._problems_of(source, report, beside_parts=beside_parts)

    def refuse_if_unreadable(self) -> None:
        """Raise RepositoryUnreadable where this process may not read all of the point."""
        refuse_unreadable(self.directory)

    def _problems_of(self, source: str, report: Report, *, beside_parts: bool) -> list[str]:
        problems: list[str] = []
        try:
            part = self.part(source)
        except PointNotFound:
            return [f"{source}: the part is missing"]
        except PointDamaged as error:
            return [f"{source}: {error.why or error.what}"]
        if beside_parts:
            problems += self._check_point_files()
        directory = self.directory / source
        if not directory.is_dir() or directory.is_symlink():
            return [*problems, f"{source}: its directory is missing"]
        problems += self._check_part_json(part)
        expected = {f"{source}/{a.path}": (a.sha256, a.bytes) for a in part.artifacts}
        reporter = _Reporter(report, part.bytes)
        problems += self._check_against_sums(source, expected, reporter.advance)
        return list(dict.fromkeys(problems))

    def check_point_files(self) -> list[str]:
        """Return what is wrong with the files beside the parts; [] for nothing."""
        return self._check_point_files()

    def _check_point_files(self) -> list[str]:
        problems: list[str] = []
        try:
            manifest = self.manifest
        except PointDamaged as error:
            return [error.why.rstrip(".") or error.what]
        if manifest is None:
            return [f"{MANIFEST_NAME}: missing"] if was_whole(self.repository, self.id) else []
        sums, found = self._read_sums(self.directory / SUMS_NAME)
        problems += found
        if sums is None:
            return problems
        promised = {
            f"{part.source}/{artifact.path}": artifact.sha256
            for part in manifest.parts
            for artifact in part.artifacts
        }
        for name in sorted(sums):
            if name not in promised:
                problems += self._check_one(name, sums[name], None)
            elif sums[name] != promised[name]:
                problems.append(f"{SUMS_NAME}: another hash for {name} than in {MANIFEST_NAME}")
        actual = {
            name
            for name in list_files(self.directory)
            if name not in {SUMS_NAME, MARKER_NAME, *SIGNATURE_NAMES}
            and not name.startswith(PARTIAL_PREFIX)
        }
        problems += [f"{name}: not in SHA256SUMS" for name in sorted(actual - set(sums))]
        problems += self._check_records(sums.get(MANIFEST_NAME, ""))
        return problems

    def _check_records(self, sha256: str) -> list[str]:
        """A whole record that names another manifest: one of the two was exchanged."""
        problems: list[str] = []
        for record in read_records(self.repository, self.id):
            if record.problem.endswith("another manifest than the one that is there"):
                problems.append(
                    f"{MANIFEST_NAME}: {record.path.name} was written for another one "
                    f"({record.manifest_sha256[:12]}…, here {sha256[:12]}…)"
                )
        return problems

    def _check_part_json(self, part: PartManifest) -> list[str]:
        path = self.directory / part.source / PART_NAME
        if not path.exists():
            return [f"{part.source}/{PART_NAME}: missing"]
        try:
            stored = read_part(path)
        except PointDamaged as error:
            return [f"{part.source}/{error.why.rstrip('.')}"]
        if stored != part:
            return [f"{part.source}/{PART_NAME}: differs from {MANIFEST_NAME}"]
        return []

    def _check_against_sums(
        self, source: str, expected: dict[str, tuple[str, int]], advance: Callable[[int, str], None]
    ) -> list[str]:
        directory = self.directory / source
        sums, problems = self._read_sums(directory / SUMS_NAME)
        sums = {f"{source}/{name}": sha for name, sha in (sums or {}).items()}
        for name, (sha256, size) in sorted(expected.items()):
            if sums and sums.get(name) != sha256:
                state = "another hash" if name in sums else "no line"
                problems.append(f"{name}: {state} in {source}/{SUMS_NAME} than in the manifest")
            problems += self._check_one(name, sha256, size, advance)
        part_name = f"{source}/{PART_NAME}"
        if part_name in sums:
            problems += self._check_one(part_name, sums[part_name], None)
        known = set(expected) | {part_name, f"{source}/{SUMS_NAME}"}
        present = {f"{source}/{name}" for name in list_files(directory)}
        problems += [f"{name}: belongs to nothing" for name in sorted(present - known)]
        problems += [
            f"{name}: in {source}/{SUMS_NAME}, but no artifact of the manifest"
            for name in sorted(set(sums) - known)
        ]
        return problems

    def _read_sums(self, path: Path) -> tuple[dict[str, str] | None, list[str]]:
        name = path.relative_to(self.directory).as_posix()
        try:
            return parse_sums(read_bytes(path)), []
        except PointDamaged as error:
            why = error.why.partition(": ")[2].rstrip(".").removeprefix("it is ")
            return None, [f"{name}: {why}"]
        except ValueError as error:
            return None, [f"{name}: {error}"]

    def _check_one(
        self,
        name: str,
        sha256: str,
        size: int | None,
        advance: Callable[[int, str], None] | None = None,
    ) -> list[str]:
        if not is_inside(self.directory, name):
            return [f"{name}: a symbolic link, or leads out of the point"]
        step = None if advance is None else functools.partial(_advance, advance, name)
        try:
            with reading(self.directory / name):
                digest, found = hash_file(self.directory / name, step)
        except FileNotFoundError:
            return [f"{name}: missing"]
        except PointDamaged:
            return [f"{name}: not a file"]
        except OSError as error:
            return [f"{name}: can't be read ({error.strerror})"]
        if size is not None and found != size:
            return [f"{name}: {found} bytes, should be {size}"]
        if digest != sha256:
            return [f"{name}: altered (its SHA-256 differs)"]
        return []


def _advance(advance: Callable[[int, str], None], name: str, count: int) -> None:
    advance(count, name)


class _Reporter:
    """Tells the progress of reading in steps, not at every block."""

    def __init__(self, report: Report, total: int) -> None:
        self._report = report
        self._total = total
        self._done = 0
        self._told = 0

    def advance(self, count: int, name: str) -> None:
        """Count bytes read of ``name``; the last byte of all is always told."""
        self._done += count
        if self._done - self._told >= _PROGRESS_STEP or self._done >= self._total:
            self._told = self._done
            self._report(Progress(float(self._done), float(self._total), "bytes", name))
