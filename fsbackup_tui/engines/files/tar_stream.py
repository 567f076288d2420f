"""A strict, fast, streaming reader of tar archives: ustar, pax, GNU, sparse files.

    with open(path, "rb") as stream:
        reader = TarStream(stream)
        while (member := reader.next()) is not None:
            member.path, member.kind, member.size …
            for block in reader.content():     # or reader.digest(): the content's SHA-256
                …

Memory is constant whatever the archive holds. All of it is read, to the zeros behind its end; an
archive that is cut off or altered raises TarDamaged, never ends early. Nothing is said of whether
its names are safe to extract: that is ``extract.py``'s part.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator

from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.files.tar_fast import FastHeaders
from fsbackup_tui.engines.files.tar_headers import (
    BLOCK,
    ZEROS,
    Limits,
    TarDamaged,
    attributes_of,
    check_pieces,
    check_sum,
    decimal,
    gnu_sparse_map,
    nanoseconds,
    number,
    parse_records,
    sparse_map,
    text_field,
    with_mode,
    without_capability,
)
from fsbackup_tui.engines.files.tar_member import Kind, Member

__all__ = ["Kind", "Limits", "Member", "TarDamaged", "TarStream"]


_READ = 1 << 20
_HOLE = bytes(1 << 20)
_KINDS: dict[int, Kind] = {
    0: "file",
    ord("0"): "file",
    ord("7"): "file",
    ord("S"): "file",
    ord("1"): "link",
    ord("2"): "symlink",
    ord("3"): "character",
    ord("4"): "block",
    ord("5"): "directory",
    ord("6"): "fifo",
}
_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_TARGET, _SPARSE = (ord(letter) for letter in "xgLKS")
_BEFORE_MEMBER = (_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_TARGET)
_NANOSECONDS = 10**9


class TarStream:
    """Reads the members of one archive in turn; see the module.

    ``passed`` is given the archive's bytes as they are read, unchanged and in order, up to the
    blocks that mark its end and without them; ``leave_out`` keeps a member from it.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        limits: Limits | None = None,
        passed: Callable[[bytes], object] | None = None,
    ) -> None:
        self._read = stream.read
        self._limits = limits or Limits()
        self._passed = passed
        self._buffer = b""
        self._position = 0
        # Where in the buffer begins what was not passed on yet, and whether it is to be.
        self._start = 0
        self._keeps = True
        self._in_header = False
        self._header = 0
        # Of the current member: bytes of content not yet read, and of padding behind it.
        self._left = 0
        self._padding = 0
        self._pieces: array[int] | None = None
        self._size = 0
        self._globals: dict[bytes, bytes] = {}
        self._fast = FastHeaders()
        self._ended = False
        self.members = 0
        self.offset = 0
        """Where in the archive the buffer begins; ``place`` says where reading is."""

    @property
    def place(self) -> int:
        """Bytes of the archive that were read so far."""
        return self.offset + self._position

    @property
    def has_globals(self) -> bool:
        """Whether records were read that hold for every member behind them."""
        return bool(self._globals)

    def next(self) -> Member | None:
        """Return the next member, what is left of the last one's content skipped; None: the end.

        Raises:
            TarDamaged: the archive is cut off, altered, or beyond the limits.
        """
        if self._ended:
            return None
        self._go_on()
        self._header = self._position
        if not self._globals:
            found = self._fast.member(self._buffer, self._position)
            if found is not None and self.members < self._limits.members:
                self.members += 1
                member, self._position = found
                self._left = self._size = member.size
                self._padding = -member.size % BLOCK
                self._pieces = None
                return member
        return self._next_slowly()

    def ahead(self, least: int) -> tuple[bytes, int]:
        """Return the buffer, and where in it the next member begins.

        At least so many bytes are there from it on, fewer at the archive's end alone. For who
        takes members by itself, and says so with ``took``; not behind the end.
        """
        self._go_on()
        while len(self._buffer) - self._position < least and (block := self._read(_READ)):
            self._forget(self._position)
            self._buffer += block
        return self._buffer, self._position

    def took(self, members: int, position: int) -> None:
        """Go on behind members that were taken out of the buffer, up to a position in it."""
        self.members += members
        self._position = position

    def _go_on(self) -> None:
        """Leave the last member behind."""
        if self._left or self._padding:
            self._skip(self._left + self._padding)
        if not self._keeps:
            self._start = self._position
            self._keeps = True

    def _next_slowly(self) -> Member | None:
        """Return the next member, whatever it is, or None at the end."""
        self._in_header = True
        records: dict[bytes, bytes] | None = None
        while True:
            block = self._take(BLOCK)
            kind = block[156]
            if block[0] == 0 and block == ZEROS:
                if records is not None:
                    raise self._damaged("it ends between a header and its member")
                self._finish()
                return None
            if not check_sum(block):
                raise self._damaged("a header is altered: its checksum does not hold")
            if kind == _EXTENDED:
                found = parse_records(self._record_data(block))
                records = found if records is None else {**records, **found}
            elif kind in (_LONG_NAME, _LONG_TARGET):
                key = b"path" if kind == _LONG_NAME else b"linkpath"
                records = {**(records or {}), key: self._record_data(block).rstrip(b"\0")}
            elif kind == _GLOBAL:
                self._globals |= parse_records(self._record_data(block))
                if sum(map(len, self._globals.values())) > self._limits.extended:
                    raise self._damaged("its global records are too many")
            else:
                member = self._member(block, records)
                self._in_header = False
                return member

    def leave_out(self) -> None:
        """Keep the current member out of what is passed on; before its content is read."""
        self._forget(self._header)
        self._keeps = False

    def change_rights(self, mode: int) -> None:
        """Pass the current member on with this mode and no capabilities; before its content."""
        position = self._header
        while (kind := self._buffer[position + 156]) in _BEFORE_MEMBER:
            size = number(self._buffer[position + 124 : position + 136])
            position += BLOCK
            if kind == _EXTENDED:
                self._replace(position, without_capability(self._buffer[position:][:size]))
            position += size + -size % BLOCK
        self._replace(position, with_mode(self._buffer[position:][:BLOCK], mode))

    def _replace(self, position: int, data: bytes) -> None:
        end = position + len(data)
        self._buffer = self._buffer[:position] + data + self._buffer[end:]

    def content(self) -> Iterator[bytes]:
        """Yield the current member's content in blocks, holes of a sparse file as zeros."""
        if self._pieces is None:
            yield from self._stored(self._left)
        else:
            pieces, self._pieces, end = self._pieces, None, 0
            for place in range(0, len(pieces), 2):
                yield from _zeros(pieces[place] - end)
                yield from self._stored(pieces[place + 1])
                end = pieces[place] + pieces[place + 1]
            yield from _zeros(self._size - end)
        self._skip(self._padding)

    def digest(self, advance: Callable[[int], object] | None = None) -> bytes:
        """Return the SHA-256 of the current member's content; ``advance`` is told its bytes."""
        begin, end = self._position, self._position + self._left
        if self._pieces is None and end + self._padding <= len(self._buffer):
            # By far the most: a small file that lies in the buffer as a whole.
            if advance is not None and self._left:
                advance(self._left)
            self._position = end + self._padding
            self._left = self._padding = 0
            return hashlib.sha256(self._buffer[begin:end]).digest()
        whole = hashlib.sha256()
        for block in self.content():
            whole.update(block)
            if advance is not None:
                advance(len(block))
        return whole.digest()

    def _member(self, block: bytes, records: dict[bytes, bytes] | None) -> Member:
        self.members += 1
        if self.members > self._limits.members:
            raise self._damaged("it has too many members")
        try:
            return self._read_member(block, records or {})
        except TarDamaged as error:
            raise self._damaged(str(error)) from None

    def _read_member(self, block: bytes, records: dict[bytes, bytes]) -> Member:
        if self._globals:
            records = {**self._globals, **records}
        kind = _KINDS.get(block[156])
        if kind is None:
            raise TarDamaged(f"it has a member of the unknown type {block[156:157]!r}")
        gnu = block[257:265] == b"ustar  \0"
        if not gnu and block[257:263] != b"ustar\0":
            raise TarDamaged("a header is of no known form")
        mode, uid, gid, user, group = self._fast.owner(block[100:124], block[265:329])
        name, target = text_field(block[:100]), text_field(block[157:257])
        if not gnu and block[345] and (prefix := text_field(block[345:500])):
            name = prefix + b"/" + name
        size = number(block[124:136])
        mtime = number(block[136:148]) * _NANOSECONDS
        attributes: tuple[tuple[bytes, bytes], ...] = ()
        pieces, stored = None, size
        if block[156] == _SPARSE:
            size, pieces = self._gnu_sparse(block, size)
        if records:
            get = records.get
            name, target = get(b"path", name), get(b"linkpath", target)
            user, group = get(b"uname", user), get(b"gname", group)
            if (value := get(b"mtime")) is not None:
                mtime = nanoseconds(value)
            if len(records) > 1 or value is None:
                attributes = attributes_of(records)
                uid = decimal(records[b"uid"], "owner") if b"uid" in records else uid
                gid = decimal(records[b"gid"], "group") if b"gid" in records else gid
                if b"size" in records:
                    size = stored = decimal(records[b"size"], "size", self._limits.file)
                if any(key.startswith(b"GNU.sparse.") for key in records):
                    name, size, stored, pieces = self._pax_sparse(records, name, size)
        if kind == "file" and name.endswith(b"/"):
            kind = "directory"
        member = Member(
            _plain(name), kind, mode, uid, gid, user, group, size, mtime, target, stored, pieces,
            attributes,
        )  # fmt: skip
        self._begin(member)
        return member

    def _begin(self, member: Member) -> None:
        """Refuse what no tar writes, then make ready to read the member's content."""
        limits = self._limits
        if not 0 <= member.stored <= limits.file or not 0 <= member.size <= limits.file:
            raise TarDamaged("it has a member of an impossible size")
        if member.kind != "file" and member.size:
            raise TarDamaged(f"a {member.kind} in it claims content")
        if not member.path or b"\0" in member.path or b"\0" in member.target:
            raise TarDamaged("a name in it is empty, or has a NUL")
        if len(member.path) > limits.name or len(member.target) > limits.name:
            raise TarDamaged("a name in it is too long")
        if member.kind in ("link", "symlink") and not member.target:
            raise TarDamaged("a link in it leads nowhere")
        if member.kind == "link":
            member.target = _plain(member.target)
        elif member.kind != "symlink":
            member.target = b""
        self._left = member.stored
        # The map of a sparse file (form 1.0) fills whole blocks: it leaves the padding as it is.
        self._padding = -member.stored % BLOCK
        self._pieces, self._size = member.pieces, member.size

    def _gnu_sparse(self, block: bytes, stored: int) -> tuple[int, array[int]]:
        extensions: list[bytes] = []
        more = block[482]
        while more:
            if len(extensions) * 21 > self._limits.segments:
                raise TarDamaged("its sparse map is too long")
            extensions.append(self._take(BLOCK))
            more = extensions[-1][504]
        found, size = gnu_sparse_map(block, extensions)
        pieces = array("q")
        for offset, length in found:
            if max(offset, length, size) > self._limits.file:
                raise TarDamaged("its sparse map leaves the file")
            pieces.extend((offset, length))
        check_pieces(pieces, size, stored)
        return size, pieces

    def _pax_sparse(
        self, records: dict[bytes, bytes], name: bytes, stored: int
    ) -> tuple[bytes, int, int, array[int]]:
        """Return name, real size, stored bytes and pieces of a sparse file in one of pax's forms.

        Form 1.0 has its map before the content, as lines that fill whole blocks; 0.0 and 0.1
        have it among the records.
        """
        name = records.get(b"GNU.sparse.name", name)
        real = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size", b""))
        size = decimal(real, "size", self._limits.file)
        if (listed := records.get(b"GNU.sparse.map")) is not None:
            numbers = listed.split(b",") if listed else []
            return name, size, stored, sparse_map(numbers, size, stored, self._limits)
        if records.get(b"GNU.sparse.major") != b"1" or records.get(b"GNU.sparse.minor") != b"0":
            raise TarDamaged("a sparse file in it is of no known form")
        lines: list[bytes] = []
        rest, wanted = b"", 1
        while len(lines) < wanted:
            if stored < BLOCK:
                raise TarDamaged("the map of a sparse file in it is cut off")
            *whole, rest = (rest + self._take(BLOCK)).split(b"\n")
            stored -= BLOCK
            lines += whole
            if lines and wanted == 1:
                wanted = 1 + 2 * decimal(lines[0], "sparse map", self._limits.segments)
        return name, size, stored, sparse_map(lines[1:wanted], size, stored, self._limits)

    def _record_data(self, block: bytes) -> bytes:
        size = number(block[124:136])
        if not 0 < size <= self._limits.extended:
            raise self._damaged("a member has no extended records, or too many")
        data = self._take(size + -size % BLOCK)
        return data[:size]

    def _stored(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes of stored content."""
        while size:
            if self._position == len(self._buffer):
                self._fill()
            block = self._buffer[self._position : self._position + size]
            self._position += len(block)
            self._left -= len(block)
            size -= len(block)
            yield block

    def _take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        position = self._position
        if position + size > len(self._buffer):
            while position + size > len(self._buffer):
                self._fill()
                position = self._position
        self._position = position + size
        return self._buffer[position : position + size]

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        self._pieces = None
        while size > len(self._buffer) - self._position:
            size -= len(self._buffer) - self._position
            self._position = len(self._buffer)
            self._fill()
        self._position += size

    def _fill(self) -> None:
        """Read more into the buffer; what lies before the position is given on and forgotten."""
        block = self._read(_READ)
        if not block:
            raise self._damaged("it is cut off")
        if self._in_header:
            # Whether it is passed on is decided when all of the header is there.
            self._forget(self._header)
        else:
            self._forget(self._position)
        self._buffer = self._buffer + block if self._buffer else block

    def _forget(self, end: int) -> None:
        """Pass on what lies before a position of the buffer, and drop it."""
        if end > self._start and self._keeps and self._passed is not None:
            self._passed(self._buffer[self._start : end])
        self.offset += end
        self._buffer = self._buffer[end:]
        self._position -= end
        self._header -= end
        self._start = 0

    def _finish(self) -> None:
        """Read the marks of the end, which is one more block of zeros and nothing behind it."""
        self._ended = True
        self._position -= BLOCK
        self._forget(self._position)
        rest = self._buffer
        length = 0
        while rest:
            if rest.count(0) != len(rest):
                raise self._damaged("something stands behind its end")
            length += len(rest)
            rest = self._read(_READ)
        self._buffer = b""
        if length < 2 * BLOCK or length % BLOCK:
            raise self._damaged("it is cut off in the marks of its end")
        self.offset += length

    def _damaged(self, what: str) -> TarDamaged:
        return TarDamaged(f"{what} (member {self.members}, at byte {self.place})")


def _plain(name: bytes) -> bytes:
    if name.startswith(b"./"):
        while name.startswith(b"./"):
            name = name[2:].lstrip(b"/")
        name = name or b"."
    if name.endswith(b"/"):
        name = name.rstrip(b"/") or b"/"
    return name


def _zeros(size: int) -> Iterator[bytes]:
    while size:
        block = _HOLE[:size]
        size -= len(block)
        yield block
