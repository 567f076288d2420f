from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fsbackup_tui.demo.sample_site import DEFAULT_SIZE, SampleSite, users_for, write_files
from fsbackup_tui.domain.errors import UsageError


def _digest(directory: Path) -> str:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(directory)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_uploads_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    sites = [SampleSite(tmp_path / name, DEFAULT_SIZE) for name in ("one", "other")]
    totals = []
    for site in sites:
        site.directory.mkdir()
        totals.append(write_files(site, "postgresql://app@/db"))
    assert totals[0] == totals[1] > 500_000
    assert _digest(sites[0].directory) == _digest(sites[1].directory)


def test_the_file_with_the_address_is_private(tmp_path: Path) -> None:
    site = SampleSite(tmp_path, DEFAULT_SIZE)
    write_files(site, "postgresql://app@/db?host=/x")
    assert site.environment_file.stat().st_mode & 0o777 == 0o600
    assert 'DATABASE_URL="postgresql://app@/db?host=/x"' in site.environment_file.read_text()


def test_more_bytes_mean_more_users() -> None:
    assert users_for(10**9) > 15 * users_for(DEFAULT_SIZE) > 0


@pytest.mark.parametrize("size", [0, 7_000_000])
def test_a_size_below_an_empty_database_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="SIZE TOO SMALL") as refusal:
        users_for(size)
    assert refusal.value.fix
