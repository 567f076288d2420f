"""Bringing code back into its place: by git where the work tree stands, by a rename where not.

What stands there is kept first: its commit and what no commit had under ``refs/fsbackup-kept/``,
its built files under another name. Files that git ignores (settings, uploads, dependencies) stay as
they are. The refs are written before anything moves, so that whatever moment this is killed at,
it is done again, or taken back, from there.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, ToolError
from fsbackup_tui.domain.events import Log, format_time
from fsbackup_tui.domain.tree import TreeKind
from fsbackup_tui.engines.git.lfs_settings import lfs_settings
from fsbackup_tui.engines.git.program import Git, GitPlace, find_git
from fsbackup_tui.engines.git.repository import open_work_tree, read_head
from fsbackup_tui.operations.code_moves import (
    Aside,
    AsideKind,
    bring_built,
    inode,
    rename_path,
    take_built_back,
)
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.place_requests import CodeBackRequest, CodeTakeBackRequest
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.repository.tree_marks import (
    Mark,
    remove_mark,
    tree_path,
    write_mark,
)

REFS = "refs/fsbackup-kept"
_SHORT = 12
_WHO = {"GIT_AUTHOR_NAME": "fsbackup", "GIT_AUTHOR_EMAIL": "fsbackup@localhost"}


@dataclass
class _Work:
    """A work tree that is being changed; ``told`` are sentences for people."""

    context: JobContext
    git: Git
    place: GitPlace
    top: Path
    part: str
    tag: str
    told: list[str] = field(default_factory=list)

    def ref(self, name: str) -> str:
        """Return the name under which something is kept."""
        return f"{REFS}/{name}-{self.tag}"

    def aside(self, kind: AsideKind) -> Aside:
        """Return where built files are kept, beside the work tree: git would tell of them in it."""
        path = tree_path(self.top, kind, self.tag)
        return Aside(self.top, path, _mark_of(kind, self.context, self.part, self.top))

    async def commit(self, name: str) -> str:
        """Return the commit that a name means; empty for none."""
        found = await self.git.run(
            "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", at=self.place, check=False
        )
        return found.stdout.decode("ascii", "replace").strip() if found.exit_status == 0 else ""

    async def say(self, *arguments: str) -> str:
        """Run a command that changes something, told to the journal; return what it printed."""
        done = await self.git.run(*arguments, at=self.place, env=_WHO, quiet=False)
        return done.stdout.decode("utf-8", "replace").strip()


async def run(request: CodeBackRequest, context: JobContext) -> dict[str, object]:
    """Let the restored work tree's commit, and what was built from it, be live's.

    Raises:
        SafetyRefusal: live is not what was seen, or is no repository and holds what is not code.
        ToolError: git refused; live is as it was.
    """
    refuse_if_read_only(context.loaded, "checks nothing out")
    context.stage("check")
    top, tree = place_paths(context.loaded, request.part)[0], Path(request.tree)
    if not inode(tree) and request.inode and inode(top) == request.inode:
        await asyncio.to_thread(remove_mark, tree)
        return _renamed(request, top, tree)  # by an attempt that was killed then
    _refuse_another(tree, request.inode)
    if not top.exists():
        return await _rename(request, context, top, tree)
    work = await _open(context, top, request.part, request.tag, tree)
    head, branch = await read_head(work.git, work.place)
    kept = await work.commit(work.ref("before"))
    wanted = await _head_of(work, tree)
    if not kept and request.live_head and head != request.live_head:
        raise SafetyRefusal(
            "NOT CHECKED OUT. Nothing changed.",
            why=f"{top} is at {(head or '-')[:_SHORT]} by now, not at"
            f" {request.live_head[:_SHORT]}: somebody deployed meanwhile.",
            fix="Look at the damage again.",
        )
    context.stage("keep")
    if not kept:
        # The commit last: where it is kept, all is.
        await _write_branch(work, branch)
        await _keep(work, "before", head)
    context.stage("check out")
    await work.say("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow",
                   str(tree), f"+HEAD:{work.ref('point')}")  # fmt: skip
    begun = bool(await work.commit(work.ref("built")))
    if not begun or head != wanted:  # what somebody changed behind a checkout that ended stays
        await _check_out(work, wanted, "before")
    await _give_to_owner(work, work.ref("before"), wanted)
    await work.say("update-ref", work.ref("built"), wanted)
    built = await asyncio.to_thread(
        bring_built, work.aside("before"), tree, request.built, begun=begun
    )
    return await _document(work, request, wanted, built)


async def _document(
    work: _Work, request: CodeBackRequest, wanted: str, built: Sequence[str]
) -> dict[str, object]:
    former, branch = await work.commit(work.ref("before")), await _read_branch(work)
    there = f"branch {branch}" if branch else "detached"
    kept_work = await work.commit(work.ref("before-work"))
    told = [f"{work.top} is at {wanted[:_SHORT]}, detached; it was at {former[:_SHORT]}, {there}."]
    if kept_work:
        told.append(f"What no commit had is kept as {work.ref('before-work')}.")
    told += [f"Built anew from the point: {name}" for name in built]
    return {
        "ok": True,
        "mode": "checkout",
        "root": str(work.top),
        "former": former,
        "branch": branch,
        "now": wanted,
        "work": kept_work,
        "built": list(built),
        "tag": request.tag,
        "told": [*told, *work.told],
        "by_hand": list(_by_hand(work.top, request.tag, former, branch, kept_work, built)),
        "lost": [],
    }


def _by_hand(
    top: Path, tag: str, former: str, branch: str, kept_work: str, built: Sequence[str]
) -> Iterator[str]:
    yield f"cd {shlex.quote(str(top))}"
    yield f"git checkout {shlex.quote(branch)}" if branch else f"git checkout --detach {former}"
    if kept_work:
        yield f"git stash apply --index {kept_work}"
    for name in built:
        yield shlex.join(("mv", "-nT", name, f"{top}.built-{tag}"))
        yield shlex.join(("mv", "-nT", str(tree_path(top, "before", tag) / name), name))


async def run_take_back(request: CodeTakeBackRequest, context: JobContext) -> dict[str, object]:
    """Let live be at the commit, and on the branch, that it was at, with what no commit had.

    What is there now is kept in its turn, as ``refs/fsbackup-kept/after-TAG``.

    Raises:
        SafetyRefusal: nothing of it is kept. ToolError: git refused; live is as it was.
    """
    refuse_if_read_only(context.loaded, "checks nothing out")
    context.stage("check")
    top = place_paths(context.loaded, request.part)[0]
    if request.tree:
        return await _rename_back(request, context, top)
    work = await _open(context, top, request.part, request.tag)
    former, branch = await work.commit(work.ref("before")), await _read_branch(work)
    if not former and await work.commit(work.ref("after")):
        return await _back_already(work)
    if not former:
        raise SafetyRefusal(
            "NOT TAKEN BACK. Nothing changed.", why=f"{top} has no {work.ref('before')}."
        )
    context.stage("keep")
    head, _ = await read_head(work.git, work.place)
    await _keep(work, "after", head)
    context.stage("check out")
    at_branch = bool(branch) and await work.commit(f"refs/heads/{branch}") == former
    await _check_out(work, former, "after", branch=branch if at_branch else "")
    kept_work = await work.commit(work.ref("before-work"))
    if kept_work:
        await work.say("stash", "apply", "--quiet", "--index", kept_work)
    await _give_to_owner(work, work.ref("after"), former)
    await asyncio.to_thread(
        take_built_back, work.aside("before"), work.aside("after"), request.built
    )
    for name in ("built", "before"):
        await work.say("update-ref", "-d", work.ref(name))
    told = [
        f"{top} is at {former[:_SHORT]} again{f', on {branch}' if at_branch else ', detached'}."
    ]
    context.report(Log(told[0]))
    return {"ok": True, "mode": "checkout", "root": str(top), "now": former, "told": told}


async def _back_already(work: _Work) -> dict[str, object]:
    """Tell of what an attempt took back that was killed behind its last step."""
    head, branch = await read_head(work.git, work.place)
    told = [f"{work.top} is at {(head or '-')[:_SHORT]} again{f', on {branch}' if branch else ''}."]
    return {"ok": True, "mode": "checkout", "root": str(work.top), "now": head or "", "told": told}


async def _open(
    context: JobContext, top: Path, part: str, tag: str, tree: Path | None = None
) -> _Work:
    """Open live's work tree; ``tree`` is the restored one, whose LFS objects may be needed."""
    try:
        git = await find_git(context.work, report=context.report, redactor=context.redactor)
        repository = await open_work_tree(git, top)
    except ToolError as error:
        inside = ", ".join(foreign_paths(context.loaded, top))
        holds = f" It holds {inside}, which must not go away with it." if inside else ""
        raise SafetyRefusal(
            "NOT CHECKED OUT. Nothing changed.",
            why=f"{error.what} {error.why}{holds}",
            fix="By hand: move it away, move the restored work tree into its place, and copy back"
            " what git never had (settings, uploads).",
        ) from error
    others = () if tree is None else (tree / ".git" / "lfs" / "objects",)
    large = lfs_settings(git, repository.large_objects, *others, store=True)
    place = replace(repository.place, settings={**repository.place.settings, **large})
    return _Work(context, git, place, top, part, tag)


def foreign_paths(loaded: LoadedConfig, top: Path) -> tuple[str, ...]:
    """Return the paths of other sources that lie in a work tree."""
    found = []
    for name, source in loaded.config.sources.items():
        if source.kind in ("files", "config"):
            found += [
                str(path)
                for path in place_paths(loaded, name)
                if path != top and path.is_relative_to(top)
            ]
    return tuple(dict.fromkeys(found))


def _refuse_another(tree: Path, known: int) -> None:
    there = inode(tree)
    if there == 0 or (known and there != known):
        raise SafetyRefusal(
            "NOT CHECKED OUT. Nothing changed.",
            why=f"{tree} is not the work tree that was restored.",
            fix="Restore it beside once more.",
        )


async def _head_of(work: _Work, tree: Path) -> str:
    head, _ = await read_head(work.git, GitPlace(tree / ".git", tree))
    if head is None:
        raise ToolError(f"NOT CHECKED OUT: {tree} has no commit. Nothing changed.")
    return head


async def _keep(work: _Work, name: str, head: str | None) -> None:
    """Keep the commit, and what no commit has of the files that git knows."""
    if head is None:
        raise ToolError(f"NOT CHECKED OUT: {work.top} has no commit. Nothing changed.")
    changed = await work.say("stash", "create", f"fsbackup {name} {work.tag}")
    if changed:
        await work.say("update-ref", work.ref(f"{name}-work"), changed)
    await work.say("update-ref", work.ref(name), head)


async def _check_out(work: _Work, commit: str, kept: str, *, branch: str = "") -> None:
    """Check a commit out; files that git does not know are never overwritten.

    Raises:
        ToolError: git refused, and what no commit had is there again.
    """
    changed = await work.commit(work.ref(f"{kept}-work"))
    head, _ = await read_head(work.git, work.place)
    if head == commit and not changed:
        return
    if changed:
        await work.say("reset", "--quiet", "--hard")
    target = (branch,) if branch else ("--detach", commit)
    try:
        await work.say("checkout", "--quiet", "--no-recurse-submodules", *target)
    except FsbackupError as error:
        if changed:
            await work.say("stash", "apply", "--quiet", "--index", changed)
        raise ToolError(
            "NOT CHECKED OUT. The work tree is as it was.",
            why=error.why or error.what,
            fix="Move the files that are in the way aside, then do it again.",
        ) from error


async def _write_branch(work: _Work, branch: str | None) -> None:
    if branch:
        await work.say("symbolic-ref", work.ref("before-branch"), f"refs/heads/{branch}")


async def _read_branch(work: _Work) -> str:
    """Return the branch that live was on; empty where it was on none."""
    found = await work.git.run(
        "symbolic-ref", "--quiet", work.ref("before-branch"), at=work.place, check=False
    )
    name = found.stdout.decode("utf-8", "surrogateescape").strip()
    return name.removeprefix("refs/heads/") if found.exit_status == 0 else ""


async def _give_to_owner(work: _Work, *commits: str) -> None:
    """Let what root wrote belong to whom the work tree belongs: the application reads it."""
    facts = await asyncio.to_thread(work.top.stat)
    if os.geteuid() != 0 or facts.st_uid == 0:
        return
    changed = await work.git.run(
        "diff", "--name-only", "-z", "--no-renames", "--diff-filter=d", *commits, at=work.place
    )
    names = [os.fsdecode(name) for name in changed.stdout.split(b"\0") if name]
    await asyncio.to_thread(_give, work, names, facts.st_uid, facts.st_gid)


def _give(work: _Work, names: Sequence[str], uid: int, gid: int) -> None:
    paths = [work.top / name for name in names]
    for path in list(paths):
        paths += [above for above in path.parents if above.is_relative_to(work.top)]
    for directory, _, files in os.walk(work.place.git_directory):
        paths += [Path(directory), *(Path(directory, name) for name in files)]
    for path in dict.fromkeys(paths):
        try:
            if path.lstat().st_uid == 0:
                os.lchown(path, uid, gid)
        except OSError:
            continue  # it is gone again: git's own temporary files are


def _mark_of(kind: TreeKind, context: JobContext, part: str, top: Path, inode: int = 0) -> Mark:
    return Mark(
        kind=kind,
        root=str(top),
        inode=inode,
        part=part,
        point="",
        job=context.job,
        incident=context.incident.name if context.incident is not None else "",
        at=format_time(context.now()),
        partial=kind != "restore",
    )


async def _rename(
    request: CodeBackRequest, context: JobContext, top: Path, tree: Path
) -> dict[str, object]:
    """Let the restored work tree have the name where nothing stands."""
    context.stage("keep")
    context.stage("check out")
    await asyncio.to_thread(rename_path, tree, top)
    await asyncio.to_thread(remove_mark, tree)
    done = _renamed(request, top, tree)
    context.report(Log(f"Renamed {tree} to {top}"))
    return done


def _renamed(request: CodeBackRequest, top: Path, tree: Path) -> dict[str, object]:
    told = [f"{top} is the restored work tree; nothing stood there."]
    told.append("What git ignores is not in it: settings, uploads, dependencies.")
    return {
        "ok": True,
        "mode": "rename",
        "root": str(top),
        "former": "",
        "branch": "",
        "now": "",
        "work": "",
        "built": [],
        "tree": str(tree),
        "inode": inode(top),
        "device": top.lstat().st_dev,
        "tag": request.tag,
        "told": told,
        "by_hand": [shlex.join(("mv", "-nT", str(top), str(tree)))],
        "lost": [],
    }


def _let_out(context: JobContext, part: str, top: Path, tree: Path) -> None:
    write_mark(tree, _mark_of("restore", context, part, top, inode=top.stat().st_ino))
    rename_path(top, tree)


async def _rename_back(
    request: CodeTakeBackRequest, context: JobContext, top: Path
) -> dict[str, object]:
    context.stage("keep")
    context.stage("check out")
    tree = Path(request.tree)
    if inode(top) or not request.inode or inode(tree) != request.inode:
        _refuse_another(top, request.inode)
        await asyncio.to_thread(_let_out, context, request.part, top, tree)
    told = [f"Nothing is at {top} again; the restored work tree is {tree}."]
    return {"ok": True, "mode": "rename", "root": str(top), "now": "", "told": told}
