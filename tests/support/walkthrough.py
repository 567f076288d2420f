"""A walkthrough as a person makes it: keys that stand on the screen, every screen written down."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

from tests.tui.terminal import Terminal

QUIET_SECONDS = 0.8
"""So long nothing may come before a screen has settled; Enter would come too soon before 0.7."""

_KEYS = {"Enter": "\r", "Tab": "\t", "Esc": "\x1b"}
_RULE = "=" * 80
# A line that breaks elsewhere once it took a minute or more.
_MISSING = re.compile(r"(What was written after hh:mm UTC)\s+is\s+missing\s+\(")
_STEP = re.compile(r" (\d\.\d \S+(?: \S+)*)  ")
# What is another each time, and the words that stand for it.
_FIXED = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\d{8}T\d{6}Z-daily-\w{4}", "YYYYMMDDTHHMMSSZ-daily-xxxx"),
        (r"(__restore_|__before_)\d{8}", r"\1YYYYMMDD"),
        (r"(?<=--incident )\d{8}", "YYYYMMDD"),
        (r"(INCIDENT|DRILL) \d{4}-", r"\1 MMDD-"),
        (r"T\+\d\d:\d\d:\d\d", "T+hh:mm:ss"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "YYYY-MM-DD hh:mm"),
        (r"(?<=> )\d\d:\d\d:\d\d", "hh:mm:ss"),
        (r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun|today) )?\d\d:\d\d(?= UTC|$)", "hh:mm"),
        (r"(INCIDENT|FROZEN) \d+ [sm]\b", r"\1 N m"),
        (r"(?<!02:00, )\b\d+(\.\d)? (s|m)( \d\d s)?(?= ago| old| since it was declared)", "N s"),
        (r"(?<=done in )[\d.]+ s\b", "N s"),
        (r"(?<=runs again, after )(\d+ m )?[\d.]+ s\b", "N s"),
        (r"(?<=closed, )\d+ m\b", "N m"),
        (r"(?<=changes of )\d+ minutes?", "N minutes"),
        (r"(?<=rows, )\d+ m(?= of changes)", "N m"),
        (r"(?<=^ [ >] )\d{4}(?=-\d\d )", "MMDD"),
        (r"(?<=system )\d{19}", "N" * 19),
        (r"(?<=PostgreSQL )\d\d\.\d+", "NN.N"),
        (r"(?<=127\.0\.0\.1:)\d+", "5432"),
        (r"\d+(\.\d)? (kB|MB)", "N MB"),
        (r"\S+fsbackup\.yaml", "…/site/fsbackup.yaml"),
        # Alerts come and go by the clock: what they are is shown elsewhere.
        (r"(?<=  5 Retention)  .*", ""),
    )
)


@dataclass
class Walkthrough:
    """A person, ``operator``, in front of a terminal; ``bytes`` is what each screen cost."""

    terminal: Terminal
    operator: str = ""
    screens: list[str] = field(default_factory=list)
    bytes: list[tuple[str, int]] = field(default_factory=list)
    _counted: int = 0

    @property
    def step(self) -> str:
        """The step that is on the screen: its number and title; empty where there is none."""
        found = _STEP.match(self.terminal.text().splitlines()[5])
        return found[1] if found is not None else ""

    def settle(self, shows: str | Callable[[], bool]) -> str:
        """Wait until these words are on the screen and nothing more comes; return the screen."""

        def holds() -> bool:
            return shows in self.terminal.text() if isinstance(shows, str) else shows()

        self.terminal.until(lambda: holds() and self._is_settled(), str(shows))
        return self.terminal.text()

    def _is_settled(self) -> bool:
        if self.terminal.quiet_for() < QUIET_SECONDS:
            return False
        text = self.terminal.text()
        lines = text.splitlines()
        # The lines on top are read again by themselves, a moment after the step.
        said = re.search(r"step (\d\.\d)", lines[0])
        return (
            not re.search(r" \d+ jobs?\b", lines[1])
            and (not self.step or (said is not None and self.step.startswith(said[1])))
            and "ooking at 127.0.0.1" not in text
            and "Looking at the server" not in text
        )

    def see(self, pressed: str, shows: str | Callable[[], bool]) -> str:
        """Write the screen down as soon as it has settled with the words on it."""
        shown = self.settle(shows)
        lines = [_fixed(text, self.operator) for text in shown.splitlines()]
        lines += [""] * (24 - len(lines))
        shown_fixed = _MISSING.sub(r"\1 is missing\n   (", "\n".join(lines))
        self.screens.append("\n".join([_RULE, pressed, _RULE, shown_fixed]) + "\n")
        count = self.terminal.count()
        self.bytes.append((pressed, count - self._counted))
        self._counted = count
        return shown

    def press(self, key: str) -> None:
        """Press a key that stands at the bottom of the screen."""
        last = self.terminal.text().splitlines()[-1]
        assert re.search(rf"(^|  | ){re.escape(key)} ", last), (key, last)
        self.terminal.type(_KEYS.get(key, key))

    def choose(self, label: str) -> str:
        """Press the digit that stands before an answer, and wait until it is marked."""
        found = re.search(rf"^[ >]* (\d) +{re.escape(label)}", self.terminal.text(), re.MULTILINE)
        assert found is not None, (label, self.terminal.text())
        self.terminal.type(found[1])
        mark = re.compile(rf"^ +> +{found[1]} +{re.escape(label)}", re.MULTILINE)
        self.terminal.until(lambda: mark.search(self.terminal.text()), f"{label} is marked")
        return found[1]

    def record(self) -> str:
        """Return all screens, one below the other."""
        return "\n".join(self.screens)


def compare(path: Path, seen: str, *, wrapped_alike: bool) -> None:
    """Compare with what was recorded; FSBACKUP_SNAPSHOTS=write records it anew.

    Not ``wrapped_alike``: a name in it is of another length, and its words alone are compared.
    """
    if os.environ.get("FSBACKUP_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(seen, encoding="utf-8")
    recorded = path.read_text(encoding="utf-8")
    if not wrapped_alike:
        assert seen.split() == recorded.split()
        return
    differs = unified_diff(
        recorded.splitlines(), seen.splitlines(), "recorded", "seen", lineterm=""
    )
    assert seen == recorded, "\n".join(differs)


def _fixed(text: str, operator: str) -> str:
    text = re.sub(rf"\b{re.escape(operator)}(?= leads| is at it)", "ana", text)
    for pattern, words in _FIXED:
        text = pattern.sub(words, text)
    return text.rstrip()
