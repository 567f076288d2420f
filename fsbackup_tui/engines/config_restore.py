"""Putting files of a configuration back: beside, or in place with the present one kept."""

from __future__ import annotations

import errno
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
_MOMENT = r"(?:\d{8}T\d{6}Z|\d{8}-\d+(?:-\d+)?)(?:-[0-9a-f]{4})?"
_KEPT = re.compile(rf"\.(?P<kind>before|after)-{_MOMENT}-(?P<name>.+)~", re.DOTALL)
Kept = Literal["before", "after"]
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
    """A file that was put back, and where the one before it is kept; "" where there was none."""

    name: str
    kept: str


@dataclass(slots=True)
class _Planned:
    item: ConfigItem
    target: Path
    uid: int
    gid: int
    temporary: Path | None = None


def kept_path(target: Path, kind: Kept, moment: str) -> Path:
    """Return where a file is kept beside the one that takes its place.

    Nothing that loads every file of a directory takes it there: it is hidden, begins and ends
    otherwise than what it was, and with the ``~`` by which cron, logrotate and sudo know a
    backup.
    """
    beginning = f".{kind}-{moment}-"
    name = os.fsencode(target.name)[: _LONGEST_NAME - len(beginning) - 1]
    return target.with_name(f"{beginning}{os.fsdecode(name)}~")


def find_kept(target: Path, kind: Kept | None = None) -> list[Path]:
    """Return the files that were kept beside one when others took its place."""
    try:
        names = [path.name for path in target.parent.iterdir()]
    except OSError:
        return []
    found = []
    for name in names:
        match = _KEPT.fullmatch(name)
        # What was too long was cut off.
        if (
            match
            and kind in (None, match["kind"])
            and (match["name"] == target.name or len(os.fsencode(name)) == _LONGEST_NAME)
        ):
            found.append(target.with_name(name))
    return sorted(found)


def state_of(path: Path) -> str:
    """Return what tells one state of a file from a later one: nothing of its content is in it."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ABSENT
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


def put_in_place(
    items: Sequence[ConfigItem], now: datetime, command: str, *, tag: str = ""
) -> list[Placed]:
    """Replace live files by captured ones, each atomically, and keep what they replace.

    The present file becomes ``.before-<time>-NAME~``, or ``.before-TAG-NAME~``, with its mode and
    owner. A link stays: what it leads to is replaced. Nothing is touched before everything is
    ready. ``command`` is what root would type.

    Raises:
        SafetyRefusal: this user may not write one of them as it was captured.
        OSError: one can't be replaced; those before it are.
    """
    planned = [_plan(item, command) for item in items]
    try:
        for one in planned:
            remove_temporaries(one.target)
            one.temporary = _temporary(one.target)
            _create(one.temporary, one.item.data)
            _dress(one, one.temporary, command)
        ending = tag or f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return [_exchange(one, ending) for one in planned]
    finally:
        for one in planned:
            if one.temporary is not None:
                one.temporary.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.fsbackup-{os.urandom(6).hex()}")


def remove_temporaries(target: Path) -> None:
    """Remove what a killed worker left: the captured file, under no name that anybody reads."""
    for path in find_temporaries(target):
        path.unlink(missing_ok=True)


def find_temporaries(target: Path) -> list[Path]:
    """Return what killed workers left beside a live file; raises OSError."""
    beginning = f".{target.name}.fsbackup-"
    beside = sorted(target.parent.iterdir())
    return [path for path in beside if path.name.startswith(beginning) and not path.is_dir()]


def _kept_as(name: str, ending: str) -> Path:
    return kept_path(Path(os.path.realpath(name)), "before", ending)


def placed_before(item: ConfigItem, tag: str, seen: str) -> Placed | None:
    """Return what an attempt of the same tag came to that was killed; None where it did not.

    ``seen`` is the state of the live file before the attempt.
    """
    kept = _kept_as(item.name, tag)
    if not tag or not is_as_captured(item):
        return None
    if kept.exists():
        return Placed(item.name, str(kept))
    return Placed(item.name, "") if seen == ABSENT else None


def is_kept_only(item: ConfigItem, tag: str, seen: str) -> bool:
    """Whether the live file is the one of the state ``seen``, with the second name of a tag.

    A killed attempt came that far: a file's second name changes the time of its last change.
    """
    kept, live = _kept_as(item.name, tag), Path(item.name)
    if not tag or not kept.exists() or not live.exists() or not kept.samefile(live):
        return False
    return state_of(live).rpartition(":")[0] == seen.rpartition(":")[0]


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
    kept = ""
    if target.exists():
        kept = str(keep_as(target, "before", ending))
    temporary.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Placed(one.item.name, kept)


def keep_as(target: Path, kind: Kept, moment: str) -> Path:
    """Give a file a second name beside its own; returns it: another one where that is taken."""
    kept = kept_path(target, kind, moment)
    try:
        # The same file under a second name: mode, owner and times are its own.
        kept.hardlink_to(target)
    except FileExistsError:
        if kept.samefile(target) or kept.read_bytes() == target.read_bytes():
            return kept
        return keep_as(target, kind, f"{moment}-{os.urandom(2).hex()}")
    except OSError:
        _copy(target, kept)
    return kept


def _copy(source: Path, target: Path) -> None:
    """Copy a file where the file system has no links; private until it is dressed."""
    if target.exists():
        raise FileExistsError(errno.EEXIST, "exists", str(target))
    facts = source.stat()
    half = _temporary(source)
    _create(half, source.read_bytes())
    os.chown(half, facts.st_uid, facts.st_gid)
    half.chmod(stat.S_IMODE(facts.st_mode))
    os.utime(half, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    half.rename(target)


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
