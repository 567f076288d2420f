"""The index and the list of sums: any name there is, read as written, compared in order."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsbackup_tui.engines.files.index import (
    IndexDamaged,
    IndexEntry,
    count_changes,
    format_entry,
    merge_entries,
    order_key,
    parse_entry,
    read_index,
    read_sums,
    write_index,
    write_sums,
)

component = st.binary(min_size=1, max_size=6).map(
    lambda raw: raw.replace(b"/", b"\\").replace(b"\0", b"\n")
).filter(lambda raw: raw not in (b".", b".."))  # fmt: skip
paths = st.lists(component, min_size=1, max_size=3).map(b"/".join)


def entry(path: bytes, content: bytes = b"x", **changes: object) -> IndexEntry:
    made = IndexEntry(
        path, "file", 0o644, 1, 2, b"an\ta", b"st\\aff", len(content), -5,
        hashlib.sha256(content).hexdigest(), attributes="0" * 16,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def written(entries: list[IndexEntry]) -> bytes:
    out = io.BytesIO()
    ordered = sorted(entries, key=lambda each: order_key(each.path))
    write_index((format_entry(each) for each in ordered), out.write)
    return out.getvalue()


def lines_of(index: bytes) -> Iterator[bytes]:
    return (line + b"\n" for line in index.split(b"\n")[1:-1])


@settings(max_examples=60, deadline=None)
@given(st.sets(paths, max_size=8), st.sets(paths, max_size=8), st.data())
def test_indexes_are_read_and_compared_as_they_were_written(
    old: set[bytes], new: set[bytes], data: st.DataObject
) -> None:
    changed = data.draw(st.sets(st.sampled_from(sorted(old & new)))) if old & new else set()
    before = [entry(path) for path in old]
    after = [entry(path, b"y" if path in changed else b"x") for path in new]
    first, second = written(before), written(after)
    assert {each.path: each for each in read_index(io.BytesIO(first))} == {
        each.path: each for each in before
    }
    lines = lines_of(second)
    assert count_changes(io.BytesIO(first), lines) == (
        len(new - old), len(old - new), len(changed),
    )  # fmt: skip
    pairs = [*merge_entries(read_index(io.BytesIO(first)), read_index(io.BytesIO(second)))]
    assert {a.path for a, _ in pairs if a} == old
    assert {b.path for _, b in pairs if b} == new
    assert all(a is None or b is None or a.path == b.path for a, b in pairs)
    assert len(pairs) == len(old | new)
    sums = io.BytesIO()
    write_sums(lines_of(second), sums.write)
    assert dict(read_sums(io.BytesIO(sums.getvalue()))) == {e.path: e.sha256 for e in after}


def test_stock_tools_check_the_sums_whatever_the_names(tmp_path: Path) -> None:
    names = [b"plain", b"-dash", b"new\nline", b"back\\slash", b"\\n", b"caf\xe9", b"a\rb", b" "]
    entries = []
    for name in names:
        with open(tmp_path / os.fsdecode(name), "wb") as file:  # noqa: PTH123
            file.write(b"content of " + name)
        entries.append(entry(name, b"content of " + name))
    sums = io.BytesIO()
    write_sums((format_entry(each) for each in entries), sums.write)
    command = ["sha256sum", "-c", "--strict", "-"]
    told = subprocess.run(command, input=sums.getvalue(), cwd=tmp_path, check=True,
                          capture_output=True)  # fmt: skip
    assert told.stdout.count(b": OK\n") == len(names)
    damaged = sums.getvalue().replace(b"0", b"1", 1)
    assert subprocess.run(command, input=damaged, cwd=tmp_path, check=False,
                          capture_output=True).returncode == 1  # fmt: skip


def test_directories_come_before_what_is_in_them() -> None:
    ordered = [b".", b"a", b"a/b", b"a/b/c", b"a b", b"a-b", b"a.b"]
    assert sorted(set(ordered), key=order_key) == ordered


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else\n",
        b"fsbackup files index 1\nfile\t-\n",
        b"fsbackup files index 1\n" + format_entry(entry(b"a"))[:-1],
        b"fsbackup files index 1\n" + format_entry(entry(b"b")) + format_entry(entry(b"a")),
        b"fsbackup files index 1\n" + format_entry(entry(b"a")) * 2,
        b"fsbackup files index 1\n" + format_entry(entry(b"a")).replace(b"file", b"fifo"),
        b"fsbackup files index 1\n" + format_entry(entry(b"a")).replace(b"644", b"999"),
    ],
)
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(IndexDamaged):
        [*read_index(io.BytesIO(content))]


def test_states_and_kinds_are_kept() -> None:
    for kind in ("directory", "symlink", "link", "symlink-link"):
        for state in ("", "a", "r", "u"):
            made = entry(b"p", kind=kind, state=state, target=b"to\nthere", sha256=None)
            assert parse_entry(format_entry(made)) == made
