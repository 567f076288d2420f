"""The lines that tell what a trial restore of a point showed, as plain functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Literal

from fsbackup_tui.domain.proof import Outcome, Proof, ProofCheck, Receipt
from fsbackup_tui.operations.wording import (
    IN_INCIDENT,
    blocked_words,
    count_text,
    duration_text,
    in_incident_words,
    level_word,
    place_words,
    spare_words,
    when_text,
)
from fsbackup_tui.tui.data import Checked, PartProof, PointProof
from fsbackup_tui.tui.lines import Line, Role, labelled, line, pad, wrapped
from fsbackup_tui.tui.modes.columns import age_of
from fsbackup_tui.tui.modes.live import bar_text
from fsbackup_tui.tui.modes.site_part_lines import has_site_parts, shown_lines, together_facts
from fsbackup_tui.tui.modes.table_lines import ORDER, VERDICTS, TableLines

View = Literal["findings", "parts", "tables", "checks", "receipt", "times", "live"]
VIEW_NAMES: Mapping[View, str] = {
    "live": "Live",
    "findings": "Findings",
    "parts": "Parts",
    "tables": "Tables",
    "checks": "Checks",
    "receipt": "Receipt",
    "times": "Times",
}
OUTCOMES: Mapping[Outcome | None, tuple[str, Role]] = {
    "ok": ("ok", "good"),
    "failed": ("FAILED", "bad"),
    "blocked": ("blocked", "warn"),
    None: ("not tried", "muted"),
}
# More of a list than this is told of in the record only: nobody reads on, and every line costs.
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """When and where somebody looks; ``calm``: all that was blocked is accepted."""

    now: datetime
    zone: tzinfo
    width: int
    calm: bool = False


def views_of(proof: PointProof | None, *, live: bool) -> tuple[View, ...]:
    """Return the views there are of a point, the first to be shown first."""
    views: list[View] = ["live"] if live else []
    if proof is not None and _has_findings(proof):
        views.append("findings")
    if proof is not None and has_site_parts(proof.summary):
        views.append("parts")
    return (*views, "tables", "checks", "receipt", "times")


def _has_findings(proof: PointProof) -> bool:
    summary = proof.summary
    return bool(
        summary.doubtful
        or summary.problems
        or summary.blocked
        or summary.accepted
        or any(part.proof.notes for part in proof.parts)
    )


def view_lines(proof: PointProof, view: View, seen: Seen) -> Sequence[Line]:
    """Return the lines of one of the views; those of the tables are made when they are seen."""
    seen = replace(seen, calm=proof.summary.calmly_blocked)
    if view == "findings":
        return list(_findings(proof, seen))
    if view == "parts":
        return list(_parts(proof, seen))
    if view == "times":
        return list(_times(proof, seen))
    if not proof.parts:
        return list(_no_trial(proof))
    if view == "tables":
        return TableLines(proof.parts, seen.width, lambda part: part_lines(part, seen))
    of_part = _checks if view == "checks" else _receipt
    return [row for part in proof.parts for row in of_part(part, seen)]


def _parts(proof: PointProof, seen: Seen) -> Iterator[Line]:
    """Yield what was shown of each part, and how they fit together."""
    yield from shown_lines(proof.summary)
    manifest = proof.manifest
    facts = () if manifest is None else tuple(together_facts(manifest.parts, manifest.links))
    if facts:
        yield line()
        yield line(" ", ("Together", "heading"))
    for label, text in facts:
        rows = wrapped(text, max(20, seen.width - 10))
        for number, row in enumerate(rows):
            yield line("   ", (pad("" if number else label, 5), "muted"), *row)


def part_lines(part: PartProof, seen: Seen) -> list[Line]:
    """Return how a part's trial restore ended, when and where."""
    proof = part.proof
    when = when_text(part.at, seen.now, seen.zone)
    restored, restored_role = _outcome(proof.restored, seen)
    proven, proven_role = _outcome(proof.proven, seen)
    lines = [
        line(
            " ",
            (f"Part {part.source}", "heading"),
            ("  restored ", "muted"),
            (restored, restored_role),
            ("  proven ", "muted"),
            (proven, proven_role),
            (f"  {when}, {age_of(part.at, seen.now)} ago", "muted"),
        )
    ]
    if proof.place != "-":
        lines += [line("   ", *row) for row in wrapped(place_words(proof.place), seen.width - 4)]
    if part.spare is not None:
        words = f"Spare: {spare_words(part.spare, seen.now, seen.zone)}"
        lines += [line("   ", *row) for row in wrapped(words, seen.width - 4)]
    return lines


def _outcome(outcome: Outcome | None, seen: Seen) -> tuple[str, Role]:
    word, role = OUTCOMES[outcome]
    return word, "text" if outcome == "blocked" and seen.calm else role


def _no_trial(proof: PointProof) -> Iterator[Line]:
    yield line()
    if not any(part.kind.startswith("postgres") for part in proof.summary.parts):
        yield line("   It has no database; Parts tells what was shown of it.")
        return
    yield line("   ", ("No trial restore of this point is on record.", "warn"))
    if proof.summary.foreign:
        yield line("   v 3 restores it on a scratch server; fsbackup adopt makes a point of it.")
    else:
        yield line("   v 4 restores it on a scratch server and compares every table.")


def _findings(proof: PointProof, seen: Seen) -> Iterator[Line]:
    summary = proof.summary
    # A record that counts for nothing is among the problems, too.
    problems = tuple(text for text in summary.problems if text not in proof.worthless)
    yield from _listed("Suspect", summary.suspect, "bad", seen)
    if summary.in_incident:
        yield from _listed(
            IN_INCIDENT.capitalize(), (in_incident_words(summary.in_incident),), "warn", seen
        )
    yield from _listed("Problem", problems, "bad", seen)
    yield from _listed("Record", proof.worthless, "warn", seen)
    if summary.doubtful:
        words = (
            "Proven is not yet good: it comes back as it was taken, which may have been"
            " after the damage. The rows by table are in its details (1, Enter)."
        )
        yield from (line(" ", *row) for row in labelled("", words, seen.width - 2, "muted"))
    if summary.blocked or summary.accepted:
        title = f"{blocked_words(summary.levels).capitalize()}: neither a pass nor a failure"
        yield line(" ", (title, "warn" if summary.blocked else "text"))
        fixes = {
            f"{part.source}: {blocker.what}": blocker.fix
            for part in proof.parts
            for blocker in part.proof.blocked()
        }
        for text in summary.blocked[:_LISTED]:
            yield from (line("   ", *row) for row in wrapped(text, seen.width - 4))
            if fixes.get(text):
                yield from (line("   ", *r) for r in labelled("Next", fixes[text], seen.width - 4))
        for one in summary.accepted[:_LISTED]:
            yield from (line("   ", *row) for row in wrapped(one.what, seen.width - 4))
            words = f"accepted: {one.reason}"
            yield from (line("     ", *row) for row in wrapped(words, seen.width - 6, "muted"))
    for part in proof.parts:
        yield from _listed("Note", part.proof.notes, "text", seen)


def _listed(title: str, texts: Sequence[str], role: Role, seen: Seen) -> Iterator[Line]:
    label = title
    for text in texts[:_LISTED]:
        rows = wrapped(text, max(20, seen.width - 10), role)
        for row in rows:
            yield line(" ", (pad(label, 8), "muted"), *row)
            label = ""
    if len(texts) > _LISTED:
        yield line(" " * 9, (f"and {count_text(len(texts) - _LISTED)} more", "muted"))


def _ordered(checks: Sequence[ProofCheck]) -> list[ProofCheck]:
    """Return the checks, the worst verdicts first."""
    return sorted(checks, key=lambda check: ORDER[check.verdict])


def _checks(part: PartProof, seen: Seen) -> Iterator[Line]:
    yield from part_lines(part, seen)
    checks = part.proof.checks
    if not checks:
        yield line("   ", ("nothing beside the tables was checked", "muted"))
        return
    name_width = max(20, min(60, seen.width - 33))
    yield line("   ", (f"{'VERDICT':<9}  {'WHAT':<13}  NAME", "muted"))
    for check in _ordered(checks)[:_LISTED]:
        word, role = VERDICTS[check.verdict]
        name = line(check.name)
        shown = name[0].text if name else ""
        kind = pad(check.kind, 13)
        yield line("   ", (word, role), pad("", 11 - len(word)), kind, "  ", pad(shown, name_width))
        if check.note:
            yield from (line(" " * 14, *row) for row in wrapped(check.note, seen.width - 15))
    yield from _more(len(checks), part)


def _more(count: int, part: PartProof) -> Iterator[Line]:
    if count > _LISTED:
        words = f"and {count_text(count - _LISTED)} more in {part.record}"
        yield line("   ", (words, "muted"))


def _receipt(part: PartProof, seen: Seen) -> Iterator[Line]:
    yield from part_lines(part, seen)
    receipt = part.proof.receipt
    if receipt is None:
        yield line("   ", ("it did not get as far as a receipt", "muted"))
        return
    yield line("   Every entry of the archive: ", *_counts(receipt))
    for label in receipt.lost[:_LISTED]:
        yield from (
            line("   ", *row) for row in wrapped(f"LOST      {label}", seen.width - 4, "bad")
        )
    for label in receipt.deferred[:_LISTED]:
        yield from (line("   ", *row) for row in wrapped(f"deferred  {label}", seen.width - 4))
    for label, reason in receipt.benign[:_LISTED]:
        yield from (line("   ", *row) for row in wrapped(f"benign    {label}", seen.width - 4))
        yield from (line(" " * 13, *row) for row in wrapped(reason, seen.width - 14, "muted"))
    for entries in (receipt.lost, receipt.deferred, receipt.benign):
        yield from _more(len(entries), part)


def _counts(receipt: Receipt) -> list[tuple[str, Role]]:
    lost = len(receipt.lost)
    return [
        (f"{count_text(receipt.restored)} restored, ", "text"),
        (f"{count_text(len(receipt.benign))} known benign, ", "text"),
        (f"{count_text(len(receipt.deferred))} deferred, ", "text"),
        (f"{count_text(lost)} LOST", "bad" if lost else "text"),
    ]


def _times(proof: PointProof, seen: Seen) -> Iterator[Line]:
    for part in proof.parts:
        yield from part_lines(part, seen)
        yield from _phases(part.proof, seen.width)
        yield line()
    yield line(" ", ("Every check", "heading"))
    if not proof.history:
        yield line("   ", ("none yet: v verifies", "warn"))
        return
    titles = f"{'WHEN':<18}  {'AGE':>5}  {'LEVEL':<8}  {'':<7}  {'TOOK':>10}  JOB"
    yield line("   ", (titles, "muted"))
    for checked in proof.history:
        yield from _history(checked, seen)


def _phases(proof: Proof, width: int) -> Iterator[Line]:
    total = sum(proof.phases.values())
    cells = max(10, min(50, width - 34))
    for name, seconds in proof.phases.items():
        yield line(
            "   ",
            pad(name, 12),
            pad(duration_text(seconds), 12, right=True),
            "  ",
            (bar_text(seconds, total or None, cells), "accent"),
        )


def _history(checked: Checked, seen: Seen) -> Iterator[Line]:
    roles: Mapping[bool | None, Role] = {True: "text", False: "bad", None: "warn"}
    role = "text" if checked.ok is None and seen.calm else roles[checked.ok]
    when = pad(when_text(checked.at, seen.now, seen.zone), 18)
    age = pad(age_of(checked.at, seen.now), 5, right=True)
    took = pad(duration_text(checked.seconds), 10, right=True)
    word = level_word(checked.ok)
    yield line(
        "   ",
        f"{when}  {age}  {pad(checked.level, 8)}  ",
        (word, role),
        f"{pad('', 7 - len(word))}  {took}  ",
        (checked.job.rpartition("-")[2], "muted"),
    )
    for text in checked.problems[:3]:
        yield from (line(" " * 6, *row) for row in wrapped(text, seen.width - 7, role))
    if len(checked.problems) > 3:
        yield line(" " * 6, (f"and {count_text(len(checked.problems) - 3)} more", "muted"))
