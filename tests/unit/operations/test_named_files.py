"""What a row names is looked for as a tree is captured; what is no name does not fill manifests."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.domain.links import rule_of
from fsbackup_tui.operations.links import named_file, shown

RULE = rule_of("videos", "path")


def was_there(root: Path, name: str) -> bool:
    found = named_file(RULE, {"path": name}, os.fsencode(root))
    assert found is not None
    return found.there


def test_only_files_were_there_when_the_rows_were_read(tmp_path: Path) -> None:
    """Or symlinks that lead to one: nothing else has gone away in between."""
    (tmp_path / "a.mp4").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "b.mp4").touch()
    (tmp_path / "same").symlink_to("directory")
    links = {
        "link.mp4": "a.mp4",
        "directory/up.mp4": "../link.mp4",
        "absolute": str(tmp_path / "a.mp4"),
        "out": f"../{tmp_path.name}/a.mp4",
        "dangling": "none",
        "circle": "circle",
        "to-directory": "directory",
        "behind": "same/b.mp4",
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    for name in ("a.mp4", "link.mp4", "directory/up.mp4"):
        assert was_there(tmp_path, name)
    for name in (*list(links)[2:], "directory", "none", "a.mp4/x", "x" * 70_000):
        assert not was_there(tmp_path, name), name[:20]


def test_a_picture_as_text_is_told_of_in_short() -> None:
    picture = "data:image/png;base64," + "A" * 1_000_000
    assert len(shown(picture)) < 5000
    assert shown("a" * 4096) == "a" * 4096
    assert shown("caf\udce9") == "caf\\xe9"
