"""What a point is worth: its trust, levels and suspicion, from its manifest and its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fsbackup_tui.domain.point import LevelCheck, PartManifest, PartSummary, TableFacts
from fsbackup_tui.domain.trust import Trust, counted, least
from fsbackup_tui.repository.records import Record

# A check of these that fails means the stored bytes are bad; a failing trial restore may have
# other causes, and takes back nothing that a lower rung has shown.
_DAMAGING = (Trust.SEALED, Trust.READABLE)
_CLIMBED = (Trust.SEALED, Trust.READABLE, Trust.RESTORED, Trust.PROVEN)
_CLIMBED_WORDS = {level.word: level for level in _CLIMBED}


@dataclass(frozen=True, slots=True)
class Standing:
    """The worth of a point: per part and, by its least part, of the whole.

    A part that stands at its kind's top rung counts as proven for the whole.

    ``cleared``: a person said, with a reason, that what it holds is right as it is.
    """

    trust: Trust
    parts: Mapping[str, Trust]
    suspect: tuple[str, ...]
    problems: tuple[str, ...]
    levels: Mapping[str, LevelCheck] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    cleared: bool = False


def judge(parts: Sequence[PartManifest], records: Iterable[Record], *, whole: bool) -> Standing:
    """Return what a point is worth; ``records`` oldest first, worthless ones included."""
    records = list(records)
    verified = [record for record in records if record.counts and record.kind == "verified"]
    trusts = {part.source: part_trust(part.source, verified) for part in parts}
    problems = [record.problem for record in records if record.problem]
    for source in trusts:
        problems += _part_problems(source, verified)
    trust = least(counted(part.kind, trusts[part.source]) for part in parts)
    if not whole and trust is not Trust.DAMAGED:
        trust = Trust.INCOMPLETE
    cleared = any(record.counts and record.kind == "cleared" for record in records)
    suspect = tuple(reason for part in parts for reason in part.suspect)
    return Standing(
        trust,
        trusts,
        () if cleared else suspect,
        tuple(problems),
        _levels(verified),
        tuple(dict.fromkeys(text for source in trusts for text in _blocked(source, verified))),
        cleared,
    )


def part_trust(source: str, verified: Sequence[Record]) -> Trust:
    """Return how far a part has been shown good: the newest check of each level decides.

    A check that failed takes back what the levels above it had shown before; one that was
    blocked changes nothing.
    """
    holds: dict[Trust, bool] = {}
    for record in verified:
        level = _CLIMBED_WORDS.get(str(record.document.get("level")))
        ok = (_part_outcome(record, source) or {}).get("ok")
        if level is None or not isinstance(ok, bool):
            continue
        holds[level] = ok
        if not ok:
            for higher in (rung for rung in _CLIMBED if rung > level):
                holds.pop(higher, None)
    if any(holds.get(level) is False for level in _DAMAGING):
        return Trust.DAMAGED
    return max((level for level in _CLIMBED if holds.get(level)), default=Trust.UNVERIFIED)


def _part_outcome(record: Record, source: str) -> Mapping[str, object] | None:
    parts = record.document.get("parts")
    outcome = parts.get(source) if isinstance(parts, Mapping) else None
    return outcome if isinstance(outcome, Mapping) else None


def _outcomes(
    source: str, verified: Sequence[Record], level: Trust
) -> Iterator[Mapping[str, object]]:
    """Yield what the checks of a level came to for a part, the newest first."""
    for record in reversed(verified):
        outcome = _part_outcome(record, source)
        if record.document.get("level") == level.word and outcome is not None:
            yield outcome


def _part_problems(source: str, verified: Sequence[Record]) -> list[str]:
    """Return what the newest failing check of each level found wrong with a part."""
    found: list[str] = []
    for level in _CLIMBED:
        outcomes = _outcomes(source, verified, level)
        # One that was blocked found nothing out.
        newest = next((each for each in outcomes if each.get("ok") is not None), None)
        if newest is None or newest.get("ok") is True:
            continue
        problems = newest.get("problems")
        listed = problems if isinstance(problems, Sequence) else ()
        texts = [problem_text(problem) for problem in listed]
        found += texts or [f"{source}: not {level.word} when it was last checked"]
    return list(dict.fromkeys(found))


def _blocked(source: str, verified: Sequence[Record]) -> list[str]:
    """Return what kept the newest check of each level from being tried."""
    found: list[str] = []
    for level in _CLIMBED:
        newest = next(_outcomes(source, verified, level), None)
        if newest is not None and newest.get("ok") is None:
            listed = newest.get("blocked")
            blockers = listed if isinstance(listed, Sequence) else ()
            found += [problem_text(blocker) for blocker in blockers]
    return found


def problem_text(problem: object) -> str:
    """Return a finding of a verification in one line, led by the file or part it is about."""
    if not isinstance(problem, Mapping):
        return str(problem)
    what = str(problem.get("what", problem))
    names = [str(problem[key]) for key in ("part", "artifact", "table") if problem.get(key)]
    if names and what.startswith((f"{names[-1]}: ", f"{names[-1]} ")):
        names.pop()  # it says so itself
    place = "/".join(names)
    return f"{place}: {what}" if place else what


def _levels(verified: Sequence[Record]) -> dict[str, LevelCheck]:
    levels: dict[str, LevelCheck] = {}
    for record in verified:
        word = record.document.get("level")
        seconds = record.document.get("seconds")
        if isinstance(word, str):
            ok = record.document.get("ok")
            levels[word] = LevelCheck(
                ok=ok if isinstance(ok, bool) else None,
                at=record.at,
                job=record.job,
                seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
            )
    return levels


def part_summary(part: PartManifest, trust: Trust) -> PartSummary:
    """Return what the inventory shows of a part; a schema part is a kind of its own there."""
    facts = part.postgres
    if facts is None:
        files = None if part.files is None else part.files.files
        return PartSummary(part.source, part.kind, trust, part.bytes, files=files)
    known = [table.rows for table in facts.tables if table.rows is not None and _stored(table)]
    schema_only = facts.scope == "schema"
    return PartSummary(
        part.source,
        "postgres-schema" if schema_only else part.kind,
        trust,
        part.bytes,
        rows=None if schema_only or not known else sum(known),
        database_bytes=facts.identity.size_bytes,
    )


def _stored(table: TableFacts) -> bool:
    """Whether the dump holds the table's rows, so that they count among the point's."""
    return table.kind in ("table", "unlogged") and not table.data_excluded
