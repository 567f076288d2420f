"""Programs that give whoever starts them another's rights: restored without them, never silently.

A point may be older than the hole in such a program, or somebody else's. What needs the rights
is told with the command that gives them.
"""

from __future__ import annotations

import grp
import os
import pwd
from functools import lru_cache

from fsbackup_tui.engines.files.tar_headers import CAPABILITY
from fsbackup_tui.engines.files.tar_member import Member

_SET_USER, _SET_GROUP = 0o4000, 0o2000


def kept_mode(
    mode: int, owner: tuple[int, bytes], group: tuple[int, bytes], *, owners: bool
) -> int:
    """Return a file's mode without what would let it run as root, or in root's group.

    ``owners``: owners are restored, too; otherwise the rights would be those of who restores, and
    none are kept. Both number and name are looked at: tar asks for the name first.
    """
    if not owners:
        return mode & ~(_SET_USER | _SET_GROUP)
    if mode & _SET_USER and _is_root(*owner):
        mode &= ~_SET_USER
    if mode & _SET_GROUP and _is_root_group(*group):
        mode &= ~_SET_GROUP
    return mode


def mode_without(member: Member, *, owners: bool) -> int | None:
    """Return the mode that a member is restored with; None: as it was captured."""
    if member.kind != "file" or not (member.mode & (_SET_USER | _SET_GROUP) or member.attributes):
        return None
    owner, group = (member.uid, member.user), (member.gid, member.group)
    mode = kept_mode(member.mode, owner, group, owners=owners)
    return mode if mode != member.mode or has_capability(member) else None


def has_capability(member: Member) -> bool:
    """Whether a program has capabilities of its own (capabilities(7))."""
    return any(name == CAPABILITY for name, _value in member.attributes)


@lru_cache(maxsize=1024)
def _is_root(number: int, name: bytes) -> bool:
    try:
        return number == 0 or pwd.getpwnam(os.fsdecode(name)).pw_uid == 0
    except (KeyError, ValueError):
        return False


@lru_cache(maxsize=1024)
def _is_root_group(number: int, name: bytes) -> bool:
    try:
        return number == 0 or grp.getgrnam(os.fsdecode(name)).gr_gid == 0
    except (KeyError, ValueError):
        return False
