"""How text leaves the command line: wrapped to 80 columns, or one JSON document.

Commands are there to be pasted, so none is ever broken: what does not fit beside other words
stands on a line of its own, however long it is.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from fsbackup_tui.cli.streams import json_text, write_output
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.text import cell_width, plain_text

WIDTH = 80
_LABEL_WIDTH = 6
_DEEPEST_HANG = 24
# Where a line or what follows a colon begins like this, all up to three spaces is a command.
_PROGRAM = (
    r"(?:[A-Z_]+=\S+ )?(?:fsbackup|sudo|u?mount|pip|python3?|psql|pg_\w+|rm|cd|cp|mv|echo|export"
    r"|ch(?:mod|own)|apt(?:-get)?|systemctl|kill|(?:ALTER|CREATE|DROP) (?:ROLE|DATABASE)|GRANT"
    r"|(?:COMMIT|ROLLBACK) PREPARED) "
)
_COMMAND = rf"(?:^|(?<=: )){_PROGRAM}(?:(?!   ).)+"
_MENTIONED = (
    r"(?<!\S)\(?(?:sudo )?fsbackup(?: --(?:config|site) (?:'[^']*'|\S+))?(?: [a-z]+)?"
    r"(?: (?:--[a-z-]+|[A-Z]{2,}(?![a-z])))*[.,;:)]*(?!\S)"
)
_TOKEN = re.compile(rf"(\s*)({_COMMAND}|{_MENTIONED}|\S+)")
# With so many double spaces in it, a text is a row of fields, which are kept whole.
_FIELDS = 3
_BETWEEN_FIELDS = re.compile(r"(?<=\S) {2}(?=\S)")
_FIELD = re.compile(r"(\s*)(\S+(?: \S+)*)")
_HANGING = re.compile(rf"(?:{_PROGRAM}(?:(?!   ).)+ {{3,}}|\w+:? {{2,}})(?=\S)")


# The commands that read a configuration, as they follow the program's name in a text.
_OF_A_SITE = re.compile(
    r"(?<![\w/.-])fsbackup (?=(?:doctor|backup|list|show|clear|verify|drill|restore|adopt|jobs"
    r"|attach|cancel|recover|incidents|runbook|rollback|leftovers|rekey|retain|pin|unpin"
    r"|kit|fetch|replicate|check|metrics|audit|schedule|notify)(?![\w-]))"
)


class Pasteable:
    """Makes the commands in a text those of the site at hand, so that they work as pasted.

    ``config`` and ``site`` are what the caller named on the command line; a configuration that
    is found without being named needs no word.
    """

    def __init__(self, config: Path | None = None, site: str | None = None) -> None:
        words: list[str] = []
        if config is not None:
            words = ["--config", str(config)]
        elif site is not None:
            words = ["--site", site]
        self._command = shlex.join(["fsbackup", *words]) + " "

    def text(self, text: str) -> str:
        """Return the text with the options in every ``fsbackup COMMAND`` in it."""
        return _OF_A_SITE.sub(lambda _match: self._command, text)

    def problem(self, problem: Problem) -> Problem:
        """Return the problem with the options in its remedy."""
        return replace(problem, fix=self.text(problem.fix))


def wrap_text(text: str, *, first: str = "", later: str | None = None) -> list[str]:
    """Return one paragraph in lines of at most 80 columns.

    ``first`` stands before it; the lines that follow are indented by ``later``, by default so
    that they stand under the text. Words and commands are never broken.
    """
    lines: list[str] = []
    current, is_empty = first, True
    indent = " " * cell_width(first) if later is None else later
    for gap, word in _tokens(plain_text(text)):
        longer = current + ("" if is_empty else gap) + word
        if is_empty or cell_width(longer) <= WIDTH:
            current = longer
        else:
            lines.append(current)
            current = indent + word
        is_empty = False
    return [*lines, current.rstrip()]


def _tokens(text: str) -> list[tuple[str, str]]:
    """Return (the space before it, what is not to be broken) for the whole of a text."""
    if len(_BETWEEN_FIELDS.findall(text)) >= _FIELDS:
        return _FIELD.findall(text)
    return _TOKEN.findall(text)


def wrap_problem(problem: Problem, indent: str = "", head: str | None = None) -> str:
    """Return the problem in the three-line form of design §8; ``head`` stands before it."""
    lines = wrap_text(problem.what, first=indent if head is None else head)
    for label, text in (("Why", problem.why), ("Next", problem.fix)):
        beginning = indent + label.ljust(_LABEL_WIDTH)
        for paragraph in text.splitlines():
            lines.extend(_wrap_paragraph(paragraph, beginning))
            beginning = " " * cell_width(beginning)
    return "\n".join(lines)


def _wrap_paragraph(text: str, beginning: str) -> list[str]:
    hanging = _HANGING.match(text)
    indent = cell_width(beginning)
    if hanging is not None and len(hanging[0]) <= _DEEPEST_HANG:
        indent += len(hanging[0])
    return wrap_text(text, first=beginning, later=" " * indent)


def print_problem(problem: Problem, *, as_json: bool, stdout: TextIO, stderr: TextIO) -> None:
    """Print the problem where the caller looks for it: JSON on stdout, or words on stderr."""
    if as_json:
        document = {"ok": False, "error": problem.document()}
        write_output(stdout, json_text(document, stdout))
    else:
        stderr.write(wrap_problem(problem) + "\n")
