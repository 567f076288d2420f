"""Capturing a git work tree: bundle, patches, untracked and built files, LFS objects, submodules.

Nothing is written to the repository. What changes while it is captured is captured once more.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.point import Artifact, ArtifactRole
from fsbackup_tui.domain.site_parts import CodeFacts, SubmoduleFacts
from fsbackup_tui.engines.chain import Chain, Sink, write_artifact, write_from_command
from fsbackup_tui.engines.git.borrow import borrow
from fsbackup_tui.engines.git.bundle import BundleReader
from fsbackup_tui.engines.git.changes import Changes, read_changes, staged_patch, unstaged_patch
from fsbackup_tui.engines.git.lfs import LfsObject, find_lfs_objects
from fsbackup_tui.engines.git.migrations import read_migrations
from fsbackup_tui.engines.git.program import Git
from fsbackup_tui.engines.git.repository import (
    OBJECT_ID,
    Ref,
    Repository,
    Stash,
    count_other_work_trees,
    object_format,
    open_work_tree,
    present_commits,
    read_head,
    read_other_heads,
    read_refs,
    read_remotes,
    read_shallow,
    read_stashes,
    read_submodules,
)
from fsbackup_tui.engines.git.work_tar import Taken, write_lfs, write_tar
from fsbackup_tui.engines.process import Command

BUNDLE, STAGED, UNSTAGED = "code.bundle", "staged.patch", "unstaged.patch"
UNTRACKED, BUILT, LFS = "work.tar", "artifacts.tar", "lfs.tar"
SUBMODULES = "submodules"
_REMOTE = b"refs/remotes/"
_ATTEMPTS = 3
_DEEPEST = 8
_SHOWN = 5
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LARGEST_DEPLOYED = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is captured of a work tree beside its commits and changes.

    ``built`` are paths below the work tree, ``deployed`` is a file that names a commit; what is
    untracked and one of ``apart``, told from the work tree, or below it, is left out.
    """

    built: tuple[Path, ...] = ()
    deployed: Path | None = None
    apart: tuple[Path, ...] = ()


@dataclass
class CapturedCode:
    """What a capture brought: facts, the artifacts below the part's directory, warnings."""

    facts: CodeFacts
    artifacts: list[Artifact] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a repository told of itself, before it was captured and again behind it."""

    head: tuple[str | None, str | None]
    refs: tuple[Ref, ...]
    unreadable: tuple[str, ...]
    stashes: tuple[Stash, ...]
    index: tuple[int, int] | None


async def capture_work_tree(
    git: Git,
    work_tree: Path,
    directory: Path,
    chain: Chain,
    wanted: Wanted,
    *,
    below: str = "",
) -> CapturedCode:
    """Capture a work tree into ``directory``; ``below`` is where in it, for a submodule.

    Raises:
        ToolError: it is no work tree, something may not be read, objects are missing.
    """
    repository = await open_work_tree(git, work_tree)
    for attempt in range(_ATTEMPTS):
        before = await _look(git, repository)
        work = _fresh(git.work / f"git-capture-{os.urandom(4).hex()}")
        capture = _Capture(replace(git, work=work), repository, directory, chain, below, before)
        try:
            captured = await capture.everything(wanted)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if await _look(git, repository) == before:
            return captured
        if attempt + 1 < _ATTEMPTS:
            _take_back(directory / below, captured.artifacts, directory)
    captured.warnings.append(
        f"{work_tree} was written to whenever it was captured: commits and changes may be of "
        "different moments"
    )
    return captured


def _fresh(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory


def _take_back(place: Path, artifacts: Iterable[Artifact], directory: Path) -> None:
    for artifact in artifacts:
        (directory / artifact.path).unlink(missing_ok=True)
    shutil.rmtree(place / SUBMODULES, ignore_errors=True)


async def _look(git: Git, repository: Repository) -> _Seen:
    refs, unreadable = await read_refs(git, repository.place)
    return _Seen(
        await read_head(git, repository.place),
        tuple(refs),
        tuple(unreadable),
        tuple(await read_stashes(git, repository.place)),
        _index_state(repository),
    )


def _index_state(repository: Repository) -> tuple[int, int] | None:
    try:
        facts = (repository.git_directory / "index").stat()
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_size


@dataclass
class _Capture:
    """One capture of one work tree while it runs."""

    git: Git
    repository: Repository
    directory: Path
    chain: Chain
    below: str
    seen: _Seen
    artifacts: list[Artifact] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def _without(self, changes: Changes, apart: tuple[Path, ...]) -> Changes:
        kept = list(changes.untracked)
        found = []
        for place in apart:
            name = os.fsencode(place)
            before = len(kept)
            kept = [each for each in kept if each != name and not each.startswith(name + b"/")]
            if len(kept) < before:
                found.append(str(place))
        if found:
            is_own = "is" if len(found) == 1 else "are"
            told = f"{', '.join(found)} {is_own} fsbackup's own and left out of the untracked files"
            self.warnings.append(told)
        return replace(changes, untracked=tuple(kept))

    async def everything(self, wanted: Wanted) -> CapturedCode:
        """Capture all there is to the work tree."""
        git, repository = self.git, self.repository
        self._make_directory()
        deployed = await self._deployed(wanted.deployed)
        bundled, own_refs, shallow = await self._bundle(deployed)
        changes = self._without(await read_changes(git, repository, "index"), wanted.apart)
        await self._patches(changes)
        await self._tar(UNTRACKED, "work", changes.untracked, "untracked files")
        built = await self._built(wanted.built)
        objects = await find_lfs_objects(
            git, repository, self.seen.head[0], changes, self._further()
        )
        missing = await self._lfs(objects)
        modules = await self._submodules(changes)
        self._tell(changes, shallow)
        migrations = read_migrations(repository.work_tree)
        head, branch = self.seen.head
        facts = CodeFacts(
            worktree=str(repository.work_tree),
            head=head,
            branch=branch,
            refs=tuple(sorted(bundled.refs.items())),
            staged=changes.staged,
            unstaged=changes.unstaged,
            untracked=len(changes.untracked),
            stashes=len(self.seen.stashes),
            submodules=tuple((module.path, module.commit) for module in modules),
            lfs_objects=len(objects) - missing,
            lfs_missing=missing,
            artifacts=built,
            deployed=deployed,
            migration_head=migrations[-1] if migrations else None,
            migrations=migrations,
            own_refs=own_refs,
            symbolic_refs=self._symbolic_refs(),
            stash_messages=tuple(stash.message for stash in self.seen.stashes),
            remotes=await read_remotes(git, repository.place),
            modules=tuple(modules),
            shallow=shallow,
            unmerged=changes.unmerged,
            object_format=bundled.object_format,
        )
        return CapturedCode(facts, self.artifacts, self.warnings)

    def _make_directory(self) -> None:
        current = self.directory
        for name in filter(None, self.below.split("/")):
            current /= name
            current.mkdir(mode=0o700, exist_ok=True)

    def _symbolic_refs(self) -> tuple[tuple[str, str], ...]:
        names = {ref.name: ref.shown for ref in self.seen.refs}
        return tuple(
            (ref.shown, names[ref.follows]) for ref in self.seen.refs if ref.follows in names
        )

    async def _bundle(self, deployed: str | None) -> tuple[BundleReader, str, tuple[str, ...]]:
        """Store the bundle of every ref and of what no ref names; returns what is in it."""
        git, repository = self.git, self.repository
        hash_name = await object_format(git, repository.place)
        own_refs, own = await self._own_refs(deployed)
        reader = BundleReader()
        reader.object_format = hash_name
        shallow = read_shallow(repository)
        if not self.seen.refs and not own:
            return reader, own_refs, shallow  # git refuses to make an empty one
        place = await borrow(
            git,
            repository.objects,
            git.work / "borrowed.git",
            refs=self.seen.refs,
            own=own,
            head=self.seen.head,
            shallow=shallow,
            hash_name=hash_name,
        )
        command = git.command("bundle", "create", "--quiet", "-", "--all", at=place)
        try:
            await self._store_output(BUNDLE, "bundle", command, packed=True, reader=reader)
            reader.finish()
        except (ToolError, ValueError) as error:
            raise self._not_bundled(error) from error
        self._check_refs(reader, own)
        return reader, own_refs, shallow

    def _not_bundled(self, error: ToolError | ValueError) -> ToolError:
        partial = (
            "It may be a partial clone, which has only some of its objects: git fetch --refetch, "
            "or clone it whole."
        )
        why = error.why if isinstance(error, ToolError) else str(error)
        return ToolError(
            f"NOT CAPTURED: git can't bundle the repository of {self.repository.work_tree}.",
            why=why,
            fix=f"git -C {self.repository.work_tree} fsck --full tells what is missing. {partial}",
        )

    def _check_refs(self, reader: BundleReader, own: dict[str, str]) -> None:
        expected = {ref.shown: ref.commit for ref in self.seen.refs} | own
        head = self.seen.head[0]
        found = reader.refs
        if found != expected | ({"HEAD": head} if head else {}):
            lacking = sorted(set(expected.items()) ^ set(found.items()))[:_SHOWN]
            raise ToolError(
                f"NOT CAPTURED: the bundle of {self.repository.work_tree} lacks refs.",
                why=", ".join(name for name, _commit in lacking) + " is not as it should be.",
            )
        reader.refs = expected

    async def _own_refs(self, deployed: str | None) -> tuple[str, dict[str, str]]:
        """Return names of ours for commits that no ref names, below a prefix nobody else has."""
        prefix, number = "refs/fsbackup/", 1
        while any(ref.name.startswith(prefix.encode()) for ref in self.seen.refs):
            number += 1
            prefix = f"refs/fsbackup-{number}/"
        named = {f"stash/{n}": stash.commit for n, stash in enumerate(self.seen.stashes)}
        head, branch = self.seen.head
        if head is not None and branch is None:
            named["head"] = head
        if deployed is not None:
            named["deployed"] = deployed
        named |= dict(read_other_heads(self.repository))
        there = await present_commits(self.git, self.repository.place, named.values())
        for name, commit in named.items():
            if commit not in there and not name.startswith("ORIG_HEAD"):
                self.warnings.append(f"the commit of {name}, {commit[:12]}, is not there any more")
        return prefix, {
            f"{prefix}{name}": commit for name, commit in named.items() if commit in there
        }

    async def _patches(self, changes: Changes) -> None:
        git, repository = self.git, self.repository
        if changes.staged:
            await self._store_output(STAGED, "work", staged_patch(git, repository, changes))
        if changes.unstaged:
            await self._store_output(UNSTAGED, "work", unstaged_patch(git, repository, changes))

    async def _store_output(
        self,
        name: str,
        role: ArtifactRole,
        command: Command,
        *,
        packed: bool = False,
        reader: BundleReader | None = None,
    ) -> None:
        chain = replace(self.chain, compression=None) if packed else self.chain
        stored = self._stored(name, chain)
        written = await write_from_command(
            self.directory / stored,
            chain,
            command,
            report=self.git.report,
            redactor=self.git.redactor,
            inspect=None if reader is None else reader.feed,
        )
        self.artifacts.append(written.artifact(self.directory, stored, role))

    def _stored(self, name: str, chain: Chain) -> str:
        return f"{self.below}{name}{chain.suffix}"

    async def _tar(self, name: str, role: ArtifactRole, names: Sequence[bytes], what: str) -> Taken:
        taken = Taken()
        if not names:
            return taken
        stored = self._stored(name, self.chain)
        top = self.repository.work_tree

        def produce(sink: Sink) -> None:
            write_tar(sink, top, names, taken)

        written = await write_artifact(self.directory / stored, self.chain, produce)
        self.artifacts.append(written.artifact(self.directory, stored, role))
        for listed, words in (
            (taken.skipped, "are no files (sockets, pipes, devices), and left out"),
            (taken.vanished, "vanished before they were read"),
            (taken.changed, "changed while they were read"),
        ):
            if listed:
                shown = ", ".join(listed[:_SHOWN]) + (" …" if len(listed) > _SHOWN else "")
                self.warnings.append(f"{what}: {len(listed)} {words}: {shown}")
        return taken

    async def _built(self, paths: Sequence[Path]) -> tuple[str, ...]:
        """Store what was built; returns the paths that were there."""
        top = self.repository.work_tree
        found: list[Path] = []
        for path in dict.fromkeys(paths):
            relative = _below_top(top, path)
            there = top / relative
            if there.exists() or there.is_symlink():
                found.append(relative)
            else:
                self.warnings.append(f"the artifact {relative} is not there, and not captured")
        # What lies in another one is in its tree already.
        roots = [one for one in found if not any(one != o and o in one.parents for o in found)]
        await self._tar(BUILT, "archive", [os.fsencode(str(root)) for root in roots], "artifacts")
        return tuple(str(relative) for relative in found)

    def _further(self) -> list[str]:
        """Return the commits whose LFS objects may be here alone: no server has named them."""
        kept = [ref.commit for ref in self.seen.refs if not ref.name.startswith(_REMOTE)]
        # What was staged and what was untracked are parents of a stash.
        stashed = [text for each in self.seen.stashes for text in (each.commit, f"{each.commit}^@")]
        return list(dict.fromkeys([*kept, *stashed]))

    async def _lfs(self, objects: Sequence[LfsObject]) -> int:
        """Store the LFS objects that are there; returns how many are not, or are damaged."""
        there = [each for each in objects if each.is_there]
        damaged: list[str] = []
        if there:
            chain = replace(self.chain, compression=None)
            stored = self._stored(LFS, chain)

            def produce(sink: Sink) -> None:
                write_lfs(sink, ((each.path, each.member, each.oid) for each in there), damaged)

            written = await write_artifact(self.directory / stored, chain, produce)
            self.artifacts.append(written.artifact(self.directory, stored, "archive"))
        missing = len(objects) - len(there) + len(damaged)
        if missing:
            self.warnings.append(
                f"{missing} LFS objects are not here (git lfs fetch --all brings them), or damaged"
            )
        return missing

    async def _submodules(self, changes: Changes) -> list[SubmoduleFacts]:
        found = []
        git, repository = self.git, self.repository
        listed = await read_submodules(git, repository.place, changes.index)
        for number, module in enumerate(listed, start=1):
            below = f"{self.below}{SUBMODULES}/{number}/"
            top = repository.work_tree / module.path
            if not (top / ".git").exists() or below.count(SUBMODULES) > _DEEPEST:
                found.append(SubmoduleFacts(_shown(module.path), module.url, module.commit))
                continue
            captured = await capture_work_tree(
                git, top, self.directory, self.chain, Wanted(), below=below
            )
            self.artifacts += captured.artifacts
            self.warnings += [f"{_shown(module.path)}: {text}" for text in captured.warnings]
            found.append(
                SubmoduleFacts(
                    _shown(module.path), module.url, module.commit, below.rstrip("/"),
                    captured.facts,
                )
            )  # fmt: skip
        return found

    async def _deployed(self, path: Path | None) -> str | None:
        """Return the commit that a file names; None, with a warning, where it names none."""
        if path is None:
            return None
        text = _read_start(path)
        if text is None:
            self.warnings.append(f"{path}, which names the deployed commit, can't be read")
            return None
        match = _COMMIT.match(text.strip().lower())
        if match is None:
            self.warnings.append(f"{path} names no commit")
            return None
        found = await self.git.run(
            "rev-parse", "--quiet", "--verify", f"{match[0]}^{{commit}}",
            at=self.repository.place, check=False,
        )  # fmt: skip
        commit = found.stdout.decode("ascii", "replace").strip()
        if found.exit_status != 0 or not OBJECT_ID.fullmatch(commit):
            self.warnings.append(f"the deployed commit {match[0][:12]} is not in the repository")
            return None
        return commit

    def _tell(self, changes: Changes, shallow: Sequence[str]) -> None:
        self.warnings += [text.removeprefix("warning: ") for text in self.seen.unreadable]
        if shallow:
            self.warnings.append(
                f"a shallow clone: the history before {len(shallow)} commits is not here, and not "
                "in the bundle, which git clone refuses (fsbackup restores it, and RECOVER.md "
                "says how); git fetch --unshallow brings the rest"
            )
        if changes.unmerged:
            self.warnings.append(
                f"a merge is not done: {changes.unmerged} files in conflict are captured as they "
                "lie in the work tree; the commit that is merged is kept as a ref of ours"
            )
        others = count_other_work_trees(self.repository)
        if others:
            self.warnings.append(
                f"{others} other work trees share the repository: their commits are captured, "
                "their uncommitted work is not"
            )


def _below_top(top: Path, path: Path) -> Path:
    """Return an artifact's path relative to the work tree; ToolError where it is not below it."""
    absolute = Path(os.path.normpath(top / path))
    if absolute == top or not absolute.is_relative_to(top):
        raise ToolError(
            f"NOT CAPTURED: the artifact {path} does not lie below {top}.",
            fix="Name what was built, below the work tree; capture the rest with kind: files.",
        )
    relative = absolute.relative_to(top)
    if relative.parts[0] == ".git":
        raise ToolError("NOT CAPTURED: .git is no artifact; the bundle has what is in it.")
    return relative


def _read_start(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_DEPLOYED).decode("ascii", "replace")
    except OSError:
        return None


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
