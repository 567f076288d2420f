"""Writing a recovery point so that it is whole or not there (design §5).

A part is the atom: built as ``.partial-<source>/``, hashed by reading it back, made durable,
renamed. The manifest comes last and makes the point whole. While a point is written, the
file ``.job`` in it names the job and is locked by it, which tells the leftovers of the dead
from the work of the living.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fsbackup_tui.domain.errors import Interrupted, RepositoryError, RepositoryUnwritable
from fsbackup_tui.domain.point import Manifest, PartManifest, new_tag, point_id
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.repository.artifacts import Advance, complete_artifacts
from fsbackup_tui.repository.checksums import SUMS_NAME, format_sums, parse_sums
from fsbackup_tui.repository.files import (
    create_file,
    create_whole,
    free_bytes,
    hash_files,
    make_directory,
    not_enough_space,
    remove_tree,
    sync_directory,
    sync_tree,
    writing,
)
from fsbackup_tui.repository.layout import RECOVER_NAME, SITE_NAME, Repository
from fsbackup_tui.repository.leftovers import (
    MARKER_NAME,
    PART_MARKER_NAME,
    PARTIAL_PREFIX,
    make_marker,
    sweep_point,
    whole_parts,
    write_lock,
)
from fsbackup_tui.repository.manifest import (
    MANIFEST_NAME,
    PART_NAME,
    parse_manifest,
    to_json,
    write_json,
)
from fsbackup_tui.repository.records import scan_sequences
from fsbackup_tui.repository.recover_text import point_recover_text, stock_commands
from fsbackup_tui.repository.site_text import mask_config


@dataclass(frozen=True, slots=True)
class Heading:
    """What a manifest tells of the run besides its parts."""

    plan: str
    job: str
    started: datetime
    reason: str | None
    operator: str
    host: str
    tool_version: str


class Sign(Protocol):
    """What signs a point."""

    @property
    def name(self) -> str:
        """The signature's file name."""

    def __call__(self, path: Path) -> bytes | None:
        """Return the signature of a point's SHA256SUMS; None where none can be made now."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a manifest tells that is known at the end alone."""

    in_incident: str | None
    links: tuple[LinkFacts, ...]
    numbered: bool


class PointWriter:
    """One recovery point while it is written; ``begin`` makes it, ``finish`` makes it whole."""

    def __init__(
        self,
        repository: Repository,
        identifier: str,
        heading: Heading,
        marker: int,
        beside: tuple[str, ...] = (),
        former: Manifest | None = None,
    ) -> None:
        self.id = identifier
        self._place = repository.point_directory(identifier)
        self._former = former
        hidden = repository.points / f"{PARTIAL_PREFIX}{identifier}"
        self.directory = self._place if former is None else hidden
        self._repository = repository
        self._heading = heading
        self._marker: int | None = marker
        self._loose = (SITE_NAME, *beside)
        self._parts: dict[str, PartManifest] = {}
        # A cancelled job abandons from its event loop while a thread may still hash or seal.
        self._busy = threading.Lock()
        self._abandoned = False

    @classmethod
    def begin(
        cls,
        repository: Repository,
        *,
        plan: str,
        job: str,
        now: datetime,
        reason: str | None,
        operator: str,
        host: str,
        tool_version: str,
        site_yaml: str,
        space_needed: int | None,
        beside: Mapping[str, bytes] | None = None,
        former: Manifest | None = None,
    ) -> PointWriter:
        """Begin a point; secrets in ``site_yaml`` are masked here, whoever gave it.

        ``beside`` are further files, by name, that lie next to the manifest. With ``former`` it
        is to replace that point: all but its parts is as there, and no reader sees anything of
        it before it is whole.

        Raises:
            DiskFull: fewer free bytes than ``space_needed``.
            RepositoryUnwritable: read-only, or no right to write.
        """
        free = free_bytes(repository.root)
        if space_needed is not None and free < space_needed:
            raise not_enough_space(repository.root, space_needed, free)
        heading = Heading(plan, job, now.astimezone(UTC), reason, operator, host, tool_version)
        with writing(repository.points), write_lock(repository, job, operator):
            identifier = _free_identifier(repository, now, plan)
            # Built under a name no reader looks at, so that the marker is there from the first
            # moment the point is.
            nursery = make_directory(
                repository.points / f"{PARTIAL_PREFIX}{identifier}", exist_ok=False
            )
            marker = make_marker(nursery / MARKER_NAME, job)
            try:
                create_file(nursery / SITE_NAME, mask_config(site_yaml).encode())
                for name, content in (beside or {}).items():
                    create_file(nursery / name, content)
                sync_directory(nursery)
                if former is None:
                    nursery.rename(repository.point_directory(identifier))
                sync_directory(repository.points)
            except BaseException:
                os.close(marker)
                for directory in (nursery, repository.point_directory(identifier)):
                    remove_tree(directory)
                raise
        return cls(repository, identifier, heading, marker, tuple(beside or ()), former)

    @property
    def parts(self) -> tuple[PartManifest, ...]:
        """The parts that are whole by now, in the order of their names."""
        return tuple(self._parts[source] for source in sorted(self._parts))

    def part_directory(self, source: str) -> Path:
        """Return the private directory a source's artifacts are written into, made if need be."""
        directory = self._partial(source)
        with writing(directory):
            make_directory(directory)
            with suppress(FileExistsError):
                create_file(directory / PART_MARKER_NAME, f"{self._heading.job}\n".encode())
        return directory

    def commit_part(
        self, source: str, part: PartManifest, *, advance: Advance | None = None
    ) -> PartManifest:
        """Make a part whole: hash what is not hashed yet, make durable, rename.

        ``part.artifacts`` names every file of the part's directory; those with an empty
        ``sha256`` are read back and hashed, for the others the size is compared. Empty
        ``restore_commands`` are filled in. ``advance`` is told the bytes as they are hashed.

        Raises:
            RepositoryError: the files there are not those the artifacts name.
            DiskFull, RepositoryUnwritable: it can't be written.
        """
        with self._busy:
            return self._commit_part(source, part, advance)

    def _commit_part(
        self, source: str, part: PartManifest, advance: Advance | None
    ) -> PartManifest:
        partial, final = self._partial(source), self.directory / source
        self._refuse_abandoned()
        with writing(partial):
            (partial / PART_MARKER_NAME).unlink(missing_ok=True)
            artifacts = complete_artifacts(partial, part.artifacts, self._stoppable(advance))
            part = dataclasses.replace(part, source=source, artifacts=artifacts)
            if not part.restore_commands:
                part = dataclasses.replace(part, restore_commands=stock_commands(part))
            content = write_json(partial / PART_NAME, part)
            sums = {artifact.path: artifact.sha256 for artifact in part.artifacts}
            sums[PART_NAME] = _digest(content)
            create_file(partial / SUMS_NAME, format_sums(sums))
            sync_tree(partial)
            with write_lock(self._repository, self._heading.job, self._heading.operator):
                self._refuse_abandoned()
                if final.exists():
                    raise RepositoryError(f"PART EXISTS: {final} is there already.")
                partial.rename(final)
                sync_directory(self.directory)
        self._parts[source] = part
        return part

    def finish(
        self,
        phases: Mapping[str, float],
        *,
        now: datetime | None = None,
        numbered: bool = True,
        in_incident: str | None = None,
        links: tuple[LinkFacts, ...] = (),
        sign: Sign | None = None,
    ) -> Manifest:
        """Write what stands beside the parts, the manifest last, and return it.

        ``phases`` are seconds by name; ``now`` defaults to the clock. The sequence is one more
        than any point or record tells of, decided under the write lock; 0, which sorts by its
        time, where it is not ``numbered``: a backup that was taken before it was adopted.
        ``sign`` is called for SHA256SUMS once it is there, and before the manifest is.

        Raises:
            RepositoryError: no part was committed, or one is still partial.
            DiskFull, RepositoryUnwritable: it can't be written; whole parts stay.
        """
        with self._busy:
            told = _Told(in_incident, links, numbered=numbered)
            return self._finish(phases, now, told, sign)

    def _finish(
        self,
        phases: Mapping[str, float],
        now: datetime | None,
        told: _Told,
        sign: Sign | None,
    ) -> Manifest:
        self._refuse_abandoned()
        self._refuse_unfinished()
        finished = (now or datetime.now(UTC)).astimezone(UTC)
        known = scan_sequences(self._repository)
        holder = (self._repository, self._heading.job, self._heading.operator)
        with writing(self.directory), write_lock(*holder):
            highest = max(scan_sequences(self._repository, known=known).values(), default=0)
            sequence = highest + 1 if told.numbered else 0
            if self._former is None:
                whole = dataclasses.replace(
                    self._manifest(sequence, finished, phases),
                    in_incident=told.in_incident,
                    links=told.links,
                )
            else:
                whole = dataclasses.replace(
                    self._former, id=self.id, parts=self.parts, replaces=self._former.id
                )
            content = to_json(whole)
            # Read as any reader will, before it is written for ever.
            manifest = parse_manifest(self._place / MANIFEST_NAME, content)
            signature_name = "" if sign is None else sign.name
            recover = point_recover_text(manifest, signature=signature_name).encode()
            create_file(self.directory / RECOVER_NAME, recover)
            sums = self._sums()
            sums[RECOVER_NAME] = _digest(recover)
            sums[MANIFEST_NAME] = _digest(content)
            create_file(self.directory / SUMS_NAME, format_sums(sums))
            signature = None if sign is None else sign(self.directory / SUMS_NAME)
            if sign is not None and signature is not None:
                create_file(self.directory / sign.name, signature)
            sync_directory(self.directory)
            self._refuse_abandoned()
            create_whole(self.directory / MANIFEST_NAME, content)
            self._show()
        self._release()
        return manifest

    def _show(self) -> None:
        """Let the whole point that replaces another one appear, in one step."""
        if self.directory != self._place:
            self.directory.rename(self._place)
            self.directory = self._place
            sync_directory(self._place.parent)

    def abandon(self) -> str | None:
        """Take back what is not whole; whole parts stay, as an incomplete point.

        A point that a thread has just finished stays, too. Waits for that thread; hashing in it
        is broken off. Returns what stays, in words; None where nothing does.
        """
        self._abandoned = True
        with self._busy:
            if self._marker is not None:
                with suppress(RepositoryUnwritable):
                    if self.directory == self._place:
                        sweep_point(self._repository, self.directory)
                    else:
                        remove_tree(self.directory)
                self._release()
        if (self.directory / MANIFEST_NAME).is_file():
            return f"the point {self.id}, which was whole by then"
        kept = whole_parts(self.directory)
        if not kept:
            return None
        return f"the incomplete point {self.id} with {', '.join(kept)}, whole by then"

    def _stoppable(self, advance: Advance | None) -> Advance:
        def step(count: int) -> None:
            self._refuse_abandoned()
            if advance is not None:
                advance(count)

        return step

    def _refuse_abandoned(self) -> None:
        if self._abandoned or self._marker is None:
            raise Interrupted(f"GIVEN UP: the point {self.id} is not written any further.")

    def _partial(self, source: str) -> Path:
        return self.directory / f"{PARTIAL_PREFIX}{source}"

    def _refuse_unfinished(self) -> None:
        partial = sorted(path.name for path in self.directory.glob(f"{PARTIAL_PREFIX}*"))
        if partial or not self._parts:
            raise RepositoryError(
                f"POINT NOT WHOLE: {self.id}.",
                why=f"{partial[0]} is not finished." if partial else "It has no part.",
                fix="Run the backup again.",
            )

    def _manifest(self, sequence: int, finished: datetime, phases: Mapping[str, float]) -> Manifest:
        heading = self._heading
        return Manifest(
            id=self.id,
            sequence=sequence,
            site=self._repository.site,
            plan=heading.plan,
            reason=heading.reason,
            host=heading.host,
            operator=heading.operator,
            tool_version=heading.tool_version,
            started=heading.started,
            finished=finished,
            phases=dict(phases),
            parts=self.parts,
            job=heading.job,
        )

    def _sums(self) -> dict[str, str]:
        sums: dict[str, str] = {}
        for source in self._parts:
            content = (self.directory / source / SUMS_NAME).read_bytes()
            sums[f"{source}/{SUMS_NAME}"] = _digest(content)
            sums.update({f"{source}/{name}": sha for name, sha in parse_sums(content).items()})
        digests = hash_files([self.directory / name for name in self._loose])
        sums.update({name: digest for name, (digest, _) in zip(self._loose, digests, strict=True)})
        return sums

    def _release(self) -> None:
        with suppress(OSError):
            (self.directory / MARKER_NAME).unlink()
        if self._marker is not None:
            os.close(self._marker)
            self._marker = None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _free_identifier(repository: Repository, now: datetime, plan: str) -> str:
    while True:
        identifier = point_id(now, plan, new_tag())
        taken = (
            repository.point_directory(identifier),
            repository.records / identifier,
            repository.trash / identifier,
        )
        if not any(path.exists() for path in taken):
            return identifier
