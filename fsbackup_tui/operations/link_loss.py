"""Rows without a file: what a restored database will ask for and no tree has."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.repository.files import FILE_MODE, writing

_SHOWN = 5
_LONGEST = 300


def loss_lines(links: Sequence[LinkFacts]) -> tuple[str, ...]:
    """Return a line for each link of a point that does not fit: what you will lose by it."""
    return tuple(line for link in links if (line := loss_line(link)))


def loss_line(link: LinkFacts) -> str:
    """Return what a link loses in words; empty where every row has its file."""
    column = f"{link.table}.{link.column}"
    if not link.known:
        return f"not known which rows of {column} have their file in {link.files}: {link.note}"
    told = []
    if link.missing.count:
        rows = count_text(link.rows)
        told.append(f"{count_text(link.missing.count)} of {rows} have no file in {link.files}")
    if link.differing.count:
        told.append(f"{count_text(link.differing.count)} have another file than they say")
    return f"rows of {column}: {', '.join(told)}" if told else ""


def fit_lines(links: Sequence[LinkFacts]) -> Iterator[tuple[str, str]]:
    """Yield for each link its column and how its rows fit the files, as ``show`` tells it."""
    for link in links:
        if not link.known:
            text = f"not known: {link.note}"
        elif not (link.missing.count or link.differing.count):
            text = f"{count_text(link.rows)} rows, every one has its file in {link.files}"
        else:
            text = loss_line(link).partition(": ")[2]
            if link.vanished.count:
                text += f"; {count_text(link.vanished.count)} went away while it was captured"
        if link.unnamed:
            text += f"; {count_text(link.unnamed)} files are named by no row"
        yield f"{link.table}.{link.column}", text


def names_lines(link: LinkFacts) -> Iterator[str]:
    """Yield the first rows of a link that have no file, and how to have all of them."""
    for name in link.missing.names[:_SHOWN]:
        yield f"no file: {_short(name)}"
    if link.missing.count > _SHOWN:
        yield f"and {count_text(link.missing.count - _SHOWN)} more (--rows-lost FILE)"


def _short(name: str) -> str:
    """Cut what may be no name at all: a picture as text, say."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def export_missing(links: Sequence[LinkFacts], path: Path) -> tuple[int, int]:
    """Write the rows without a file that a manifest names as CSV, into a new file (0600).

    Returns how many they are, and how many more there are that no manifest has room for.

    Raises:
        FileExistsError: the file is there already.
        DiskFull, RepositoryUnwritable: it can't be written.
    """
    written = left_out = 0
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("table", "column", "files", "what", "names"))
            for link in links:
                for what, names in (("missing", link.missing), ("differing", link.differing)):
                    for name in names.names:
                        writer.writerow((link.table, link.column, link.files, what, name))
                    written += len(names.names)
                    left_out += names.count - len(names.names)
    return written, left_out
