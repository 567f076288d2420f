"""Parts of fsbackup as programs: what they import is what this process began with."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsbackup_tui.engines.own_program import own_program

PROGRAMS = ("fsbackup_tui.engines.compression", "fsbackup_tui.engines.postgres.plain")
_WHERE = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([m.__file__ for name, m in sys.modules.items() if name.startswith("fsbackup_")]))
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_imports_nothing_of_what_is_installed(program: str, tmp_path: Path) -> None:
    with own_program(program, work=tmp_path) as (argv, variables):
        done = subprocess.run(
            [argv[0], "-P", "-c", _WHERE, program],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        files = json.loads(done.stdout)
        assert len(files) >= 3
        assert all(Path(file).is_relative_to(tmp_path) for file in files)
    assert list(tmp_path.iterdir()) == []


def test_a_program_does_its_work_and_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    path = tmp_path / "dump.sql.gz"
    path.write_bytes(gzip.compress(b"0123456789"))
    with own_program(PROGRAMS[0], str(path), "2:5", work=work) as (argv, variables):
        assert argv[:2] == (sys.executable, "-P")
        done = subprocess.run(argv, env=variables, capture_output=True, check=True)
    assert done.stdout == b"0156789"
    assert list(work.iterdir()) == []
