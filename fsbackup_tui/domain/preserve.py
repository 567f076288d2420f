"""What was kept of a damaged database before anything touched it, rung by rung (ops.md i)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RungName = Literal["keep by renaming", "file copy", "copy inside the server", "tables", "salvage"]
Verdict = Literal["whole", "part", "unreadable"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: whether it can be done here, whether it was reached, where it lies, and why not."""

    name: RungName
    possible: bool
    reached: bool = False
    where: str = ""
    bytes: int | None = None
    seconds: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """What could be read of one table: rows read, blocks that could not be, and the first error.

    ``lost_rows`` are those that an index, or else the server's estimate, knows of beyond them;
    None where nothing can tell. ``notes`` are single rows and blocks worth a look.
    """

    table: str
    verdict: Verdict
    rows: int | None
    bad_blocks: tuple[int, ...] = ()
    file: str = ""
    why: str = ""
    lost_rows: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preserved:
    """How far the ladder was climbed; ``directory`` holds what was kept on this machine."""

    rungs: tuple[Rung, ...]
    tables: tuple[TableVerdict, ...] = ()
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A new database with what could be read; ``lost_rows`` where it can be told.

    ``objects_failed`` are indexes, constraints and others that it lacks, or has in another way.
    """

    database: str
    database_oid: int
    tables: tuple[TableVerdict, ...]
    objects_failed: tuple[str, ...] = ()
    lost_rows: int | None = None
    notes: tuple[str, ...] = ()
