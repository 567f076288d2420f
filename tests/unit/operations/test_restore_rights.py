"""What doctor found of the rights to restore is kept, and counts only as long as it fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.operations.restore_rights import (
    known_restore_rights,
    note_restore_rights,
    rights_found,
)

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
TRIED = {"db.connection": "ok", "db.restore-rights": "ok"}


@pytest.mark.parametrize(
    ("findings", "rights"),
    [
        (TRIED, True),
        ({**TRIED, "clients": "warning", "db.count": "warning", "state": "error"}, True),
        ({**TRIED, "db.swap-rights": "warning"}, False),
        ({"db.connection": "ok", "db.restore-create": "error"}, False),
        ({"db.connection": "ok", "db.roles": "error"}, False),
        ({"db.connection": "error"}, None),
        ({"db.connection": "ok", "db.restore-connection": "error"}, None),
        ({}, None),
    ],
)
def test_rights_are_what_was_tried(findings: dict[str, str], rights: bool | None) -> None:
    assert rights_found(["db"], findings) is rights


def test_every_source_must_have_been_tried() -> None:
    assert rights_found(["db", "other"], TRIED) is None
    both = {**TRIED, "other.restore-rights": "ok"}
    assert rights_found(["db", "other"], both) is True
    assert rights_found(["db", "other"], {"other.swap-rights": "warning"}) is False


def test_they_are_forgotten_with_the_configuration_and_with_time(tmp_path: Path) -> None:
    assert known_restore_rights(tmp_path, "digest", NOW) is None
    note_restore_rights(tmp_path, "digest", True, NOW)
    assert known_restore_rights(tmp_path, "digest", NOW + timedelta(days=30)) is True
    assert known_restore_rights(tmp_path, "other", NOW) is None
    assert known_restore_rights(tmp_path, "digest", NOW + timedelta(days=32)) is None
    assert known_restore_rights(tmp_path, "digest", NOW - timedelta(days=1)) is None
    note_restore_rights(tmp_path, "digest", False, NOW)
    assert known_restore_rights(tmp_path, "digest", NOW) is False
    note_restore_rights(tmp_path, "digest", None, NOW)
    assert known_restore_rights(tmp_path, "digest", NOW) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "rights": true}', "\x00"])
def test_garbage_is_not_known(tmp_path: Path, text: str) -> None:
    note_restore_rights(tmp_path, "digest", True, NOW)
    [file] = tmp_path.iterdir()
    file.write_text(text)
    assert known_restore_rights(tmp_path, "digest", NOW) is None


def test_where_nothing_can_be_written_nothing_is_raised(tmp_path: Path) -> None:
    note_restore_rights(tmp_path / "missing", "digest", True, NOW)
    assert known_restore_rights(tmp_path / "missing", "digest", NOW) is None
