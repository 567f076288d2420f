"""A throw-away server's programs, where and as whom it can run them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.scratch_account import Account
from fsbackup_tui.engines.postgres.scratch_room import Room, may_enter
from fsbackup_tui.engines.process_group import Child, child_environment

ASK_SECONDS = 10.0

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")
_LEFT_OUT = ("include", "man", "doc")

# Linux ends a child when the *thread* that started it ends, so that one which lives as long as
# the process starts all servers.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scratch-server-starter")


@dataclass(frozen=True, slots=True)
class Launch:
    """How ``postgres`` itself is started.

    ``death_signal`` is what it gets when we die: INT shuts down in order, QUIT at once.
    ``manners`` is a command that runs the rest of its arguments, e.g. ``nice -n 10``.
    """

    death_signal: str = "INT"
    manners: tuple[str, ...] = ()


class ServerPrograms:
    """The programs of one PostgreSQL version, as a server's account reads and runs them.

    Where the account may not enter their directory, the tree above ``bin`` and the libraries of
    its Python package (``NAME.libs`` beside ``NAME``) are put into a room, once for all servers
    of this process.
    """

    _copies: ClassVar[dict[Path, tuple[Room, Path]]] = {}
    _users: ClassVar[dict[Path, int]] = {}

    def __init__(self, bin_directory: Path, account: Account) -> None:
        self._original = bin_directory.resolve()
        self._copied = account.is_other_user and not may_enter(self._original)
        self.account = account
        self.directory = self._borrow() if self._copied else self._original

    def _borrow(self) -> Path:
        if self._original not in self._copies:
            room = Room(open_to_pass=True)
            self._copies[self._original] = room, _place_tree(self._original, room.path)
        self._users[self._original] = self._users.get(self._original, 0) + 1
        return self._copies[self._original][1]

    def give_back(self) -> None:
        """Let the copy go; it is deleted when no server of this process uses it."""
        if self._copied:
            self._copied = False
            self._users[self._original] -= 1
            if not self._users[self._original]:
                self._copies.pop(self._original)[0].remove()

    def version_num(self) -> int:
        """Return the version as server_version_num has it; PostgresError when it can't run."""
        _, said = self.ask("postgres", "--version")
        match = _VERSION.search(said)
        if match is None:
            raise PostgresError(
                f"NO SCRATCH SERVER: {self.directory / 'postgres'} does not run.", why=said
            )
        return int(match[1]) * 10_000 + int(match[2] or 0)

    def ask(
        self, tool: str, *arguments: str, timeout: float = ASK_SECONDS, user: int | None = None
    ) -> tuple[int | None, str]:
        """Run a tool to its end; return its status (None: it was too slow) and what it said."""
        with tempfile.TemporaryFile() as said:
            child = Child(
                (str(self.directory / tool), *arguments),
                environment=self._environment(),
                cwd=Path("/"),
                stdout=said,
                stderr=said,
                wrapper=self.account.wrapper,
                user=user,
                group=user,
            )
            status = child.wait_blocking(timeout)
            child.kill()
            said.seek(0)
            return status, said.read().decode(errors="replace").strip()

    def _environment(self) -> dict[str, str]:
        """Name the programs' own libraries: what the server loads later (an extension that
        needs libpq) would otherwise take the system's, which may be older.
        """
        libraries = self.directory.parent / "lib"
        own = {"LD_LIBRARY_PATH": str(libraries)} if any(libraries.glob("libpq.so*")) else {}
        return child_environment(own)

    def launch(self, arguments: Sequence[str], log: Path, how: Launch) -> Child:
        """Start ``postgres`` itself, which then is shut down when we die."""
        return _starter.submit(self._launch, arguments, log, how).result()

    def _launch(self, arguments: Sequence[str], log: Path, how: Launch) -> Child:
        offline = self.account.offline
        user = None if offline else self.account.user
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(log, flags, 0o600), "ab") as output:
            return Child(
                (str(self.directory / "postgres"), *arguments),
                environment=self._environment(),
                cwd=Path("/"),
                stdout=output,
                stderr=output,
                wrapper=(*how.manners, *(offline or self.account.wrapper)),
                death_signal=how.death_signal,
                user=user,
                group=user,
            )


def _place_tree(bin_directory: Path, room: Path) -> Path:
    tree = bin_directory.parent
    package = tree.parent
    place = room / package.name / tree.name
    place.parent.mkdir(mode=0o755)
    place.parent.chmod(0o755)
    shutil.copytree(
        tree,
        place,
        symlinks=True,
        copy_function=_link_or_copy,
        ignore=shutil.ignore_patterns(*_LEFT_OUT),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, room / libraries.name, copy_function=_link_or_copy)
    for directory in (path for path in room.rglob("*") if path.is_dir() and not path.is_symlink()):
        directory.chmod(0o755)
    return place / bin_directory.name


def _link_or_copy(source: str, target: str) -> str:
    """Link a file that everybody may read and only we may write, else copy it readable."""
    mode = Path(source).stat().st_mode
    if mode & stat.S_IROTH and not mode & (stat.S_IWGRP | stat.S_IWOTH):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return target
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    return target
