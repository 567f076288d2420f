"""Where everything lies in a repository, and how one is made, found and told to be absent."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fsbackup_tui.domain.errors import (
    RepositoryError,
    RepositoryMissing,
    RepositoryNewer,
    UsageError,
)
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.repository.files import (
    create_file,
    create_whole,
    make_directory,
    owner_name,
    replace_file,
    sync_directory,
    writing,
)

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

REPOSITORY_FORMAT = 1
REPOSITORY_NAME = "fsbackup.json"
RECOVER_NAME = "RECOVER.md"
SITE_NAME = "site.yaml"
_DIRECTORIES = ("points", "records", "holds", "trash", "locks")
_FSTAB = Path("/etc/fstab")
Whereabouts = Literal["there", "not-mounted", "never-created", "not-readable", "not-a-directory"]


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
    if where == "not-mounted":
        raise _missing(root, where, None)
    _refuse_foreign(root)
    from fsbackup_tui.repository.recover_text import root_recover_text

    identifier = uuid.uuid4().hex
    document = {
        "format": REPOSITORY_FORMAT,
        "id": identifier,
        "site": site,
        "created": format_time(now),
        "key_check": None,
    }
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
        create_whole(root / REPOSITORY_NAME, (json.dumps(document, indent=1) + "\n").encode())
        sync_directory(root.parent)
    return Repository(root, identifier, site)


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
    path: Path, *, site: str | None = None, state: Path | None = None
) -> Repository:
    """Open the repository at ``path``; nothing is written there.

    ``site`` refuses the repository of another site; ``state`` (the root of the state directory)
    is where its id is remembered, and asked when it is gone.

    Raises:
        RepositoryMissing: never created, or its disk is not mounted; the message tells which.
        RepositoryNewer: written by a newer fsbackup.
        RepositoryError: not readable, damaged, or of another site.
    """
    root = path.absolute()
    remembered = recall(root, state) if state is not None else None
    where = whereabouts(root, remembered=remembered is not None)
    if where != "there":
        raise _missing(root, where, remembered)
    repository = _read(root)
    if site is not None and repository.site != site:
        raise RepositoryError(
            f"REPOSITORY OF ANOTHER SITE: {root} belongs to {repository.site}.",
            why=f"The config in use is that of {site}; their points must not mix.",
            fix="Correct repository: or site: in the config.",
        )
    if state is not None and (remembered is None or remembered.id != repository.id):
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
    except OSError as error:
        raise _unreadable(root) from error
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
        fix='Put it back from a copy, or write {"format": 1, "id": "recovered", '
        '"site": NAME} into it.',
    )


def whereabouts(root: Path, *, remembered: bool = False) -> Whereabouts:
    """Tell whether a repository lies at ``root``, and if not, why that may be.

    ``remembered`` means that there was one before: an empty or absent directory is then taken
    for a mount that is not there.
    """
    try:
        (root / REPOSITORY_NAME).stat()
    except PermissionError:
        return "not-readable"
    except NotADirectoryError:
        return "not-a-directory"
    except OSError:
        pass
    else:
        return "there" if os.access(root / REPOSITORY_NAME, os.R_OK) else "not-readable"
    if _unmounted_ancestor(root) is not None:
        return "not-mounted"
    try:
        if root.exists() and not root.is_dir():
            return "not-a-directory"
        empty = not root.exists() or not any(root.iterdir())
    except OSError:
        return "not-readable"
    return "not-mounted" if remembered and empty else "never-created"


def _unmounted_ancestor(root: Path) -> Path | None:
    """Return the mount point of /etc/fstab at or above ``root`` where nothing is mounted."""
    try:
        lines = _FSTAB.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        target = Path(fields[1].replace("\\040", " ").replace("\\011", "\t"))
        if target in (root, *root.parents) and target != Path("/") and not target.is_mount():
            return target
    return None


def _missing(root: Path, where: Whereabouts, remembered: Repository | None) -> RepositoryError:
    if where == "not-readable":
        return _unreadable(root)
    if where == "not-a-directory":
        return RepositoryMissing(
            f"NO REPOSITORY: {root} is no directory.",
            why="repository: in the config must name a directory.",
            fix="Correct repository: in the config.",
        )
    if where == "not-mounted":
        mount = _unmounted_ancestor(root)
        why = (
            f"/etc/fstab mounts {mount}, and nothing is mounted there now."
            if mount is not None
            else "It was there before; the directory is empty or gone now."
        )
        return RepositoryMissing(
            f"REPOSITORY NOT MOUNTED: {root}.",
            why=why + (f" Its id was {remembered.id}." if remembered else ""),
            fix=f"mount {mount if mount is not None else root}   then run it again",
        )
    return RepositoryMissing(
        f"NO REPOSITORY at {root}.",
        why="None was ever made there; a backup never makes one by itself.",
        fix="Make it: fsbackup init   (or mount the disk it is on)",
    )


def _unreadable(root: Path) -> RepositoryError:
    owner = owner_name(root)
    return RepositoryError(
        f"REPOSITORY NOT READABLE: {root} belongs to {owner}.",
        why="Recovery points hold all of the data, so only their owner may read them.",
        fix=f"sudo -u {owner} fsbackup",
    )


def _memory(root: Path, state: Path) -> Path:
    return state / "known" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"


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
        replace_file(memory, (json.dumps(document, indent=1) + "\n").encode())


def _make_state(directory: Path) -> None:
    for path in reversed([directory, *directory.parents]):
        if not path.exists():
            make_directory(path)


def site_state(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository | None
) -> Path:
    """Return the state directory of this repository, made 0700 where it can be made.

    Without a repository (not mounted, never created) it is that of the id remembered for the
    configured path, else one named after the path.
    """
    from fsbackup_tui.config.load import state_directory

    state = state_directory(loaded, environ)
    if repository is None:
        repository = recall(loaded.config.repository, state)
    else:
        remembered = recall(repository.root, state)
        if remembered is None or remembered.id != repository.id:
            _remember(repository, state)
    if repository is not None:
        directory = state / repository.id
    else:
        root = os.fsencode(loaded.config.repository.absolute())
        directory = state / f"path-{hashlib.sha256(root).hexdigest()[:16]}"
    with suppress(OSError):
        _make_state(directory)
    return directory
