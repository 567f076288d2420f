"""Where everything lies in a repository, and how one is made, found and told to be absent."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import shlex
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import (
    RepositoryError,
    RepositoryNewer,
    UsageError,
)
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.repository.elsewhere import find_elsewhere
from fsbackup_tui.repository.files import (
    create_file,
    create_whole,
    is_shared,
    make_directory,
    replace_file,
    share_with_group,
    state_file_mode,
    sync_directory,
    writing,
)
from fsbackup_tui.repository.whereabouts import (
    REPOSITORY_FORMAT,
    REPOSITORY_NAME,
    missing,
    missing_points,
    unreadable,
    whereabouts,
)

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

RECOVER_NAME = "RECOVER.md"
SITE_NAME = "site.yaml"
_KNOWN = "known"
_DIRECTORIES = ("points", "records", "holds", "trash", "locks")


@dataclass(frozen=True, slots=True)
class Repository:
    """An open repository: where it is, its id, and the site it belongs to."""

    root: Path
    id: str
    site: str

    @property
    def points(self) -> Path:
        """One directory per recovery point."""
        return self.root / "points"

    @property
    def records(self) -> Path:
        """What is learned of the points later, one directory per point."""
        return self.root / "records"

    @property
    def holds(self) -> Path:
        """What stops retention for every user and host."""
        return self.root / "holds"

    @property
    def trash(self) -> Path:
        """Where retention moves points before they are removed for good."""
        return self.root / "trash"

    @property
    def locks(self) -> Path:
        """The lock files (design §3)."""
        return self.root / "locks"

    def point_directory(self, point: str) -> Path:
        """Return the directory of a point by its id; it need not exist."""
        if "/" in point or point in {"", ".", ".."}:
            raise UsageError(f"NO POINT ID: {point!r}.", fix="fsbackup list shows the ids.")
        return self.points / point

    def holds_open(self) -> list[Path]:
        """Return the holds that stand, sorted by name; empty when there are none."""
        return sorted(self.holds.glob("*.json")) if self.holds.is_dir() else []

    def plan_lock(self, plan: str) -> Path:
        """Return the lock of a plan: one run at a time."""
        return self.locks / f"plan-{plan}.lock"

    def due_lock(self) -> Path:
        """Return the lock of ``verify --due``: one run at a time."""
        return self.locks / "verify-due.lock"

    def retain_lock(self) -> Path:
        """Return the lock of retention: one run at a time."""
        return self.locks / "retain.lock"

    def write_lock(self) -> Path:
        """Return the short lock around changes of what the inventory holds."""
        return self.locks / "write.lock"

    def use_lock(self, point: str) -> Path:
        """Return the lock of a point in use: shared by readers, exclusive for retention."""
        return self.locks / "use" / f"{point}.lock"


def create_repository(path: Path, site: str, now: datetime) -> Repository:
    """Make a new repository; only ``fsbackup init`` does this.

    Raises:
        UsageError: the path is no directory, or holds something else already.
        RepositoryError: it holds points whose identity file is lost; another id would hide them.
        RepositoryMissing: the path is a mount point whose disk is not mounted.
        RepositoryUnwritable, DiskFull: it can't be written.
    """
    root = path.absolute()
    where = whereabouts(root)
    if where == "there":
        raise UsageError(
            f"REPOSITORY EXISTS: {root}.",
            why="There is one already; making another would hide its points.",
            fix="Name it in the config as repository: and go on.",
        )
    if where in ("not-mounted", "no-identity"):
        raise missing(root, where, site=site)
    _refuse_foreign(root)
    from fsbackup_tui.repository.recover_text import root_recover_text

    repository = Repository(root, uuid.uuid4().hex, site)
    with writing(root):
        for directory in reversed([root, *root.parents]):
            if not directory.exists():
                make_directory(directory)
        root.chmod(0o700)
        for name in _DIRECTORIES:
            make_directory(root / name)
        with suppress(FileExistsError):
            create_file(root / RECOVER_NAME, root_recover_text(site).encode())
        # Last: its presence is what makes the directory a repository.
        create_whole(root / REPOSITORY_NAME, _identity_document(repository, now))
        sync_directory(root.parent)
    return repository


def _identity_document(repository: Repository, created: datetime | None) -> bytes:
    document = {
        "format": REPOSITORY_FORMAT,
        "id": repository.id,
        "site": repository.site,
        "created": None if created is None else format_time(created),
        "key_check": None,
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def restore_identity(path: Path, state: Path) -> Repository | None:
    """Write the lost identity file again, with the id that ``state`` remembers.

    None, and nothing written, where nothing is lost or the id is not remembered: with another id
    the repository would be another one to its copies. DiskFull, RepositoryUnwritable.
    """
    root = path.absolute()
    remembered = recall(root, state)
    if remembered is None or whereabouts(root, remembered=True) != "no-identity":
        return None
    # Somebody else may have put it back this moment.
    with writing(root), suppress(FileExistsError):
        create_whole(root / REPOSITORY_NAME, _identity_document(remembered, None))
    return remembered


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise UsageError(f"NOT A DIRECTORY: {root}.", fix="Name a directory as repository:.")
    ours = {*_DIRECTORIES, RECOVER_NAME, "lost+found"}
    if root.is_dir():
        foreign = sorted(entry.name for entry in root.iterdir() if entry.name not in ours)
        if foreign:
            raise UsageError(
                f"DIRECTORY NOT EMPTY: {root} holds {foreign[0]}.",
                why="A repository has its directory for itself.",
                fix="Name a new or empty directory as repository:.",
            )


def open_repository(
    path: Path, *, site: str | None = None, state: Path | None = None, remembers: bool = True
) -> Repository:
    """Open the repository at ``path``; nothing is written there.

    ``site`` refuses the repository of another site; ``state`` (the root of the state directory)
    is where its id is remembered, and asked when it is gone; without ``remembers`` it is asked
    alone.

    Raises:
        RepositoryMissing: never created, or its disk is not mounted; the message tells which.
        RepositoryNewer: written by a newer fsbackup.
        RepositoryError: not readable, damaged, or of another site.
    """
    root = path.absolute()
    remembered = recall(root, state) if state is not None else None
    where = whereabouts(root, remembered=remembered is not None)
    if where != "there":
        raise missing(
            root, where, identifier=None if remembered is None else remembered.id, site=site
        )
    repository = _read(root)
    if site is not None and repository.site != site:
        raise RepositoryError(
            f"REPOSITORY OF ANOTHER SITE: {root} belongs to {repository.site}.",
            why=f"The config in use is that of {site}; their points must not mix.",
            fix="Correct repository: or site: in the config.",
        )
    known = remembered is not None and remembered.id == repository.id
    if state is not None and remembers and not known:
        _remember(repository, state)
    return repository


def _read(root: Path) -> Repository:
    path = root / REPOSITORY_NAME
    try:
        document = json.loads(path.read_bytes())
        found, identifier, site = document["format"], document["id"], document["site"]
        usable = (
            isinstance(found, int)
            and isinstance(site, str)
            and isinstance(identifier, str)
            and identifier.isalnum()
        )
        # Points that can't be looked at must not be mistaken for none.
        os.scandir(root / "points").close()
    except FileNotFoundError as error:
        raise missing_points(root) from error
    except OSError as error:
        raise unreadable(Path(error.filename or root)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(path) from error
    if isinstance(found, int) and found > REPOSITORY_FORMAT:
        raise RepositoryNewer(
            f"REPOSITORY TOO NEW: {root} has format {found}.",
            why=f"This fsbackup reads format {REPOSITORY_FORMAT}.",
            fix="Install a newer fsbackup: pip install --upgrade fsbackup-tui",
        )
    if not usable or found < 1:
        raise _broken(path)
    return Repository(root, identifier, site)


def _broken(path: Path) -> RepositoryError:
    return RepositoryError(
        f"REPOSITORY DAMAGED: {path} is not what fsbackup wrote.",
        why="The points beside it may be whole; each has its own RECOVER.md.",
        fix="Put it back from a copy. Without one move it away; doctor then tells more:\n"
        f"mv {shlex.quote(str(path))} {shlex.quote(str(path))}.damaged",
    )


def _memory(root: Path, state: Path) -> Path:
    return state / _KNOWN / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"


def recall(root: Path, state: Path) -> Repository | None:
    """Return the repository that was last opened at this path, as this state remembers it."""
    try:
        document = json.loads(_memory(root.absolute(), state).read_bytes())
        return Repository(root.absolute(), str(document["id"]), str(document["site"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(repository: Repository, state: Path) -> None:
    document = {
        "path": str(repository.root),
        "id": repository.id,
        "site": repository.site,
        "seen": format_time(datetime.now(UTC)),
    }
    memory = _memory(repository.root, state)
    # Only a convenience: a state directory that can't be written takes nothing away.
    with suppress(OSError):
        _make_state(memory.parent)
        content = (json.dumps(document, indent=1) + "\n").encode()
        replace_file(memory, content, mode=state_file_mode(memory))


def _make_state(directory: Path) -> None:
    for path in reversed([directory, *directory.parents]):
        if not path.exists():
            make_directory(path)


def site_state(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository | None
) -> Path:
    """Return the state directory of this repository, made 0700 where it can be made.

    Without a repository (not mounted, never created) it is that of the id remembered for the
    configured path, else one named after the path. While an incident is open that had to go
    elsewhere (repository/elsewhere.py), it is that place, for everybody who asks.
    """
    from fsbackup_tui.config.load import state_directory

    state = state_directory(loaded, environ)
    if repository is None:
        repository = recall(loaded.config.repository, state)
    else:
        remembered = recall(repository.root, state)
        known = remembered is not None and remembered.id == repository.id
        if not known and not loaded.config.read_only:
            _remember(repository, state)
    if repository is not None:
        directory = state / repository.id
    else:
        root = os.fsencode(loaded.config.repository.absolute())
        directory = state / f"path-{hashlib.sha256(root).hexdigest()[:16]}"
    if not loaded.config.read_only:
        with suppress(OSError):
            _make_state(directory)
            _share_state(directory, loaded.config.group)
    return _in_use_elsewhere(directory, environ) or directory


def _in_use_elsewhere(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the directory in whose place an incident is open, as this one was full or so."""
    found = find_elsewhere(directory, environ)
    if not found:
        return None
    from fsbackup_tui.repository.incidents import is_open_in

    return next((state for state in found if is_open_in(state)), None)


def _share_state(directory: Path, group: str | None) -> None:
    """Give a site's state to the group that the configuration names; its owner alone can.

    What remembers the repositories goes with it: who may not read the repository finds its state
    by that alone, and would declare an incident beside the open one.
    """
    if group is None or directory.stat().st_uid != os.geteuid():
        return
    private = [
        each
        for each in (directory.parent / _KNOWN, directory)
        if each.is_dir() and not is_shared(each)
    ]
    if not private:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise UsageError(
            f"NO SUCH GROUP: {group}.",
            why="group: in the configuration names who may watch and take over an incident.",
            fix=f"groupadd {group}, or correct the name.",
        ) from error
    for each in private:
        share_with_group(each, number)
    directory.parent.chmod(directory.parent.stat().st_mode | stat.S_IXGRP | stat.S_IRGRP)
    os.chown(directory.parent, -1, number)
