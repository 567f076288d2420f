"""The filter that stands in for git-lfs, driven by git itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.engines.git.lfs_settings import lfs_settings
from fsbackup_tui.engines.git.program import Git
from tests.support.repositories import begin, commit, git, pointer

pytestmark = pytest.mark.machine


def place(objects: Path, oid: str) -> Path:
    return objects / oid[:2] / oid[2:4] / oid


def configure(tree: Path, settings: dict[str, str]) -> None:
    for key, value in settings.items():
        git(tree, "config", key, value)


def test_what_is_added_is_stored_and_what_is_found_elsewhere_is_taken_over(tmp_path: Path) -> None:
    tree = begin(tmp_path / "tree")
    objects, elsewhere = tmp_path / "objects", tmp_path / "elsewhere"
    large = bytes(range(256)) * 1000
    there, there_id = pointer(b"there" * 100)
    nowhere, _ = pointer(b"nowhere")
    place(elsewhere, there_id).parent.mkdir(parents=True)
    place(elsewhere, there_id).write_bytes(b"there" * 100)
    commit(tree, "one", there=there, nowhere=nowhere, small="no pointer\n", empty="",
           **{".gitattributes": "* filter=lfs\n.gitattributes -filter\n"})  # fmt: skip
    configure(tree, lfs_settings(Git("2", tmp_path), objects, elsewhere, store=True))
    for name in ("there", "nowhere", "small", "empty"):
        (tree / name).unlink()
    git(tree, "checkout", "--quiet", "--", ".")
    assert (tree / "there").read_bytes() == b"there" * 100
    assert place(objects, there_id).read_bytes() == b"there" * 100
    assert (tree / "nowhere").read_text() == nowhere
    assert (tree / "small").read_text() == "no pointer\n"
    assert (tree / "empty").read_bytes() == b""
    (tree / "large").write_bytes(large)
    git(tree, "add", "large", "there", "nowhere", "empty")
    text, oid = pointer(large)
    assert git(tree, "show", ":large").decode() == text
    assert place(objects, oid).read_bytes() == large
    assert git(tree, "show", ":nowhere").decode() == nowhere
    assert git(tree, "diff", "--cached", "--name-only") == b"large\n"
    assert not list(objects.glob(".fsbackup-*"))


def test_reading_stores_nothing(tmp_path: Path) -> None:
    tree = begin(tmp_path / "tree")
    text, _ = pointer(b"as committed")
    commit(tree, "one", page=text, **{".gitattributes": "page filter=lfs\n"})
    configure(tree, lfs_settings(Git("2", tmp_path), tmp_path / "objects"))
    (tree / "page").write_bytes(b"changed since")
    assert pointer(b"changed since")[1].encode() in git(tree, "diff")
    assert not (tmp_path / "objects").exists()
