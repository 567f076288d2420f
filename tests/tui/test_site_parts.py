"""The parts of a point in its details: how much each holds, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fsbackup_tui.domain.config_change import EntryChange
from fsbackup_tui.domain.point import PartManifest, PartSummary
from fsbackup_tui.domain.site_parts import (
    CodeFacts,
    ConfigEntry,
    ConfigFacts,
    FilesFacts,
    TreeChanges,
)
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.part_changes import PartChanges
from fsbackup_tui.tui.lines import Line, plain_lines
from fsbackup_tui.tui.modes.site_part_lines import part_rows
from tests.support.points import START
from tests.tui.made import make_point


def words(lines: Iterable[Line]) -> str:
    return "\n".join(plain_lines(lines))


def test_the_parts_tell_at_a_glance_what_they_hold_and_what_changed() -> None:
    digest = "k"
    entries = tuple(ConfigEntry("file", f"/srv/{name}", 9, digest) for name in ("a", "b", "c"))
    tree = FilesFacts("/srv/up", 2506, 67, 0, 9, "s", changes=TreeChanges("p", 0, 60, 0))
    code = CodeFacts("/srv", "1e2d2da434b5", "main", (), 0, 1, 2, 0)
    parts = [
        PartManifest("code", "code", START, START, (), (), code=code),
        PartManifest("env", "config", START, START, (), (), config=ConfigFacts(entries, "key")),
        PartManifest("up", "files", START, START, (), (), files=tree),
    ]
    summaries = tuple(
        PartSummary(each.source, each.kind, Trust.SEALED, 9, None, None, files)
        for each, files in zip(parts, (None, None, 2506), strict=True)
    )
    changes = {
        "code": PartChanges("code", "p", START, head="64d2b554d2c9"),
        "env": PartChanges("env", "p", START, (EntryChange("file", "/srv/a", "changed"),)),
    }
    point = replace(make_point(0), parts=summaries)
    told = words(part_rows(point, parts, changes))
    assert "main 1e2d2da4 (was 64d2b554), 3 uncommitted" in told
    assert "3 entries, 1 changed" in told
    assert "2 506 files, 60 removed" in told
    alike = {name: replace(each, entries=(), head=None) for name, each in changes.items()}
    told = words(part_rows(point, parts, alike))
    assert "main 1e2d2da4, 3 uncommitted" in told
    assert "3 entries, as before" in told
