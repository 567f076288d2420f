"""The list of what is about to be put into a live tree, written before anything is.

``STATE/trees/TAG/undo.jsonl``: a heading, then a line for each entry, each with all that taking it
back needs. Names that are not UTF-8 are escaped as JSON does lone surrogates.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.engines.trees.opened import Kind
from fsbackup_tui.engines.trees.placing import Placing
from fsbackup_tui.repository.files import FILE_MODE, sync_directory, writing

UNDO_NAME = "undo.jsonl"
_KINDS: dict[str, Kind] = {"file": "file", "directory": "directory", "link": "link"}


@dataclass(frozen=True, slots=True)
class Heading:
    """What a list is of; ``beside`` and ``aside`` are the trees beside by their paths.

    ``made_root``: there was no live tree, and the root itself is put there, too.
    """

    part: str
    point: str
    job: str
    root: str
    root_inode: int
    beside: str
    beside_inode: int
    aside: str = ""
    aside_inode: int = 0
    made_root: bool = False


class UndoWriter:
    """Writes a list; it is durable, name and all, once the block is left well."""

    def __init__(self, directory: Path, heading: Heading) -> None:
        self._path = directory / UNDO_NAME
        self._heading = heading
        self._file: BinaryIO
        self.count = 0

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._path, flags, FILE_MODE), "wb", buffering=1 << 18)
        self._line({"format": 1, **asdict(self._heading)})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                with writing(self._path):
                    self._line({"end": self.count})
                    self._file.flush()
                    os.fsync(self._file.fileno())
        if kind is None:
            sync_directory(self._path.parent)

    def add(self, item: Placing) -> None:
        """Take in an entry."""
        self.count += 1
        document: dict[str, object] = {
            "path": os.fsdecode(item.path),
            "kind": item.kind,
            "staged": os.fsdecode(item.staged),
            "inode": item.inode,
            "size": item.size,
            "modified_ns": item.modified_ns,
        }
        if item.sha256:
            document["sha256"] = item.sha256
        if item.target:
            document["target"] = os.fsdecode(item.target)
        if item.aside:
            document["aside"] = os.fsdecode(item.aside)
        if item.mode:
            document["mode"] = item.mode
        self._line(document)

    def _line(self, document: dict[str, object]) -> None:
        with writing(self._path):
            self._file.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")


def read_heading(directory: Path) -> Heading:
    """Return what a list is of; UsageError where there is none that is whole.

    Without its last line it was never finished, and nothing was put anywhere.
    """
    path = directory / UNDO_NAME
    try:
        with path.open("rb") as file:
            heading = json.loads(file.readline())
            file.seek(max(0, path.stat().st_size - 64))
            last = json.loads(file.read().splitlines()[-1])
        if heading.pop("format") != 1 or "end" not in last:
            raise ValueError("it was never finished")
        return Heading(**{name: heading[name] for name in Heading.__slots__})
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f"NOTHING TO TAKE BACK: {directory.name} has no list of what was put back.",
            why=f"{path}: {error}. Nothing was put into live before that list was whole.",
        ) from error


def read_placings(directory: Path) -> Iterator[Placing]:
    """Yield the entries of a whole list, in the order in which they were put in."""
    with (directory / UNDO_NAME).open("rb") as file:
        file.readline()
        for line in file:
            document = json.loads(line)
            if "end" in document:
                return
            yield Placing(
                path=os.fsencode(document["path"]),
                kind=_KINDS[document["kind"]],
                staged=os.fsencode(document["staged"]),
                inode=document["inode"],
                size=document["size"],
                modified_ns=document["modified_ns"],
                sha256=document.get("sha256", ""),
                target=os.fsencode(document.get("target", "")),
                aside=os.fsencode(document.get("aside", "")),
                mode=document.get("mode", 0),
            )


def read_backwards(directory: Path) -> Iterator[Placing]:
    """Yield them in the order in which they are taken back: directories last, the deepest first."""
    yield from (item for item in read_placings(directory) if item.kind != "directory")
    made = [item for item in read_placings(directory) if item.kind == "directory"]
    yield from reversed(made)
