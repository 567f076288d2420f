"""When a backup was taken, by its name and other witnesses."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.engines.foreign.moments import moment_taken, packed_moment

BERLIN = ZoneInfo("Europe/Berlin")
MODIFIED = datetime(2026, 7, 5, 1, 0, 20, tzinfo=UTC)


def taken(name: str, said: datetime | None = None, packed: datetime | None = None) -> object:
    return moment_taken(said=said, name=name, packed=packed, modified=MODIFIED, zone=BERLIN)


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("backup_20260704_023000.sql.gz", datetime(2026, 7, 4, 0, 30, tzinfo=UTC)),
        ("backup-2026-07-04T02:30:00.sql", datetime(2026, 7, 4, 0, 30, tzinfo=UTC)),
        ("20260704T023000Z-db.dump", datetime(2026, 7, 4, 2, 30, tzinfo=UTC)),
        ("db_2026-07-04_0230.sql", datetime(2026, 7, 4, 0, 30, tzinfo=UTC)),
        ("schema_20260101.sql", datetime(2025, 12, 31, 23, 0, tzinfo=UTC)),
    ],
)
def test_the_name_tells_the_time(name: str, moment: datetime) -> None:
    assert taken(name) == (moment, "its name")


@pytest.mark.parametrize(
    "name",
    [
        "backup.sql",
        "backup_20260799_120000.sql",
        "backup_120260704123.sql",
        "latest_backup.sql",
        "backup_20270101_000000.sql",  # after it was written
        "schema_20260705.sql",  # the day that it was written on
    ],
)
def test_where_the_name_tells_nothing_the_file_s_own_time_counts(name: str) -> None:
    assert taken(name) == (MODIFIED, "its modification time")


def test_what_the_dump_says_counts_more_than_all_else() -> None:
    said = datetime(2026, 7, 3, 2, 0)  # noqa: DTZ001 - as pg_dump writes it
    assert taken("backup_20260704_023000.sql", said=said) == (
        datetime(2026, 7, 3, 0, 0, tzinfo=UTC),
        "the dump itself",
    )


def test_gzip_keeps_the_time_of_what_it_packed() -> None:
    packed = datetime(2026, 7, 1, 3, 0, tzinfo=UTC)
    head = b"\x1f\x8b\x08\x08" + int(packed.timestamp()).to_bytes(4, "little") + b"\x00\x03"
    assert packed_moment(head) == packed
    assert packed_moment(b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\x03") is None
    assert packed_moment(b"\x1f\x8b") is None
    assert taken("backup.sql.gz", packed=packed) == (packed, "the time that gzip kept")
