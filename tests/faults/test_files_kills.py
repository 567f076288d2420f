"""kill -9 at every step of putting files back, taking them back, and exchanging trees.

Whatever moment it comes at, live is wholly the former or wholly the new, file by file or as a
tree, and what was begun is undone by its list, or brought to its end by being asked again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import (
    DropTreeRequest,
    FilesBesideRequest,
    FilesExchangeRequest,
    FilesPutBackRequest,
    FilesRollbackRequest,
    FilesTakeBackRequest,
    TreesRequest,
)
from tests.support.file_sites import PART, FileSite, copy_tree, make_file_site, snapshot
from tests.support.killed_work import run_until_killed

MOST_MOMENTS = 200
PUT = (
    "fsbackup_tui.repository.tree_marks:write_mark",
    "fsbackup_tui.repository.tree_marks:Path.mkdir",
    "fsbackup_tui.operations.files_staging:remove_mark",
    "fsbackup_tui.repository.undo_lists:UndoWriter.__exit__",
    "fsbackup_tui.engines.trees.opened:OpenTree.remove",
    "fsbackup_tui.engines.trees.placing:exchange",
    "fsbackup_tui.engines.trees.placing:rename_new",
    "fsbackup_tui.operations.files_put_back:place",
    "fsbackup_tui.operations.files_take_back:_make_root",
)
BACK = (
    "fsbackup_tui.engines.trees.placing:exchange",
    "fsbackup_tui.engines.trees.placing:_unlink",
    "fsbackup_tui.engines.trees.placing:_remove_directory",
    "fsbackup_tui.operations.files_take_back:remove_work",
)
EXCHANGE = (
    "fsbackup_tui.operations.files_exchange:write_mark",
    "fsbackup_tui.operations.files_exchange:remove_mark",
    "fsbackup_tui.engines.trees.exchanging:exchange",
    "fsbackup_tui.engines.trees.exchanging:rename_new",
)


def ask(files: FileSite, request: Request) -> dict[str, Any]:
    return asyncio.run(files.ask(request))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FileSite:
    made = make_file_site(tmp_path_factory.mktemp("kills"))
    made.back_up()
    copy_tree(made.root, made.root.parent.parent / "kept")
    made.context()
    return made


def reset(files: FileSite) -> dict[str, tuple[object, ...]]:
    """Make live the damaged tree, with nothing beside it; returns what it holds."""
    for path in files.root.parent.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(files.site.state / "trees", ignore_errors=True)
    for state in files.site.state.glob("*/trees"):
        shutil.rmtree(state)
    copy_tree(files.root.parent.parent / "kept", files.root)
    shutil.rmtree(files.root / "videos")
    (files.root / "faces/1.jpg").unlink()
    (files.root / "faces/2.jpg").write_bytes(b"a user's newer face")
    return snapshot(files.root, times=True)


def moments(
    files: FileSite, request: Request, gates: tuple[str, ...]
) -> Iterator[tuple[int, bool]]:
    """Kill the request at each moment it has; yields which one, and whether it was killed.

    The caller sets all up again before the next.
    """
    for moment in range(MOST_MOMENTS):
        killed = run_until_killed(lambda: ask(files, request), gates, moment)
        yield moment, killed
        if not killed:
            assert moment > 5, "it has more moments than these"
            return
    raise AssertionError("it has no end")


def drop_leftovers(files: FileSite) -> None:
    for tree in ask(files, TreesRequest(PART))["trees"]:
        assert tree["held_by"] == ""
        ask(files, DropTreeRequest(PART, name=tree["name"], inode=tree["inode"]))


def test_putting_back(made: FileSite) -> None:
    damaged = reset(made)
    request = FilesPutBackRequest(
        PART, made.point, patterns=("faces/*", "videos"), conflict="overwrite", tag="k"
    )
    whole = {**damaged, **{n: e for n, e in made.before.items() if n[:2] in ("fa", "vi")}}
    for moment, _killed in moments(made, request, PUT):
        live = snapshot(made.root, times=True)
        for name, entry in live.items():
            told = f"moment {moment}: {name}"
            if entry[0] == "directory":
                assert name in whole, told
            else:
                assert entry in (damaged.get(name), whole.get(name)), told
        # Killed before the list was whole, nothing of it is in live.
        with suppress(UsageError):
            ask(made, FilesTakeBackRequest(PART, undo="k"))
        assert snapshot(made.root, times=True) == damaged, moment
        drop_leftovers(made)
        assert made.beside == [], moment
        damaged = reset(made)


def test_a_whole_tree_put_back_where_none_was(made: FileSite) -> None:
    reset(made)
    shutil.rmtree(made.root)
    request = FilesPutBackRequest(PART, made.point, tag="k")
    # What comes in between, one by one, is killed in the other tree.
    gates = tuple(gate for gate in PUT if not gate.endswith((":exchange", ":rename_new")))
    for moment in range(MOST_MOMENTS):
        killed = run_until_killed(lambda: ask(made, request), gates, moment)
        if not killed:
            assert snapshot(made.root, times=True) == made.before
        with suppress(UsageError):
            ask(made, FilesTakeBackRequest(PART, undo="k"))
        assert not made.root.exists(), moment
        drop_leftovers(made)
        assert made.beside == []
        reset(made)
        shutil.rmtree(made.root)
        if not killed:
            break


def test_taking_back(made: FileSite) -> None:
    put = FilesPutBackRequest(
        PART, made.point, patterns=("faces/*", "videos"), conflict="overwrite", tag="k"
    )
    reset(made)
    ask(made, put)
    for moment, _killed in moments(made, FilesTakeBackRequest(PART, undo="k"), BACK):
        ask(made, FilesTakeBackRequest(PART, undo="k"))
        damaged = snapshot(made.root, times=True)
        assert made.beside == [], moment
        assert damaged["faces/2.jpg"][0] == b"a user's newer face"
        assert "faces/1.jpg" not in damaged
        assert "videos" not in damaged
        reset(made)
        ask(made, put)


def test_exchanging_and_back(made: FileSite) -> None:
    def exchange() -> tuple[FilesExchangeRequest, Path]:
        tree = ask(made, FilesBesideRequest(PART, made.point, tag="k"))
        inode = made.root.stat().st_ino
        request = FilesExchangeRequest(
            PART, made.point, tree=tree["tree"], inode=tree["inode"], live_inode=inode
        )
        return request, Path(tree["tree"])

    ends = 0
    for moment in range(MOST_MOMENTS):
        damaged = reset(made)
        request, _tree = exchange()
        killed = run_until_killed(lambda: ask(made, request), EXCHANGE, moment)  # noqa: B023
        assert snapshot(made.root, times=True) in (damaged, made.before), moment
        done = ask(made, request)
        assert snapshot(made.root, times=True) == made.before
        assert snapshot(Path(done["kept_as"]), times=True) == damaged
        assert len(made.beside) == 2, made.beside
        back = FilesRollbackRequest(
            PART,
            made.point,
            kept_as=done["kept_as"],
            kept_inode=done["kept_inode"],
            live_inode=done["inode"],
        )
        killed_back = run_until_killed(lambda: ask(made, back), EXCHANGE, moment)  # noqa: B023
        assert snapshot(made.root, times=True) in (damaged, made.before), moment
        undone = ask(made, back)
        assert snapshot(made.root, times=True) == damaged
        assert snapshot(Path(undone["kept_as"]), times=True) == made.before
        drop_leftovers(made)
        assert made.beside == [], moment
        if not killed and not killed_back:
            ends = moment
            break
    assert ends > 5
