"""Archives, indexes and manifests that are made to do harm, the same ones in every run.

Each is what a person with write access to a repository could leave there: well formed as far as
it goes, and sealed. ``outside`` is a directory that none of them may reach.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.files.index import IndexEntry, format_entry

SEED = 20261122
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_HEADING = b"fsbackup files index 1\n"


@dataclass(frozen=True)
class Hostile:
    """One of them; ``data`` is the archive, or the index, before it is compressed."""

    name: str
    data: bytes


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: bytes | int = 0,
    target: bytes = b"",
    mode: bytes | int = 0o644,
    uid: bytes | int = 1000,
    gid: bytes | int = 1000,
    time: bytes | int = 1_700_000_000,
    prefix: bytes = b"",
    checksum: bytes | None = None,
    magic: bytes = b"ustar\x0000",
    device: int = 0,
) -> bytes:
    """Return a tar header of 512 bytes; a number given as bytes is put as it is."""
    block = bytearray(_BLOCK)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = _number(mode, 8)
    block[108:116] = _number(uid, 8)
    block[116:124] = _number(gid, 8)
    block[124:136] = _number(size, 12)
    block[136:148] = _number(time, 12)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(target[:100])] = target[:100]
    block[257:265] = magic
    if kind in (b"3", b"4"):
        block[329:337] = _number(device, 8)
        block[337:345] = _number(device, 8)
    block[345 : 345 + len(prefix[:155])] = prefix[:155]
    block[148:156] = checksum or b"%06o\0 " % sum(block)
    return bytes(block)


def _number(value: bytes | int, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")[:width]
    return b"%0*o\0" % (width - 1, value)


def _content(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def file(name: bytes, data: bytes = b"harm\n", **more: object) -> bytes:
    """Return a member with content."""
    return header(name, size=len(data), **more) + _content(data)  # type: ignore[arg-type]


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return an extended header."""
    data = b"".join(_record(key, value) for key, value in records.items())
    return header(b"PaxHeaders/x", kind, size=len(data)) + _content(data)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d%b" % (length, rest)


def raw_pax(data: bytes) -> bytes:
    """Return an extended header whose records are as given, wrong or not."""
    return header(b"PaxHeaders/x", b"x", size=len(data)) + _content(data)


def gnu_long(kind: bytes, text: bytes) -> bytes:
    """Return GNU's header of a long name (L) or target (K)."""
    data = text + b"\0"
    block = header(b"././@LongLink", kind, size=len(data), magic=b"ustar  \0")
    return block + _content(data)


def benign() -> bytes:
    """Return what a good archive has before, so that what comes after is met in the midst."""
    return header(b"./", b"5", mode=0o755) + file(b"./a.txt", b"good\n")


def hostile_archives(outside: Path) -> Iterator[Hostile]:
    """Yield the archives; more than a hundred, by a fixed seed."""
    out = bytes(outside)
    for name, body in (
        *_bad_names(out),
        *_links_out(out),
        *_through_links(out),
        *_kinds(),
        *_twice(),
        *_numbers(),
        *_extended(out),
        *_sparse(),
    ):
        yield Hostile(name, benign() + body + _END)
    yield from _cut_off()
    yield from _at_random(out)


def _bad_names(out: bytes) -> Iterator[tuple[str, bytes]]:
    up = b"../" * 12
    names = {
        "absolute": out + b"/x",
        "absolute with dots": out + b"/../x",
        "two slashes": b"/" + out + b"/x",
        "above": b"../x",
        "far above": up + out.lstrip(b"/") + b"/x",
        "dots inside": b"a/../../x",
        "dots at the end": b"sub/..",
        "dots alone": b"..",
        "dots behind a dot": b"./../x",
        "dot inside": b"a/./x",
        "nothing inside": b"a//x",
    }
    for name, path in names.items():
        yield f"file {name}", file(path)
        yield f"directory {name}", header(path + b"/", b"5")
        yield f"link {name}", header(path, b"2", target=b"/etc/passwd")
        yield f"pax path {name}", pax({b"path": path}) + file(b"innocent")
        yield f"long name {name}", gnu_long(b"L", path) + file(b"innocent", magic=b"ustar  \0")
    yield "prefix above", file(b"x", prefix=b"../../..")
    yield "prefix absolute", file(b"x", prefix=out)


def _links_out(out: bytes) -> Iterator[tuple[str, bytes]]:
    targets = {
        "absolute": b"/etc/passwd",
        "outside": out + b"/victim",
        "above": b"../victim",
        "dots inside": b"sub/../../victim",
        "itself": b"hard",
        "nowhere": b"",
    }
    for name, target in targets.items():
        yield f"hard link {name}", header(b"hard", b"1", target=target)
        if target:
            yield f"pax hard link {name}", pax({b"linkpath": target}) + header(b"hard", b"1")
            long = gnu_long(b"K", target) + header(b"hard", b"1", magic=b"ustar  \0")
            yield f"long hard link {name}", long


def _through_links(out: bytes) -> Iterator[tuple[str, bytes]]:
    for name, target in (("absolute", out), ("relative", b".."), ("within", b".")):
        link = header(b"door", b"2", target=target)
        yield f"file through a link {name}", link + file(b"door/x")
        yield f"directory through a link {name}", link + header(b"door/x/", b"5")
        yield f"link through a link {name}", link + header(b"door/x", b"2", target=b"y")
        yield f"hard link through a link {name}", link + header(b"e", b"1", target=b"door/victim")
        yield f"file over a link {name}", link + file(b"door")
        yield f"directory over a link {name}", link + header(b"door/", b"5") + file(b"door/x")
    chain = header(b"one", b"2", target=out) + header(b"two", b"1", target=b"one")
    yield "through a hard link to a link", chain + file(b"two/x")
    deep = header(b"d/", b"5") + header(b"d/e", b"2", target=out)
    yield "through a link deep inside", deep + file(b"d/e/f/x")


def _kinds() -> Iterator[tuple[str, bytes]]:
    yield "character device", header(b"null", b"3", device=1)
    yield "block device", header(b"sda", b"4", device=8)
    yield "pipe", header(b"pipe", b"6")
    yield "volume", header(b"volume", b"V")
    yield "incremental", header(b"dump", b"D", size=4) + _content(b"Yx\0\0")
    yield "another volume's", header(b"more", b"M", size=4) + _content(b"more")
    yield "unknown kind", header(b"unknown", b"Z")
    yield "directory with content", header(b"d/", b"5", size=4) + _content(b"harm")
    yield "no tar at all", b"MZ" + bytes(510)


def _twice() -> Iterator[tuple[str, bytes]]:
    yield "the same file twice", file(b"b") + file(b"b")
    yield "a file again", file(b"b") + file(b"a.txt", b"other\n")
    yield "a directory for a file", file(b"b") + header(b"b/", b"5") + file(b"b/x")
    yield "a file for a directory", header(b"b/", b"5") + file(b"b")
    yield "a link for a file", file(b"b") + header(b"b", b"2", target=b"/etc")
    yield "not in order", file(b"c") + file(b"b")
    yield "without its directory", file(b"b/c/x")
    yield "the root again", header(b"./", b"5", mode=0o777)
    yield "a second root", file(b".")


def _numbers() -> Iterator[tuple[str, bytes]]:
    fields = {
        "letters": b"harmful",
        "minus": b"-0000001",
        "negative": b"\xff" * 12,
        "huge": b"\x80" + b"\x7f" * 11,
        "odd base": b"\x90" + b"\x01" * 11,
        "nine": b"99",
    }
    for name, value in fields.items():
        yield f"size {name}", header(b"b", size=value) + bytes(_BLOCK)
    for name in ("letters", "minus", "odd base", "nine"):
        value = fields[name][:8]
        yield f"mode {name}", header(b"b", mode=value)
        yield f"owner {name}", header(b"b", uid=value)
        yield f"time {name}", header(b"b", time=fields[name])
    yield "more than there is", header(b"b", size=1 << 20)
    yield "more than any disk", header(b"b", size=b"\x80" + (1 << 45).to_bytes(11, "big"))
    yield "checksum wrong", header(b"b", checksum=b"000001\0 ")
    yield "no magic", header(b"b", magic=b"USTAR\x0000")
    yield "no name", header(b"")
    yield "a size for a link", header(b"b", b"2", target=b"c", size=512) + bytes(_BLOCK)


def _extended(out: bytes) -> Iterator[tuple[str, bytes]]:
    for kind, key in ((b"g", "global "), (b"x", "")):
        for record, value in ((b"path", out + b"/x"), (b"linkpath", out), (b"size", b"-1")):
            told = pax({record: value}, kind)
            member = header(b"b", b"1") if record == b"linkpath" else file(b"b")
            yield f"{key}{record.decode()}", told + member
    yield "told size of letters", pax({b"size": b"harm"}) + file(b"b")
    yield "told size huge", pax({b"size": b"9" * 30}) + file(b"b")
    yield "owner negative", pax({b"uid": b"-1"}) + file(b"b")
    yield "group huge", pax({b"gid": b"9" * 40}) + file(b"b")
    yield "time of letters", pax({b"mtime": b"now"}) + file(b"b")
    yield "time huge", pax({b"mtime": b"9" * 40}) + file(b"b")
    yield "name with a NUL", pax({b"path": b"b\0/../x"}) + file(b"b")
    yield "name long", pax({b"path": b"n/" * 40_000 + b"x"}) + file(b"b")
    yield "name very long", gnu_long(b"L", b"n" * 100_000) + file(b"b", magic=b"ustar  \0")
    yield "target with a NUL", pax({b"linkpath": b"a\0b"}) + header(b"b", b"2")
    for name, data in {
        "no length": b"path=x\n",
        "too long": b"99 path=x\n",
        "too short": b"3 path=x\n",
        "zero": b"0 path=x\n",
        "no newline": b"9 path=xy",
        "no equals": b"8 pathx\n",
        "no key": b"5 =x\n",
        "not a number": b"+9 path=x\n",
    }.items():
        yield f"record {name}", raw_pax(data) + file(b"b")
    yield "records without end", header(b"p", b"x", size=1 << 40)
    yield "records for nothing", pax({b"path": b"x"})


def _sparse() -> Iterator[tuple[str, bytes]]:
    def one(offset: bytes, length: bytes, real: bytes, name: bytes = b"b") -> bytes:
        fields = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
        told = pax({**fields, b"GNU.sparse.name": name, b"GNU.sparse.realsize": real})
        sparse_map = b"1\n%b\n%b\n" % (offset, length)
        return told + file(b"GNUSparseFile.0/b", _content(sparse_map) + b"data")

    yield "sparse beyond its end", one(b"100", b"4", b"50")
    yield "sparse negative", one(b"-8", b"4", b"50")
    yield "sparse huge", one(b"9" * 30, b"4", b"9" * 31)
    yield "sparse of another size", one(b"0", b"4000", b"5000")
    yield "sparse name above", one(b"0", b"4", b"10", b"../x")
    yield "sparse size huge", one(b"0", b"4", b"9" * 30)
    for name, told in {
        "overlapping": b"0,4,2,4",
        "backwards": b"8,2,0,2",
        "odd": b"0,4,8",
        "letters": b"a,b",
        "beyond": b"0,4,100,4",
    }.items():
        records = {b"GNU.sparse.map": told, b"GNU.sparse.size": b"20", b"GNU.sparse.name": b"b"}
        yield f"sparse map {name}", pax(records) + file(b"b", b"datadata")
    lines = b"%d\n" % (1 << 40)
    major = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"}
    yield "sparse pieces without end", pax(major) + file(b"b", _content(lines))
    old = bytearray(header(b"b", b"S", size=4, magic=b"ustar  \0"))
    old[386:410] = _number(0o7777777, 12) + _number(4, 12)
    old[483:495] = _number(10, 12)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    yield "old sparse beyond its end", bytes(old) + _content(b"data")


def _cut_off() -> Iterator[Hostile]:
    whole = benign() + file(b"b", b"harm" * 1000)
    yield Hostile("cut off in a header", whole[: len(whole) - 5 * 1024 - 100])
    yield Hostile("cut off in content", whole[:-1024])
    yield Hostile("no end", whole)
    yield Hostile("half an end", whole + bytes(_BLOCK))
    yield Hostile("more behind the end", whole + _END + file(b"c"))
    yield Hostile("words behind the end", whole + _END + b"harm".ljust(_BLOCK, b"!"))
    yield Hostile("nothing", b"")


def _at_random(out: bytes) -> Iterator[Hostile]:
    """Yield archives in which one of several ways out hides among good members."""
    chance = random.Random(SEED)
    for number in range(24):
        names = sorted(b"f%03d" % chance.randrange(1000) for _ in range(chance.randrange(1, 9)))
        members = [file(b"./" + name, chance.randbytes(40)) for name in dict.fromkeys(names)]
        depth = chance.randrange(1, 6)
        way = chance.choice(
            [
                file(b"z/" * depth + b"../" * (depth + 1) + b"x"),
                file(out + b"/%d" % number),
                header(b"z", b"2", target=out) + file(b"z/" + b"y/" * depth + b"x"),
                header(b"z", b"1", target=b"../" * depth + b"victim"),
                pax({b"path": b"../" * depth + b"x"}) + file(b"z"),
                header(b"z", chance.choice([b"3", b"4", b"6"]), device=depth),
            ]
        )
        yield Hostile(f"at random {number}", benign() + b"".join(members) + way + _END)


def hostile_indexes(outside: Path) -> Iterator[Hostile]:
    """Yield lists of entries that lead out, lie, or have no end; the archive beside is good."""
    good = [_entry(b".", "directory"), _entry(b"a.txt")]
    out = bytes(outside)
    for name, path in {
        "absolute": out + b"/x",
        "above": b"../x",
        "dots inside": b"a/../../x",
        "dots alone": b"..",
        "nothing inside": b"a//x",
        "a slash behind": b"b/",
        "a NUL": b"b\0c",
        "long": b"n/" * 40_000 + b"x",
    }.items():
        yield _index(f"file {name}", [*good, _entry(path)])
        yield _index(f"directory {name}", [*good, _entry(path, "directory")])
        yield _index(f"link {name}", [*good, _entry(b"z", "link", target=path)])
    yield _index("file for a directory", [*good, _entry(b"b"), _entry(b"b/c")])
    yield _index("without its directory", [*good, _entry(b"b/c")])
    yield _index("not in the archive", [*good, _entry(b"b")])
    yield _index("another content", [good[0], _entry(b"a.txt", sha256="0" * 64)])
    yield _index("another kind", [good[0], _entry(b"a.txt", "symlink", target=b"/etc/passwd")])
    yield _index("a directory that is a file", [good[0], _entry(b"a.txt", "directory")])
    yield _index("named twice", [*good, good[1]])
    yield _index("not in order", [good[0], _entry(b"b"), good[1]])
    line = format_entry(_entry(b"b"))
    for name, old, new in (
        ("size negative", b"\t5\t", b"\t-5\t"),
        ("size huge", b"\t5\t", b"\t%b\t" % (b"9" * 40)),
        ("size underscored", b"\t5\t", b"\t5_0\t"),
        ("mode huge", b"\t644\t", b"\t7777777\t"),
        ("mode negative", b"\t644\t", b"\t-644\t"),
        ("owner negative", b"\t1000\t1000\t", b"\t-1\t1000\t"),
        ("kind unknown", b"file\t", b"device\t"),
        ("hash no hash", b"\t-\t-\t\t", b"\t%b\t-\t\t" % (b"../x" * 16)),
    ):
        changed = line.replace(old, new, 1)
        assert changed != line, name
        yield Hostile(name, _HEADING + b"".join(map(format_entry, good)) + changed)
    yield Hostile("a line without end", _HEADING + b"x" * (1 << 20))
    yield Hostile("no heading", format_entry(good[0]))
    yield Hostile("cut off", _HEADING + format_entry(good[0])[:-4])


def _entry(
    path: bytes, kind: str = "file", *, target: bytes = b"", sha256: str | None = None
) -> IndexEntry:
    size = 5 if kind in ("file", "link") else 0
    mode = 0o755 if kind == "directory" else 0o644
    time = 1_700_000_000 * 10**9
    who = (1000, 1000, b"", b"")
    return IndexEntry(path, kind, mode, *who, size, time, sha256, target)  # type: ignore[arg-type]


def _index(name: str, entries: list[IndexEntry]) -> Hostile:
    return Hostile(name, _HEADING + b"".join(map(format_entry, entries)))


def good_index() -> bytes:
    """Return the list of what ``benign`` has."""
    return _index("", [_entry(b".", "directory"), _entry(b"a.txt")]).data


def good_archive() -> bytes:
    """Return an archive that there is nothing wrong with."""
    return benign() + _END


def hostile_manifests(outside: Path) -> dict[str, dict[str, object]]:
    """Return what is changed in the archive's or index's description, by a name for it."""
    return {
        "path absolute": {"path": str(outside / "victim")},
        "path above": {"path": "../../../../victim"},
        "path of another part": {"path": "../other/files.tar.zst"},
        "path through a link": {"path": "door/victim"},
        "path that is a link": {"path": "link.tar.zst"},
        "path that is a directory": {"path": "."},
        "path empty": {"path": ""},
        "path with a NUL": {"path": "a\0b"},
        "size negative": {"bytes": -1},
        "size too small": {"bytes": 1},
        "content too small": {"plain_bytes": 1},
        "content negative": {"plain_bytes": -1},
        "content huge": {"plain_bytes": 1 << 62},
        "hash of another": {"sha256": "0" * 64},
        "content of another": {"plain_sha256": "0" * 64},
        "compression unknown": {"compression": "rar:9"},
        "compression another": {"compression": "gzip:6"},
        "encryption unknown": {"encryption": "rot13"},
        "role of none": {"role": "sums"},
    }
