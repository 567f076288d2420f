"""Setting up a site: where its configuration and its repository may lie, and making both."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config import load
from fsbackup_tui.config.ownership import check_ownership, user_name
from fsbackup_tui.config.places import repository_objection
from fsbackup_tui.config.validate import home_directory
from fsbackup_tui.domain.errors import ConfigError, RepositoryUnwritable, UsageError
from fsbackup_tui.repository.files import create_whole, make_directory
from fsbackup_tui.repository.layout import (
    Repository,
    create_repository,
    open_repository,
)
from fsbackup_tui.repository.whereabouts import whereabouts


def default_config_path(directory: Path, environ: Mapping[str, str]) -> Path:
    """Return where a new configuration goes: here, if nobody else can write here.

    Else root's in /etc, or the user's own; both are found from every directory.
    """
    named = environ.get(load.CONFIG_VARIABLE)
    if named:
        return directory / named
    status = directory.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return directory / load.LOCAL_NAME
    if os.geteuid() == 0:
        return load.SYSTEM_DIRECTORY / "config.yaml"
    return load.user_config_path(environ)


def suggest_repository(site: str, environ: Mapping[str, str]) -> Path:
    """Return where a repository is put unless somebody says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/backups") / site
    return home_directory(environ) / "backups" / site


def check_repository_place(repository: Path, trees: Iterable[tuple[str, Path]]) -> None:
    """Raise UsageError where a repository must not lie, or can't be kept private.

    ``trees`` are (name, directory) of what is backed up.
    """
    objection = repository_objection(repository, trees)
    if objection is not None:
        what, fix = objection
        raise UsageError(f"REPOSITORY REFUSED: {repository} {what}.", fix=_sentence(fix))
    if repository.is_dir():
        _check_can_be_private(repository)
    elif not repository.exists():
        _check_keeps_modes(repository)


def _check_can_be_private(repository: Path) -> None:
    status = repository.stat()
    uid = os.geteuid()
    if stat.S_IMODE(status.st_mode) & 0o077 and uid not in (0, status.st_uid):
        owner = user_name(status.st_uid)
        raise UsageError(
            f"REPOSITORY REFUSED: others can read {repository}, and it belongs to {owner}.",
            why="Recovery points hold all of the data, so the directory has to be 0700.",
            fix=f"Name a directory of your own, or: sudo -u {owner} chmod 0700 {repository}",
        )


def _check_keeps_modes(repository: Path) -> None:
    """Make and remove a directory beside it: some file systems show all files to everybody."""
    above = next(parent for parent in repository.parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".fsbackup-", dir=above) as probe:
            mode = stat.S_IMODE(Path(probe).stat().st_mode)
    except OSError as error:
        raise RepositoryUnwritable(
            f"REPOSITORY NOT MADE: {above} can't be written ({error.strerror}).",
            why=f"{repository} would lie in it.",
            fix="Run init as the user who may write there (sudo fsbackup init …), or name another "
            "directory with --repository.",
        ) from None
    if mode & 0o077:
        raise UsageError(
            f"REPOSITORY REFUSED: the file system of {above} keeps no private directories.",
            why=f"A new directory there has the mode {mode:04o} whatever is asked for.",
            fix="Name a directory on a file system with Unix permissions.",
        )


def prepare_repository(path: Path, site: str, now: datetime) -> tuple[Repository, bool]:
    """Return the site's repository and whether it was made now.

    One that is there already is kept if it is this site's. UsageError, RepositoryError.
    """
    if whereabouts(path.absolute()) == "there":
        return open_repository(path, site=site), False
    return create_repository(path, site, now), True


def check_config_place(path: Path, text: str) -> None:
    """Raise UsageError where the configuration can't be written, or would not be trusted."""
    if path.exists() and not _has_content(path, text):
        raise UsageError(
            f"CONFIG EXISTS: {path} is there already and says something else.",
            why="init never writes over a configuration.",
            fix="Edit it, or write another one: fsbackup init --output FILE",
        )
    above = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        check_ownership(above, above.stat(), uid=os.geteuid())
    except ConfigError as error:
        raise UsageError(
            f"CONFIG NOT WRITTEN: {above} is open to others, who could replace it.",
            why="\n".join(problem.text() for problem in error.problems),
            fix="Name a file in a directory of your own: fsbackup init --output FILE",
        ) from None
    if not os.access(above, os.W_OK):
        raise UsageError(
            f"CONFIG NOT WRITTEN: {above} can't be written by this user.",
            fix="Name a file in a directory of your own: fsbackup init --output FILE",
        )


def write_config(path: Path, text: str) -> bool:
    """Write the configuration, 0600, whole or not at all; False if it was there as it is.

    UsageError if another one is there, or if it can't be written.
    """
    try:
        for directory in reversed(path.parents):
            if not directory.exists():
                make_directory(directory)
        create_whole(path, text.encode())
    except FileExistsError:
        check_config_place(path, text)
        path.chmod(0o600)
        return False
    except OSError as error:
        raise UsageError(
            f"CONFIG NOT WRITTEN: {path}: {error.strerror}.",
            fix="Name another file: fsbackup init --output FILE",
        ) from None
    return True


def _has_content(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
