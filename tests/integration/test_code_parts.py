"""Code as a part of a point: captured without a trace, shown good by rebuilding it, cloned back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.repositories import (
    PICTURE,
    begin,
    commit,
    everything,
    files_of,
    git,
    make_odd,
    make_shop,
)
from tests.support.sites import CommandResult, Site, make_site

pytestmark = pytest.mark.machine


@dataclass
class Codes:
    """A site whose sources are work trees, and the point that was taken of them."""

    base: Path
    site: Site
    trees: dict[str, Path]
    done: CommandResult

    @property
    def point(self) -> str:
        return str(self.done.document["point"])

    def part(self, source: str) -> PartManifest:
        return PointReader(open_repository(self.site.repository), self.point).part(source)

    def restore(self, source: str, *options: str) -> tuple[Path, dict[str, Any]]:
        target = self.base / f"{source}-{len(options)}-restored"
        done = self.site.run(
            "restore", self.point, "--part", source, "--to", str(target), *options, "--json"
        )
        assert done.exit_code == 0, done.stderr + done.stdout
        return target, done.document


def traces(tree: Path) -> dict[str, tuple[int, int]]:
    """Return what the file system tells of all that git keeps of a work tree."""
    found = {}
    for root, _directories, files in os.walk(tree / ".git"):
        for name in files:
            facts = Path(root, name).lstat()
            found[os.path.join(root, name)] = (facts.st_mtime_ns, facts.st_size)  # noqa: PTH118
    return found


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Codes:
    base = tmp_path_factory.mktemp("codes")
    library = begin(base / "library")
    commit(library, "a library", **{"code.txt": "lib\n"})
    trees = {"shop": make_shop(base / "shop", library), **make_odd(base, library)}
    (base / "REVISION").write_text(git(trees["shop"], "rev-parse", "--short", "HEAD~1").decode())
    sources: dict[str, Any] = {
        name: {"kind": "code", "worktree": str(tree)} for name, tree in trees.items()
    }
    sources["shop"] |= {"artifacts": [".next", "not-built"], "deployed": str(base / "REVISION")}
    plans = {"daily": {"sources": list(trees), "verify": "restored"}}
    site = make_site(base / "site", "-", settings={"sources": sources, "plans": plans})
    before = {name: traces(tree) for name, tree in trees.items()}
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    assert {name: traces(tree) for name, tree in trees.items()} == before
    assert not (base / "ran").exists()
    git(trees["shop"], "status")
    assert (base / "ran").exists()  # the traps are such as git itself steps into
    return Codes(base, site, trees, done)


def test_it_is_shown_good_and_tells_what_it_is(codes: Codes) -> None:
    verified = codes.site.run("verify", codes.point, "--level", "restored", "--json").document
    assert verified["levels"]["restored"]["ok"] is True, verified
    facts = codes.part("shop").code
    assert facts is not None
    head = git(codes.trees["shop"], "rev-parse", "HEAD").decode().strip()
    assert (facts.head, facts.branch, facts.stashes) == (head, "main", 3)
    assert (facts.lfs_objects, facts.lfs_missing) == (1, 1)
    assert facts.deployed == git(codes.trees["shop"], "rev-parse", "HEAD~1").decode().strip()
    assert (facts.migration_head, facts.artifacts) == ("20260202_likes", (".next",))
    assert facts.remotes == (("origin", "https://git.example.org/shop.git"),)
    assert facts.submodules[0][0] == "lib"
    warnings = " ".join(codes.part("shop").warnings)
    assert "not-built is not there" in warnings
    assert "1 LFS objects are not here" in warnings
    assert "a shallow clone" in " ".join(codes.part("shallow").warnings)
    assert "a merge is not done" in " ".join(codes.part("merging").warnings)
    doctor = codes.site.run("doctor", "--json").document["findings"]
    checked = {one["id"]: (one["severity"], one["why"]) for one in doctor}
    assert checked["source-shop"] == ("warning", "not-built is not there.")
    assert checked["source-linked"][0] == "ok"
    shown = codes.site.run("show", codes.point)
    assert "main at" in shown.stdout
    assert "20260202_likes" in shown.stdout
    everywhere = "".join(p.read_text(errors="replace") for p in _small_files(codes.site.directory))
    assert "s3cret-token" not in everywhere


def _small_files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and "bundle" not in path.name)


@pytest.mark.parametrize("source", ["shop", "unborn", "detached", "shallow", "linked"])
def test_it_comes_back_as_it_was(codes: Codes, source: str) -> None:
    tree = codes.trees[source]
    target, document = codes.restore(source, "--apply-work")
    if source == "detached":
        # What git was told not to look at comes back as work that it sees.
        git(tree, "update-index", "--no-assume-unchanged", "hidden")
        git(tree, "rm", "--quiet", "--cached", "meant")
    original, copy = everything(tree), everything(target)
    assert copy == original
    files = files_of(tree)
    if source == "shop":
        files[b"pictures/a"] = ("file", PICTURE, 0)  # its object is there
    assert files_of(target) == files
    if source == "shop":
        assert any("git-lfs" in note for note in document["notes"])
        assert git(target, "rev-parse", "ORIG_HEAD") == git(tree, "rev-parse", "ORIG_HEAD")
        assert git(target / "lib", "status", "--porcelain") == b" M code.txt\n"
        objects = ".git/lfs/objects"
        assert files_of(target / objects) == files_of(tree / objects) != {}
        assert git(target, "remote", "get-url", "origin") == b"https://git.example.org/shop.git\n"
        assert (target / ".next" / "BUILD_ID").read_text() == "b1\n"


def test_what_no_commit_has_is_offered_beside(codes: Codes) -> None:
    target, document = codes.restore("shop")
    assert everything(target)["status"] == b""
    assert document["offered"] == [
        "staged.patch",
        "unstaged.patch",
        "untracked",
        *["unstaged.patch"],
    ]
    patches = Path(document["patches"])
    git(target, "apply", "--index", str(patches / "staged.patch"))
    git(target, "apply", str(patches / "unstaged.patch"))
    merged, _ = codes.restore("merging", "--apply-work")
    assert "<<<<<<<" in (merged / "a").read_text()
    kept = git(merged, "log", "--format=%s", "refs/fsbackup/MERGE_HEAD", "-1")
    assert kept == b"theirs\n"
    again = codes.site.run("restore", codes.point, "--part", "shop", "--to", str(target))
    assert again.exit_code == 2
    assert "EXISTS ALREADY" in again.stderr


def test_the_pasted_commands_bring_it_back(codes: Codes, tmp_path: Path) -> None:
    point = codes.site.repository / "points" / codes.point
    text = (point / "RECOVER.md").read_text()
    for source in ("shop", "shallow"):
        chapter = text.split(f"(part {source})")[1].split("\n## ")[0]
        blocks = [block.split("```")[0] for block in chapter.split("```sh\n")[1:]]
        blocks = [block for block in blocks if "lfs install" not in block]
        target = tmp_path / source
        script = "set -eu\n" + "".join(blocks)
        environment = {**os.environ, "CODE_TO": str(target), "GIT_ALLOW_PROTOCOL": "file",
                       "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip
        done = subprocess.run(
            ["bash", "-c", script], cwd=point, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        original, copy = everything(codes.trees[source]), everything(target)
        assert copy["status"] == original["status"]
        assert copy["stashes"] == original["stashes"]
        assert files_of(target) == files_of(codes.trees[source])
