"""Checksums that lie beside a file are found and read in the forms that tools write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fsbackup_tui.engines.foreign.sums import compute, known_checksum

SHA = hashlib.sha256(b"content").hexdigest()
MD5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("name", "text", "algorithm"),
    [
        ("b.sql.sha256", f"{SHA}  b.sql\n", "sha256"),
        ("b.sql.sha256", f"{SHA} */srv/backups/b.sql\n", "sha256"),
        ("b.sql.sha256sum", f"{SHA}\n", "sha256"),
        ("b.sql.sha256", f"SHA256 (b.sql) = {SHA.upper()}\n", "sha256"),
        ("b.sql.md5", f"{MD5}  b.sql\n", "md5"),
        ("SHA256SUMS", f"# made by cron\n{'0' * 64}  other.sql\n{SHA}  ./b.sql\n", "sha256"),
        ("MD5SUMS", f"{MD5}  b.sql\n", "md5"),
    ],
)
def test_a_checksum_beside_the_file_is_found(
    tmp_path: Path, name: str, text: str, algorithm: str
) -> None:
    path = tmp_path / "b.sql"
    path.write_bytes(b"content")
    (tmp_path / name).write_text(text)
    known = known_checksum(path)
    assert known is not None
    assert (known.algorithm, known.place.name) == (algorithm, name)
    assert compute(path, known.algorithm) == known.digest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHA256SUMS", f"{SHA}  other.sql\n"),
        ("SHA256SUMS", f"{SHA}\n"),
        ("b.sql.sha256", "not found\n"),
        ("b.sql.sha256", f"{SHA[:40]}  b.sql\n"),
        ("b.sql.sha256", ""),
        ("b.sql.sha256", f"{SHA}\n{SHA}\n"),
    ],
)
def test_what_says_nothing_of_the_file_is_none(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "b.sql"
    path.write_bytes(b"content")
    (tmp_path / name).write_text(text)
    assert known_checksum(path) is None


def test_the_strongest_of_several_counts(tmp_path: Path) -> None:
    path = tmp_path / "b.sql"
    path.write_bytes(b"content")
    (tmp_path / "b.sql.md5").write_text(f"{MD5}  b.sql\n")
    (tmp_path / "b.sql.sha256").write_text(f"{SHA}  b.sql\n")
    known = known_checksum(path)
    assert known is not None
    assert known.algorithm == "sha256"
