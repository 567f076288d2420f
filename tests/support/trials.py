"""A trial restore by the operations alone, without a worker, for tests of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.events import CommandStarted, Event, Log, Warned
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.outside import trial_deferred_entries
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Dump, Filling, fill_and_account
from fsbackup_tui.operations.scratch_place import ScratchPlace
from fsbackup_tui.operations.trial_database import TrialDatabase
from tests.support.contexts import context_of
from tests.support.sites import make_site
from tests.support.transfers import Dumped

MOMENT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
JOB = "20261122T020000Z-verify-abcd"


@dataclass
class Told:
    """What a job reported."""

    events: list[Event] = field(default_factory=list)

    def texts(self) -> list[str]:
        """What it said in words."""
        return [event.text for event in self.events if isinstance(event, Log | Warned)]

    def servers(self) -> list[CommandStarted]:
        """The servers it started."""
        started = [event for event in self.events if isinstance(event, CommandStarted)]
        return [event for event in started if event.argv[0].endswith("/postgres")]


def make_context(
    directory: Path,
    url: str,
    *,
    settings: Mapping[str, object] | None = None,
    job: str = JOB,
) -> tuple[JobContext, Told]:
    """Return the context of a job of a new site in ``directory``, and what it will report."""
    told = Told()
    site = make_site(directory / "site", url, settings=settings)
    return replace(context_of(site, told.events.append), job=job), told


def part_of(facts: PostgresFacts, source: str = "db") -> PartManifest:
    """Return a part that holds these facts and no artifact."""
    return PartManifest(source, "postgres", MOMENT, MOMENT, (), (), postgres=facts)


async def fill_trial(
    context: JobContext, place: ScratchPlace, database: TrialDatabase, dumped: Dumped
) -> tuple[Accounting, list[TocEntry]]:
    """Restore a dump into the trial's database; returns the accounting and the archive's list."""
    filling = Filling(
        context=context,
        address=place.address.with_database(database.name),
        client=place.client,
        database_oid=database.created.oid,
        jobs=place.jobs,
        deferred=trial_deferred_entries,
    )
    accounting = await fill_and_account(filling, Dump(dumped.path, dumped.facts))
    _text, entries = await list_archive(place.client, dumped.path)
    return accounting, entries
