"""A captured work tree in words."""

from __future__ import annotations

from fsbackup_tui.domain.site_parts import CodeFacts

_SHORT = 12


def code_words(facts: CodeFacts) -> str:
    """Return in a line what a work tree was: branch, commit, how much no commit has."""
    commit = facts.head[:_SHORT] if facts.head else "no commit yet"
    place = f"branch {facts.branch} at {commit}" if facts.branch else f"detached at {commit}"
    counts = [
        f"{count} {word}"
        for count, word in (
            (facts.staged, "staged"),
            (facts.unstaged, "changed"),
            (facts.untracked, "untracked"),
            (facts.stashes, "stashed"),
        )
        if count
    ]
    return f"{place}, {', '.join(counts) or 'clean'}"
