from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.demo.compare import compare_files

DUMP = "\\restrict {token}\nCREATE TABLE t (a text);\nCOPY t FROM stdin;\n{row}\n\\.\n"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_dumps_that_differ_in_the_guard_alone_are_equal(tmp_path: Path) -> None:
    one = _write(tmp_path / "one", DUMP.format(token="aaa", row="naïve"))
    other = _write(tmp_path / "other", DUMP.format(token="bbb", row="naïve"))
    comparison = compare_files(one, other)
    assert comparison.equal
    assert comparison.lines == 4


@pytest.mark.parametrize(
    ("row", "difference"),
    [
        ("2", "line 3: '1' became '2'"),
        ("1\n1", r"line 4: '\\.' became '1'"),
    ],
)
def test_a_changed_or_added_row_is_found(row: str, difference: str, tmp_path: Path) -> None:
    one = _write(tmp_path / "one", DUMP.format(token="a", row="1"))
    other = _write(tmp_path / "other", DUMP.format(token="a", row=row))
    assert compare_files(one, other).difference == difference


def test_a_dump_that_ends_early_is_not_equal(tmp_path: Path) -> None:
    text = DUMP.format(token="a", row="1")
    one = _write(tmp_path / "one", text)
    other = _write(tmp_path / "other", text[: -len("\\.\n")])
    comparison = compare_files(one, other)
    assert not comparison.equal
    assert str(comparison.difference).endswith("became nothing")
