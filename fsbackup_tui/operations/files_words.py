"""A tree of files in words, the same in every face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fsbackup_tui.domain.site_parts import FilesFacts, Names, TreeChanges
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.operations.wording import size_text

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Told:
    """One fact of a tree: its label, its words, and whether a person should look at it."""

    label: str
    text: str
    warns: bool = False


def tree_facts(facts: FilesFacts) -> Iterator[Told]:
    """Yield what there is to tell of a tree as it was captured."""
    yield Told("root", facts.root)
    rest = f"{count_text(facts.directories)} directories, {count_text(facts.links)} links"
    yield Told("files", f"{count_text(facts.files)}, {size_text(facts.bytes)}; {rest}")
    if facts.changes is not None:
        yield Told("changed", change_words(facts.changes))
    if facts.linked_to is not None:
        yield Told("stored", f"shares its files with {facts.linked_to}: nothing had changed")
    for label, names, what, warns in (
        ("read again", facts.reread, "changed while they were read", False),
        ("unsettled", facts.unsettled, "changed then, too: perhaps of two moments", True),
        ("vanished", facts.vanished, "went away before they were read", False),
        ("left out", facts.skipped, "no files", False),
    ):
        if names.count:
            yield Told(label, f"{count_text(names.count)} {what}: {_named(names)}", warns)


def change_words(changes: TreeChanges) -> str:
    """Return what differs from the last good point's tree."""
    counts = (
        (changes.added, "added"),
        (changes.changed, "changed"),
        (changes.removed, "removed"),
    )
    told = ", ".join(f"{count_text(count)} {what}" for count, what in counts if count)
    return f"{told or 'nothing'} since {changes.since}"


def _named(names: Names) -> str:
    more = names.count - len(names.names[:_NAMED])
    return ", ".join(names.names[:_NAMED]) + (f" and {count_text(more)} more" if more else "")


def files_passed(files: int, of: int) -> str:
    """Return how many files passed: ``2 486 of 2 506 files``; more than foreseen have no whole."""
    whole = f" of {count_text(of)}" if of >= files else ""
    return f"{count_text(files)}{whole} files"
