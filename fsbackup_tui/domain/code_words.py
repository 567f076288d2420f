"""A captured work tree in words."""

from __future__ import annotations

from fsbackup_tui.domain.site_parts import CodeFacts, SubmoduleFacts

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
    moved = sum(_is_moved(module) for module in facts.modules)
    if moved:
        counts.append(f"{moved} {'submodule' if moved == 1 else 'submodules'} changed")
    return f"{place}, {', '.join(counts) or 'clean'}"


def _is_moved(module: SubmoduleFacts) -> bool:
    """Whether a submodule is at another commit than the index names, or has work of its own."""
    code = module.code
    if code is None:
        return False
    return code.head != module.commit or bool(code.staged or code.unstaged or code.untracked)
