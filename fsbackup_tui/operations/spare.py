"""Keeping a proven copy on the live server as the spare, so that a recovery is only a swap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, SpareNotKept, UsageError
from fsbackup_tui.domain.events import Log, Warned, format_time
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import free_bytes
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.side import drop_unfinished, restore_lock
from fsbackup_tui.engines.postgres.spare import (
    Standing,
    Written,
    close_off,
    fence,
    find_standing,
    make_ready,
    maximum_wal_bytes,
    read_written,
    settled_counters,
    spare_comment,
    spare_name,
)
from fsbackup_tui.engines.postgres.table_counters import TableCounters, read_table_counters
from fsbackup_tui.engines.postgres.trial_space import floor_bytes, needed_bytes
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Filling
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.scratch_place import ScratchPlace, scratch_place
from fsbackup_tui.operations.swap_counters import TABLES
from fsbackup_tui.operations.swap_spare import why_not_as_proven
from fsbackup_tui.operations.trial_database import TrialDatabase
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.spares import KIND, Spare, all_spares, spare_document
from fsbackup_tui.repository.standing import judge

_AGAIN = "The former spare stands as it did. Then: fsbackup verify POINT --keep-spare"


@dataclass
class SpareKeeper:
    """What becomes of one part's proven copy; ``why`` says what keeps it from being the spare."""

    context: JobContext
    repository: Repository
    point: str
    part: PartManifest
    facts: PostgresFacts
    why: str = ""
    fix: str = ""
    spare: Spare | None = None
    replaced: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether nothing speaks against a spare so far."""
        return not self.why

    def refuse(self, error: FsbackupError) -> None:
        """Give the spare up, not the proof; the reason is told now and in the document."""
        self.why = " ".join(text for text in (error.what, error.why.replace("\n", " ")) if text)
        self.fix = error.fix or _AGAIN
        self.context.report(Warned(f"{self.part.source}: no new spare. {self.why}"))

    def document(self) -> dict[str, object]:
        """Return how it ended, for ``verify --json``."""
        if self.spare is None:
            why = self.why or f"{self.part.source} was not proven"
            return {"kept": False, "why": why, "fix": self.fix or _AGAIN}
        return {
            "kept": True,
            **spare_document(self.spare),
            "replaced": self.replaced,
        }

    async def begin(self, place: ScratchPlace) -> None:
        """Say what the spare costs, before anything is made; SpareNotKept where it does not fit."""
        with plain_errors(place.address):
            name = self.context.application_name
            admin = await connect(place.address, application_name=name)
            async with admin:
                former = await self._former(admin, place)
                sizes = [await _size(admin, standing.oid) for _spare, standing in former]
                wal = await maximum_wal_bytes(admin)
        size = self.facts.identity.size_bytes or 0
        copy = needed_bytes(self.facts)
        texts = [f"Spare: the copy takes about {size_text(copy)} beside live"]
        for (_spare, standing), taken in zip(former, sizes, strict=True):
            texts.append(f"the former one, {standing.name} ({size_text(taken)}), stays meanwhile")
        if place.data_directory is None:
            texts.append("the server's disk can't be seen from here: look at it yourself")
        else:
            free = free_bytes(place.data_directory) - floor_bytes(place.data_directory)
            texts.append(f"{size_text(max(0, free))} may be used on its disk")
        self.context.report(Log("; ".join(texts)))
        self.context.report(
            Log(
                f"Spare: it costs about {size_text(size)} of WAL each time, the database's size "
                "written again; archives and standbys take it, too"
            )
        )
        if place.data_directory is not None and free < copy + min(size, wal):
            raise SpareNotKept(
                "NOT ENOUGH SPACE for a spare.",
                why=f"The copy and its WAL take about {size_text(copy + min(size, wal))}; "
                f"{size_text(max(0, free))} may be used in {place.data_directory}.",
                fix="Free space on the server, or do without: keep_spare: false",
            )

    @asynccontextmanager
    async def watching(self, place: ScratchPlace, filling: Filling) -> AsyncIterator[None]:
        """Give the spare up if what runs in the block, the site's own check, writes into it."""
        if place.kind != "live" or not self.wanted:
            yield
            return
        before = await self._written(place, filling)
        yield
        if await self._written(place, filling) != before:
            self.refuse(
                SpareNotKept(
                    "NOT AS PROVEN: the site's own check wrote into the copy.",
                    fix="Let commands: verify_integrity only read",
                )
            )

    async def _written(self, place: ScratchPlace, filling: Filling) -> Written:
        """Return what was written into the copy so far, once all sessions in it have ended."""
        name = self.context.application_name
        async with await connect(place.address, application_name=name) as admin:
            await settled_counters(admin, filling.database_oid)
        async with await filling.connect() as copy:
            return await read_written(copy)

    async def keep(
        self,
        place: ScratchPlace,
        database: TrialDatabase,
        filling: Filling,
        accounting: Accounting,
    ) -> None:
        """Make the proven copy the spare and drop the former one; whatever fails is told only."""
        if place.kind != "live" or not self.wanted:
            return
        try:
            with plain_errors(place.address):
                ready = make_ready(filling.connect, jobs=place.jobs, report=self.context.report)
                for note in await guarded(ready, *place.space_guards()):
                    self.context.report(Warned(f"Spare: {note}"))
                tables = await self._table_counters(database, filling)
                await close_off(database.admin, database.name)
                counters = await settled_counters(database.admin, database.created.oid)
                deferred = tuple(entry.label for entry in accounting.deferred)
                document = {**counters.document(), TABLES: tables.text()}
                await undisturbed(self._stand(place, database, document, deferred))
        except FsbackupError as error:
            if self.spare is None:
                self.refuse(error)
            else:
                self.context.report(Warned(f"LEFT OVER: a former spare. {error.what} {error.why}"))

    async def _table_counters(self, database: TrialDatabase, filling: Filling) -> TableCounters:
        """Return what was written to each table so far: once it is live, all else came since."""
        await settled_counters(database.admin, database.created.oid)
        async with await filling.connect() as copy:
            return await read_table_counters(copy, format_time(self.context.now()))

    async def _stand(
        self,
        place: ScratchPlace,
        database: TrialDatabase,
        counters: Mapping[str, object],
        deferred: tuple[str, ...],
    ) -> None:
        """Record the spare, let it stand, drop what it replaces.

        The record comes first: a kill before the renames leaves a copy that is swept by its
        name, one after them a spare that is known.
        """
        admin, context = database.admin, self.context
        now = format_time(context.now())
        spare = Spare(
            point=self.point,
            part=self.part.source,
            name=spare_name(self.facts.identity.database, self.point.rpartition("-")[2]),
            oid=database.created.oid,
            comment=spare_comment(self.point, self.part.source, now, self.repository.id),
            server=f"{place.address.host or 'localhost'}:{place.address.port}",
            system_identifier=place.identity.system_identifier,
            proven_at=now,
            counters=counters,
            deferred=deferred,
        )
        async with restore_lock(admin, place.identity, context.application_name):
            former = await self._former(admin, place)
            displaced = [
                (standing.name, database.name)
                for _spare, standing in former
                if standing.name == spare.name
            ]
            if any(standing.open and standing.name == spare.name for _spare, standing in former):
                raise SafetyRefusal(
                    f"NAME TAKEN: somebody opened the former spare, {spare.name}.",
                    why="It may be in use, so that it is neither renamed nor dropped.",
                    fix=f'When it is not in use: DROP DATABASE "{spare.name}"',
                )
            self._record(spare)
            try:
                replayed = await fence(
                    admin,
                    database.name,
                    spare.name,
                    self.facts,
                    comment=spare.comment,
                    displaced=displaced[0] if displaced else None,
                )
            except FsbackupError:
                # With the session the answer was lost, too: the next one looks whether it stands.
                if not admin.closed:
                    self._record(spare, gone="it never stood")
                raise
            database.kept = True
            self.spare = spare
            for note in replayed:
                context.report(Warned(f"Spare: {note}"))
            context.report(Log(f"Spare: {spare.name} stands on {spare.server}, fenced off"))
            await self._drop(admin, former, dict(displaced))
            await self._forget_missing(admin, place)

    async def _drop(
        self,
        admin: Connection,
        former: list[tuple[Spare, Standing]],
        renamed: dict[str, str],
    ) -> None:
        """Drop what the new spare replaces; one that somebody has opened since is left to them."""
        for spare, standing in former:
            name = renamed.get(standing.name, standing.name)
            if standing.open:
                self.context.report(
                    Warned(
                        f"LEFT OVER: the former spare {name} was opened by somebody, and may be "
                        f'in use. When it is not: DROP DATABASE "{name}"'
                    )
                )
                continue
            await drop_unfinished(admin, name, standing.oid)
            if await find_standing(admin, [(spare.oid, spare.comment)]):
                continue  # it was given another name meanwhile: the next time it is seen to
            self.replaced.append(standing.name)
            self.context.report(Log(f"Spare: dropped the former one, {standing.name}"))
            self._record(spare, gone=f"replaced by that of {self.point}")

    async def _former(self, admin: Connection, place: ScratchPlace) -> list[tuple[Spare, Standing]]:
        """Return this part's spares that stand, known by record, mark and OID together."""
        known = self._known(place)
        found = await find_standing(admin, [(spare.oid, spare.comment) for spare in known])
        by_oid = {spare.oid: spare for spare in known}
        return [(by_oid[standing.oid], standing) for standing in found]

    def _known(self, place: ScratchPlace) -> list[Spare]:
        identifier = place.identity.system_identifier
        return [
            spare
            for spare in all_spares(self.repository, self.part.source)
            if spare.system_identifier == identifier
        ]

    async def _forget_missing(self, admin: Connection, place: ScratchPlace) -> None:
        """Record of the spares that are not on the server that they are gone."""
        known = self._known(place)
        found = await find_standing(admin, [(spare.oid, spare.comment) for spare in known])
        standing = {(here.oid, here.comment) for here in found}
        for spare in known:
            if (spare.oid, spare.comment) not in standing:
                self._record(spare, gone="it was not on the server any more")

    def _record(self, spare: Spare, *, gone: str = "") -> None:
        try:
            write_record(
                self.repository,
                spare.point,
                KIND,
                spare.document(gone=gone),
                now=self.context.now(),
                job=self.context.job,
                operator=self.context.operator,
            )
        except UsageError:
            if not gone:
                raise
            # Of a point that is gone itself, nothing can be recorded any more.


def keepers_of(
    context: JobContext,
    repository: Repository,
    reader: PointReader,
    parts: Sequence[PartManifest],
) -> dict[str, SpareKeeper]:
    """Return who keeps the spare of each whole database among a point's parts.

    Of a doubtful point none is kept: what stands is worth more.
    """
    records = read_records(repository, reader.id)
    standing = judge(parts, records, whole=reader.manifest is not None)
    manifest = reader.manifest
    incident = None if manifest is None or standing.cleared else manifest.in_incident
    keepers = {}
    for part in parts:
        if part.postgres is None or part.postgres.scope != "full":
            continue
        keeper = SpareKeeper(context, repository, reader.id, part, part.postgres)
        if standing.suspect or incident:
            keeper.refuse(
                SpareNotKept(
                    f"SUSPECT: {standing.suspect[0]}."
                    if standing.suspect
                    else f"IN INCIDENT: it was taken in {incident}.",
                    why="A suspect point never replaces a spare."
                    if standing.suspect
                    else "What may be damaged never replaces a spare.",
                    fix=f"If it is right as it is: fsbackup clear {reader.id}",
                )
            )
        keepers[part.source] = keeper
    return keepers


@asynccontextmanager
async def trial_place(
    context: JobContext,
    part: PartManifest,
    archive: Path,
    keeper: SpareKeeper | None,
    *,
    isolated: bool = False,
) -> AsyncIterator[ScratchPlace]:
    """Give the place of a trial restore: beside live for a spare, else where the config says.

    Where there can be no spare the proof goes on without; the keeper knows why. ``isolated``: on
    a server of its own, whatever the config says.
    """
    async with AsyncExitStack() as stack:
        if isolated:
            own = scratch_place(context, part, where="own", archive=archive)
            yield await stack.enter_async_context(own)
            return
        if keeper is not None and keeper.wanted:
            beside = scratch_place(context, part, where="live", archive=archive)
            try:
                place = await stack.enter_async_context(beside)
                await keeper.begin(place)
            except FsbackupError as error:
                keeper.refuse(error)
            else:
                yield place
                return
        yield await stack.enter_async_context(scratch_place(context, part, archive=archive))


async def check_spare(admin: Connection, spare: Spare) -> Standing:
    """Return the spare as it stands on the server, exactly as it was proven.

    Raises:
        SafetyRefusal: it is gone, not fenced off, somebody is in it, it was written to since, or
            that can't be told (a crash resets the statistics).
        PostgresError: its counters do not come to rest (PostgreSQL 14).
    """
    reason = await why_not_as_proven(admin, spare)
    if reason:
        raise SafetyRefusal(
            f"SPARE NOT USED: {spare.name} is not as it was proven.",
            why=f"{reason[0].upper()}{reason[1:]}.",
            fix=f"Restore the point itself: fsbackup restore {spare.point}",
        )
    (standing,) = await find_standing(admin, [(spare.oid, spare.comment)])
    return standing


async def _size(admin: Connection, oid: int) -> int | None:
    rows = await fetch_all(admin, "SELECT pg_catalog.pg_database_size(%s::oid)", [oid])
    return None if rows[0][0] is None else int(rows[0][0])
