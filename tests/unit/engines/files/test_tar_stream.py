"""The reader of tar archives: every form there is, nothing that is cut off, altered or a bomb."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.files.tar_stream import Limits, Member, TarDamaged, TarStream
from tests.support.captured_trees import capture_tree
from tests.support.odd_trees import make_odd_tree


class Trickle:
    """A stream that gives its bytes in pieces of odd sizes."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(min(size, self._size))


def read_all(data: bytes, size: int = 1 << 20) -> Iterator[tuple[Member, bytes]]:
    reader = TarStream(Trickle(data, size))
    while (member := reader.next()) is not None:
        yield member, reader.digest() if member.kind == "file" else b""


def archived(form: int) -> bytes:
    """Return an archive with everything that a form can hold, by another hand than ours."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name in ("short", "n" * 99, "n" * 100, "a" * 120 + "/" + "b" * 90):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = 700, 1_700_000_000, 0o4755
            info.uname, info.gname = "ana", "staff"
            tar.addfile(info, io.BytesIO(b"x" * 700))
        for kind, target in ((tarfile.SYMTYPE, "../up"), (tarfile.LNKTYPE, "short")):
            info = tarfile.TarInfo(f"link-{kind.decode()}")
            info.type, info.linkname = kind, target
            tar.addfile(info)
        directory = tarfile.TarInfo("directory")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        if form != tarfile.USTAR_FORMAT:
            long = tarfile.TarInfo("very/" + "long/" * 60 + "name")
            tar.addfile(long)
            large = tarfile.TarInfo("large-ids")
            large.uid, large.gid, large.mtime = 3_000_000, 4_000_000, 1.5 if form == 2 else 1
            tar.addfile(large)
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_is_read_whatever_the_blocks(form: int) -> None:
    data = archived(form)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [
            (info.name, info.mode, info.uid, info.gid, info.size, int(info.mtime), info.linkname)
            for info in tar.getmembers()
        ]
    for size in (1, 511, 4096, 1 << 20) if form == tarfile.PAX_FORMAT else (700, 1 << 20):
        members = [*read_all(data, size)]
        assert [
            (m.path.decode(), m.mode, m.uid, m.gid, m.size, m.mtime_ns // 10**9, m.target.decode())
            for m, _digest in members
        ] == expected
        assert members[0][1] == hashlib.sha256(b"x" * 700).digest()
        assert (members[0][0].user, members[0][0].group) == (b"ana", b"staff")
    if form == tarfile.PAX_FORMAT:
        assert members[-1][0].mtime_ns == 1_500_000_000


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
)
def test_sparse_files_of_every_form_are_whole(tmp_path: Path, options: list[str]) -> None:
    many = tmp_path / "many"
    with many.open("wb") as file:
        for number in range(60):
            file.seek(number * 65536 * 2)
            file.write(b"piece %d" % number)
        file.truncate(60 * 65536 * 2)
    (tmp_path / "plain").write_bytes(b"plain")
    data = subprocess.run(
        ["tar", "-C", str(tmp_path), "-c", "--sparse", *options, "many", "plain"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < many.stat().st_size // 4
    for size in (1000, 1 << 20):
        (sparse, digest), (plain, _) = read_all(data, size)
        assert (sparse.path, sparse.size, plain.path) == (b"many", many.stat().st_size, b"plain")
        assert digest == hashlib.sha256(many.read_bytes()).digest()


async def test_what_is_passed_on_is_the_archive_without_what_was_left_out(tmp_path: Path) -> None:
    make_odd_tree(tmp_path / "tree")
    (tmp_path / "tree" / "mode-0").chmod(0o600)
    data = (await capture_tree(tmp_path / "tree", tmp_path / "part")).path("archive").read_bytes()
    every = {member.path: digest for member, digest in read_all(data)}
    for size in (777, 1 << 20):
        whole, chosen = bytearray(), bytearray()
        reader = TarStream(Trickle(data, size), passed=whole.extend)
        while reader.next() is not None:
            pass
        assert data.startswith(bytes(whole))
        assert data[len(whole) :].count(0) == len(data) - len(whole)
        reader = TarStream(Trickle(data, size), passed=chosen.extend)
        while (member := reader.next()) is not None:
            if not member.path.startswith(b"s"):
                reader.leave_out()
        left = {member.path: digest for member, digest in read_all(bytes(chosen) + bytes(1024))}
        assert left == {name: found for name, found in every.items() if name.startswith(b"s")}
        assert left[b"sparse"]


def test_an_archive_that_is_cut_off_or_altered_is_never_read_to_an_end() -> None:
    data = archived(tarfile.PAX_FORMAT)
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for length in range(0, end + 512, 256):
        with pytest.raises(TarDamaged, match="cut off"):
            [*read_all(data[:length])]
    good = [(m.path, m.size, m.mode, m.uid, m.mtime_ns, m.target, d) for m, d in read_all(data)]
    for place in range(0, end, 13):
        altered = bytearray(data)
        altered[place] ^= 0x11
        try:
            found = [*read_all(bytes(altered))]
        except TarDamaged:
            continue
        told = [(m.path, m.size, m.mode, m.uid, m.mtime_ns, m.target, d) for m, d in found]
        # Padding, and what headers repeat, mean nothing; everything else is seen by its hash.
        assert told == good or place % 512 < 512
        assert len(told) <= len(good)
    for stray in (b"x", bytes(511) + b"x", b"x" * 512):
        with pytest.raises(TarDamaged):
            [*read_all(data + stray)]


def header(name: bytes, size: int | bytes, kind: bytes = b"0", target: bytes = b"") -> bytes:
    told = size if isinstance(size, bytes) else b"%011o\0" % size
    block = (
        name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + told + b"00000000000\0"
        + b" " * 8 + kind + target.ljust(100, b"\0") + b"ustar\x0000"
    ).ljust(512, b"\0")  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def extended(records: bytes) -> bytes:
    return header(b"x", len(records), b"x") + records + bytes(-len(records) % 512)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    length += len(str(length))
    length += len(str(length)) - len(str(length - 1))
    return b"%d %b=%b\n" % (length, key, value)


END = bytes(1024)
BOMBS: dict[str, Callable[[], bytes]] = {
    "a file of exabytes": lambda: header(b"a", b"\x80" + b"\xff" * 11) + END,
    "a negative size": lambda: header(b"a", b"\xff" * 12) + END,
    "a huge extended header": lambda: header(b"x", 0o777777777, b"x") + END,
    "a huge long name": lambda: header(b"x", 0o777777777, b"L") + END,
    "records longer than told": lambda: extended(b"9999 path=a\n") + header(b"a", 0) + END,
    "records without a name": lambda: extended(b"8 =abcd\n") + header(b"a", 0) + END,
    "a record of no length": lambda: extended(b"path=abc\n") + header(b"a", 0) + END,
    "a size that is no number": lambda: extended(record(b"size", b"1e9")) + header(b"a", 0) + END,
    "a time that is none": lambda: extended(record(b"mtime", b"soon")) + header(b"a", 0) + END,
    "NUL in a name": lambda: extended(record(b"path", b"a\0b")) + header(b"a", 0) + END,
    "an endless name": lambda: extended(record(b"path", b"a" * 70_000)) + header(b"a", 0) + END,
    "an empty name": lambda: header(b"", 0) + END,
    "a link to nowhere": lambda: header(b"a", 0, b"2") + END,
    "a directory with content": lambda: header(b"a/", 5, b"5") + END,
    "an unknown type": lambda: header(b"a", 0, b"Q") + END,
    "pieces that overlap": lambda: sparse(100, b"0,10,5,10", 20),
    "pieces beyond the end": lambda: sparse(10, b"0,10,90,10", 20),
    "pieces that aren't stored": lambda: sparse(1 << 40, b"0,1000000", 20),
    "a map of half a piece": lambda: sparse(100, b"0,10,5", 10),
    "a map of millions": lambda: sparse(100, b"0," * 2_200_000 + b"0,0", 0),
    "a header after none": lambda: extended(record(b"path", b"a")) + END,
}


def sparse(size: int, pieces: bytes, stored: int) -> bytes:
    records = record(b"GNU.sparse.major", b"0") + record(b"GNU.sparse.minor", b"1")
    records += record(b"GNU.sparse.size", b"%d" % size) + record(b"GNU.sparse.map", pieces)
    return extended(records) + header(b"a", stored) + bytes(stored + -stored % 512) + END


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_made_to_harm_its_reader_is_refused(name: str) -> None:
    with pytest.raises(TarDamaged):
        [*read_all(BOMBS[name]())]


def test_limits_are_kept() -> None:
    data = b"".join(header(b"%d" % number, 0) for number in range(5)) + END
    assert len([*read_all(data)]) == 5
    reader = TarStream(io.BytesIO(data), limits=Limits(members=3))
    assert [reader.next() is not None for _ in range(3)] == [True] * 3
    with pytest.raises(TarDamaged, match="too many"):
        reader.next()
    plain = header(b"a", 0) + END
    assert [member.path for member, _ in read_all(plain)] == [b"a"]
