"""Whether two databases are the same: their own dumps, line by line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.process import Command, run

# psql's guard against injected commands: a random word, new in each dump (since August 2025).
_NEW_IN_EACH_DUMP = (b"\\restrict ", b"\\unrestrict ")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome: how much was compared, and the first line that differs, if any."""

    lines: int
    bytes: int
    difference: str | None

    @property
    def equal(self) -> bool:
        """Whether every line is the same."""
        return self.difference is None


async def compare_databases(
    original_url: str, copy_url: str, *, pg_dump: str, work: Path, env: Mapping[str, str]
) -> Comparison:
    """Dump both databases as SQL into ``work`` and compare the two files; ToolFailed by pg_dump."""
    paths = work / "original.sql", work / "copy.sql"
    for path, url in zip(paths, (original_url, copy_url), strict=True):
        await run(Command((pg_dump, "--format=plain", f"--dbname={url}"), env=env, stdout=path))
    return compare_files(*paths)


def compare_files(original: Path, copy: Path) -> Comparison:
    """Compare two SQL dumps line by line, leaving out what is new in every dump."""
    lines = size = 0
    for one, other in itertools.zip_longest(_lines(original), _lines(copy)):
        if one != other:
            return Comparison(lines, size, f"line {lines + 1}: {_show(one)} became {_show(other)}")
        lines += 1
        size += len(one or b"")
    return Comparison(lines, size, None)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(_NEW_IN_EACH_DUMP):
                yield line


def _show(line: bytes | None) -> str:
    return "nothing" if line is None else repr(line[:60].decode(errors="replace").rstrip("\n"))
