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
    waits for something; what it raises becomes an *unknown* finding. ``live`` asks servers or
    programs; the others read what lies on this machine.
    """

    name: str
    about: str
    look: Callable[[Ground], Iterable[Finding] | Awaitable[Iterable[Finding]]]
    seconds: float = 5.0
    live: bool = False

    async def run(self, ground: Ground, found: list[Finding]) -> None:
        """Look, and add to ``found`` as things are found: what breaks later takes none away."""
        told = self.look(ground)
        if inspect.isawaitable(told):
            told = await told
        for finding in told:
            found.append(finding)
