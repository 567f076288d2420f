"""The bars of design §10, and the table that says which of them hold."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure with the limit it is held against; ``at least`` wants more, ``at most`` less."""

    name: str
    measured: float
    sense: Literal["at least", "at most"]
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the figure is on the right side of the limit."""
        if self.sense == "at least":
            return self.measured >= self.limit
        return self.measured <= self.limit


def ratio(seconds: Mapping[str, Sequence[float]], slower: str, faster: str) -> float:
    """Return how many times as long ``slower`` took as ``faster``, by their medians."""
    return statistics.median(seconds[slower]) / statistics.median(seconds[faster])


def backup_bars(seconds: Mapping[str, Sequence[float]]) -> list[Bar]:
    """Return the bars of the dump, from the runs' seconds by contender."""
    raw, seed = "raw pg_dump", "seed's script"
    counts, content = "fsbackup, counts", "fsbackup, content"
    return [
        Bar("backup, counts: times faster than seed", ratio(seconds, seed, counts), *_least(4)),
        Bar("backup, counts: times the raw tool", ratio(seconds, counts, raw), *_most(1.25)),
        Bar("backup, content: times faster than seed", ratio(seconds, seed, content), *_least(3.5)),
        Bar("backup, content: times the raw tool", ratio(seconds, content, raw), *_most(1.5)),
    ]


def restore_bars(seconds: Mapping[str, Sequence[float]]) -> list[Bar]:
    """Return the bars of the restore beside, from the runs' seconds by contender."""
    copy = "fsbackup restore"
    faster = ratio(seconds, "gunzip | psql", copy)
    raw = ratio(seconds, copy, "raw pg_restore")
    return [
        Bar("restore: times faster than gunzip | psql", faster, *_least(1.3)),
        Bar("restore: times pg_restore + VACUUM (ANALYZE)", raw, *_most(1.1)),
    ]


def _least(limit: float) -> tuple[Literal["at least"], float, str]:
    return "at least", limit, "x"


def _most(limit: float, unit: str = "x") -> tuple[Literal["at most"], float, str]:
    return "at most", limit, unit


def process_bars(peak_bytes: int, first_paint: float, help_time: float) -> list[Bar]:
    """Return the bars of memory (bytes) and of waiting (seconds)."""
    return [
        Bar("worker peak memory", peak_bytes / 1e6, *_most(120, "MB")),
        Bar("start to first paint", first_paint * 1000, *_most(500, "ms")),
        Bar("fsbackup --help", help_time * 1000, *_most(150, "ms")),
    ]


def runs_table(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Return one line per contender: the median, and every run behind it."""
    lines = [f"{'CONTENDER':<20}{'MEDIAN':>9}   RUNS"]
    for name, runs in seconds.items():
        every = "  ".join(f"{run:.2f}" for run in runs)
        lines.append(f"{name:<20}{statistics.median(runs):>7.2f} s   {every}")
    return lines


def bars_table(bars: Sequence[Bar]) -> list[str]:
    """Return one line per bar: figure, limit, and PASS or FAIL."""
    lines = [f"{'BAR':<46}{'MEASURED':>11}{'LIMIT':>20}   VERDICT"]
    for bar in bars:
        measured = f"{bar.measured:.2f} {bar.unit}"
        limit = f"{bar.sense} {bar.limit:g} {bar.unit}"
        lines.append(f"{bar.name:<46}{measured:>11}{limit:>20}   {'PASS' if bar.holds else 'FAIL'}")
    return lines
