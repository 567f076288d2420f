"""What every request has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Request:
    """The base of all requests."""

    operation: ClassVar[str]
    runner: ClassVar[str]
    stages: ClassVar[tuple[str, ...]]

    def planned(self) -> tuple[str, ...]:
        """Return the stages that this request will go through."""
        return self.stages
