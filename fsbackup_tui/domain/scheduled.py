"""What a site does by itself: one entry for each plan, drill and check that has a time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.domain.schedule import Schedule

Kind = Literal["backup", "drill", "verify-due", "check"]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One thing that runs by itself; ``arguments`` are those of the ``fsbackup`` that does it.

    ``name`` is the plan's or the drill's; empty for what a site has once.
    """

    kind: Kind
    name: str
    schedule: Schedule
    arguments: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its name within the site: ``backup.daily``, ``check``; no name holds a dot."""
        return f"{self.kind}.{self.name}" if self.name else self.kind

    @property
    def title(self) -> str:
        """What it is, for people: ``backup daily``, ``check``."""
        return " ".join(word for word in (self.kind, self.name) if word)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is started, and as whom: the same for all entries of one site's configuration.

    ``program`` is the command line up to the arguments of an entry, ``config`` the absolute path
    of the configuration, ``environment`` what the program needs besides (its HOME). ``nice`` is
    for what is no job and so does not see to it itself.
    """

    site: str
    config: str
    program: tuple[str, ...]
    user: str
    environment: tuple[tuple[str, str], ...] = ()
    nice: int = 0
