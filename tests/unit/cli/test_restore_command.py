"""``restore`` before it starts anything: mistakes first, then the server is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsbackup_tui.cli.main import run_command_line
from tests.support.points import make_point, make_repository, part


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    repository = make_repository(tmp_path)
    make_point(repository, part("db"), part("other"))
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    url = f"postgresql://ana@/shop?host={tmp_path}/no-server-here"
    document = {
        "site": "face-swap",
        "repository": str(repository.root),
        "state": str(tmp_path / "state"),
        "sources": {name: {"kind": "postgres", "url": url} for name in ("db", "other")},
        "plans": {"daily": {"sources": ["db", "other"]}},
    }
    config.write_text(json.dumps(document))
    return config


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["latest", "--beside", ""], "NO NAME: a database needs one."),
        (["nonsense", "--beside", "x" * 64], "NAME TOO LONG: "),
        (["latest", "--beside", "copy"], "WHICH PART? "),
        (["latest", "--beside", "copy", "--part", "uploads"], "NO SUCH SOURCE: uploads"),
        (["latest", "--beside", "copy", "--jobs", "0"], "NOT UNDERSTOOD: argument --jobs: "),
    ],
)
def test_mistakes_are_told_before_the_server_is_asked(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    assert run_command_line(["--config", str(config), "restore", *words]) == 2
    assert capsys.readouterr().err.startswith(what)


def test_a_server_that_is_not_there_is_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["restore", "latest", "--beside", "copy", "--part", "db"]
    assert run_command_line(["--config", str(config), *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("SERVER NOT REACHED:")
    assert "Restores " not in error
