"""What capturing one source gets and gives, whatever kind it is."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.chain import Chain
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import PART_MARKER_NAME

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ADVANCE_STEP = 64 << 20


@dataclass(frozen=True)
class CaptureRun:
    """One source while it is captured into ``directory`` (private, its own).

    ``last_good`` is the source's part in the last good point, to compare and to estimate with;
    ``chain`` is how its artifacts are stored: the part's compression, and its key or None.
    ``phases`` collects seconds by phase.
    """

    source: str
    context: JobContext
    repository: Repository
    directory: Path
    last_good: PartManifest | None
    plan: str
    chain: Chain = field(default_factory=lambda: Chain(compression="zstd:3", key=None))
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's duration to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - started, 3)


def hashing_progress(report: Report, total: int | None, detail: str) -> Callable[[int], None]:
    """Return what is told the bytes as they are read, and reports them every so often."""
    done = 0
    told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if done - told >= _ADVANCE_STEP:
            told = done
            report(Progress(float(done), None if total is None else float(total), "bytes", detail))

    return advance


def weights_of(part: PartManifest | None) -> Mapping[str, float]:
    """Return each table's share of the work, by qualified name, as the last good part tells."""
    if part is None or part.postgres is None:
        return {}
    return {
        table.qualified: float(table.bytes)
        for table in part.postgres.tables
        if table.bytes is not None
    }


def copy_also(run: CaptureRun, paths: Sequence[Path]) -> list[str]:
    """Copy the files that belong with a part (a Prisma schema, say) to ``also/``.

    Returns their names in the part; ToolError where one can't be copied.
    """
    names: list[str] = []
    for path in paths:
        name = f"also/{path.name}"
        if name in names:
            raise ToolError(
                f"NOT COPIED: two files of 'also' are called {path.name}.",
                fix="Leave one of them out, or capture it under another source.",
            )
        copy = run.directory / name
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise  # the repository's own trouble, told as such
            raise ToolError(
                f"NOT COPIED: {path}.",
                why=error.strerror or str(error),
                fix=f"Mend that, or take it out of {run.context.loaded.path.name}.",
            ) from error
        names.append(name)
    return names


def empty_directory(directory: Path) -> None:
    """Remove what a given-up attempt left in the part's directory."""
    for path in directory.iterdir():
        if path.name == PART_MARKER_NAME:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
