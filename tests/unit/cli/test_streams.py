"""The command line with its output closed, full, cut off, or of a small alphabet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.points import START, make_point, make_repository, part, table


@pytest.fixture
def config(tmp_path: Path) -> Path:
    repository = make_repository(tmp_path)
    make_point(repository, part(tables=[table("naïve Δ", 12)]), created=START)
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    document = {
        "site": "face-swap",
        "repository": str(repository.root),
        "state": str(tmp_path / "state"),
        "sources": {"db": {"kind": "postgres", "url": "${DATABASE_URL}"}},
        "plans": {"daily": {"sources": ["db"]}},
    }
    config.write_text(json.dumps(document))
    return config


def run(
    config: Path, command: str, *, redirect: str = "", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    program = (sys.executable, str(config))
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m fsbackup_tui --config "$1" {command} {redirect}', *program],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["list", "show latest"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_a_small_alphabet_gets_all_it_can_show(
    config: Path, command: str, encoding: str
) -> None:
    ran = run(config, command, encoding=encoding)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"?" in ran.stdout
    assert b"-daily-" in ran.stdout


def test_json_is_exact_in_any_encoding(config: Path) -> None:
    small = run(config, "--json show latest", encoding="ascii")
    assert json.loads(small.stdout) == json.loads(run(config, "--json show latest").stdout)
    assert "naïve Δ" in json.dumps(json.loads(small.stdout), ensure_ascii=False)


def test_a_closed_output_is_no_failure(config: Path) -> None:
    ran = run(config, "list", redirect=">&-")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert run(config, "show nope", redirect="2>&-").returncode == 2


@pytest.mark.parametrize("command", ["list", "--json list", "--json show nope"])
def test_a_full_output_is_said_and_is_a_failure(config: Path, command: str) -> None:
    ran = run(config, command, redirect=">/dev/full")
    assert ran.returncode != 0
    assert b"Traceback" not in ran.stderr
    assert b"INTERNAL" not in ran.stderr
    assert b"Exception" not in ran.stderr
    if "nope" not in command:
        assert ran.stderr == b"OUTPUT LOST: it can't be written (No space left on device).\n"
