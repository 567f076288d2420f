"""``fsbackup`` on a terminal as a person has it: what it prints is read, its questions answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pexpect

from tests.support.sites import Site

SECONDS = 60.0
_PROMPT = re.compile(r"(?:\)|Number|Numbers, commas between them|Answer|leaves): $|^> $", re.M)
_STEP = re.compile(r"^\d\.\d (?P<title>.+?)  \(.*\)$", re.M)
_NAME = re.compile(r"Type the name (?P<name>\S+) to [^\n]*(?:\n> |: )$")
_TROUBLE = re.compile(r"^(?:FAILED|Next) ", re.M)


class Person:
    """One at a dumb terminal of 80 columns, with ``page`` before them: up to the open question.

    ``pages`` is all that stood there, with what was answered; ``step`` the title of the step that
    was shown last.
    """

    def __init__(self, site: Site, *arguments: str) -> None:
        command = site.command(*arguments)
        self.child: pexpect.spawn[Any] = pexpect.spawn(
            command[0],
            command[1:],
            env={**site.environ(), "TERM": "dumb"},
            cwd=str(site.directory),
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(24, 80),
            maxread=1 << 16,
            echo=False,
        )
        self.child.delaybeforesend = None
        self.step = ""
        self.page = ""
        self.pages: list[str] = []
        self._read()

    @property
    def seen(self) -> str:
        """All that stood on the terminal, with the answers in it."""
        return "\n".join(self.pages)

    def _read(self) -> None:
        ended = self.child.expect([_PROMPT, pexpect.EOF]) == 1
        asked = "" if ended else str(self.child.after)
        self.page = (str(self.child.before) + asked).replace("\r\n", "\n")
        self.pages.append(self.page)
        for title in _STEP.findall(self.page):
            self.step = title

    def say(self, *answers: str) -> str:
        """Answer, one question after the other; return what came after the last."""
        for answer in answers:
            self.pages.append(f"<<{answer}>>")
            self.child.sendline(answer)
            self._read()
        return self.page

    def walk(self, answers: Mapping[str, str], *, until: str = "") -> None:
        """Answer by the title of the step, else Enter, and each name as it is asked for.

        It ends where the step ``until`` is asked about, else where closing is offered.

        Raises:
            AssertionError: something failed, or it does not come to an end.
        """
        for _ in range(80):
            assert _TROUBLE.search(self.page) is None, self.seen
            if "Close the incident?" in self.page or (until and self.step == until):
                return
            name = _NAME.search(self.page)
            self.say(answers.get(self.step, "") if name is None else name["name"])
        raise AssertionError(f"it does not come to an end\n{self.seen}")

    def leave(self, answer: str) -> int:
        """Give the last answer; return the exit code."""
        self.say(answer)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)
