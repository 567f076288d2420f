"""Captured trees come back as they were, and trees that change under the reader are told of."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import FilesUnreadable
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.compare import compare_tree
from fsbackup_tui.engines.files.extract import examine_archive, extract_archive
from fsbackup_tui.engines.files.tar_program import TarProgram, find_tar
from fsbackup_tui.engines.files.verify import compare_archive, content_digest, read_list
from fsbackup_tui.engines.files.walk import Selection, Walk
from tests.support.captured_trees import CapturedTree, capture_tree
from tests.support.odd_trees import LONGEST, NOT_UTF8, make_odd_tree, tree_state

BIG = 8 << 20


async def assert_whole(tree: CapturedTree) -> None:
    """What verification asks of a part: archive, index and sums agree with each other."""
    listed = await tree.read("index", read_list)
    assert [*listed.differences(tree.facts)] == []
    assert await tree.read("sums", content_digest) == listed.sums_digest
    assert await tree.read("archive", lambda stream: compare_archive(stream, listed)) == []


def stock_extract(tree: CapturedTree, target: Path) -> None:
    """Extract and check as a person without fsbackup would."""
    target.mkdir()
    archive = tree.path("archive").read_bytes()
    words = ["tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--acls"]
    words += ["--delay-directory-restore", "--warning=no-timestamp", "-C", str(target)]
    subprocess.run(words, input=archive, check=True)
    if sums := tree.path("sums").read_bytes():
        told = subprocess.run(
            ["sha256sum", "-c", "--quiet", "-"],
            input=sums,
            cwd=target,
            check=False,
            capture_output=True,
        )
        unreadable = [line for line in told.stderr.splitlines() if b"mode-0" in line]
        assert told.returncode == 0 or unreadable, told.stdout + told.stderr


async def _comes_back(root: Path, tmp_path: Path) -> CapturedTree:
    before = tree_state(root)
    tree = await capture_tree(root, tmp_path / "part")
    assert tree_state(root) == before
    stock_extract(tree, tmp_path / "stock")
    assert tree_state(tmp_path / "stock") == before
    target = tmp_path / "ours"
    target.mkdir()
    archive, artifact = tree.path("archive"), tree.artifacts["archive"]
    plan = await examine_archive(archive, artifact, ReadingKeys(), twice=await twice(tree))
    await extract_archive(archive, artifact, ReadingKeys(), target, plan, await find_tar())
    assert tree_state(target) == before
    await assert_whole(tree)
    entries = (await tree.entries()).values()
    assert [*compare_tree(Walk(target), entries)] == []
    return tree


async def twice(tree: CapturedTree) -> set[bytes]:
    return {path for path, entry in (await tree.entries()).items() if entry.state}


async def test_every_oddity_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_odd_tree(root)
    if os.geteuid() != 0:
        (root / "mode-0").unlink()
    tree = await _comes_back(root, tmp_path)
    facts = tree.facts
    assert (facts.unsettled.count, facts.reread.count, facts.vanished.count) == (0, 0, 0)
    assert facts.skipped.names == ("pipe (pipe)", "socket (socket)")
    entries = await tree.entries()
    assert entries[b"zz-hard-symlink"].kind == "symlink-link"
    assert {LONGEST, NOT_UTF8, b"new\nline", b"ends\r"} <= entries.keys()
    assert entries[b"zz-hard"].kind == "link"
    assert entries[b"zz-hard"].sha256 == entries[b"plain"].sha256
    assert entries[b"sparse"].size == (9 << 20) + 3
    assert tree.artifacts["archive"].bytes < 1 << 20  # the holes are not stored
    assert facts.bytes > 16 << 20
    (root / "plain").write_bytes(b"another")
    (root / "mode-600").chmod(0o640)
    (root / "a-file").unlink()
    (root / "a-new-file").touch()
    found = {each.path: each.aspects for each in compare_tree(Walk(root), entries.values())}
    found.pop(b".")
    assert found == {
        b"plain": ("size", "time"),
        b"sticky/hard": ("size", "time"),
        b"zz-hard": ("size", "time"),
        b"mode-600": ("mode",),
        b"a-file": (),
        b"a-new-file": (),
    }


@pytest.mark.machine
async def test_owners_attributes_and_access_lists_come_back(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_odd_tree(root, as_root=True)
    tree = await _comes_back(root, tmp_path)
    assert "device (device)" in tree.facts.skipped.names
    entries = await tree.entries()
    assert (entries[b"owned-far"].uid, entries[b"owned-far"].gid) == (3_000_000, 4_000_000)
    assert entries[b"attributed"].attributes


class Gate:
    """Does things to a tree the first time certain bytes pass, while tar can't go on reading.

    tar is stuck then in a file that is larger than every pipe: what it has not read it will read
    as it is afterwards.
    """

    def __init__(self, *acts: tuple[bytes, list[tuple[object, ...]]]) -> None:
        self._acts = list(acts)
        self._last = b""

    def __call__(self, data: bytes) -> None:
        seen = self._last + data
        self._last = seen[-20:]
        while self._acts and self._acts[0][0] in seen:
            for function, *arguments in self._acts.pop(0)[1]:
                assert callable(function)
                function(*arguments)

    @property
    def is_through(self) -> bool:
        return not self._acts


def big(mark: bytes) -> bytes:
    return mark * (BIG // len(mark))


async def test_what_changes_while_it_is_read_is_settled_or_told(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    grows, shrinks, never = root / "b-grows", root / "c-shrinks", root / "d-never"
    for path, mark in ((grows, b"first"), (shrinks, b"large"), (never, b"uneasy")):
        path.write_bytes(big(mark))
    (root / "e-vanishes").write_bytes(b"soon gone")
    (root / "f-old-name").write_bytes(b"renamed")
    (root / "g-calm").write_bytes(b"as it was")
    os.link(grows, root / "z-link")
    gate = Gate(
        (
            b"firstfirst",
            [
                (_append, grows, b"more"),
                ((root / "e-vanishes").unlink,),
                ((root / "f-old-name").rename, root / "f-new-name"),
            ],
        ),
        (b"largelarge", [(os.truncate, shrinks, 17)]),
        (b"uneasyuneasy", [(_append, never, b"1")]),
        # The second reading, of those that changed: all of them have been looked at again.
        (b"firstmore", [(_append, never, b"2")]),
    )
    tree = await capture_tree(root, tmp_path / "part", watch=gate)
    assert gate.is_through
    facts = tree.facts
    assert facts.reread.names == ("b-grows", "c-shrinks", "z-link")
    assert facts.unsettled.names == ("d-never",)
    assert facts.vanished.names == ("e-vanishes", "f-old-name")
    await assert_whole(tree)
    stock_extract(tree, tmp_path / "stock")
    back = tmp_path / "stock"
    assert (back / "b-grows").read_bytes() == big(b"first") + b"more"
    assert (back / "b-grows").stat().st_ino == (back / "z-link").stat().st_ino
    assert (back / "c-shrinks").read_bytes() == big(b"large")[:17]
    assert (back / "g-calm").read_bytes() == b"as it was"
    assert sorted(path.name for path in back.iterdir()) == [
        *("b-grows", "c-shrinks", "d-never", "g-calm", "z-link")
    ]
    entries = await tree.entries()
    states = {path: entry.state for path, entry in entries.items() if entry.state not in ("", "a")}
    assert states == {b"b-grows": "r", b"c-shrinks": "r", b"d-never": "u", b"z-link": "r"}
    plan = await examine_archive(
        tree.path("archive"), tree.artifacts["archive"], ReadingKeys(), twice=await twice(tree)
    )
    assert plan.files >= 5


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


@pytest.mark.parametrize(
    ("stuck", "inside"),
    [("a-big", "file"), ("b-swapped/a-big", "file"), ("b-swapped/a-big", "below/file")],
)
async def test_no_link_that_takes_a_directorys_place_is_followed(
    tmp_path: Path, stuck: str, inside: str
) -> None:
    """tar reads by names: a directory swapped for a link would lead it out of the tree."""
    root, outside, aside = tmp_path / "tree", tmp_path / "outside", tmp_path / "aside"
    swapped = root / "b-swapped"
    for place in (swapped, outside):
        (place / inside).parent.mkdir(parents=True)
        (place / inside).write_bytes(place.name.encode())
    (root / stuck).write_bytes(big(b"long"))
    gate = Gate((b"longlong", [(swapped.rename, aside), (swapped.symlink_to, outside)]))
    with pytest.raises(FilesUnreadable, match=r"tree/b-swapped\.\n.*link took"):
        await capture_tree(root, tmp_path / "part", watch=gate)
    assert gate.is_through
    assert not (tmp_path / "part" / "files.tar").exists()


async def test_what_was_another_file_for_a_while_is_read_again(tmp_path: Path) -> None:
    root, outside, aside = tmp_path / "tree", tmp_path / "outside", tmp_path / "aside"
    swapped = root / "b-swapped"
    swapped.mkdir(parents=True)
    outside.mkdir()
    (swapped / "a-big").write_bytes(big(b"tree"))
    (swapped / "c-file").write_bytes(b"true")
    (swapped / "d-file").write_bytes(b"right")
    (outside / "c-file").write_bytes(big(b"outside"))
    (outside / "d-file").write_bytes(b"false")
    gate = Gate(
        (b"treetree", [(swapped.rename, aside), (swapped.symlink_to, outside)]),
        (b"outsideoutside", [(swapped.unlink,), (aside.rename, swapped)]),
    )
    tree = await capture_tree(root, tmp_path / "part", watch=gate)
    assert gate.is_through
    assert "b-swapped/c-file" in tree.facts.reread.names
    await assert_whole(tree)
    stock_extract(tree, tmp_path / "stock")
    files = tree_files(tmp_path / "stock" / "b-swapped")
    assert (files["c-file"], files["d-file"]) == (b"true", b"right")


def tree_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_patterns_choose_what_is_captured(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for name in ("a/x.tmp", "a/keep", "cache/x", "a/cache/y", "b/c/d.jpg", "b/c/d.txt", "e/f"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    async def captured(include: tuple[str, ...], exclude: tuple[str, ...]) -> set[str]:
        walk = Walk(root, Selection(include, exclude))
        return {entry.path.decode() for entry in walk.entries()}

    everything = {".", "a", "a/keep", "a/x.tmp", "a/cache", "a/cache/y", "cache", "cache/x"}
    everything |= {"b", "b/c", "b/c/d.jpg", "b/c/d.txt", "e", "e/f"}
    assert await captured((), ()) == everything
    without = everything - {"a/x.tmp", "a/cache", "a/cache/y", "cache", "cache/x"}
    assert await captured((), ("*.tmp", "cache/")) == without
    assert await captured(("b/*",), ()) == {".", "b", "b/c", "b/c/d.jpg", "b/c/d.txt"}
    assert await captured(("*.jpg",), ()) == {".", "b", "b/c", "b/c/d.jpg"}
    assert await captured(("a/", "e/f"), ("a/c*",)) == {".", "a", "a/keep", "a/x.tmp", "e", "e/f"}
    assert await captured(("**/[!k]*.t?t",), ()) == {".", "b", "b/c", "b/c/d.txt"}


async def test_what_can_not_be_read_fails_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "tree"
    (root / "closed").mkdir(parents=True)
    (root / "file").write_bytes(b"x")
    with pytest.raises(FilesUnreadable, match=r"nowhere\.\n.*ENOENT"):
        await capture_tree(tmp_path / "nowhere", tmp_path / "part-0")
    listing = os.listdir

    def refuse(path: bytes) -> list[bytes]:
        if path.endswith(b"/closed"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(FilesUnreadable, match=r"tree/closed\.\n.*EACCES"):
            await capture_tree(root, tmp_path / "part-1")
    # A tar that can't open one of the files, and says so as tar does.
    script = tmp_path / "tar"
    script.write_text(
        "#!/bin/sh\nprintf '%s\\n' 'tar: \"fi\\303\\274le\": Cannot open: Input/output error' >&2\n"
        'exec tar "$@"\n'
    )
    script.chmod(0o700)
    with pytest.raises(FilesUnreadable, match="fi\u00fcle") as caught:
        await capture_tree(root, tmp_path / "part-2", program=TarProgram(str(script), "1", True))
    assert "EIO" in caught.value.why
    assert not (tmp_path / "part-2" / "files.tar").exists()


async def test_a_capture_can_be_cancelled(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").write_bytes(big(b"long"))
    hanging = tmp_path / "tar"
    hanging.write_text('#!/bin/sh\ntar "$@"\nexec sleep 600\n')
    hanging.chmod(0o700)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch(_data: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)

    program = TarProgram(str(hanging), "1", attributes=False)
    part = tmp_path / "part"
    task = asyncio.create_task(capture_tree(root, part, watch=watch, program=program))
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert list(part.iterdir()) == []


async def test_equal_trees_have_the_same_state(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "below").mkdir(parents=True)
    (root / "below" / "file").write_bytes(b"1")

    def state() -> str:
        walk = Walk(root)
        assert [entry.path for entry in walk.entries()] == [b".", b"below", b"below/file"]
        return walk.state_sha256

    first = state()
    assert state() == first
    status = (root / "below" / "file").stat()
    (root / "below" / "file").write_bytes(b"2")
    os.utime(root / "below" / "file", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "below" / "file").chmod(0o640)
    assert state() != first
