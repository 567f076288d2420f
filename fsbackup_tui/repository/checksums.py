r"""SHA256SUMS files: the form that ``sha256sum -c`` reads, and its canonical reading.

A name with a backslash or a newline is written as coreutils does: the line starts with ``\``
and the name has ``\\`` and ``\n``. Lines are sorted by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fsbackup_tui.domain.errors import RepositoryError

SUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"(?P<escaped>\\?)(?P<sha256>[0-9a-f]{64})  (?P<name>.+)", re.DOTALL)


def format_sums(sums: Mapping[str, str]) -> bytes:
    """Return the file's bytes for ``{relative path: sha256}``."""
    return "".join(_line(name, sums[name]) for name in sorted(sums)).encode()


def _line(name: str, sha256: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "\\" if escaped != name else ""
    return f"{mark}{sha256}  {escaped}\n"


def parse_sums(content: bytes) -> dict[str, str]:
    """Return ``{relative path: sha256}``; ValueError where the form is not the canonical one.

    Stricter than ``sha256sum -c`` on purpose: that tool takes an upper-case digit, a missing
    line or a foreign line for granted, and so would let a damaged file pass.
    """
    text = content.decode("utf-8", "strict")
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is no checksum line")
        name = match["name"]
        if match["escaped"]:
            name = re.sub(r"\\([\\n])", lambda m: "\n" if m[1] == "n" else "\\", name)
        if name in sums:
            raise ValueError(f"line {number} names {name!r} a second time")
        sums[name] = match["sha256"]
    if format_sums(sums) != content:
        raise ValueError("not in the form fsbackup writes")
    return sums


def check_name(name: str) -> None:
    """Refuse names that no SHA256SUMS of every coreutils version can hold."""
    try:
        name.encode("utf-8")
        usable = "\r" not in name and "\0" not in name
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise RepositoryError(
            f"NAME NOT STORABLE: {name!r}.",
            why="A carriage return, or bytes that are not UTF-8, can't stand in SHA256SUMS.",
            fix="Rename the file, or leave it out of also:.",
        )
