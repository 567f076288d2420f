"""The lines of a point's parts that are no database, as plain functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING

from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.fit import fits_of
from fsbackup_tui.domain.point import PartManifest, PartSummary, PointSummary
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.site_parts import CodeFacts, LinkFacts, TreeChanges
from fsbackup_tui.domain.trust import TOP_RUNGS, Trust
from fsbackup_tui.operations.wording import count_text, size_text, when_text
from fsbackup_tui.tui.lines import Line, Role, line, pad

if TYPE_CHECKING:
    from fsbackup_tui.operations.part_changes import PartChanges

SITE_KINDS = ("files", "config", "code")
_NAME, _KIND, _TRUST = 12, 8, 10
_KEYS = 40
_COMMIT = 8
_SHOWN: Mapping[str, Mapping[Trust, str]] = {
    "files": {
        Trust.READABLE: "every member of the archive was read",
        Trust.RESTORED: "extracted, and every file's hash compared",
        Trust.PROVEN: "every file's hash, and the rows that name them, compared",
    },
    "config": {Trust.READABLE: "decrypted and read to its end: there is no more to show"},
    "code": {
        Trust.READABLE: "every object of the bundle was read",
        Trust.RESTORED: "cloned, fsck, heads and patches compared: there is no more to show",
    },
}
_SEALED = "its bytes are those that were stored"


def has_site_parts(point: PointSummary) -> bool:
    """Whether a point holds anything but databases."""
    return any(part.kind in SITE_KINDS for part in point.parts)


def part_rows(
    point: PointSummary,
    manifests: Sequence[PartManifest] = (),
    changes: Mapping[str, PartChanges] = MappingProxyType({}),
) -> Iterator[Line]:
    """Yield a row for each part: source, kind, trust, size, what it holds, what changed in it."""
    known = {manifest.source: manifest for manifest in manifests}
    for part in point.parts:
        role: Role = "bad" if part.trust <= Trust.INCOMPLETE else "text"
        top = part.trust >= TOP_RUNGS.get(part.kind, Trust.PROVEN)
        yield line(
            "   ",
            pad(part.source, _NAME),
            " ",
            (pad(part.kind, _KIND), "muted"),
            " ",
            (pad(part.trust.word.upper(), _TRUST), "good" if top else role),
            pad(size_text(part.bytes), 8, right=True),
            f"  {_held(part, known.get(part.source), changes.get(part.source))}",
        )


def _held(part: PartSummary, manifest: PartManifest | None, changes: PartChanges | None) -> str:
    if manifest is not None and manifest.config is not None:
        count = len(manifest.config.entries)
        told = f"{count} {'entry' if count == 1 else 'entries'}"
        return told if changes is None else f"{told}, {_entries_changed(changes)}"
    if manifest is not None and manifest.code is not None:
        return _code_held(manifest.code, changes)
    if part.files is not None:
        since = manifest.files.changes if manifest is not None and manifest.files else None
        told = f"{count_text(part.files)} files"
        return told if since is None else f"{told}, {_tree_changed(since)}"
    return "" if part.rows is None else f"{count_text(part.rows)} rows"


def _code_held(code: CodeFacts, changes: PartChanges | None) -> str:
    former = changes.head if changes is not None else None
    was = f" (was {former[:_COMMIT]})" if former else ""
    own = code.staged + code.unstaged + code.untracked
    dirty = f"{count_text(own)} uncommitted" if own else "clean"
    return f"{code.branch or 'detached'} {(code.head or '-')[:_COMMIT]}{was}, {dirty}"


def _entries_changed(changes: PartChanges) -> str:
    unknown = sum(entry.change == "unknown" for entry in changes.entries)
    counts = ((len(changes.entries) - unknown, "changed"), (unknown, "not comparable"))
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "as before"


def _tree_changed(since: TreeChanges) -> str:
    counts = ((since.added, "added"), (since.changed, "changed"), (since.removed, "removed"))
    told = ", ".join(f"{count_text(count)} {what}" for count, what in counts if count)
    return told or "as before"


def shown_lines(point: PointSummary) -> Iterator[Line]:
    """Yield what was shown of each part, and whether there is a rung above it."""
    for part in point.parts:
        top = TOP_RUNGS.get(part.kind, Trust.PROVEN)
        role: Role = "bad" if part.trust <= Trust.INCOMPLETE else "warn"
        role = "good" if part.trust >= top else role
        yield line()
        yield line(
            " ",
            (f"Part {part.source}", "heading"),
            (f" ({part.kind})  ", "muted"),
            (part.trust.word.upper(), role),
        )
        shown = _SHOWN.get(part.kind, {}).get(part.trust, "")
        if part.kind.startswith("postgres"):
            shown = "see Tables, Checks and Receipt"
        elif not shown and part.trust >= Trust.SEALED:
            shown = _SEALED
        if shown:
            yield line("   ", shown)
        if Trust.INCOMPLETE < part.trust < top:
            yield line("   ", (f"not {top.word} yet: v climbs", "warn"))


def site_facts(
    part: PartManifest, changes: PartChanges | None, now: datetime, zone: tzinfo
) -> Iterator[tuple[str, str]]:
    """Yield label and text of what a configuration or code held, by names alone; else nothing."""
    if part.config is not None:
        for entry in part.config.entries:
            keys = [key for key, _ in entry.keys]
            more = f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
            told = f": {', '.join(keys[:_KEYS])}{more}" if keys else ""
            yield entry.origin.capitalize(), f"{entry.name}{told}"
        for name in part.config.absent:
            yield "Absent", name
    if part.code is not None:
        yield "Work tree", part.code.worktree
        yield "State", code_words(part.code)
        if part.code.artifacts:
            yield "Built", ", ".join(part.code.artifacts)
        if part.code.migration_head:
            count = len(part.code.migrations)
            yield "Migration", f"{part.code.migration_head}, the last of {count}"
    if changes is not None:
        yield from _changed(changes, now, zone)


def _changed(changes: PartChanges, now: datetime, zone: tzinfo) -> Iterator[tuple[str, str]]:
    since = f"since {when_text(changes.created, now, zone)}"
    if changes.head is not None:
        yield "Changed", f"{since}: HEAD was {changes.head[:12]}"
    for entry in changes.entries:
        yield "Changed", f"{since}: {entry.name} {entry.words()}"
    if changes.head is None and not changes.entries:
        yield "Changed", f"nothing {since}"


_SIGNED: Mapping[str, Role] = {"good": "text", "unchecked": "warn", "absent": "warn"}


def signature_fact(signature: Signature) -> tuple[str, str, Role]:
    """Return label, text and role of who signed a point."""
    return "Signature", signature.text, _SIGNED.get(signature.state, "bad")


def together_facts(
    parts: Sequence[PartManifest], links: Sequence[LinkFacts]
) -> Iterator[tuple[str, str]]:
    """Yield how a point's parts fit together: rows and files, database and code."""
    from fsbackup_tui.operations.link_loss import fit_lines, names_lines

    for link, (column, text) in zip(links, fit_lines(links), strict=True):
        yield "Link", f"{column}: {text}"
        yield from (("", told) for told in names_lines(link))
    for database, code, fit in fits_of(parts):
        yield "Fit", f"{database} and {code}: {fit.words()}"
