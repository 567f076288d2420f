"""How the rounds of a sweep ended, counted and in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Rounds by outcome; ``failures`` are those that must not be, in words."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """How many rounds there were."""
        return sum(self.counts.values())

    def text(self) -> str:
        """Return the figures in lines."""
        lines = [f"{self.title}: {self.rounds} rounds, {len(self.failures)} wrong"]
        lines += [f"  {count:6d}  {outcome}" for outcome, count in sorted(self.counts.items())]
        lines += [f"  WRONG: {failure}" for failure in self.failures]
        return "\n".join(lines)
