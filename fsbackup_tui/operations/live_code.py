"""A work tree as it is on this machine now: its commit, what no commit has, its migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import CodeSource
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.point import new_tag
from fsbackup_tui.engines.git.changes import read_changes
from fsbackup_tui.engines.git.migrations import read_migrations
from fsbackup_tui.engines.git.program import find_git
from fsbackup_tui.engines.git.repository import open_work_tree, read_head
from fsbackup_tui.operations.context import JobContext

_SHORT = 12


@dataclass(frozen=True, slots=True)
class LiveCode:
    """What is checked out; ``problem`` says why nothing more is known (no repository there)."""

    work_tree: str
    exists: bool
    head: str = ""
    branch: str = ""
    staged: int = 0
    unstaged: int = 0
    untracked: int = 0
    migrations: tuple[str, ...] = ()
    problem: str = ""

    @property
    def words(self) -> str:
        """It in a line."""
        if self.problem:
            return self.problem
        commit = self.head[:_SHORT] or "no commit"
        at = f"branch {self.branch} at {commit}" if self.branch else f"detached at {commit}"
        counts = (
            (self.staged, "staged"),
            (self.unstaged, "changed"),
            (self.untracked, "untracked"),
        )
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        return f"{at}, {told or 'clean'}"


async def read_live_code(context: JobContext, work_tree: Path) -> LiveCode:
    """Return what stands at a work tree; nothing of it is run, nothing in it is written."""
    if not await asyncio.to_thread(work_tree.is_dir):
        return LiveCode(str(work_tree), False, problem=f"{work_tree} is not there")
    migrations = await asyncio.to_thread(read_migrations, work_tree)
    try:
        git = await find_git(context.work, report=None, redactor=context.redactor)
        repository = await open_work_tree(git, work_tree)
        head, branch = await read_head(git, repository.place)
        changes = await read_changes(git, repository, f"live-{new_tag()}")
    except FsbackupError as error:
        return LiveCode(str(work_tree), True, migrations=migrations, problem=error.what)
    return LiveCode(
        str(work_tree),
        True,
        head or "",
        branch or "",
        changes.staged,
        changes.unstaged,
        len(changes.untracked),
        migrations,
    )


def code_trees(loaded: LoadedConfig) -> Iterator[Path]:
    """Yield the work trees that the configuration names."""
    for source in loaded.config.sources.values():
        if isinstance(source, CodeSource):
            yield loaded.path.parent / source.worktree
