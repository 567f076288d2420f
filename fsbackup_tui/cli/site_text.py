"""Files, configuration and code of a point as ``show`` prints them: names, counts, what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo

from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.fit import fits_of
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import CodeFacts, ConfigFacts
from fsbackup_tui.operations.files_words import tree_facts
from fsbackup_tui.operations.part_changes import PartChanges
from fsbackup_tui.operations.wording import plain_text, when_text

_LABEL = 12
_SHORT = 12
_KEYS_SHOWN = 100


def site_part_lines(
    part: PartManifest, changes: PartChanges | None, now: datetime, zone: tzinfo
) -> Iterator[str]:
    """Yield what there is to tell of a tree, a configuration or code; nothing for a database."""
    if part.files is not None:
        for told in tree_facts(part.files):
            yield from _wrapped(told.label, told.text)
    if part.config is not None:
        yield from _config_lines(part.config)
    if part.code is not None:
        yield from _code_lines(part.code)
    if changes is not None:
        yield from _change_lines(changes, now, zone)


def _config_lines(facts: ConfigFacts) -> Iterator[str]:
    for entry in facts.entries:
        yield _fact(entry.origin, entry.name)
        if entry.keys:
            names = [key for key, _digest in entry.keys]
            more = len(names) - _KEYS_SHOWN
            text = ", ".join(names[:_KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")
            yield from wrap_text(text, first=" " * (_LABEL + 4))
    for name in facts.absent:
        yield _fact("absent", name)


def _code_lines(facts: CodeFacts) -> Iterator[str]:
    yield _fact("work tree", facts.worktree)
    yield from _wrapped("state", code_words(facts))
    own = [name for name, _commit in facts.refs if name.startswith(facts.own_refs)]
    branches = sum(name.startswith("refs/heads/") for name, _commit in facts.refs)
    yield _fact("refs", f"{len(facts.refs) - len(own)}, {branches} of them branches")
    if facts.deployed is not None:
        there = "which is HEAD" if facts.deployed == facts.head else "not HEAD"
        yield _fact("deployed", f"{facts.deployed[:_SHORT]}, {there}")
    for module in facts.modules:
        state = "never initialised, its commit named"
        if module.code is not None:
            state = f"captured: {code_words(module.code)}"
        yield from _wrapped("submodule", f"{module.path} at {module.commit[:_SHORT]}, {state}")
    if facts.lfs_objects or facts.lfs_missing:
        missing = f", {facts.lfs_missing} not here" if facts.lfs_missing else ""
        yield _fact("LFS", f"{facts.lfs_objects} objects{missing}")
    if facts.artifacts:
        yield from _wrapped("built", ", ".join(facts.artifacts))
    if facts.migration_head:
        count = len(facts.migrations)
        yield from _wrapped("migration", f"{facts.migration_head}, the last of {count}")


def _change_lines(changes: PartChanges, now: datetime, zone: tzinfo) -> Iterator[str]:
    since = f"since {when_text(changes.created, now, zone)}"
    if changes.head is not None:
        yield _fact("changed", f"{since}: HEAD was {changes.head[:_SHORT]}")
    for entry in changes.entries:
        yield from _wrapped("changed", f"{since}: {entry.name} {entry.words()}")
    if not changes.entries and changes.head is None:
        yield _fact("changed", f"nothing {since}")


def fit_lines(parts: Sequence[PartManifest]) -> Iterator[str]:
    """Yield whether the point's databases and code fit, where anything is known of it."""
    for database, code, fit in fits_of(parts):
        yield f"Fit of {database} and {code}"
        yield from wrap_text(fit.words(), first="  ", later="    ")


def site_documents(
    parts: Sequence[PartManifest], changes: Mapping[str, PartChanges]
) -> dict[str, object]:
    """Return the same for ``show --json``."""
    return {
        "changes": {source: one.document() for source, one in changes.items()},
        "fit": [
            {
                "database": database,
                "code": code,
                "verdict": fit.verdict,
                "database_head": fit.database,
                "code_head": fit.code,
                "pending": list(fit.pending),
                "what": fit.words(),
            }
            for database, code, fit in fits_of(parts)
        ],
    }


def _fact(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{plain_text(text)}"


def _wrapped(label: str, text: str) -> Iterator[str]:
    yield from wrap_text(plain_text(text), first=f"  {label:<{_LABEL}}")
