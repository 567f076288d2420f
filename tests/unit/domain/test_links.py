"""Which file a row names: templates, what is cut off, and what leads out of the root."""

from __future__ import annotations

import hashlib

import pytest

from fsbackup_tui.domain.links import (
    SUPABASE_TABLE,
    BadLink,
    below_root,
    led_to,
    names_of,
    parse_template,
    rule_of,
    sha256_of,
    size_of,
)

CDN = ("https://cdn.example.org/", "/uploads/")


def test_a_template_takes_columns_and_braces() -> None:
    template = parse_template("{user_id}/{{raw}}/{name}.jpg")
    assert template.columns == ("user_id", "name")
    assert template.fill({"user_id": "7", "name": "a b"}) == "7/{raw}/a b.jpg"
    assert template.fill({"user_id": "7", "name": None}) is None
    assert template.fill({"user_id": "", "name": "x"}) is None


@pytest.mark.parametrize("text", ["{", "a}b", "no column", "{{only}}", "{}", "{a{b}}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(BadLink):
        parse_template(text)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a/b.jpg", [b"a/b.jpg"]),
        ("/a//b.jpg", [b"a/b.jpg"]),
        ("./a/./b.jpg", [b"a/b.jpg"]),
        ("a/../b.jpg", [b"b.jpg"]),
        (".hidden/x", [b".hidden/x"]),
        ("a/..b/...", [b"a/..b/..."]),
        ("../b.jpg", []),
        ("a/../../b.jpg", []),
        ("/", []),
        ("dir/", [b"dir"]),
        # As it stands there first: such a name may well be one.
        ("50%25 off.jpg", [b"50%25 off.jpg", b"50% off.jpg"]),
        ("%2e%2e/x", [b"%2e%2e/x"]),
        ("b\u00fccher/\u2028", ["b\u00fccher/\u2028".encode()]),
        ("\udcff.bin", [b"\xff.bin"]),
        ("https://cdn.example.org/a%20b.jpg?v=3", None),
        ("https://cdn.example.org/uploads/c.jpg", [b"c.jpg"]),
        ("/uploads/d.jpg", [b"d.jpg"]),
        ("uploads/d.jpg", [b"uploads/d.jpg"]),
        ("e.jpg?v=3", [b"e.jpg?v=3"]),
    ],
)
def test_a_value_means_these_names(value: str, names: list[bytes] | None) -> None:
    said, found = names_of(rule_of("videos", "path", strip=CDN), {"path": value})
    assert said == value
    if names is None:
        names = [b"a%20b.jpg?v=3", b"a b.jpg?v=3", b"a%20b.jpg", b"a b.jpg"]
    assert list(found) == names


def test_a_row_without_a_value_names_nothing() -> None:
    assert names_of(rule_of("videos", "path"), {"path": None}) == ("", ())
    assert names_of(rule_of("videos", "path"), {"path": ""}) == ("", ())


def test_supabase_objects_lie_under_their_version_or_their_name() -> None:
    rule = rule_of(SUPABASE_TABLE, "name")
    row = {"bucket_id": "avatars", "name": "ana/face.png", "version": "0f1e"}
    assert names_of(rule, row)[1] == (b"avatars/ana/face.png/0f1e", b"avatars/ana/face.png")
    assert names_of(rule, {**row, "version": None})[1] == (b"avatars/ana/face.png",)
    assert rule.size == "metadata.size"
    own = rule_of(SUPABASE_TABLE, "name", path="{bucket_id}/{name}", size="bytes")
    assert names_of(own, row)[1] == (b"avatars/ana/face.png",)
    assert own.size == "bytes"


def test_sizes_and_hashes_are_taken_only_where_they_are_some() -> None:
    digest = hashlib.sha256(b"x").digest()
    assert [size_of(text) for text in ("12", "-1", "1.5", "", None)] == [12, None, None, None, None]
    assert sha256_of(digest.hex().upper()) == digest
    assert sha256_of(f"\\x{digest.hex()}") == digest
    assert [sha256_of(text) for text in ("abc", digest.hex()[:-2], None)] == [None, None, None]


def test_a_name_with_a_nul_is_none() -> None:
    assert below_root(b"a\0b") is None
    assert below_root(b"/a\0b") is None


@pytest.mark.parametrize(
    ("path", "target", "leads"),
    [
        (b"v7.mp4", b"v8.mp4", b"v8.mp4"),
        (b"a/b/v7.mp4", b"../c/./v8.mp4", b"a/c/v8.mp4"),
        (b"a/v7.mp4", b"..//v8.mp4", b"v8.mp4"),
        (b"a/v7.mp4", b"../../v8.mp4", None),
        (b"a/v7.mp4", b"/srv/v8.mp4", None),
        (b"a/v7.mp4", b"perhaps-a-link/../v8.mp4", None),
        (b"a/v7.mp4", b"..", None),
        (b"a/v7.mp4", b"v8.mp4/", None),
        (b"v7.mp4", b"caf\xe9", b"caf\xe9"),
    ],
)
def test_a_symlink_leads_to_what_is_in_the_tree_alone(
    path: bytes, target: bytes, leads: bytes | None
) -> None:
    assert led_to(path, target) == leads
