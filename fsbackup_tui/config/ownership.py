"""Whether a configuration may be trusted: it can name commands, so nobody else may write it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from fsbackup_tui.domain.errors import ConfigError, ConfigProblem


def check_ownership(path: Path, file: os.stat_result, *, uid: int) -> None:
    """Raise ConfigError unless the file and its directory are root's or the caller's alone.

    ``file`` is the status of the open file, ``uid`` the caller's effective user id. For a
    symbolic link its own directory counts too. Directories with the sticky bit are no
    exception: anybody could put a configuration there before its owner does.
    """
    directories = dict.fromkeys((path.absolute().parent, path.resolve().parent))
    problems = [_problem(path, file, uid)]
    problems += [_problem(directory, directory.stat(), uid) for directory in directories]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ConfigError(found, what="CONFIG NOT TRUSTED: somebody else could have written it.")


def _problem(path: Path, status: os.stat_result, uid: int) -> ConfigProblem | None:
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
    if status.st_uid not in (0, uid):
        owner, caller = user_name(status.st_uid), user_name(uid)
        return ConfigProblem(
            str(path),
            None,
            f"the {kind} belongs to {owner}; root's and {caller}'s alone are trusted",
            f"run as {owner} (sudo -u {owner} …), or: chown {caller} {path}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "every user" if status.st_mode & stat.S_IWOTH else "its group"
        sticky = kind == "directory" and status.st_mode & stat.S_ISVTX
        fix = "move the configuration into a directory of its own" if sticky else ""
        return ConfigProblem(
            str(path),
            None,
            f"the {kind} can be written by {who} (mode {stat.S_IMODE(status.st_mode):04o})",
            fix or f"chmod go-w {path}",
        )
    return None


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
