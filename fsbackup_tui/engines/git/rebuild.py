"""Rebuilding a repository from its bundle: to see that it can be done, or to have it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, ToolError
from fsbackup_tui.domain.site_parts import CodeFacts, SubmoduleFacts
from fsbackup_tui.engines.git.lfs_settings import lfs_settings
from fsbackup_tui.engines.git.program import Git, GitPlace
from fsbackup_tui.engines.git.repository import OBJECT_ID, read_refs

_SHOWN = 5
_UNSAFE = frozenset("\n\0")
# Oddities that old programs wrote into commits and trees for ever. They were stored so: a byte
# that changed since makes the object's own hash differ, which no setting forgives.
_AS_WRITTEN = (
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "duplicateEntries",
    "missingAuthor",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "treeNotSorted",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
)


@dataclass(frozen=True, slots=True)
class CodeFiles:
    """The plain files of a part, or of a submodule in it, where they were checked and unpacked."""

    bundle: Path | None
    staged: Path | None = None
    unstaged: Path | None = None


async def unbundle(git: Git, bundle: Path | None, directory: Path, facts: CodeFacts) -> GitPlace:
    """Make the bare repository ``directory`` with every ref that the facts name.

    Raises:
        PointDamaged: git can't make it from the bundle.
    """
    place = GitPlace(directory)
    await git.run("init", "--quiet", "--bare", "--template=",
                  f"--object-format={facts.object_format}", str(directory))  # fmt: skip
    await fill(git, place, bundle, facts)
    return place


async def fill(git: Git, place: GitPlace, bundle: Path | None, facts: CodeFacts) -> None:
    """Bring every ref of a bundle, with all it needs, into an empty repository; PointDamaged."""
    if bundle is None:
        return
    if facts.shallow:
        commits = [commit for commit in facts.shallow if OBJECT_ID.fullmatch(commit)]
        boundary = place.git_directory / "shallow"
        boundary.write_text("".join(f"{commit}\n" for commit in commits))
    try:
        await git.run(
            "fetch", "--quiet", "--no-tags", "--update-head-ok", "--no-write-fetch-head",
            "--no-auto-maintenance", "--no-recurse-submodules", str(bundle), "+refs/*:refs/*",
            at=place, quiet=False,
        )  # fmt: skip
    except ToolError as error:
        raise PointDamaged(
            "NOT REBUILT: git can't make a repository from the bundle.",
            why=error.why,
            fix="Take another copy of this point, or another point.",
        ) from error


async def rebuilt_problems(git: Git, place: GitPlace, facts: CodeFacts) -> list[str]:
    """Return what is wrong with a rebuilt repository: its objects, or its refs; [] for nothing."""
    settings = [word for name in _AS_WRITTEN for word in ("-c", f"fsck.{name}=warn")]
    checked = await git.run(
        *settings, "fsck", "--full", "--no-dangling", "--no-progress",
        at=place, check=False, quiet=False,
    )  # fmt: skip
    problems = []
    if checked.exit_status != 0:
        said = " ".join(checked.last_lines().split()) or checked.ended()
        problems.append(f"git fsck finds it damaged: {said}")
    refs, _unreadable = await read_refs(git, place)
    found = {ref.shown: ref.commit for ref in refs}
    expected = dict(facts.refs)
    for name in sorted(set(expected) | set(found))[: _SHOWN if found != expected else 0]:
        if found.get(name) != expected.get(name):
            what = "missing" if name not in found else "not what was captured"
            problems.append(f"the ref {name} is {what}")
    if found != expected and not problems:
        problems.append("its refs are not those that were captured")
    for commit in filter(None, (facts.head, facts.deployed)):
        known = await git.run("cat-file", "-e", f"{commit}^{{commit}}", at=place, check=False)
        if known.exit_status != 0:
            problems.append(f"the commit {commit[:12]} is not in it")
    return problems


async def patch_problems(
    git: Git, place: GitPlace, facts: CodeFacts, files: CodeFiles
) -> list[str]:
    """Return which patches do not apply: the staged one to HEAD, the other upon it.

    Both are tried in an index of their own: no work tree is needed.
    """
    env = {"GIT_INDEX_FILE": str(git.work / f"{place.git_directory.name}.index")}
    tree = ["--empty"] if facts.head is None else [facts.head]
    await git.run("read-tree", *tree, at=place, env=env)
    for name, patch in (("staged.patch", files.staged), ("unstaged.patch", files.unstaged)):
        if patch is None:
            continue
        for check in (("--check",), ()):
            applied = await git.run(
                "apply", *check, "--cached", str(patch), at=place, env=env, check=False
            )
            if applied.exit_status != 0:
                said = " ".join(applied.last_lines().split())
                return [f"{name} does not apply: {said}"]
    return []


async def make_repository(
    git: Git, bundle: Path | None, directory: Path, facts: CodeFacts
) -> GitPlace:
    """Make a work tree in ``directory``, which is there and empty; its files are not there yet.

    Branches, tags, remotes, symbolic refs and stashes are as they were; what no ref named stays
    under ``refs/fsbackup/``.

    Raises:
        PointDamaged: the bundle is damaged.
        ToolError: git failed at something else.
    """
    await git.run("init", "--quiet", "--template=", f"--object-format={facts.object_format}",
                  str(directory))  # fmt: skip
    place = GitPlace(directory / ".git", directory)
    await fill(git, place, bundle, facts)
    if facts.branch is not None and not _UNSAFE & set(facts.branch):
        await git.run("symbolic-ref", "HEAD", _in_bytes(f"refs/heads/{facts.branch}"), at=place)
    elif facts.head is not None:
        await git.run("update-ref", "--no-deref", "HEAD", facts.head, at=place)
    await _name_remotes(git, place, facts)
    await _restore_stashes(git, place, facts)
    for name, follows in facts.symbolic_refs:
        await git.run("symbolic-ref", _in_bytes(name), _in_bytes(follows), at=place)
    objects = place.git_directory / "lfs" / "objects"
    return replace(place, settings=lfs_settings(git, objects))


async def check_out(git: Git, place: GitPlace, facts: CodeFacts) -> None:
    """Fill the work tree of ``make_repository`` as HEAD has it.

    Files of Git LFS are filled in from the objects that are in the repository by then.
    """
    if facts.head is not None:
        await git.run("reset", "--quiet", "--hard", at=place, quiet=False)
    await _drop_own_refs(git, place, facts)


async def _name_remotes(git: Git, place: GitPlace, facts: CodeFacts) -> None:
    for name, url in facts.remotes:
        await git.run("config", f"remote.{name}.url", url, at=place)
        heads = f"+refs/heads/*:refs/remotes/{name}/*"
        await git.run("config", f"remote.{name}.fetch", heads, at=place)


async def _restore_stashes(git: Git, place: GitPlace, facts: CodeFacts) -> None:
    """Push the stashes again, the oldest first: the ref alone has the newest only."""
    if not facts.stashes:
        return
    refs = dict(facts.refs)
    await git.run("update-ref", "-d", "refs/stash", at=place, check=False)
    for number in reversed(range(facts.stashes)):
        commit = refs.get(f"{facts.own_refs}stash/{number}")
        if commit is not None:
            message = dict(enumerate(facts.stash_messages)).get(number) or "stash"
            await git.run("stash", "store", "--quiet", f"--message={message}", commit, at=place)


async def _drop_own_refs(git: Git, place: GitPlace, facts: CodeFacts) -> None:
    """Take away the refs of ours that others do the work of by now; keep what has no other."""
    for name, commit in facts.refs:
        if not name.startswith(facts.own_refs):
            continue
        own = name.removeprefix(facts.own_refs)
        if own == "ORIG_HEAD":
            await git.run("update-ref", own, commit, at=place)
        done = own in ("ORIG_HEAD", "head") or own.startswith("stash/")
        if done or await _is_named(git, place, commit):
            await git.run("update-ref", "-d", name, at=place)


async def _is_named(git: Git, place: GitPlace, commit: str) -> bool:
    """Whether a branch or tag leads to the commit."""
    within = ("refs/heads", "refs/tags", "refs/remotes")
    found = await git.run("for-each-ref", "--count=1", "--contains", commit, *within, at=place)
    return bool(found.stdout)


async def apply_work(git: Git, place: GitPlace, files: CodeFiles) -> None:
    """Apply what was staged to index and work tree, then what was not to the work tree alone.

    Raises:
        ToolError: a patch does not apply.
    """
    if files.staged is not None:
        await git.run("apply", "--index", str(files.staged), at=place, quiet=False)
    if files.unstaged is not None:
        await git.run("apply", str(files.unstaged), at=place, quiet=False)


def checked_submodules(facts: CodeFacts) -> Sequence[SubmoduleFacts]:
    """Return the submodules that were captured; PointDamaged where one leads out of the tree."""
    found = []
    for module in facts.modules:
        parts = module.path.split("/")
        if {"", ".", ".."} & set(parts) or parts[0].lower() == ".git" or "\0" in module.path:
            raise PointDamaged(f"NOT RESTORED: the submodule {module.path!r} leads elsewhere.")
        if module.code is not None and module.directory is not None:
            found.append(module)
    return found


def _in_bytes(name: str) -> str:
    r"""Return a ref's name as arguments carry it: ``\xNN`` is that byte again."""
    pieces = name.split("\\x")
    found = pieces[0].encode()
    for piece in pieces[1:]:
        found += bytes([int(piece[:2], 16)]) + piece[2:].encode()
    return found.decode("utf-8", "surrogateescape")
