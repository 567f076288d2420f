"""Putting files of a configuration back: beside, or in place with the present one kept."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fsbackup_tui.config.env_file import env_text
from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.engines.config_files import ConfigItem

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_LONGEST_NAME = 255
_KEPT = re.compile(
    r"\.(?:before|after)-(?:\d{8}T\d{6}Z|\d{8}-\d+(?:-\d)?)(?:-[0-9a-f]{4})?(?:-(?P<name>.+)~)?"
)
ABSENT = "absent"
"""The state of a file that is not there."""
_AS_WE_ARE = os.access in os.supports_effective_ids


def write_beside(items: Sequence[ConfigItem], directory: Path) -> list[str]:
    """Write files, variables and outputs below a new directory, 0600 and 0700; returns the names.

    What fails in the middle is taken back.

    Raises:
        UsageError: the directory is there already, or can't be made.
        OSError: something can't be written.
    """
    try:
        directory.mkdir(mode=_PRIVATE_DIRECTORY)
    except FileExistsError:
        raise UsageError(
            f"EXISTS ALREADY: {directory}. Nothing was written.",
            why="What is restored beside gets a directory of its own.",
            fix="Name one that is not there yet.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"NOT WRITTEN: {directory} can't be made.", why=f"{error.strerror}."
        ) from error
    try:
        directory.chmod(_PRIVATE_DIRECTORY)
        return [_write_one(directory, item) for item in _with_one_env_file(items)]
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _with_one_env_file(items: Sequence[ConfigItem]) -> list[ConfigItem]:
    variables = [item for item in items if item.origin == "variable"]
    found = [item for item in items if item.origin != "variable"]
    if variables:
        text = env_text({item.name: item.data.decode() for item in variables})
        found.append(replace(variables[0], data=text.encode()))
    return found


def _write_one(directory: Path, item: ConfigItem) -> str:
    current = directory
    *above, last = item.member.split("/")
    for name in above:
        current /= name
        current.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    _create(current / last, item.data)
    if item.mtime:
        os.utime(current / last, (item.mtime, item.mtime))
    return item.member


def _create(path: Path, data: bytes) -> int:
    """Write a new file (0600) and return the bytes; it is durable then."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, _PRIVATE_FILE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return len(data)


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that was put back, and where the one before it is kept; "" where there was none.

    ``mode`` is what that one had: where it is kept it is its owner's alone.
    """

    name: str
    kept: str
    mode: int = 0


@dataclass(slots=True)
class _Planned:
    item: ConfigItem
    target: Path
    uid: int
    gid: int
    temporary: Path | None = None


def kept_path(target: Path, kind: Literal["before", "after"], moment: str) -> Path:
    """Return where a file is kept beside the one that takes its place.

    Nothing that loads every file of a directory takes it there: it is hidden, begins and ends
    otherwise than what it was, and with the ``~`` by which cron, logrotate and sudo know a
    backup.
    """
    beginning = f".{kind}-{moment}-"
    name = os.fsencode(target.name)[: _LONGEST_NAME - len(beginning) - 1]
    return target.with_name(f"{beginning}{os.fsdecode(name)}~")


def find_kept(target: Path) -> list[Path]:
    """Return the files that were kept beside one when others took its place."""
    try:
        names = [path.name for path in target.parent.iterdir()]
    except OSError:
        return []
    found, ending = [], f"-{target.name}~"
    for name in names:
        own = name.endswith(ending) and _KEPT.fullmatch(name.removesuffix(ending))
        # What was too long was cut off.
        if own or (len(os.fsencode(name)) == _LONGEST_NAME and _KEPT.fullmatch(name)):
            found.append(target.with_name(name))
    return sorted(found)


def state_of(path: Path) -> str:
    """Return what tells one state of a file from a later one: nothing of its content is in it."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ABSENT
    mode = f"{stat.S_IMODE(facts.st_mode):04o}"
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{mode}:{facts.st_ctime_ns}"


def mode_in(state: str) -> str:
    """Return the mode that a file had by its state; empty: there was none."""
    parts = state.split(":")
    return parts[3] if len(parts) == 5 else ""


def work_path(name: str, tag: str) -> Path:
    """Return where what is to take its place is written first, private until it is dressed."""
    target = Path(os.path.realpath(name))
    return target.with_name(f".{target.name}.{tag}.new")


def put_in_place(
    items: Sequence[ConfigItem], now: datetime, command: str, tag: str = ""
) -> list[Placed]:
    """Replace live files by captured ones, each atomically, and keep what they replace.

    The present file becomes ``.before-<tag>-NAME~``, or without a tag ``-<time>-``, with its owner,
    who alone may read it there. A link stays: what it leads to is replaced. Nothing is touched
    before everything is ready. ``command`` is what root would type. With a ``tag`` all names are
    known before, so that what was begun and not ended is found again.

    Raises:
        SafetyRefusal: this user may not write one of them as it was captured.
        OSError: one can't be replaced; those before it are.
    """
    planned = [_plan(item, command) for item in items]
    try:
        for one in planned:
            one.temporary = work_path(one.item.name, tag or os.urandom(6).hex())
            if tag:
                one.temporary.unlink(missing_ok=True)  # of one that was killed
            _create(one.temporary, one.item.data)
            _dress(one, one.temporary, command)
        ending = tag or f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return [_exchange(one, ending) for one in planned]
    finally:
        for one in planned:
            if one.temporary is not None:
                one.temporary.unlink(missing_ok=True)


def _plan(item: ConfigItem, command: str) -> _Planned:
    target = Path(os.path.realpath(item.name))
    parent = target.parent
    if not parent.is_dir():
        raise SafetyRefusal(
            f"NOT PUT IN PLACE: {parent} is not there. Nothing was changed.",
            fix=f"mkdir -p {parent}",
        )
    if target.exists() and not target.is_file():
        raise SafetyRefusal(f"NOT PUT IN PLACE: {target} is no file. Nothing was changed.")
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=_AS_WE_ARE):
        raise _no_right(f"this user may not write in {parent}", command)
    uid, gid = _ids(item)
    return _Planned(item, target, uid, gid)


def _ids(item: ConfigItem) -> tuple[int, int]:
    """Return owner and group on this machine: by name where it knows the name."""
    uid, gid = item.uid, item.gid
    with suppress(KeyError):
        uid = pwd.getpwnam(item.owner).pw_uid if item.owner else uid
    with suppress(KeyError):
        gid = grp.getgrnam(item.group).gr_gid if item.group else gid
    return uid, gid


def _dress(one: _Planned, path: Path, command: str) -> None:
    facts = path.stat()
    if (facts.st_uid, facts.st_gid) != (one.uid, one.gid):
        try:
            os.chown(path, one.uid, one.gid)
        except PermissionError:
            owner = f"{one.item.owner or one.uid}:{one.item.group or one.gid}"
            raise _no_right(f"{one.target} belongs to {owner}", command) from None
    path.chmod(one.item.mode)


def _no_right(why: str, command: str) -> SafetyRefusal:
    return SafetyRefusal(
        "NOT PUT IN PLACE: this user lacks the right. Nothing was changed.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix=f"As root: sudo {command}",
    )


def _exchange(one: _Planned, ending: str) -> Placed:
    """Keep the present file under its new name, then let the other take its place."""
    target, temporary = one.target, one.temporary
    if temporary is None:
        raise ValueError("it was not written")
    kept, mode = "", 0
    if target.exists():
        before = kept_path(target, "before", ending)
        try:
            # The same file under a second name: its owner and times are its own.
            before.hardlink_to(target)
        except FileExistsError:
            if not before.samefile(target):
                before = kept_path(target, "before", f"{ending}-{os.urandom(2).hex()}")
                before.hardlink_to(target)
        except OSError:
            _copy(target, before)
        kept, mode = str(before), stat.S_IMODE(target.stat().st_mode)
    temporary.replace(target)
    if kept:
        make_private(Path(kept))
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Placed(one.item.name, kept, mode)


def make_private(path: Path) -> None:
    """Let a file that is kept be its owner's alone, whatever other names it has."""
    facts = path.stat()
    if facts.st_nlink > 1:
        own = path.with_name(f"{path.name[:200]}.{os.urandom(6).hex()}~")
        _copy(path, own)
        own.replace(path)
    path.chmod(stat.S_IMODE(facts.st_mode) & _PRIVATE_FILE)


def _copy(source: Path, target: Path) -> None:
    """Copy a file where the file system has no links; private until it is dressed."""
    facts = source.stat()
    _create(target, source.read_bytes())
    os.chown(target, facts.st_uid, facts.st_gid)
    target.chmod(stat.S_IMODE(facts.st_mode))
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def is_as_captured(item: ConfigItem) -> bool:
    """Whether the live file has the captured content, mode and owner already."""
    path = Path(item.name)
    try:
        facts = path.stat()
        same = path.is_file() and path.read_bytes() == item.data
    except OSError:
        return False
    dressed = (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid)
    return same and dressed == (item.mode, *_ids(item))
