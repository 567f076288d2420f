"""Following NOW.txt as somebody does who has psql and nothing else."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess


def by_hand(text: str, heading: str) -> str:
    """Do what stands under a heading: its indented lines, in psql as the text calls it.

    Returns what psql printed.
    """
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip().startswith(heading))
    depth = len(lines[start]) - len(lines[start].lstrip()) + 2
    commands: list[str] = []
    for line in lines[start + 1 :]:
        if len(line) - len(line.lstrip()) == depth:
            commands.append(line.strip())
        elif commands or not line.strip():
            break
    psql = next(command for command in commands if command.startswith("psql "))
    statements = "\n".join(command for command in commands if command != psql)
    program, *arguments = shlex.split(psql)
    found = shutil.which(program)
    assert found is not None
    done = subprocess.run(
        [found, "-X", "-v", "ON_ERROR_STOP=1", *arguments],
        input=statements,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode == 0, f"{psql}\n{statements}\n{done.stderr}"
    return done.stdout
