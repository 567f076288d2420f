"""Work that no commit has: what is staged, what is not, what git does not know yet.

All of it is read through a copy of the index. In that copy files that were told to be left alone
(``assume-unchanged``, ``skip-worktree``) are looked at again, those of a merge that is not done
stand as one's own side has them, and those that are only meant to be added are not known yet: so
that everything that differs is in one of two patches, or a file of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.git.program import Git
from fsbackup_tui.engines.git.repository import Repository, copy_index, joined, names_in
from fsbackup_tui.engines.process import Command

_DIFF = (
    "diff",
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-relative",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
)
_OURS = "2"


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from HEAD: counts of files, and the names of what is not known to git.

    ``index`` is the copy that the patches are made with; ``unmerged`` are in conflict.
    """

    index: Path
    staged: int
    unstaged: int
    untracked: tuple[bytes, ...]
    unmerged: int
    unstaged_names: tuple[bytes, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """The variables with which git takes the copy for the index."""
        return {"GIT_INDEX_FILE": str(self.index)}


async def read_changes(git: Git, repository: Repository, name: str) -> Changes:
    """Look at everything that no commit has; ``name`` is that of the index's copy."""
    index = copy_index(repository, git.work, name)
    env = {"GIT_INDEX_FILE": str(index)}
    at = repository.place
    unmerged = await _settle_conflicts(git, repository, env)
    await _look_everywhere(git, repository, env)
    meant = await _forget_intentions(git, repository, env)
    staged = await git.read(*_DIFF[:1], "--cached", "--name-only", "-z", *_STAGED, at=at, env=env)
    unstaged = await git.read(*_DIFF[:1], "--name-only", "-z", *_UNSTAGED, at=at, env=env)
    others = await git.read("ls-files", "--others", "--exclude-standard", "-z", at=at, env=env)
    return Changes(
        index,
        len(names_in(staged)),
        len(names_in(unstaged)),
        tuple(dict.fromkeys([*names_in(others), *meant])),
        unmerged,
        tuple(names_in(unstaged)),
    )


# Of submodules the index's commits count; what is in them is a matter of their own.
_STAGED = ("--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")
_UNSTAGED = ("--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all")


def staged_patch(git: Git, repository: Repository, changes: Changes) -> Command:
    """Return the command that prints what is staged, as a patch upon HEAD."""
    return git.command(*_DIFF, "--cached", *_STAGED, at=repository.place, env=changes.env)


def unstaged_patch(git: Git, repository: Repository, changes: Changes) -> Command:
    """Return the command that prints what is not staged, as a patch upon what is."""
    return git.command(*_DIFF, *_UNSTAGED, at=repository.place, env=changes.env)


async def _settle_conflicts(git: Git, repository: Repository, env: dict[str, str]) -> int:
    """Let the copy of the index have one's own side of each conflict; returns their number."""
    listed = await git.read("ls-files", "--unmerged", "-z", at=repository.place, env=env)
    ours: dict[bytes, bytes] = {}
    names: dict[bytes, None] = {}
    for entry in names_in(listed):
        facts, _, name = entry.partition(b"\t")
        mode, commit, side = facts.split(b" ")
        names[name] = None
        if side == _OURS.encode():
            ours[name] = mode + b" " + commit
    if not names:
        return 0
    lines = [b"0 " + b"0" * len(next(iter(listed.split(b" ")[1:2]))) + b"\t" + n for n in names]
    lines += [facts + b" 0\t" + name for name, facts in ours.items()]
    await git.run(
        "update-index", "-z", "--index-info", at=repository.place, env=env, stdin=joined(lines)
    )
    return len(names)


async def _look_everywhere(git: Git, repository: Repository, env: dict[str, str]) -> None:
    """Take the marks from files that git was told to leave alone, where they are there."""
    listed = await git.read("ls-files", "-v", "-z", at=repository.place, env=env)
    marked = []
    for entry in names_in(listed):
        tag, name = entry[:1], entry[2:]
        if tag.islower():
            marked.append((name, "--no-assume-unchanged"))
        if tag in b"Ss" and _is_there(repository.work_tree, name):
            marked.append((name, "--no-skip-worktree"))
    for option in ("--no-assume-unchanged", "--no-skip-worktree"):
        names = [name for name, wanted in marked if wanted == option]
        if names:
            await git.run(
                "update-index", option, "-z", "--stdin",
                at=repository.place, env=env, stdin=joined(names),
            )  # fmt: skip


async def _forget_intentions(git: Git, repository: Repository, env: dict[str, str]) -> list[bytes]:
    """Take out of the copy what ``git add --intent-to-add`` put there; returns the names."""
    output = await git.read(
        "diff", "--name-only", "--diff-filter=A", "-z", *_UNSTAGED, at=repository.place, env=env
    )
    names = names_in(output)
    if names:
        await git.run(
            "update-index", "--force-remove", "-z", "--stdin",
            at=repository.place, env=env, stdin=joined(names),
        )  # fmt: skip
    return names


def _is_there(top: Path, name: bytes) -> bool:
    path = top / name.decode("utf-8", "surrogateescape")
    return path.is_symlink() or path.exists()
