"""Runbooks: what is to be done in an emergency, in its order, as checked YAML without expressions.

``when`` and ``do`` are names that code has registered; nothing in a file is
evaluated. A runbook has the five phases of design §7 with at most seven steps each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fsbackup_tui.config.problems import Places, did_you_mean, validation_problems
from fsbackup_tui.config.values import Duration, Settings
from fsbackup_tui.config.yaml_reader import YamlSyntaxError, read_yaml
from fsbackup_tui.domain.errors import ConfigError, ConfigProblem, UsageError
from fsbackup_tui.domain.incident import PHASES, Seen
from fsbackup_tui.domain.place import SourceKind

StepKind = Literal["check", "act", "ask", "choose", "confirm"]
MOST_STEPS_A_PHASE = 7
STEP_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


class Step(Settings):
    """One step: what it is for, what it does, and what must come before it.

    ``do`` names what runs; ``undo`` names a step's action that takes it back, or is text for
    people; ``guard``: to skip it takes a written reason; ``destructive``: it asks for the typed
    name of its target.
    """

    id: Annotated[str, Field(pattern=STEP_PATTERN, max_length=40)]
    kind: StepKind
    do: Annotated[str, Field(pattern=STEP_PATTERN)]
    title: Annotated[str, Field(min_length=3, max_length=60)]
    why: Annotated[str, Field(min_length=10, max_length=400)]
    changes: Annotated[str, Field(max_length=400)] = "nothing"
    undo: Annotated[str, Field(max_length=200)] = ""
    requires: tuple[str, ...] = ()
    when: str | None = None
    usually: Duration | None = None
    guard: bool = False
    destructive: bool = False


class Phases(Settings):
    """The steps of each phase; a phase may have none."""

    stop: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS_A_PHASE)] = ()
    preserve: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS_A_PHASE)] = ()
    assess: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS_A_PHASE)] = ()
    recover: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS_A_PHASE)] = ()
    resume: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS_A_PHASE)] = ()

    def named(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Return each phase's name and steps, in their order."""
        for phase in PHASES:
            yield phase, getattr(self, phase)


class Runbook(Settings):
    """A whole runbook; ``seen`` is what a person sees when this is the one to follow.

    ``about`` are the kinds of sources that it brings back.
    """

    format: Literal[1]
    id: Annotated[str, Field(pattern=STEP_PATTERN, max_length=40)]
    title: Annotated[str, Field(min_length=3, max_length=60)]
    summary: Annotated[str, Field(min_length=10, max_length=300)]
    seen: tuple[Seen, ...] = ()
    about: Annotated[tuple[SourceKind, ...], Field(min_length=1)] = ("postgres",)
    phases: Phases

    def steps(self) -> tuple[Step, ...]:
        """Return all steps in their order."""
        return tuple(step for _phase, steps in self.phases.named() for step in steps)


@dataclass(frozen=True, slots=True)
class Names:
    """What code has registered: actions with the kind of step each serves, and predicates."""

    actions: Mapping[str, StepKind]
    predicates: Collection[str]


def parse_runbook(text: str, file: str, names: Names) -> Runbook:
    """Return the runbook in a YAML text; ConfigError names every mistake with its line."""
    try:
        document = read_yaml(text, file)
    except YamlSyntaxError as error:
        raise _unusable([error.problem]) from error
    places = Places(file, document.lines)
    problems = list(document.problems)
    runbook: Runbook | None = None
    try:
        runbook = Runbook.model_validate(document.value)
    except ValidationError as error:
        problems += validation_problems(error, document.value, places)
    if runbook is not None:
        problems += _across(runbook, places, names)
    if problems or runbook is None:
        raise _unusable(sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0))
    return runbook


def read_runbook(path: Path, names: Names) -> Runbook:
    """Return the runbook in a file; ConfigError, or UsageError where it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"RUNBOOK NOT READ: {path}.", why=str(error)) from error
    return parse_runbook(text, str(path), names)


def _unusable(problems: Iterable[ConfigProblem]) -> ConfigError:
    listed = list(problems)
    count = len(listed)
    return ConfigError(
        listed, what=f"RUNBOOK NOT USABLE: {count} problem{'s' if count != 1 else ''}."
    )


def _across(runbook: Runbook, places: Places, names: Names) -> Iterator[ConfigProblem]:
    """Return what is wrong between the steps, and with the names they use."""
    steps = runbook.steps()
    if not steps:
        yield places.problem(("phases",), "there is no step", "give at least one phase a step")
    counted = Counter(step.id for step in steps)
    before: set[str] = set()
    for phase, listed in runbook.phases.named():
        for index, step in enumerate(listed):
            at = ("phases", phase, index)
            if counted[step.id] > 1:
                yield places.problem((*at, "id"), f"'{step.id}' is the id of two steps")
            yield from _names_of(step, at, places, names)
            for number, needed in enumerate(step.requires):
                if needed not in before:
                    hint = did_you_mean(needed, sorted(before)) if before else "it is the first"
                    yield places.problem(
                        (*at, "requires", number), f"no step '{needed}' comes before this", hint
                    )
            before.add(step.id)


def _names_of(
    step: Step, at: tuple[str | int, ...], places: Places, names: Names
) -> Iterator[ConfigProblem]:
    kind = names.actions.get(step.do)
    if kind is None:
        yield places.problem(
            (*at, "do"),
            f"'{step.do}' is nothing fsbackup does",
            did_you_mean(step.do, names.actions),
        )
    elif kind != step.kind:
        yield places.problem(
            (*at, "kind"), f"'{step.do}' is for a step of kind {kind}, not {step.kind}"
        )
    if step.when is not None and step.when not in names.predicates:
        yield places.problem(
            (*at, "when"),
            f"'{step.when}' is no condition",
            did_you_mean(step.when, names.predicates),
        )
    if step.destructive and step.kind != "act":
        yield places.problem((*at, "destructive"), "only a step of kind act destroys anything")
