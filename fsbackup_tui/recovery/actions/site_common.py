"""What bringing files, configuration and code back share: names, stock commands, lessons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.recovery.actions.action import Facts, Situation
from fsbackup_tui.recovery.actions.words import shell


def tree_tag(situation: Situation, step: str) -> str:
    """Return what the names of trees end in: the incident's id, and the attempt from the second."""
    attempt = situation.facts.document("attempts").get(step, 0)
    return situation.incident.id + (f"-{attempt + 1}" if attempt else "")


def stock_extract(situation: Situation, target: str, *more: str) -> tuple[str, ...]:
    """Return the stock commands that put the point's files into a directory; ``more`` for tar."""
    candidate = situation.facts.site_candidate
    options = " ".join(more)
    into = f"tar -xpf - {options + ' ' if options else ''}-C {shell([target])}"
    if candidate is None or not candidate.stock:
        return (f"… | {into}",)
    reader = candidate.stock[-1]
    return (f"cd {shell([candidate.directory])}", f"{reader} | {into}")


def without_ok(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as it is remembered: without that it ended well."""
    return {name: value for name, value in result.items() if name != "ok"}


def nowhere_lines(count: int, file: str) -> Iterator[str]:
    """Yield how many files rows name that are nowhere, and where their rows are exported to."""
    if count:
        files, them = ("file", "it") if count == 1 else ("files", "them")
        told = f"{count_text(count)} {files} that rows name"
        yield f"NOWHERE: {told}: neither live nor the point has {them}"
        if file:
            yield f"  their rows are exported to {plain_text(file)}"


def found_spoilt(situation: Situation, kind: str) -> Facts:
    """Return that the point is damaged, where that is why a step failed."""
    if kind != PointDamaged.kind:
        return {}
    return {"spoilt": [*situation.facts.spoilt, situation.facts.point]}


REOPENS = {PointDamaged.kind: "choose-point"}
