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

    def changes(self) -> bool:
        """Return whether it changes anything but its own journal: the audit log has it then."""
        return True

    def is_allowed_read_only(self) -> bool:
        """Return whether it may run where nothing is to be changed: its facts stay unwritten."""
        return not self.changes()
