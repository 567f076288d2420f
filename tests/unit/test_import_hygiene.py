"""What commands may import: the heavy packages only where they are needed (design §4)."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.repository.layout import create_repository

_PROBE = """\
import sys
from pathlib import Path
target, sys.argv = Path(sys.argv[1]), ["fsbackup", *sys.argv[2:]]
from fsbackup_tui.__main__ import main
try:
    code = main()
except SystemExit as exit:
    code = exit.code
target.write_text("\\n".join(sys.modules))
sys.exit(code)
"""
FOREIGN = {"textual", "rich", "psycopg", "pydantic", "yaml", "humanize", "backports", "hypothesis"}
SLOW_STANDARD = {"asyncio", "sqlite3", "multiprocessing", "email", "http"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    create_repository(tmp_path / "repository", "face-swap", datetime.now(UTC))
    path = tmp_path / "fsbackup.yaml"
    path.touch(mode=0o600)
    path.write_text(
        "site: face-swap\n"
        f"repository: {tmp_path}/repository\n"
        f"state: {tmp_path}/state\n"
        'sources: {db: {kind: postgres, url: "${DATABASE_URL}"}}\n'
        "plans: {daily: {sources: [db]}}\n"
    )
    return path


def imported_by(tmp_path: Path, *arguments: str) -> set[str]:
    """Run a command line in a fresh interpreter; return the top-level packages it imported."""
    modules = tmp_path / "modules.txt"
    command = [sys.executable, "-P", "-c", _PROBE, str(modules), *arguments]
    completed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    return {name.partition(".")[0] for name in modules.read_text().splitlines()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["backup", "--help"]])
def test_help_imports_nothing_but_argparse_and_our_parsers(
    arguments: list[str], tmp_path: Path
) -> None:
    assert not imported_by(tmp_path, *arguments) & (FOREIGN | SLOW_STANDARD)


@pytest.mark.parametrize("command", ["list", "jobs"])
def test_looking_at_the_inventory_imports_no_terminal_and_no_driver(
    command: str, config: Path, tmp_path: Path
) -> None:
    imported = imported_by(tmp_path, "--config", str(config), command, "--json")
    assert not imported & {"textual", "rich", "psycopg"}
    assert "pydantic" in imported, "the probe sees what is imported"
