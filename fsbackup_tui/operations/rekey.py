"""Re-encrypting points to the key that is in force now.

A point never changes once it is whole. The rekeyed one is a new point of the same content, time
and provenance, under an id of its own (``replaces`` in its manifest names the former). What is
guaranteed, wherever a job is killed:

1. The new point is built under a name that no reader looks at and appears, whole, by one rename.
2. Only then what was learned of the former is written down for it, and the former is moved to the
   repository's trash, by one rename.

So at every moment the former, the new one, or both stand whole; never none. Running it again
removes what was half made and finishes what was begun. Every artifact's content is compared with
the hash in the former's manifest while it passes; no plain content touches a disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.errors import (
    FsbackupError,
    KeyRefused,
    PointDamaged,
    SafetyRefusal,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import Artifact, Manifest, PartManifest
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.chain import Chain, Sink, read_artifact, write_artifact
from fsbackup_tui.engines.chain_stages import BlockQueue
from fsbackup_tui.engines.compression import BLOCK, ByteStream
from fsbackup_tui.engines.encryption.keys import SUFFIXES, EncryptionKey, ReadingKeys
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import begins_key, encryption_key, reading_keys
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.rekey_look import NOT_BEGUN, all_shut
from fsbackup_tui.operations.requests import RekeyRequest
from fsbackup_tui.operations.signatures import PointSigning, point_signing, signature_in
from fsbackup_tui.operations.status import (
    job_liveness,
    open_catalogue,
    open_site_repository,
    site_zone,
)
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.keys import stored_key
from fsbackup_tui.repository.layout import SITE_NAME, Repository
from fsbackup_tui.repository.leftovers import sweep_leftovers
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.points import resolve_point
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.spares import KIND as SPARE
from fsbackup_tui.repository.trash import Who, move_to_trash, settle_trash
from fsbackup_tui.repository.writer import PointWriter


@dataclass
class _Rekeying:
    """One run: its key, and what became of every point."""

    context: JobContext
    repository: Repository
    key: EncryptionKey
    beside: dict[str, bytes]
    done: list[dict[str, str]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tell something that a person should know."""
        self.notes.append(text)
        self.context.report(Warned(text))


async def run(request: RekeyRequest, context: JobContext) -> dict[str, object]:
    """Re-encrypt the points that are named, or all, to the present key.

    A point that can't be opened stays as it is and is told; the others go on. The document says
    which became which.

    Raises:
        KeyRefused: the configuration encrypts nothing, or with a key that can't be used.
        SafetyRefusal: a hold is open; nothing was changed.
    """
    refuse_if_read_only(context.loaded, "rekeys nothing")
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    if holds := repository.holds_open():
        raise SafetyRefusal(
            f"NOT REKEYED: the hold {holds[0].stem} is open.",
            why="While an incident is open no point goes to the trash.",
            fix="Close the incident first: fsbackup incidents",
        )
    context.stage("key")
    alive = job_liveness(context.loaded, os.environ, repository)
    for removed in sweep_leftovers(repository, alive):
        context.report(Log(f"Swept what a dead job left: {removed}"))
    for done in settle_trash(repository, _who(context)):
        context.report(Log(f"Finished in the trash: {done}"))
    chosen = _chosen(request, context, repository)
    # First looked at, then made: a key that is begun is the present one from then on.
    if await begins_key(context, repository) and (
        shut := await all_shut(context, repository, chosen)
    ):
        context.report(Warned(NOT_BEGUN))
        return _document(repository, None, [], shut, [NOT_BEGUN])
    key = await encryption_key(context, repository, renew=True)
    if key is None:
        raise KeyRefused(
            "NO KEY: the configuration encrypts nothing.",
            why=f"{context.loaded.path} has no encryption:, so there is no key to rekey to.",
            fix="Add encryption: {method: age} (or gpg).",
        )
    stored = stored_key(repository, key.facts.id)
    identity = stored.identity if stored is not None else None
    beside = {} if identity is None else {identity.name: await _content(identity)}
    rekeying = _Rekeying(context, repository, key, beside)
    context.stage("points")
    for point in chosen:
        try:
            await bring_here(context, repository, point)
            await rekey_point(rekeying, point)
        except (FsbackupError, OSError) as error:
            what = error.what if isinstance(error, FsbackupError) else str(error)
            fix = error.fix if isinstance(error, FsbackupError) else ""
            rekeying.problems.append({"point": point, "what": what, "fix": fix})
            context.report(Warned(f"{point} stays as it is: {what}"))
    notes = list(dict.fromkeys(rekeying.notes))
    return _document(repository, key.facts.id, rekeying.done, rekeying.problems, notes)


def _document(
    repository: Repository,
    key: str | None,
    done: Sequence[Mapping[str, str]],
    problems: Sequence[Mapping[str, str]],
    notes: Sequence[str],
) -> dict[str, object]:
    return {
        "ok": not problems,
        "key": key,
        "rekeyed": list(done),
        "problems": list(problems),
        "notes": list(notes),
        "trash": str(repository.trash),
    }


async def _content(path: Path) -> bytes:
    return await asyncio.to_thread(path.read_bytes)


def _chosen(request: RekeyRequest, context: JobContext, repository: Repository) -> list[str]:
    """Return the points to rekey, oldest first: those that another key encrypted."""
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        points = catalogue.points()
    if request.points:
        zone = site_zone(context.loaded)
        named = [resolve_point(points, text, zone=zone, any_trust=True) for text in request.points]
    else:
        named = list(points)
    # One that a killed run left beside its successor goes first: it is given up for that one,
    # not encrypted a second time when the successor has gone on to another key.
    left = _replaced(repository)
    named.sort(key=lambda point: (point.sequence, point.created, point.id not in left))
    return [point.id for point in named if point.whole and not point.foreign]


async def rekey_point(rekeying: _Rekeying, point: str) -> None:
    """Re-encrypt one point, unless the present key encrypted it already."""
    reader = PointReader(rekeying.repository, point)
    manifest = reader.manifest
    if manifest is None:
        raise PointDamaged(f"NOT WHOLE: {point}.", why="It has no manifest.")
    others = [part for part in manifest.parts if _by_another(part, rekeying.key)]
    if not others:
        return
    lock = Lock(rekeying.repository.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, rekeying.context.holder(), shared=False):
        successor = find_successor(rekeying.repository, point)
        if successor is None:
            successor = (await _encrypt_anew(rekeying, reader, manifest)).id
        else:
            # A killed run left it: nothing is given up for what may have been damaged since, or
            # is under a key that a later run, with another one, can't open.
            left = PointReader(rekeying.repository, successor)
            await _refuse_damaged(left, rekeying.context)
            await _refuse_unopened(rekeying, left)
        await asyncio.to_thread(_retire, rekeying, point, successor)
    _record_seal(rekeying, successor)
    rekeying.done.append({"point": point, "became": successor})
    rekeying.context.report(Log(f"{point} is {successor} now"))


def _record_seal(rekeying: _Rekeying, point: str) -> None:
    context = rekeying.context
    parts = PointReader(rekeying.repository, point).parts()
    document = {
        "level": Trust.SEALED.word,
        "ok": True,
        "parts": {part.source: {"ok": True, "problems": []} for part in parts},
        "seconds": 0.0,
    }
    write_record(
        rekeying.repository,
        point,
        "verified",
        document,
        now=context.now(),
        job=context.job,
        operator=context.operator,
    )


def _by_another(part: PartManifest, key: EncryptionKey) -> bool:
    return part.key is not None and part.key.id != key.facts.id


def find_successor(repository: Repository, point: str) -> str | None:
    """Return the whole point that replaces this one, where a killed job left both."""
    return next((new for new, former in _successors(repository) if former == point), None)


def _replaced(repository: Repository) -> frozenset[str]:
    return frozenset(former for _new, former in _successors(repository))


def _successors(repository: Repository) -> Iterator[tuple[str, str]]:
    """Yield each whole point that replaces another, with that other."""
    for directory in sorted(repository.points.iterdir()):
        if directory.name.startswith("."):
            continue
        try:
            manifest = PointReader(repository, directory.name).manifest
        except (FsbackupError, OSError):
            continue
        if manifest is not None and manifest.replaces and manifest.replaces != manifest.id:
            yield manifest.id, manifest.replaces


async def _refuse_damaged(reader: PointReader, context: JobContext) -> None:
    for part in reader.parts():
        problems = await asyncio.to_thread(reader.check_sealed, part.source, context.report)
        if problems:
            raise PointDamaged(
                f"POINT DAMAGED: {reader.id} is not as it was sealed.",
                why="\n".join(problems[:5]),
                fix="It stays as it is; take a new backup.",
            )


async def _refuse_unopened(rekeying: _Rekeying, reader: PointReader) -> None:
    """Raise KeyUnavailable where a part is under another key, and nothing here opens it."""
    others = {p.key.method for p in reader.parts() if p.key and _by_another(p, rekeying.key)}
    if others:
        keys = await reading_keys(rekeying.context, reader)
        for method in others:
            keys.of(method)


async def _encrypt_anew(rekeying: _Rekeying, reader: PointReader, manifest: Manifest) -> Manifest:
    """Write the point that replaces this one; nobody sees it before it is whole."""
    context, repository = rekeying.context, rekeying.repository
    keys = await reading_keys(context, reader)
    await _refuse_damaged(reader, context)
    signing = await _signing(rekeying, reader)
    writer = PointWriter.begin(
        repository,
        plan=manifest.plan,
        job=context.job,
        now=manifest.started,
        reason=manifest.reason,
        operator=manifest.operator,
        host=manifest.host,
        tool_version=manifest.tool_version,
        site_yaml=await _site_yaml(reader),
        space_needed=manifest.bytes,
        beside=rekeying.beside,
        former=manifest,
    )
    try:
        for part in manifest.parts:
            directory = writer.part_directory(part.source)
            anew = await _part_anew(rekeying, reader, part, directory, keys)
            await asyncio.to_thread(writer.commit_part, part.source, anew)
        return await asyncio.to_thread(
            writer.finish, manifest.phases, now=manifest.finished, sign=signing
        )
    except BaseException:
        writer.abandon()
        raise


async def _signing(rekeying: _Rekeying, reader: PointReader) -> PointSigning | None:
    """Return what signs the successor: nobody, where nobody who counts had signed the former.

    Whoever can write into the repository can put a point there that the old key opens; with our
    signature under it, it would be restored.
    """
    signing = await point_signing(rekeying.context)
    if signing is None:
        return None
    signature = await signature_in(rekeying.context, reader)
    if signature.state == "good":
        return signing
    rekeying.note(f"{reader.id} was {signature.words}: the one in its place is not signed either")
    return None


async def _site_yaml(reader: PointReader) -> str:
    content = await _content(reader.directory / SITE_NAME)
    return content.decode("utf-8", errors="replace")


async def _part_anew(
    rekeying: _Rekeying,
    reader: PointReader,
    part: PartManifest,
    directory: Path,
    keys: ReadingKeys,
) -> PartManifest:
    """Write a part's artifacts again; those that lie in plain are the same file, or a copy."""
    encrypted = _by_another(part, rekeying.key)
    artifacts: list[Artifact] = []
    for artifact in part.artifacts:
        path = reader.artifact_path(part.source, artifact)
        if artifact.encryption is None or not encrypted:
            target = directory / artifact.path
            await asyncio.to_thread(_same, path, target)
            artifacts.append(artifact)
        else:
            artifacts.append(await _artifact_anew(rekeying, path, artifact, directory, keys))
    files = part.files
    if encrypted and files is not None:
        files = replace(files, linked_to=None)
    return replace(
        part,
        artifacts=tuple(artifacts),
        restore_commands=() if encrypted else part.restore_commands,
        key=rekeying.key.facts if encrypted else part.key,
        files=files,
    )


def _same(path: Path, target: Path) -> None:
    import shutil

    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


async def _artifact_anew(
    rekeying: _Rekeying,
    path: Path,
    artifact: Artifact,
    directory: Path,
    keys: ReadingKeys,
) -> Artifact:
    """Decrypt and encrypt in one stream; the content's hash has to be the one that is known."""
    key, report = rekeying.key, rekeying.context.report
    name = artifact.path.removesuffix(SUFFIXES[artifact.encryption or ""])
    name += SUFFIXES[key.facts.method]
    target = directory / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    passing = BlockQueue()

    def give(stream: ByteStream) -> None:
        while block := stream.read(BLOCK):
            passing.write(block)

    def take(sink: Sink) -> None:
        while block := passing.read(BLOCK):
            sink.write(block)

    async def read() -> None:
        try:
            await read_artifact(path, artifact, keys, give, report=report)
            # Only now the end is told: what follows an end is not written at all.
            await asyncio.to_thread(passing.finish)
        except Exception as error:
            passing.stop(error)
            raise

    reading = asyncio.create_task(read())
    try:
        chain = Chain(artifact.compression, key)
        written = await write_artifact(target, chain, take, report=report)
        await reading
    finally:
        passing.stop()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return written.artifact(directory, name, artifact.role)


def _retire(rekeying: _Rekeying, point: str, successor: str) -> None:
    """Write down for the successor what was learned, then move the former to the trash."""
    context = rekeying.context
    _carry_records(rekeying, point, successor)
    move_to_trash(
        rekeying.repository,
        point,
        f"encrypted anew: it is {successor} now",
        _who(context),
        grace=context.loaded.config.retention.grace,
        successor=successor,
    )


def _who(context: JobContext) -> Who:
    return Who(context.operator, context.host, context.job, context.now())


def _carry_records(rekeying: _Rekeying, point: str, successor: str) -> None:
    repository = rekeying.repository
    former = [record for record in read_records(repository, point) if record.counts]
    there = [
        _identity(record.kind, record.document)
        for record in read_records(repository, successor)
        if record.counts
    ]
    for record in former:
        document = dict(record.document)
        if record.kind == SPARE:
            # It was proven of the same content, and is known by its OID and its mark.
            document["point"] = successor
        if _identity(record.kind, document) in there:
            continue
        write_record(
            repository,
            successor,
            record.kind,
            document,
            now=record.at,
            job=record.job,
            operator=record.operator,
        )

    was = {"former": point}
    if _identity("rekeyed", was) not in there:
        write_record(
            repository,
            successor,
            "rekeyed",
            was,
            now=rekeying.context.now(),
            job=rekeying.context.job,
            operator=rekeying.context.operator,
        )


def _identity(kind: str, document: Mapping[str, object]) -> tuple[str, Sequence[object]]:
    return kind, sorted((name, repr(value)) for name, value in document.items())
