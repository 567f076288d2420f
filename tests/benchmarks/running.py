"""How a benchmark runs: in a directory that is taken away again, and judged by its bars."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fsbackup_tui.config.values import parse_size
from tests.benchmarks.bars import Bar, bars_table


@contextmanager
def work_directory(parent: Path | None) -> Iterator[Path]:
    """Give a directory below ``parent``, or below the system's place for such, to work in."""
    # Ended from outside, it still stops its server and removes what it made.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="fsbackup-bench-", dir=parent))
    directory.chmod(0o711)  # the scratch server's own user passes through
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def bytes_of(text: str) -> int:
    """Return a size that was asked for in bytes; SystemExit for what is none."""
    size = parse_size(text)
    if not isinstance(size, int):
        raise SystemExit(f"{text} is no size such as 1.6GB")
    return size


def judge(bars: Sequence[Bar]) -> int:
    """Print the bars; the exit code: whether all hold (0) or not (1)."""
    print("\n".join(bars_table(bars)))
    return 0 if all(bar.holds for bar in bars) else 1
