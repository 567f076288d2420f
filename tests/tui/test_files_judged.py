"""Files among what is judged: trees that fell, and parts whose ladder ends early."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from fsbackup_tui.domain.health import InventoryState, answer_line
from fsbackup_tui.domain.point import PartManifest, PartSummary, PointSummary
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.domain.tree_anomaly import tree_reasons
from fsbackup_tui.domain.trust import Trust, counted
from fsbackup_tui.repository.points import usable
from fsbackup_tui.tui.modes.columns import point_row, points_heading

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def tree(files: int, size: int = 10_000_000, **changes: Any) -> PartManifest:
    facts = FilesFacts("/srv/storage", files, 3, 0, size, "0" * 64)
    return PartManifest(
        source="uploads",
        kind="files",
        started=NOW,
        finished=NOW,
        artifacts=(),
        restore_commands=(),
        files=dataclasses.replace(facts, **changes),
    )


@pytest.mark.parametrize(
    ("before", "now", "reasons"),
    [
        (tree(100), tree(100), ()),
        (tree(41890), tree(40), ("uploads 41890 to 40 files",)),
        (tree(3), tree(0), ("uploads 3 to 0 files",)),
        (tree(9), tree(1), ()),  # few files come and go
        (tree(100), tree(71), ()),
        (tree(100, 10**9), tree(99, 10**6), ("uploads 1.0 GB to 1.0 MB",)),
        (
            tree(100, root="/mnt/a"),
            tree(100, root="/mnt/b"),
            ("uploads captured from another directory: /mnt/b, was /mnt/a",),
        ),
        (None, tree(0), ()),
    ],
)
def test_trees_that_fell_are_suspect(
    before: PartManifest | None, now: PartManifest, reasons: tuple[str, ...]
) -> None:
    assert tree_reasons(now, before, fall=0.3) == reasons


def test_a_ladder_that_ends_early_counts_as_climbed() -> None:
    assert counted("config", Trust.READABLE) is Trust.PROVEN
    assert counted("code", Trust.READABLE) is Trust.READABLE
    assert counted("code", Trust.RESTORED) is Trust.PROVEN
    assert counted("files", Trust.RESTORED) is Trust.RESTORED
    assert counted("config", Trust.DAMAGED) is Trust.DAMAGED


def point(**trusts: Trust) -> PointSummary:
    kinds = {"db": "postgres", "uploads": "files", "env": "config", "code": "code"}
    parts = tuple(
        PartSummary(source, kinds[source], trust, 1, files=5 if source == "uploads" else None)
        for source, trust in trusts.items()
    )
    whole = min(counted(part.kind, part.trust) for part in parts)
    return PointSummary(
        id="20261122T010000Z-daily-k3f9",
        sequence=7,
        plan="daily",
        created=NOW,
        whole=True,
        running=False,
        trust=whole,
        suspect=(),
        bytes=1,
        parts=parts,
        rows=10,
        rows_change=0.003,
        files=41_890,
        files_change=-0.75,
    )


GOOD = {"db": Trust.PROVEN, "uploads": Trust.PROVEN, "env": Trust.READABLE, "code": Trust.RESTORED}


@pytest.mark.parametrize(
    ("change", "trust", "says"),
    [
        ({}, Trust.PROVEN, "RESTORE TO"),
        ({"code": Trust.DAMAGED}, Trust.DAMAGED, "RESTORE TO"),
        ({"env": Trust.SEALED}, Trust.SEALED, "RESTORE TO"),
        ({"uploads": Trust.DAMAGED}, Trust.DAMAGED, "DAMAGED"),
        ({"uploads": Trust.SEALED}, Trust.SEALED, "NO PROVEN POINT"),
        ({"db": Trust.READABLE}, Trust.READABLE, "NO PROVEN POINT"),
    ],
)
def test_the_answer_speaks_of_database_and_files(
    change: dict[str, Trust], trust: Trust, says: str
) -> None:
    judged = point(**{**GOOD, **change})
    assert judged.trust is trust
    state = InventoryState("face-swap", "production", UTC, NOW, newest=[judged])
    line = answer_line(dataclasses.replace(state, restore_rights=True)).line()
    assert says in line
    assert usable(judged) is (says != "DAMAGED")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_files_and_their_change_are_seen_at_every_width(width: int) -> None:
    row = point_row(
        point(**GOOD), width, marked=True, now=NOW, zone=UTC, known=True, with_files=True
    )
    text = "".join(piece.text for piece in row)
    assert len(text.rstrip()) <= width
    assert {"41 890", "−75 %", "+0.3 %", "PROVEN"} <= {
        piece.text.strip().replace("\u202f", " ").replace("\N{NO-BREAK SPACE}", " ")
        for piece in row
    }
    titles = "".join(piece.text for piece in points_heading(width, with_files=True))
    assert titles.index("FILES") < titles.index("TRUST") < width
