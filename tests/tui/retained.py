"""Points under retention, as the tests of mode 5 show them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from fsbackup_tui.config.edit import ConfigEdit
from fsbackup_tui.config.retention import Retention
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.retention import Candidate, Keep, decide
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.trash import Trashed
from fsbackup_tui.tui.retention_data import RetentionView
from tests.tui.fakes import FakeSite
from tests.tui.made import NOW, ZONE

DAY = timedelta(days=1)
POLICY = Keep(within=30 * DAY, weekly=8, monthly=12)
TRASHED = Trashed(
    "20260814T010000Z-daily-t2t2",
    "daily",
    NOW - 100 * DAY,
    300_000_000,
    NOW - 2 * DAY,
    None,
    "ana",
    "app1",
    "no rule keeps it",
)


def some_candidates(days: int = 94) -> list[Candidate]:
    """Return daily points, three of them not good and one pinned, and weekly ones."""
    found = []
    for index in range(days):
        good = index not in (2, 9, 10)
        found.append(
            Candidate(
                f"daily-{index:03}",
                "daily",
                NOW - DAY * index - timedelta(minutes=61),
                1000 - index,
                310_000_000 - 1000 * index,
                good,
                Trust.PROVEN if good else Trust.SEALED,
                pinned="before the release" if index == 47 else None,
                proved=NOW - DAY * index if good else None,
            )
        )
    for index in range(20):
        made = NOW - 7 * DAY * index - timedelta(hours=2)
        found.append(
            Candidate(
                f"weekly-{index:03}", "weekly-schema", made, 500 - index, 2_000_000, True,
                Trust.READABLE, proved=made,
            )
        )  # fmt: skip
    return found


def make_view(
    candidates: list[Candidate] | None = None,
    *,
    keep: Keep = POLICY,
    guard: Guard | None = None,
    settings: Retention | None = None,
) -> RetentionView:
    """Return what retention sees."""
    points = tuple(some_candidates() if candidates is None else candidates)
    policies = {"daily": keep, "weekly-schema": Keep(last=52)}
    site = settings or Retention(most_share=0.8)
    held = guard or Guard(most_share=site.most_share)
    decision = decide(points, policies, held, NOW, ZONE)
    return RetentionView(
        points, policies, held, decision, NOW, ZONE, site, (TRASHED,), 9_000_000_000
    )


@dataclass
class RetainedSite(FakeSite):
    """A site with retention; notes what was pinned and written."""

    view: RetentionView = field(default_factory=make_view)
    pinned: list[tuple[str, str | None]] = field(default_factory=list)
    written: list[ConfigEdit] = field(default_factory=list)
    drafted: list[tuple[str, Keep, Retention]] = field(default_factory=list)
    refused: str = ""

    def retention(self) -> RetentionView:
        """Return the view."""
        return self.view

    def draft(self, plan: str, keep: Keep, settings: Retention) -> ConfigEdit:
        """Note it and return a diff."""
        if self.refused:
            raise SafetyRefusal(self.refused, why="A test wants it.", fix="Nothing.")
        self.drafted.append((plan, keep, settings))
        diff = ("-    keep: {within: 30d, weekly: 8, monthly: 12}", "+    keep: {within: 14d}")
        return ConfigEdit(Path("/etc/fsbackup/config.yaml"), "ab", diff, (), b"")

    def write(self, edit: ConfigEdit) -> str:
        """Note it."""
        self.written.append(edit)
        return f"{edit.path} is written."

    def pin(self, point: str, reason: str | None) -> None:
        """Note it, and have it so."""
        self.pinned.append((point, reason))
        changed = [
            replace(each, pinned=reason) if each.id == point else each
            for each in self.view.candidates
        ]
        self.view = make_view(changed)
