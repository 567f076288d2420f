"""Rows and files put side by side: what is missing, what differs, and that nothing can be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fsbackup_tui.domain.links import names_of, rule_of
from fsbackup_tui.engines.link_book import LinkBook, NamedFile, TreeFile

RULE = rule_of("videos", "path", strip=("/uploads/",))
LONG = "long/" + "x" * 300 + ".mp4"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[LinkBook]:
    made = LinkBook(tmp_path / "book")
    yield made
    made.close()
    assert not (tmp_path / "book").exists()


def row(
    value: str, *, size: int | None = None, sha256: bytes | None = None, there: bool = False
) -> NamedFile:
    said, names = names_of(RULE, {"path": value})
    return NamedFile(said, names, size, sha256, there)


def test_rows_and_files_side_by_side(book: LinkBook, tmp_path: Path) -> None:
    book.add_rows(
        3,
        [
            row("/uploads/a.mp4", size=5),
            row("/uploads/a.mp4", size=6),
            row("b%20c.mp4", sha256=b"\1" * 32),
            row("secret-name.mp4", there=True),
            row(LONG),
            row("../out.mp4"),
            row("twice%25.mp4"),
        ],
    )
    files = [
        TreeFile(b"a.mp4", 5, b"\2" * 32),
        TreeFile(b"b c.mp4", 1, b"\3" * 32),
        TreeFile(b"twice%25.mp4", 1, None),
        TreeFile(b"twice%.mp4", 1, None),
        TreeFile(b"nobody.mp4", 1, None),
    ]
    book.add_tree("uploads", [TreeFile(b"a.mp4", 99, None)])
    book.add_tree("uploads", files)
    joined = book.join(3, "uploads")
    assert (joined.rows, joined.missing, joined.differing) == (7, 3, 2)
    assert (joined.vanished, joined.outside) == (1, 1)
    assert list(book.missing(3, "uploads")) == ["secret-name.mp4", LONG, "../out.mp4"]
    assert list(book.missing(3, "uploads", limit=1)) == ["secret-name.mp4"]
    assert list(book.vanished(3, "uploads")) == ["secret-name.mp4"]
    assert list(book.differing(3, "uploads")) == ["/uploads/a.mp4", "b%20c.mp4"]
    assert book.unnamed([3], "uploads") == 1
    assert book.join(3, "elsewhere").missing == 7
    assert book.join(4, "uploads").rows == 0
    content = (tmp_path / "book").read_bytes()
    assert b"secret-name" not in content
    assert b"nobody" not in content
    assert (tmp_path / "book").stat().st_mode & 0o777 == 0o600


def test_the_sums_tell_sets_of_rows_apart(book: LinkBook) -> None:
    """Not by their number alone: which rows are without a file counts, not in which order."""
    book.add_rows(0, [row("a"), row("b"), row("c")])
    book.add_rows(1, [row("c"), row("a"), row("b")])
    book.add_rows(2, [row("a"), row("b"), row("d")])
    book.add_tree("whole", [TreeFile(name, 1, None) for name in (b"a", b"b", b"c", b"d")])
    book.add_tree("less-a", [TreeFile(name, 1, None) for name in (b"b", b"c")])
    book.add_tree("less-b", [TreeFile(name, 1, None) for name in (b"a", b"c")])
    assert book.join(0, "whole") == book.join(1, "whole")
    assert book.join(0, "whole").sums != book.join(2, "whole").sums
    one, other = book.join(0, "less-a"), book.join(0, "less-b")
    assert (one.missing, other.missing) == (1, 1)
    assert one.sums != other.sums


def test_a_link_that_is_read_anew_is_read_once(book: LinkBook) -> None:
    book.add_rows(0, [row("a"), row("b")])
    book.add_rows(1, [row("c")])
    book.forget_link(0)
    assert book.add_rows(0, [row("a")]) == 1
    assert [book.join(link, "none").rows for link in (0, 1)] == [1, 1]


def test_only_what_a_row_means_is_taken(book: LinkBook) -> None:
    book.add_rows(0, [row("50%25.jpg"), row("gone.jpg")])
    book.want_all_named()
    asked = [b"50%.jpg", b"other.jpg", b"50%25.jpg"]
    assert [book.take_wanted("point", TreeFile(name, 7, None)) for name in asked] == [
        True,
        False,
        True,
    ]
    assert book.bytes_of("point") == 14
    assert list(book.missing(0, "point")) == ["gone.jpg"]


def symlink(name: bytes, leads: bytes) -> TreeFile:
    return TreeFile(name, None, None, leads)


def test_a_symlink_counts_as_the_file_that_it_leads_to(book: LinkBook) -> None:
    names = ("v7.mp4", "far.mp4", "v8.mp4", "dangling.mp4", "circle.mp4", "too/far.mp4")
    book.add_rows(0, [row(name, size=7, sha256=b"\1" * 32) for name in names])
    book.add_rows(1, [row("v7.mp4", size=8)])
    chain = [b"1", b"2", b"3", b"far.mp4", b"too/far.mp4"]
    files = [
        symlink(b"1", b"v8.mp4"),
        *(symlink(name, before) for before, name in pairwise(chain)),
        symlink(b"circle.mp4", b"circle.mp4"),
        symlink(b"dangling.mp4", b"gone.mp4"),
        symlink(b"v7.mp4", b"v8.mp4"),
        TreeFile(b"v8.mp4", 7, b"\1" * 32),
        TreeFile(b"nobody.mp4", 1, None),
    ]
    book.add_tree("uploads", files)
    assert list(book.missing(0, "uploads")) == ["dangling.mp4", "circle.mp4", "too/far.mp4"]
    assert [book.join(link, "uploads").differing for link in (0, 1)] == [0, 1]
    assert book.found_bytes(0, "uploads") == 7
    assert book.bytes_of("uploads") == 8
    assert book.unnamed([1], "uploads") == book.unnamed([0, 1], "uploads") == 1


def test_a_tree_with_symlinks_can_be_taken_as_if_they_were_not_there(book: LinkBook) -> None:
    """So points were captured before symlinks counted."""
    book.add_rows(0, [row("v7.mp4"), row("v8.mp4")])
    file = TreeFile(b"v8.mp4", 7, None)
    book.add_tree("without", [file])
    book.add_tree("with", [symlink(b"v7.mp4", b"v8.mp4"), file])
    assert book.join(0, "with", symlinks=False) == book.join(0, "without")
    assert book.join(0, "with").sums != book.join(0, "without").sums


def test_a_wanted_symlink_wants_its_way_and_its_file(book: LinkBook) -> None:
    book.add_rows(0, [row("v7.mp4"), row("dangling.mp4")])
    book.want_all_named()
    file, other = TreeFile(b"v8.mp4", 7, None), TreeFile(b"other.mp4", 7, None)
    links = {b"v7.mp4": b"way.mp4", b"way.mp4": b"v8.mp4", b"not.mp4": b"other.mp4"}
    links[b"dangling.mp4"] = b"gone.mp4"
    book.add_tree("whole", [*(symlink(*each) for each in links.items()), file, other])
    book.want_through("whole")
    taken = [name for name in links if book.take_symlink("point", "whole", name)]
    assert taken == [b"v7.mp4", b"way.mp4"]
    assert [book.take_through("point", each) for each in (file, other)] == [True, False]
    assert list(book.missing(0, "point")) == ["dangling.mp4"]
    assert book.bytes_of("point") == 7
