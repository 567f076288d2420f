"""Git LFS in a work tree: what pointers stand for is captured and comes back, without git-lfs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.repositories import begin, commit, files_of, git, pointer
from tests.support.sites import Site, make_site

pytestmark = pytest.mark.machine

BIG = bytes(range(256)) * 3000


@dataclass
class Large:
    """A work tree with LFS files, and the point that was taken of it."""

    base: Path
    site: Site
    tree: Path
    point: str


def keep(tree: Path, content: bytes) -> str:
    """Put an object where git-lfs keeps it and return its pointer."""
    text, oid = pointer(content)
    place = tree / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    place.mkdir(parents=True, exist_ok=True)
    (place / oid).write_bytes(content)
    return text


def make_tree(directory: Path) -> Path:
    """Make LFS files in every state: as committed, changed, staged, stashed, on a branch."""
    tree = begin(directory)
    commit(
        tree, "one", same__bin=keep(tree, BIG), changed__bin=keep(tree, b"first" * 99),
        **{".gitattributes": "bin filter=lfs\n", "page": "one\n"},
    )  # fmt: skip
    git(tree, "checkout", "--quiet", "-b", "feature")
    commit(tree, "two", feature__bin=keep(tree, b"of a branch" * 50))
    git(tree, "checkout", "--quiet", "main")
    (tree / "changed" / "bin").write_text(keep(tree, b"stashed" * 70))
    git(tree, "stash", "push", "--quiet")
    (tree / "staged").mkdir()
    (tree / "staged" / "bin").write_text(keep(tree, b"staged" * 80))
    git(tree, "add", "staged")
    # git-lfs has the content itself in the work tree.
    (tree / "staged" / "bin").write_bytes(b"staged" * 80)
    (tree / "same" / "bin").write_bytes(BIG)
    (tree / "changed" / "bin").write_bytes(b"not staged" * 200)
    (tree / "page").write_text("two\n")
    return tree


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    base = tmp_path_factory.mktemp("large")
    tree = make_tree(base / "tree")
    before = files_of(tree / ".git")
    settings = {
        "sources": {"code": {"kind": "code", "worktree": str(tree)}},
        "plans": {"daily": {"sources": ["code"], "verify": "restored"}},
    }
    site = make_site(base / "site", "-", settings=settings)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    assert files_of(tree / ".git") == before
    return Large(base, site, tree, str(done.document["point"]))


def files_in(tree: Path) -> dict[str, bytes]:
    found = tree.rglob("bin")
    return {str(path.relative_to(tree)): path.read_bytes() for path in found}


def test_objects_of_what_is_changed_stashed_and_on_branches_are_captured(large: Large) -> None:
    facts = PointReader(open_repository(large.site.repository), large.point).part("code").code
    assert facts is not None
    assert (facts.lfs_objects, facts.lfs_missing) == (6, 0)
    # What stands there as it was committed is no change, though git sees another text.
    assert (facts.staged, facts.unstaged) == (1, 2)


def test_files_come_back_with_their_content(large: Large) -> None:
    target = large.base / "applied"
    done = large.site.run(
        "restore", large.point, "--part", "code", "--to", str(target), "--apply-work", "--json"
    )
    assert done.exit_code == 0, done.stderr + done.stdout
    assert files_in(target) == files_in(large.tree)
    assert (target / "page").read_text() == "two\n"
    stashed = git(target, "show", "stash@{0}:changed/bin").decode()
    oid = stashed.split("sha256:")[1].split("\n")[0]
    assert (target / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}").read_bytes() == b"stashed" * 70


def test_the_pasted_commands_work_where_git_lfs_fills_files_in(
    large: Large, tmp_path: Path
) -> None:
    """What git-lfs does once it is set up for a user: it fails where an object is not there."""
    point = large.site.repository / "points" / large.point
    chapter = (point / "RECOVER.md").read_text().split("(part code)")[1].split("\n## ")[0]
    blocks = [block.split("```")[0] for block in chapter.split("```sh\n")[1:]]
    script = "set -eu\n" + "".join(block for block in blocks if "apply" not in block)
    script = script.replace(' lfs install --local && git -C "$CODE_TO" lfs checkout', " status")
    smudge = r'"test -n \"${GIT_LFS_SKIP_SMUDGE:-}\" && cat"'
    settings = ['[filter "lfs"]', f"smudge = {smudge}", "clean = cat", "required = true", ""]
    (tmp_path / "gitconfig").write_text("\n".join(settings))
    target = tmp_path / "pasted"
    environment = {**os.environ, "CODE_TO": str(target), "GIT_ALLOW_PROTOCOL": "file",
                   "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
                   "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", script], cwd=point, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (target / "same" / "bin").read_text() == pointer(BIG)[0]
    assert files_of(target / ".git/lfs/objects") != {}
