"""What a probe is: its name, what it looks at, and how long it may take."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.probes.ground import Ground


@dataclass(frozen=True, slots=True)
class Probe:
    """One of the looks of ``check``.

    ``name`` begins the ids of its findings or says what could not be looked at; ``about`` says
    in words what it tells. ``look`` is a generator or function, or a coroutine function where it
    waits for something; what it raises becomes an *unknown* finding.
    """

    name: str
    about: str
    look: Callable[[Ground], Iterable[Finding] | Awaitable[Iterable[Finding]]]
    seconds: float = 5.0

    async def run(self, ground: Ground) -> list[Finding]:
        """Look, and return what was found."""
        found = self.look(ground)
        if inspect.isawaitable(found):
            found = await found
        return list(found)
