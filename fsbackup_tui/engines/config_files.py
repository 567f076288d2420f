"""A site's configuration as one tar in memory: read, built, and read back.

The tar holds ``files/<absolute path without the first />``, ``variables.env`` and
``commands/<name>``. Nothing here writes to a disk: what is read goes into the artifact chain.
"""

from __future__ import annotations

import errno
import grp
import io
import os
import pwd
import secrets
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.env_file import env_text, parse_env_text
from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.site_parts import Origin
from fsbackup_tui.engines.compression import ByteStream

TAR_NAME = "config.tar"
LARGEST_BYTES = 32_000_000
"""Most bytes of configuration that are held in memory; more of it is a part of kind files."""

_FILES, _VARIABLES, _COMMANDS = "files/", "variables.env", "commands/"
_LARGEST_TAR = LARGEST_BYTES + 16_000_000
_ATTEMPTS = 3
_PRIVATE = 0o600
_BLOCK = 1 << 20


class ConfigTarDamaged(ValueError):
    """A configuration's tar is not as this program writes it."""


@dataclass(frozen=True, slots=True)
class ConfigItem:
    """A file, variable or command's output of a configuration, with its content.

    ``name`` is the absolute path, the variable's name, or what the command is kept under. The
    owner is known by number, and by name where the machine that read it had one.
    """

    origin: Origin
    name: str
    data: bytes = field(repr=False)
    mode: int = _PRIVATE
    uid: int = 0
    gid: int = 0
    owner: str = ""
    group: str = ""
    mtime: float = 0.0

    @property
    def member(self) -> str:
        """The name that it has in the tar; all variables share one."""
        if self.origin == "variable":
            return _VARIABLES
        return f"{_FILES}{self.name[1:]}" if self.origin == "file" else f"{_COMMANDS}{self.name}"


def read_file(path: Path) -> ConfigItem:
    """Return a named file with its owner, mode and time; over a link, what it leads to.

    Raises:
        FileNotFoundError: it is not there.
        ToolError: it can't be read, is no file, too large, or is written to all the time.
    """
    for _attempt in range(_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _not_read(path, error) from error
        try:
            before = os.fstat(descriptor)
            _check_file(path, before)
            data = _read_all(descriptor)
            after = os.fstat(descriptor)
        except OSError as error:
            raise _not_read(path, error) from error
        finally:
            os.close(descriptor)
        if len(data) == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
            return _item(path, data, after)
    raise ToolError(
        f"NOT CAPTURED: {path} was written to whenever it was read.",
        why="What was read may be half of the old and half of the new.",
        fix="See what writes it, then run the backup again.",
    )


def _check_file(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ToolError(
            f"NOT CAPTURED: {path} is no file.",
            why="A configuration is made of files; a directory is a source of its own.",
            fix="Name the files in it, or capture it with a source of kind files.",
        )
    if facts.st_size > LARGEST_BYTES:
        raise too_large(str(path))


def _read_all(descriptor: int) -> bytes:
    """Return what there is to read, one byte more than allowed at most."""
    data = bytearray()
    while len(data) <= LARGEST_BYTES and (block := os.read(descriptor, _BLOCK)):
        data += block
    return bytes(data)


def _item(path: Path, data: bytes, facts: os.stat_result) -> ConfigItem:
    owner = group = ""
    with suppress(KeyError):
        owner = pwd.getpwuid(facts.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(facts.st_gid).gr_name
    return ConfigItem(
        "file",
        str(path),
        data,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
        owner,
        group,
        facts.st_mtime,
    )


def _not_read(path: Path, error: OSError) -> ToolError:
    rights = error.errno in {errno.EACCES, errno.EPERM}
    return ToolError(
        f"NOT CAPTURED: {path} can't be read.",
        why=f"The system says: {error.strerror}.",
        fix="Run the backup as a user who may read it, or let its group do so."
        if rights
        else "Mend that, or take it out of the configuration.",
    )


def too_large(what: str) -> ToolError:
    """Return the error for more configuration than is held in memory."""
    return ToolError(
        f"TOO LARGE FOR A CONFIGURATION: {what}.",
        why=f"It is held in memory: at most {LARGEST_BYTES // 1_000_000} MB of it all.",
        fix="Capture what is large with a source of kind files.",
    )


def build_tar(items: Sequence[ConfigItem], now: datetime) -> bytes:
    """Return the tar of a configuration; the same never gives the same bytes twice.

    A random comment is in it: else the hash of the plain tar, which the manifest tells, would
    let a short secret be guessed by everybody who knows the rest. ToolError where an env file
    can't hold a variable, or it is too large.
    """
    if sum(len(item.data) for item in items) > LARGEST_BYTES:
        raise too_large("all files and outputs together")
    stream = io.BytesIO()
    noise = {"comment": secrets.token_hex(32)}
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=noise
    ) as tar:
        for item in [*(item for item in items if item.origin != "variable"), *_variables(items)]:
            info = tarfile.TarInfo(item.member)
            info.size, info.mode = len(item.data), item.mode
            info.uid, info.gid, info.uname, info.gname = item.uid, item.gid, item.owner, item.group
            info.mtime = item.mtime if item.origin == "file" else now.timestamp()
            tar.addfile(info, io.BytesIO(item.data))
    return stream.getvalue()


def _variables(items: Sequence[ConfigItem]) -> Iterator[ConfigItem]:
    """Return the variables as one env file, none for none; read back before it is believed."""
    names = [item.name for item in items if item.origin == "variable"]
    if not names:
        return
    try:
        values = {item.name: item.data.decode() for item in items if item.origin == "variable"}
        text = env_text(values)
    except ValueError as error:
        what = str(error) if "is no name" in str(error) else "a value is no UTF-8 text"
        raise ToolError(
            f"VARIABLE NOT CAPTURED: {what}.",
            fix="Capture the file that sets it, or take it out of variables.",
        ) from None
    if parse_env_text(text, {}).values != values:
        raise ToolError("VARIABLES NOT CAPTURED: what was written reads back otherwise.")
    yield ConfigItem("variable", "", text.encode())


def read_tar(stream: ByteStream) -> tuple[ConfigItem, ...]:
    """Return what a configuration's tar holds; the variables one by one.

    Raises:
        ConfigTarDamaged: it is cut off, too large, or has a member that is none of ours.
    """
    content = bytearray()
    while block := stream.read(_BLOCK):
        content += block
        if len(content) > _LARGEST_TAR:
            raise ConfigTarDamaged("it is larger than a configuration may be")
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            items = [item for info in tar for item in _items_of(tar, info)]
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigTarDamaged):
            raise
        raise ConfigTarDamaged(f"it can't be read as a tar ({error})") from None
    if len({(item.origin, item.name) for item in items}) != len(items):
        raise ConfigTarDamaged("a name stands in it twice")
    return tuple(items)


def _items_of(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[ConfigItem]:
    name = info.name
    parts = name.split("/")
    file = tar.extractfile(info) if info.isreg() and not info.issparse() else None
    if file is None or {"", ".", ".."} & set(parts) or "\0" in name:
        raise ConfigTarDamaged(f"it has a member that is no plain file: {name!r}")
    data = file.read(LARGEST_BYTES + 1)
    if len(data) != info.size:
        raise ConfigTarDamaged(f"{name!r} is cut off")
    if name == _VARIABLES:
        try:
            parsed = parse_env_text(data.decode(), {})
        except UnicodeDecodeError:
            raise ConfigTarDamaged(f"{name} is no UTF-8 text") from None
        if parsed.notes:
            raise ConfigTarDamaged(f"{name}: {parsed.notes[0]}")
        for variable, value in parsed.values.items():
            yield ConfigItem("variable", variable, value.encode(), mtime=info.mtime)
        return
    for prefix, origin in ((_FILES, "file"), (_COMMANDS, "command")):
        if name.startswith(prefix):
            told = f"/{name.removeprefix(prefix)}" if origin == "file" else parts[-1]
            yield ConfigItem(
                "file" if origin == "file" else "command",
                told,
                data,
                stat.S_IMODE(info.mode),
                info.uid,
                info.gid,
                info.uname,
                info.gname,
                info.mtime,
            )
            return
    raise ConfigTarDamaged(f"it has a member that belongs to no configuration: {name!r}")


def chosen(items: Iterable[ConfigItem], patterns: Sequence[str]) -> tuple[ConfigItem, ...]:
    """Return the items that a pattern names, all where there is none.

    A pattern is compared with the whole name and with its last component: ``*.conf``, ``.env``,
    ``/etc/nginx/*``.
    """
    return tuple(item for item in items if not patterns or matches(item.name, patterns))


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a shell pattern, or the name as it stands, means this name."""
    import fnmatch

    last = name.rpartition("/")[2]
    return any(
        pattern in (name, last)
        or fnmatch.fnmatchcase(name, pattern)
        or ("/" not in pattern and fnmatch.fnmatchcase(last, pattern))
        for pattern in patterns
    )
