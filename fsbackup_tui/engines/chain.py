"""The artifact chain: source → compress → encrypt → hash → file, and the way back.

No plain content of an encrypted artifact touches a disk on the way: a thread takes it from its
producer (a function, or a child's standard output), compresses it with as many threads as there
are processors and hands it to the encryption. On the way back what is read is checked against
the plain content's hash; what is to be *used* comes from a file that was checked first
(``unpack_artifact``), or from a read that is repeated once it was.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    PointDamaged,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import Artifact, ArtifactRole
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.chain_files import FileInlet, FileOutlet
from fsbackup_tui.engines.chain_stages import Counted, Sink, compressor
from fsbackup_tui.engines.chain_verified import CutOff, Verified
from fsbackup_tui.engines.compression import BLOCK, SUFFIXES, ByteStream
from fsbackup_tui.engines.encryption.keys import SUFFIXES as KEY_SUFFIXES
from fsbackup_tui.engines.encryption.keys import EncryptionKey, Inlet, ReadingKeys
from fsbackup_tui.engines.process import Command, RunningChild, run
from fsbackup_tui.engines.process_channel import Channel, ChannelStopped, in_thread
from fsbackup_tui.engines.process_group import undisturbed

__all__ = [
    "Chain",
    "Sink",
    "Written",
    "read_artifact",
    "unpack_artifact",
    "write_artifact",
    "write_from_command",
]
_Result = TypeVar("_Result")
_LAST_WORDS_SECONDS = 10.0


# What a stage says whose neighbour has gone: the neighbour tells why.
_CONSEQUENCES = (ChannelStopped, BrokenPipeError, CutOff)


@dataclass(frozen=True, slots=True)
class Chain:
    """How artifacts are stored: ``zstd:LEVEL``, ``gzip:LEVEL`` or None, and the key or None.

    ``threads`` compress beside the one that produces, as many as there are processors if None.
    """

    compression: str | None
    key: EncryptionKey | None
    threads: int | None = None

    @property
    def suffix(self) -> str:
        """What an artifact's name ends with: ``.zst.gpg``, ``.gz.age``, nothing."""
        packed = SUFFIXES[self.compression.partition(":")[0]] if self.compression else ""
        return packed + (KEY_SUFFIXES[self.key.facts.method] if self.key else "")


@dataclass(frozen=True, slots=True)
class Written:
    """An artifact's plain content, and what was done to it; its hash is empty if not taken."""

    plain_bytes: int
    plain_sha256: str
    compression: str | None
    encryption: str | None
    recipients: tuple[str, ...]

    def artifact(self, directory: Path, name: str, role: ArtifactRole) -> Artifact:
        """Return the artifact for a manifest; its stored hash is left for who commits it."""
        changed = self.compression is not None or self.encryption is not None
        return Artifact(
            name,
            role,
            (directory / name).stat().st_size,
            "",
            plain_bytes=self.plain_bytes if changed else None,
            plain_sha256=self.plain_sha256 or None if changed else None,
            compression=self.compression,
            encryption=self.encryption,
            recipients=self.recipients,
        )


async def write_artifact(
    path: Path,
    chain: Chain,
    produce: Callable[[Sink], None],
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
    hashed_inside: bool = False,
) -> Written:
    """Store what ``produce`` writes, in a thread, as a new file (0600).

    When it raises, or is cancelled, the file is gone. ``hashed_inside``: the content carries
    hashes of its own, so that where nothing is encrypted the stored file's hash is enough; to
    take another of a large content costs as much as to compress it.

    Raises:
        DiskFull, RepositoryUnwritable: the file can't be written.
        KeyRefused, ToolError: the encryption failed.
    """
    return await _write(path, chain, produce, report=report, hashed_inside=hashed_inside)


async def write_from_command(
    path: Path,
    chain: Chain,
    command: Command,
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_stderr_line: Callable[[str], None] | None = None,
    inspect: Callable[[bytes], None] | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
) -> Written:
    """Store what a child prints; see ``write_artifact``. ``inspect`` sees the plain blocks.

    Raises besides: ToolFailed, when the child ended with another status than 0.
    """
    output = Channel("reads")

    def pump(sink: Sink) -> None:
        while block := output.read(BLOCK):
            if inspect is not None:
                inspect(block)
            sink.write(block)

    async def child() -> None:
        await run(
            _writing_to(command, output),
            report=report,
            redactor=redactor,
            on_stderr_line=on_stderr_line,
            on_started=on_started,
        )

    try:
        return await _write(path, chain, pump, report=report, source=output, child=child())
    finally:
        output.close()


def _writing_to(command: Command, output: Channel) -> Command:
    if command.stdout is not None:
        raise ValueError("the command's output goes into the chain")
    return Command(
        command.argv,
        env=command.env,
        cwd=command.cwd,
        stdin=command.stdin,
        stdout=output,
        secret=command.secret,
    )


async def _write(
    path: Path,
    chain: Chain,
    produce: Callable[[Sink], None],
    *,
    report: Report | None,
    source: Channel | None = None,
    child: Coroutine[Any, Any, None] | None = None,
    hashed_inside: bool = False,
) -> Written:
    try:
        outlet = chain.key.outlet(path, report) if chain.key else FileOutlet(path)
    except BaseException:
        if child is not None:
            child.close()
        raise
    counted = Counted(hashing=chain.key is not None or not hashed_inside)

    def stop() -> None:
        outlet.stop()
        if source is not None:
            source.stop()

    def work() -> None:
        packer = compressor(chain.compression, outlet.write, threads=chain.threads)
        try:
            produce(_Counting(counted, packer))
            packer.finish()
        finally:
            packer.close()
        outlet.finish()

    stages = [outlet.run(), *([child] if child else []), in_thread(work, stop=stop)]
    try:
        await _together(stages, stop)
    except BaseException as error:
        _remove(path)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _not_written(path, error) from error
        raise
    finally:
        outlet.close()
    return Written(
        counted.bytes,
        counted.sha256,
        chain.compression,
        chain.key.facts.method if chain.key else None,
        chain.key.recipients if chain.key else (),
    )


class _Counting:
    def __init__(self, counted: Counted, following: Sink) -> None:
        self._counted = counted
        self._following = following

    def write(self, data: bytes, /) -> int:
        self._counted.add(data)
        self._following.write(data)
        return len(data)


async def _together(
    stages: list[Coroutine[Any, Any, Any]],
    stop: Callable[[], None],
    *,
    at_end: Callable[[], bool] = lambda: False,
) -> list[asyncio.Task[Any]]:
    """Run all stages; when one fails, stop the others and raise what began it.

    A stage that lost its neighbour is not what began it, nor one that met an early end
    (``at_end``): the neighbour gets time to say why. Of several the first stage's error counts.
    """
    tasks = [asyncio.ensure_future(stage) for stage in stages]
    try:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [error for task in done if (error := task.exception())]
        if pending and (at_end() or all(isinstance(error, _CONSEQUENCES) for error in failed)):
            await asyncio.wait(pending, timeout=_LAST_WORDS_SECONDS)
    finally:
        await undisturbed(_end(tasks, stop))
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if not errors:
        return tasks
    causes = [error for error in errors if not isinstance(error, _CONSEQUENCES)] or errors
    raise next((error for error in causes if isinstance(error, FsbackupError)), causes[0])


async def _end(tasks: list[asyncio.Task[Any]], stop: Callable[[], None]) -> None:
    if not all(task.done() for task in tasks):
        stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _not_written(path: Path, error: OSError) -> FsbackupError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"DISK FULL: no space left while writing {path}.",
            why=f"The system says: {reason}. What was written of it is taken back.",
            fix="Free space there (fsbackup list shows the sizes), then run it again.",
        )
    return RepositoryUnwritable(
        f"NOT WRITTEN: {path}.",
        why=f"The system says: {reason}.",
        fix=f"Look at: ls -ld {path.parent}",
    )


async def read_artifact(
    path: Path,
    artifact: Artifact,
    keys: ReadingKeys,
    consume: Callable[[ByteStream], _Result],
    *,
    report: Report | None = None,
) -> _Result:
    """Return what ``consume`` makes, in a thread, of an artifact's plain content.

    What it leaves unread is read behind it: the result is returned only when the whole content
    was what the manifest says. No plain content touches a disk.

    Raises:
        KeyUnavailable: nothing here decrypts it.
        PointDamaged: it is altered or cut off, or its content is another than was stored.
    """
    try:
        inlet = _inlet(path, artifact, keys, report)
    except FileNotFoundError as error:
        raise PointDamaged(f"FILE MISSING: {path}.", why="It was removed or renamed.") from error

    stream = Verified(inlet, path.name, artifact)

    def work() -> _Result:
        result = consume(stream)
        stream.read_to_the_end()
        return result

    stages = [inlet.run(), in_thread(work, stop=inlet.stop)]
    try:
        tasks = await _together(stages, inlet.stop, at_end=stream.has_ended)
    finally:
        inlet.close()
    result: _Result = tasks[1].result()
    return result


def _inlet(path: Path, artifact: Artifact, keys: ReadingKeys, report: Report | None) -> Inlet:
    if artifact.encryption is None:
        return FileInlet(path)
    return keys.of(artifact.encryption).inlet(path, report)


async def unpack_artifact(
    path: Path,
    artifact: Artifact,
    keys: ReadingKeys,
    target: Path,
    *,
    check_space: Callable[[int], None] | None = None,
    report: Report | None = None,
) -> None:
    """Write an artifact's plain content into ``target``, a new file (0600), and check it.

    ``check_space`` is told the bytes it takes, and raises DiskFull. Whatever fails, the file is
    gone. Raises as ``read_artifact``.
    """
    size = artifact.plain_bytes if artifact.plain_bytes is not None else artifact.bytes
    if check_space is not None:
        check_space(size)
    outlet = FileOutlet(target)

    def copy(stream: ByteStream) -> None:
        while block := stream.read(BLOCK):
            try:
                outlet.write(block)
            except OSError as error:
                raise _not_written(target, error) from error

    try:
        await read_artifact(path, artifact, keys, copy, report=report)
    except BaseException:
        _remove(target)
        raise
    finally:
        outlet.close()
