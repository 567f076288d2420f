"""Rows and files put side by side: what is missing, what differs, and that nothing can be read."""

from __future__ import annotations

from collections.abc import Iterator
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
