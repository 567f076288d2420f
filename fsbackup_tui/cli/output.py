"""How errors leave the command line: words on standard error, or one JSON document."""

from __future__ import annotations

import textwrap
from typing import TextIO

from fsbackup_tui.cli.streams import json_text, write_output
from fsbackup_tui.domain.errors import FsbackupError, Problem

_WIDTH = 80


def wrap_problem(problem: Problem, width: int = _WIDTH) -> str:
    """Return the problem in the three-line form of design §8, wrapped to ``width`` columns."""
    lines = _wrapped(problem.what, width) or [""]
    for label, text in (("Why", problem.why), ("Next", problem.fix)):
        lines.extend(_labelled(label, text, width) if text else [])
    return "\n".join(lines)


def _labelled(label: str, text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        head = f"{label:<6}" if not lines else " " * 6
        lines.extend(_wrapped(paragraph, width, head, " " * 6) or [head.rstrip()])
    return lines


def _wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    # Paths, commands and ids are there to be copied: never broken, not even at a hyphen.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_problem(error: FsbackupError, *, as_json: bool, stdout: TextIO, stderr: TextIO) -> None:
    """Print the error where the caller looks for it: JSON on stdout, or words on stderr."""
    problem = error.problem()
    if as_json:
        document = {"ok": False, "error": problem.document()}
        write_output(stdout, json_text(document, stdout))
    else:
        stderr.write(wrap_problem(problem) + "\n")
