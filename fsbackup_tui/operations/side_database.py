"""A new database beside the live one, from its making to its name: nobody's until it is whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, ServerUnreachable
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect_objects import DatabaseProperties
from fsbackup_tui.engines.postgres.replay import (
    CreatedDatabase,
    create_database,
    unfinished_name,
)
from fsbackup_tui.engines.postgres.side import (
    database_exists,
    drop_unfinished,
    name_unfinished,
    newborn_name,
    sweep_newborn,
    sweep_unfinished,
    unfinished_comment,
)
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.status import job_liveness
from fsbackup_tui.repository.layout import Repository


@dataclass
class SideDatabase:
    """The database that becomes ``name``, made ``like`` another; used under ``restore_lock``.

    ``keeps_copy`` is set where a person may want to look at what is there though it failed.
    ``repository`` tells whose jobs live; None where there is none.
    """

    context: JobContext
    address: DatabaseAddress
    admin: Connection
    name: str
    like: PostgresFacts | DatabaseProperties
    repository: Repository | None
    notes: list[str] = field(default_factory=list)
    keeps_copy: bool = False

    @asynccontextmanager
    async def unfinished(self) -> AsyncIterator[CreatedDatabase]:
        """Make it under its unfinished name; drop it when the block fails, but if it is kept."""
        if await database_exists(self.admin, self.name):
            raise SafetyRefusal(
                f"NAME TAKEN: a database {self.name} exists already. Nothing was done.",
                why="A restore never writes into a database that is there.",
                fix="Choose another name with --beside.",
            )
        created = await self._make(unfinished_name(self.name))
        for note in created.notes:
            self.notes.append(note)
            self.context.report(Warned(note))
        try:
            yield created
        except BaseException as error:
            if not self.keeps_copy:
                # A cancel that comes now must not leave half a database behind.
                await undisturbed(self._take_back(created, error))
            raise

    @contextmanager
    def keeping_copy(self, kind: type[FsbackupError]) -> Iterator[None]:
        """Keep the copy under its unfinished name when the block fails in this way."""
        try:
            yield
        except kind:
            self.keeps_copy = True
            raise

    async def _make(self, name: str) -> CreatedDatabase:
        """Make it, after dropping what a dead job left; a cancel leaves nothing."""
        context, admin = self.context, self.admin
        alive = job_liveness(context.loaded, os.environ, self.repository)
        dead_jobs = await sweep_newborn(admin, alive)
        if (dead_job := await sweep_unfinished(admin, name, alive)) is not None:
            dead_jobs.append(dead_job)
        for job in dead_jobs:
            context.report(Log(f"Dropped the unfinished copy that the dead job {job} had left."))

        async def drop() -> None:
            try:
                with plain_errors(self.address):
                    await sweep_newborn(admin, lambda job: job != context.job)
                    with suppress(SafetyRefusal):
                        await sweep_unfinished(admin, name, lambda job: job != context.job)
            except FsbackupError as problem:
                # The next restore into this server sweeps it away.
                context.report(Warned(problem.what))

        try:
            newborn = await create_database(
                admin,
                newborn_name(context.job),
                self.like,
                comment=unfinished_comment(context.job),
            )
            return await name_unfinished(admin, newborn, name)
        except BaseException:
            if not admin.closed:
                await undisturbed(drop())
            raise

    async def _take_back(self, created: CreatedDatabase, error: BaseException) -> None:
        """Drop it; where that fails, say so with what made the work fail."""
        try:
            with plain_errors(self.address):
                if not self.admin.closed:
                    with suppress(ServerUnreachable), plain_errors(self.address):
                        await drop_unfinished(self.admin, created.name, created.oid)
                        return
                # The session was lost; its server may well be there.
                name = self.context.application_name
                async with await connect(self.address, application_name=name) as another:
                    await drop_unfinished(another, created.name, created.oid)
        except FsbackupError as problem:
            left = f"LEFT OVER: {created.name}. The next restore of that name drops it first."
            self.context.report(Warned(f"{left} {problem.what}"))
            if isinstance(error, FsbackupError):
                error.fix = f"{error.fix}\n{left}".strip()
