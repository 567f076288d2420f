"""The runbooks there are: shipped ones, the site's in their place, and the site's added steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.model import AddedStep
from fsbackup_tui.domain.errors import ConfigError, ConfigProblem, UsageError
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.place import SourceKind
from fsbackup_tui.recovery.actions.registry import NAMES
from fsbackup_tui.recovery.kinds import KIND_WORDS
from fsbackup_tui.recovery.runbook import (
    MOST_STEPS_A_PHASE,
    Phases,
    Runbook,
    Step,
    parse_runbook,
    read_runbook,
)

SHIPPED = (
    *("data-loss", "partial-loss", "corruption", "files-loss", "config-or-code-loss"),
    "host-lost",
)
_RUNBOOK_OF_SEEN: dict[Seen, str] = {
    "rows": "partial-loss",
    "structure": "partial-loss",
    "errors": "corruption",
    "files": "files-loss",
    "server": "host-lost",
    "config": "config-or-code-loss",
    "unknown": "data-loss",
}


def runbook_ids(loaded: LoadedConfig | None) -> tuple[str, ...]:
    """Return the ids of all runbooks, the shipped ones first."""
    own = loaded.config.recovery.runbooks if loaded is not None else {}
    return (*SHIPPED, *(name for name in own if name not in SHIPPED))


def runbook_for(seen: Seen, kind: SourceKind = "postgres") -> str:
    """Return the runbook to begin with for what is seen, before anything was looked at."""
    if kind != "postgres":
        return "files-loss" if kind == "files" else "config-or-code-loss"
    return _RUNBOOK_OF_SEEN.get(seen, "data-loss")


def runbooks_about(kind: SourceKind, loaded: LoadedConfig | None) -> tuple[str, ...]:
    """Return the ids of the runbooks that bring back a source of that kind."""
    return tuple(name for name in runbook_ids(loaded) if kind in find_runbook(name, loaded).about)


def require_about(runbook: str, kind: SourceKind, loaded: LoadedConfig) -> None:
    """Raise UsageError where a runbook brings back another kind of source."""
    about = find_runbook(runbook, loaded).about
    if kind in about:
        return
    words = " or ".join(KIND_WORDS[each] for each in about)
    fitting = ", ".join(runbooks_about(kind, loaded)) or "none"
    raise UsageError(
        f"NOT THIS RUNBOOK: {runbook} brings back {words}, not {KIND_WORDS[kind]}.",
        why=f"What brings back {KIND_WORDS[kind]}: {fitting}.",
        fix="Name another source with --part, or another runbook.",
    )


def shipped_text(name: str) -> str:
    """Return the YAML text of a shipped runbook."""
    file = resources.files("fsbackup_tui.recovery") / "runbooks" / f"{name}.yaml"
    return file.read_text(encoding="utf-8")


@cache
def _shipped(name: str) -> Runbook:
    return parse_runbook(shipped_text(name), f"{name}.yaml", NAMES)


def find_runbook(name: str, loaded: LoadedConfig | None) -> Runbook:
    """Return the runbook of that id, with the steps that the site adds.

    Raises:
        UsageError: there is none. ConfigError: it can't be used, with every mistake's line.
    """
    own = loaded.config.recovery.runbooks.get(name) if loaded is not None else None
    if own is not None and loaded is not None:
        runbook = read_runbook(loaded.path.parent / own, NAMES)
        if runbook.id != name:
            raise UsageError(
                f"ANOTHER RUNBOOK: {own} has the id {runbook.id}, not {name}.",
                fix=f"Write id: {name} there, or name it {runbook.id} in the configuration.",
            )
    elif name in SHIPPED:
        runbook = _shipped(name)
    else:
        known = ", ".join(runbook_ids(loaded))
        raise UsageError(f"NO SUCH RUNBOOK: {name}.", why=f"There are: {known}.")
    steps = loaded.config.recovery.steps if loaded is not None else ()
    return _with_added(runbook, [step for step in steps if step.runbook == name], loaded)


def _with_added(
    runbook: Runbook, added: Iterable[AddedStep], loaded: LoadedConfig | None
) -> Runbook:
    phases = {phase: list(steps) for phase, steps in runbook.phases.named()}
    problems: list[ConfigProblem] = []
    for number, extra in enumerate(added):
        steps = phases[extra.phase]
        place = _place(steps, extra)
        if place is None or any(step.id == extra.id for step in runbook.steps()):
            problems.append(_problem(loaded, number, _misplaced(extra, runbook)))
            continue
        if len(steps) >= MOST_STEPS_A_PHASE:
            problems.append(_problem(loaded, number, _too_many(extra)))
            continue
        steps.insert(place, _step(extra))
    if problems:
        raise ConfigError(problems, what=f"RUNBOOK NOT USABLE: {runbook.id}.")
    values: dict[str, Any] = {phase: tuple(steps) for phase, steps in phases.items()}
    return runbook.model_copy(update={"phases": Phases(**values)})


def _place(steps: list[Step], extra: AddedStep) -> int | None:
    if extra.after is None:
        return len(steps)
    return next((number + 1 for number, step in enumerate(steps) if step.id == extra.after), None)


def _step(extra: AddedStep) -> Step:
    return Step(
        id=extra.id, kind="act", do="site-step", title=extra.title, why=extra.why, undo=extra.undo
    )


def _misplaced(extra: AddedStep, runbook: Runbook) -> str:
    return (
        f"it has no place in {runbook.id}: no step '{extra.after}' in phase {extra.phase}, "
        "or its id is taken"
    )


def _too_many(extra: AddedStep) -> str:
    return f"phase {extra.phase} has {MOST_STEPS_A_PHASE} steps already; seven are the most"


def _problem(loaded: LoadedConfig | None, number: int, what: str) -> ConfigProblem:
    place = ("recovery", "steps", number)
    line = loaded.lines.get(place) if loaded is not None else None
    return ConfigProblem(str(loaded.path) if loaded is not None else "", line, what)
