"""Where an incident stands in its runbook: what is done, what comes next, what waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.incident import PHASES, Incident, StepState
from fsbackup_tui.recovery.runbook import Runbook, Step


@dataclass(frozen=True, slots=True)
class Placed:
    """A step in its place: ``number`` is 4.2; ``applies`` None: its condition isn't known yet.

    ``waits_for`` are the steps that must be done or skipped before it.
    """

    step: Step
    phase: str
    number: str
    state: StepState
    applies: bool | None
    waits_for: tuple[str, ...]

    @property
    def can_run(self) -> bool:
        """Whether it may be begun now; an unknown one is settled by looking first."""
        return (
            self.applies is True
            and not self.waits_for
            and self.state.status in ("open", "failed", "undone")
        )

    @property
    def is_behind(self) -> bool:
        """Whether nothing is to be done about it any more."""
        return self.applies is False or self.state.settled


@dataclass(frozen=True, slots=True)
class Flow:
    """All steps of an incident's runbook, in their order."""

    steps: tuple[Placed, ...]

    def current(self) -> Placed | None:
        """Return the step that a person is at: an unknown one first, else the first not behind.

        None when all is done.
        """
        unknown = next((placed for placed in self.steps if placed.state.status == "unknown"), None)
        return unknown or next((placed for placed in self.steps if not placed.is_behind), None)

    def find(self, step: str) -> Placed | None:
        """Return the step of that id."""
        return next((placed for placed in self.steps if placed.step.id == step), None)

    def based_on(self, step: str) -> tuple[Placed, ...]:
        """Return all steps that require that step, directly or not."""
        based = {step}
        found: list[Placed] = []
        for placed in self.steps:
            if based & set(placed.step.requires):
                based.add(placed.step.id)
                found.append(placed)
        return tuple(found)

    def phase_words(self) -> Mapping[str, str]:
        """Return for each phase ``done``, ``2/6`` (the step one is at, of how many), or ``-``."""
        current = self.current()
        words: dict[str, str] = {}
        for phase in PHASES:
            of_phase = [placed for placed in self.steps if placed.phase == phase]
            counted = [placed for placed in of_phase if placed.applies is not False]
            if current is not None and current.phase == phase:
                place = counted.index(current) + 1
                words[phase] = f"{place}/{len(counted)}"
            elif of_phase and all(placed.is_behind for placed in of_phase):
                words[phase] = "done"
            else:
                words[phase] = "-"
        return words


def place_steps(
    runbook: Runbook,
    incident: Incident,
    conditions: Mapping[str, bool | None],
    now: datetime,
) -> Flow:
    """Return where the incident stands in the runbook.

    ``conditions`` tells for each predicate whether it holds; None or missing: not known yet.
    """
    return Flow(tuple(_placed(runbook, incident, conditions, now)))


def _placed(
    runbook: Runbook,
    incident: Incident,
    conditions: Mapping[str, bool | None],
    now: datetime,
) -> Iterator[Placed]:
    behind: dict[str, bool] = {}
    for phase_number, (phase, steps) in enumerate(runbook.phases.named(), 1):
        for number, step in enumerate(steps, 1):
            state = incident.step(step.id, now)
            applies = True if step.when is None else conditions.get(step.when)
            placed = Placed(
                step,
                phase,
                f"{phase_number}.{number}",
                state,
                applies,
                tuple(_missing(step.requires, behind)),
            )
            # A step that does not apply stands for what it waits for itself.
            behind[step.id] = placed.is_behind and (placed.state.settled or not placed.waits_for)
            yield placed


def _missing(required: Iterable[str], behind: Mapping[str, bool]) -> Iterator[str]:
    return (step for step in required if not behind.get(step, False))
