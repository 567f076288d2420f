"""What capturing one source gets and gives, whatever kind it is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fsbackup_tui.config.sources import PostgresSource, Source
from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.engines.chain import Chain, Sink, write_artifact
from fsbackup_tui.engines.compression import BLOCK
from fsbackup_tui.engines.encryption.keys import EncryptionKey
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.links import LinkCapture
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import PART_MARKER_NAME

_ADVANCE_STEP = 64 << 20


@dataclass(frozen=True)
class CaptureRun:
    """One source while it is captured into ``directory`` (private, its own).

    ``last_good`` is the source's part in the last good point (``last_good_point``), to compare
    and to estimate with;
    ``chain`` is how its artifacts are stored: the part's compression, and its key or None.
    ``phases`` collects seconds by phase. ``links`` wants to know the rows that name files, and the
    trees they are in; None: nobody asks.
    """

    source: str
    context: JobContext
    repository: Repository
    directory: Path
    last_good: PartManifest | None
    plan: str
    chain: Chain = field(default_factory=lambda: Chain(compression="zstd:3", key=None))
    last_good_point: str | None = None
    phases: dict[str, float] = field(default_factory=dict)
    links: LinkCapture | None = None

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


async def store_also(run: CaptureRun, paths: Sequence[Path]) -> list[Artifact]:
    """Store the files that belong with a part (a Prisma schema, say) in ``also/``.

    They are copied, or encrypted like the rest of the part. ToolError where one can't be.
    """
    stored: list[Artifact] = []
    chain = run.chain if run.chain.key is not None else Chain(compression=None, key=None)
    for path in paths:
        name = f"also/{path.name}{chain.suffix}"
        if name in [artifact.path for artifact in stored]:
            raise ToolError(
                f"NOT COPIED: two files of 'also' are called {path.name}.",
                fix="Leave one of them out, or capture it under another source.",
            )
        (run.directory / "also").mkdir(mode=0o700, exist_ok=True)
        try:
            with path.open("rb") as content:
                written = await write_artifact(
                    run.directory / name, chain, partial(_pour, content), report=run.context.report
                )
        except OSError as error:
            raise ToolError(
                f"NOT COPIED: {path}.",
                why=error.strerror or str(error),
                fix=f"Mend that, or take it out of {run.context.loaded.path.name}.",
            ) from error
        stored.append(written.artifact(run.directory, name, "also"))
    return stored


def _pour(source: BinaryIO, sink: Sink) -> None:
    while block := source.read(BLOCK):
        sink.write(block)


def chain_of(source: Source, key: EncryptionKey | None) -> Chain:
    """Return how a source's artifacts are stored: its compression, and the key unless in plain."""
    wish = getattr(source, "compression", "auto")
    method, _colon, level = wish.partition(":")
    defaults = {"auto": "zstd:3", "zstd": "zstd:3", "gzip": "gzip:6", "none": None}
    compression = defaults[method] if not level else f"{method}:{level}"
    if isinstance(source, PostgresSource) and method == "auto":
        # As fast as pg_dump writes, and what it takes by itself where nothing encrypts.
        compression = "zstd:1"
    return Chain(compression, None if source.plaintext else key)


def empty_directory(directory: Path) -> None:
    """Remove what a given-up attempt left in the part's directory."""
    for path in directory.iterdir():
        if path.name == PART_MARKER_NAME:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
