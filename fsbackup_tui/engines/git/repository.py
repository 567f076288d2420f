"""A work tree's repository as it lies on the disk, and what it tells of itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.git.bundle import shown_name
from fsbackup_tui.engines.git.lfs_settings import lfs_settings
from fsbackup_tui.engines.git.program import Git, GitPlace, harmless_settings

OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LINK = b"gitdir: "
_LARGEST_LINK = 64 << 10
_FORMATS = ("sha1", "sha256")
# What git keeps beside the refs and is somebody's work: a merge, pick, revert or rebase that is
# not done, and where a branch was before it was reset.
_HEADS = ("ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD")


@dataclass(frozen=True, slots=True)
class Ref:
    """One ref: its name in bytes, the object it names, and the ref it follows if it does."""

    name: bytes
    commit: str
    follows: bytes = b""

    @property
    def shown(self) -> str:
        """The name as manifests have it."""
        return shown_name(self.name)


@dataclass(frozen=True, slots=True)
class Stash:
    """One entry of the stash, the newest is 0."""

    commit: str
    message: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule as the index has it; ``path`` is relative to the work tree."""

    path: str
    commit: str
    url: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree with its git directory and, for linked work trees, the one they share.

    ``large_objects`` is where Git LFS keeps its objects, whether it is there or not.
    """

    work_tree: Path
    git_directory: Path
    common_directory: Path
    place: GitPlace
    large_objects: Path

    @property
    def objects(self) -> Path:
        """Where its objects lie."""
        return self.common_directory / "objects"


async def open_work_tree(git: Git, work_tree: Path) -> Repository:
    """Find the repository of a work tree; nothing in it is run.

    Raises:
        ToolError: it is no work tree, or not the top of one; its repository is gone.
    """
    top, git_directory = _find(work_tree)
    common = _common_directory(git_directory)
    place = GitPlace(git_directory, top)
    try:
        settings = await harmless_settings(git, place)
        large = await _large_objects(git, place, common)
    except ToolError as error:
        raise ToolError(
            f"NOT CAPTURED: git can't read the repository of {top}.", why=error.why, fix=error.fix
        ) from error
    settings |= lfs_settings(git, large)
    return Repository(top, git_directory, common, replace(place, settings=settings), large)


async def _large_objects(git: Git, place: GitPlace, common: Path) -> Path:
    """Return where the LFS objects lie: ``lfs.storage``, told from the git directory, or there."""
    told = await git.run("config", "--type=path", "lfs.storage", at=place, check=False)
    storage = told.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")
    return common / (storage if told.exit_status == 0 and storage else "lfs") / "objects"


def _find(work_tree: Path) -> tuple[Path, Path]:
    """Return the top of the work tree and its git directory."""
    top = work_tree.absolute()
    if not top.is_dir():
        raise ToolError(
            f"NO WORK TREE: {top} is not there.",
            fix="Correct worktree: in the configuration.",
        )
    return top, _git_directory(top)


def _git_directory(top: Path) -> Path:
    link = top / ".git"
    if link.is_dir():
        return link
    if link.is_file():
        with link.open("rb") as file:
            content = file.read(_LARGEST_LINK)
        if content.startswith(_LINK):
            target = Path(content[len(_LINK) :].rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
            found = (top / target).resolve()
            if found.is_dir():
                return found
        raise ToolError(
            f"NO WORK TREE: {link} leads nowhere.",
            why="It is a linked work tree or a submodule, and its repository was moved away.",
            fix="git worktree repair, run in the repository it belongs to.",
        )
    above = next((parent for parent in top.parents if (parent / ".git").exists()), None)
    raise ToolError(
        f"NO WORK TREE: {top} has no .git.",
        why=f"It is a part of the work tree {above}." if above else "No git repository is there.",
        fix=f"Write worktree: {above}" if above else "Correct worktree: in the configuration.",
    )


def _common_directory(git_directory: Path) -> Path:
    link = git_directory / "commondir"
    if not link.is_file():
        return git_directory
    shared = Path(link.read_bytes().rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
    return (git_directory / shared).resolve()


async def read_head(git: Git, at: GitPlace) -> tuple[str | None, str | None]:
    """Return the commit of HEAD and the branch it is on; None for an unborn or a detached one."""
    branch = await git.run("symbolic-ref", "--quiet", "HEAD", at=at, check=False)
    commit = await git.run("rev-parse", "--quiet", "--verify", "HEAD^{commit}", at=at, check=False)
    name = branch.stdout.strip() if branch.exit_status == 0 else b""
    found = commit.stdout.decode("ascii", "replace").strip()
    return (
        found if commit.exit_status == 0 and OBJECT_ID.fullmatch(found) else None,
        shown_name(name.removeprefix(b"refs/heads/")) if name else None,
    )


async def read_refs(git: Git, at: GitPlace) -> tuple[list[Ref], list[str]]:
    """Return all refs in their order, and what git says of those that it can't read."""
    form = "--format=%(objectname)%00%(refname)%00%(symref)"
    output = await git.run("for-each-ref", form, at=at)
    refs = []
    for line in output.stdout.splitlines():
        commit, name, follows = line.split(b"\0")
        refs.append(Ref(name, commit.decode("ascii"), follows))
    return refs, [line for line in output.stderr.splitlines() if line.startswith("warning: ")]


async def read_stashes(git: Git, at: GitPlace) -> list[Stash]:
    """Return the entries of the stash, the newest first; [] where there is none."""
    known = await git.run(
        "rev-parse", "--quiet", "--verify", "refs/stash^{commit}", at=at, check=False
    )
    if known.exit_status != 0:
        return []
    output = await git.run(
        "log", "--walk-reflogs", "--no-show-signature", "--no-color", "-z",
        "--format=%H%x00%gs", "refs/stash", "--", at=at,
    )  # fmt: skip
    pieces = output.stdout.decode("utf-8", "replace").split("\0")
    found = [
        Stash(commit.strip(), message)
        for commit, message in zip(pieces[::2], pieces[1::2], strict=False)
    ]
    # A stash whose log is gone still has its newest entry.
    return found or [Stash(known.stdout.decode("ascii").strip(), "")]


def read_other_heads(repository: Repository) -> list[tuple[str, str]]:
    """Return what no ref names and is still somebody's work, as name and commit.

    These are a merge, pick, revert or rebase that is not done, where HEAD was before it was
    reset, and the detached heads of other work trees.
    """
    found = []
    for name in _HEADS:
        for number, commit in enumerate(_object_ids(repository.git_directory / name)):
            found.append((name if number == 0 else f"{name}-{number + 1}", commit))
    others = [repository.common_directory, *_linked(repository.common_directory)]
    for number, directory in enumerate(others):
        if directory.resolve() != repository.git_directory.resolve():
            found += [(f"worktree-{number}", commit) for commit in _object_ids(directory / "HEAD")]
    return found


def count_other_work_trees(repository: Repository) -> int:
    """Return how many other work trees share the repository."""
    own = repository.git_directory.resolve()
    others = [each for each in _linked(repository.common_directory) if each.resolve() != own]
    return len(others) + (own != repository.common_directory.resolve())


def _linked(common: Path) -> list[Path]:
    directory = common / "worktrees"
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _object_ids(path: Path) -> list[str]:
    if not path.is_file():
        return []
    text = path.read_bytes()[:_LARGEST_LINK].decode("ascii", "replace")
    return [line for line in text.splitlines() if OBJECT_ID.fullmatch(line)]


def read_shallow(repository: Repository) -> tuple[str, ...]:
    """Return the commits whose parents a shallow clone has not; () for a whole one."""
    return tuple(_object_ids_unbounded(repository.common_directory / "shallow"))


def _object_ids_unbounded(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return [line for line in lines if OBJECT_ID.fullmatch(line)]


async def object_format(git: Git, at: GitPlace) -> str:
    """Return the hash that names objects there."""
    output = await git.run("rev-parse", "--show-object-format", at=at)
    found = output.stdout.decode("ascii", "replace").strip()
    if found not in _FORMATS:
        raise ToolError(f"NOT CAPTURED: objects are named by {found}, which is unknown here.")
    return found


async def present_commits(git: Git, at: GitPlace, commits: Iterable[str]) -> set[str]:
    """Return those of the commits that the repository has."""
    wanted = list(dict.fromkeys(commits))
    if not wanted:
        return set()
    listed = "".join(f"{commit}\n" for commit in wanted).encode()
    output = await git.read("cat-file", "--batch-check", at=at, stdin=listed)
    kinds = [line.split() for line in output.decode("ascii", "replace").splitlines()]
    return {words[0] for words in kinds if len(words) == 3 and words[1] == "commit"}


async def read_remotes(git: Git, at: GitPlace) -> tuple[tuple[str, str], ...]:
    """Return each remote's name and address, without what is secret in it."""
    output = await git.run("config", "-z", "--get-regexp", r"^remote\..*\.url$", at=at, check=False)
    found: dict[str, str] = {}
    for item in output.stdout.decode("utf-8", "replace").split("\0"):
        key, _, url = item.partition("\n")
        if key:
            name = key.removeprefix("remote.").removesuffix(".url")
            found.setdefault(name, without_credentials(url))
    return tuple(found.items())


def without_credentials(url: str) -> str:
    """Return a repository's address without password, token or query; scp-like ones as they are.

    A user without a password stays where ssh needs it.
    """
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
    except ValueError:
        return ""
    keeps_user = user and parts.scheme in ("ssh", "git+ssh", "ssh+git")
    return urlunsplit((parts.scheme, f"{user}@{host}" if keeps_user else host, parts.path, "", ""))


async def read_submodules(git: Git, at: GitPlace, index: Path) -> list[Submodule]:
    """Return the submodules that the index names, with the address each comes from."""
    listed = await git.read("ls-files", "--stage", "-z", at=at, env={"GIT_INDEX_FILE": str(index)})
    entries = [entry for entry in listed.split(b"\0") if entry.startswith(b"160000 ")]
    if not entries:
        return []
    urls = await _submodule_urls(git, at)
    found = {}
    for entry in entries:
        facts, _, path = entry.partition(b"\t")
        name = path.decode("utf-8", "surrogateescape")
        found[name] = Submodule(name, facts.split(b" ")[1].decode(), urls.get(name, ""))
    return list(found.values())


async def _submodule_urls(git: Git, at: GitPlace) -> dict[str, str]:
    """Return the addresses by path, as .gitmodules has them; what init wrote wins."""
    if at.work_tree is None or not (at.work_tree / ".gitmodules").is_file():
        return {}
    told = await git.run("config", "--file", ".gitmodules", "-z", "--list", at=at, check=False)
    ours = await git.run(
        "config", "-z", "--get-regexp", r"^submodule\..*\.url$", at=at, check=False
    )
    values: dict[str, str] = {}
    for output in (told, ours):
        for item in output.stdout.decode("utf-8", "surrogateescape").split("\0"):
            key, _, value = item.partition("\n")
            values[key] = value
    found = {}
    for key, path in values.items():
        if key.startswith("submodule.") and key.endswith(".path"):
            url = values.get(f"{key.removesuffix('.path')}.url", "")
            found[path] = without_credentials(url)
    return found


def copy_index(repository: Repository, work: Path, name: str) -> Path:
    """Return a copy of the index in a private directory, so that no command writes the real one.

    Its time is kept: by it git knows which files it must look into.
    """
    copy = work / name
    source = repository.git_directory / "index"
    if source.is_file():
        shutil.copy2(source, copy)
    return copy


def names_in(output: bytes) -> list[bytes]:
    """Return the names of a list that ends each with a NUL."""
    return [name for name in output.split(b"\0") if name]


def joined(names: Sequence[bytes]) -> bytes:
    """Return names as commands of git read them with ``-z``."""
    return b"".join(name + b"\0" for name in names)
