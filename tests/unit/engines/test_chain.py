"""The artifact chain: what went in comes out, and nothing else is ever taken for it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull, KeyUnavailable, PointDamaged
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import (
    Chain,
    Sink,
    read_artifact,
    unpack_artifact,
    write_artifact,
    write_from_command,
)
from fsbackup_tui.engines.compression import ByteStream, zstd_module
from fsbackup_tui.engines.encryption.age import AgeIdentities, AgeKey, new_identity
from fsbackup_tui.engines.encryption.age_passphrase import (
    open_with_passphrase,
    seal_with_passphrase,
)
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.process import Command, ToolFailed

IDENTITY, RECIPIENT = new_identity()
KEY = AgeKey(KeyFacts("age", "k1", recipients=(RECIPIENT,)), (RECIPIENT,))
KEYS = ReadingKeys(age=AgeIdentities((IDENTITY,)))
CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() * 3 for number in range(40_000))


def writes(content: bytes) -> Callable[[Sink], None]:
    def produce(sink: Sink) -> None:
        for start in range(0, len(content), 100_001):
            sink.write(content[start : start + 100_001])

    return produce


def everything(stream: ByteStream) -> bytes:
    blocks = []
    while block := stream.read(70_000):
        blocks.append(block)
    return b"".join(blocks)


async def stored(
    directory: Path, compression: str | None, key: AgeKey | None, content: bytes = CONTENT
) -> tuple[Path, Artifact]:
    chain = Chain(compression, key)
    path = directory / f"content{chain.suffix}"
    written = await write_artifact(path, chain, writes(content))
    artifact = written.artifact(directory, path.name, "dump")
    return path, replace(artifact, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("compression", [None, "zstd:3", "gzip:6"])
async def test_what_goes_in_comes_out(
    tmp_path: Path, compression: str | None, key: AgeKey | None
) -> None:
    for content in (CONTENT, b""):
        path, artifact = await stored(tmp_path, compression, key, content)
        assert path.stat().st_mode & 0o777 == 0o600
        assert await read_artifact(path, artifact, KEYS, everything) == content
        # A consumer that stops early gets its result only if the rest was right, too.
        assert await read_artifact(path, artifact, KEYS, lambda s: s.read(5)) == content[:5]
        target = tmp_path / "plain"
        needed: list[int] = []
        await unpack_artifact(path, artifact, KEYS, target, check_space=needed.append)
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (content, 0o600)
        assert needed == [len(content)]
        if compression or key:
            assert artifact.plain_bytes == len(content)
            assert artifact.plain_sha256 == hashlib.sha256(content).hexdigest()
        if key is None and compression == "gzip:6":
            assert gzip.decompress(path.read_bytes()) == content
        if key is None and compression == "zstd:3":
            assert zstd_module().decompress(path.read_bytes()) == content
        path.unlink()
        target.unlink()


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("compression", [None, "zstd:3", "gzip:6"])
async def test_what_is_altered_cut_off_or_longer_is_found(
    tmp_path: Path, compression: str | None, key: AgeKey | None
) -> None:
    path, artifact = await stored(tmp_path, compression, key)
    good = path.read_bytes()
    places = [0, 30, len(good) // 2, len(good) - 1]
    flipped = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in places]
    cut = [good[:at] for at in (0, 20, len(good) // 2, len(good) - 65_552, len(good) - 1)]
    for bad in (*flipped, *cut, good + b"x"):
        path.write_bytes(bad)
        with pytest.raises((PointDamaged, KeyUnavailable)) as caught:
            await unpack_artifact(path, artifact, KEYS, tmp_path / "plain")
        # What no identity opens may be somebody else's, unless it is known to be ours.
        if isinstance(caught.value, KeyUnavailable):
            proven = ReadingKeys(age=AgeIdentities((IDENTITY,), proven=True))
            with pytest.raises(PointDamaged):
                await read_artifact(path, artifact, proven, everything)
        assert not (tmp_path / "plain").exists()
    path.unlink()
    with pytest.raises(PointDamaged, match="FILE MISSING"):
        await read_artifact(path, artifact, KEYS, everything)


async def test_another_content_under_the_same_name_is_found(tmp_path: Path) -> None:
    other = CONTENT[:-1] + b"?"
    path, _artifact = await stored(tmp_path, "zstd:3", KEY, other)
    path.rename(tmp_path / "other")
    path, artifact = await stored(tmp_path, "zstd:3", KEY)
    (tmp_path / "other").rename(path)
    with pytest.raises(PointDamaged, match="can't be read"):
        await read_artifact(path, artifact, KEYS, everything)


async def test_without_the_right_key_nothing_is_read(tmp_path: Path) -> None:
    path, artifact = await stored(tmp_path, "zstd:3", KEY)
    stranger, _recipient = new_identity()
    for keys in (ReadingKeys(reason="needs the private key k1"), ReadingKeys(gpg=KEYS.age)):
        with pytest.raises(KeyUnavailable, match="KEY NOT HERE: it needs "):
            await read_artifact(path, artifact, keys, everything)
    with pytest.raises(KeyUnavailable, match="somebody else"):
        await read_artifact(path, artifact, ReadingKeys(age=AgeIdentities((stranger,))), everything)


async def test_a_child_is_stored_as_it_prints_and_its_failure_leaves_no_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "printed.zst.age"
    script = "import sys; [sys.stdout.write('row %d\\n' % n) for n in range(200_000)]"
    seen: list[int] = []
    chain = Chain("zstd:3", KEY)
    command = Command((sys.executable, "-c", script))
    written = await write_from_command(
        path, chain, command, inspect=lambda block: seen.append(len(block))
    )
    artifact = written.artifact(tmp_path, path.name, "dump")
    content = await read_artifact(path, artifact, KEYS, everything)
    assert content.splitlines()[199_999] == b"row 199999"
    assert sum(seen) == len(content) == written.plain_bytes
    path.unlink()

    failing = Command((sys.executable, "-c", f"{script}; sys.exit('no space for words')"))
    with pytest.raises(ToolFailed, match="exit status 1"):
        await write_from_command(path, chain, failing)
    assert not path.exists()

    def refuse(block: bytes) -> None:
        raise PointDamaged("REFUSED: what it prints.")

    with pytest.raises(PointDamaged, match="REFUSED"):
        await write_from_command(path, chain, command, inspect=refuse)
    assert not path.exists()


@pytest.mark.parametrize("key", [None, KEY])
async def test_cancelled_or_failed_work_leaves_no_file_and_no_thread(
    tmp_path: Path, key: AgeKey | None
) -> None:
    path = tmp_path / "endless"
    chain = Chain("zstd:3", key)
    endless = Command((sys.executable, "-c", "while True: print('x' * 10000)"))
    started = asyncio.Event()
    work = asyncio.create_task(
        write_from_command(path, chain, endless, on_started=lambda _child: started.set())
    )
    await started.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not path.exists()

    def fail(sink: Sink) -> None:
        sink.write(CONTENT)
        raise DiskFull("DISK FULL: elsewhere.")

    with pytest.raises(DiskFull):
        await write_artifact(path, chain, fail)
    assert not path.exists()


def test_a_long_stream_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """What is on its way at once swings with the threads' luck; all of it would be 120 MiB."""
    short, long = 40, 160
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.chain_memory", str(tmp_path), f"{short}", f"{long}"],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    )
    before, after = (int(line) >> 10 for line in told.stdout.split())
    assert after - before < (long - short) // 2, f"{before} MiB, then {after} MiB"


def test_what_a_passphrase_seals_no_other_opens() -> None:
    sealed = seal_with_passphrase(IDENTITY.reveal().encode(), Secret("Straße & 'quotes'"))
    assert open_with_passphrase(sealed, Secret("another")) is None
    opened = open_with_passphrase(sealed, Secret("Straße & 'quotes'"))
    assert opened == IDENTITY.reveal().encode()
