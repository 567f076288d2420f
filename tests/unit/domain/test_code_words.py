"""What a work tree was, in a line: nothing that no commit has is called clean."""

from __future__ import annotations

from dataclasses import replace

from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.site_parts import CodeFacts, SubmoduleFacts

HEAD, OTHER = "a" * 40, "b" * 40
CLEAN = CodeFacts("/srv/shop", HEAD, "main", (), staged=0, unstaged=0, untracked=0, stashes=0)


def with_submodule(code: CodeFacts | None) -> str:
    return code_words(replace(CLEAN, modules=(SubmoduleFacts("lib", "url", HEAD, "1", code),)))


def test_work_in_a_submodule_is_told() -> None:
    clean = f"branch main at {HEAD[:12]}, clean"
    assert code_words(CLEAN) == clean
    assert with_submodule(None) == clean
    assert with_submodule(CLEAN) == clean
    for changed in (replace(CLEAN, head=OTHER), replace(CLEAN, untracked=1)):
        assert with_submodule(changed).endswith(", 1 submodule changed")
