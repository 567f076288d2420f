"""What an incident has frozen: written down before it is taken, undone before it is crossed out.

Killed in between, the incident knows of more than was done, never of less.
"""

from __future__ import annotations

from dataclasses import replace

from fsbackup_tui.domain.errors import FsbackupError, RightsMissing, SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.incident import Freeze, Incident
from fsbackup_tui.engines.postgres.freeze import Measure, run_measure, undo_measure
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import LiveServer
from fsbackup_tui.repository.incidents import Author, IncidentJournal


class FreezeJournal:
    """The incident that a job belongs to, as its journal tells it and as the job adds to it."""

    def __init__(self, context: JobContext) -> None:
        if context.incident is None:
            raise SafetyRefusal(
                "NOT DONE: this belongs to no incident. Nothing was changed.",
                why="What is frozen must be remembered, with what undoes it.",
                fix="Declare one: fsbackup recover",
            )
        self._epoch, self._job = context.epoch, context.job
        self._journal = IncidentJournal(context.incident)
        self._author = Author(context.operator, context.host, context.now)

    def read(self) -> Incident:
        """Return the incident as it stands."""
        incident = self._journal.read()
        if incident is None:
            raise UsageError(f"NO SUCH INCIDENT: {self._journal.id} has no journal that opens it.")
        return incident

    def known(self, freeze: Freeze) -> Freeze | None:
        """Return the same freeze as the incident knows it, or None where it doesn't."""
        return next((one for one in self.read().freezes if one.is_same(freeze)), None)

    def was_frozen(self, what: str) -> bool:
        """Whether something of that name was ever frozen in this incident."""
        return any(
            entry.kind == "frozen" and entry.body.get("what") == what
            for entry in self._journal.entries()
        )

    def frozen(self, freeze: Freeze) -> None:
        """Write that something is frozen, durably.

        Raises:
            StaleLeader: somebody else leads by now; nothing was written.
        """
        self._append("frozen", freeze, {"undo": list(freeze.undo), "cost": freeze.cost})

    def thawed(self, freeze: Freeze, *, kept_in: str = "", why: str = "") -> None:
        """Write that it is frozen no more; or, with ``kept_in``, in which database it stays so."""
        self._append("thawed", freeze, {"kept_in": kept_in, "why": why})

    def _append(self, kind: str, freeze: Freeze, more: dict[str, object]) -> None:
        body = {**freeze_body(freeze), **more}
        self._journal.append(kind, body, self._author, epoch=self._epoch, job=self._job)


def freeze_body(freeze: Freeze) -> dict[str, object]:
    """Return what an entry says of which freeze it is about."""
    names = ("what", "grade", "place", "database", "oid")
    return {name: getattr(freeze, name) for name in names}


def say_frozen_again(context: JobContext, live_oid: int) -> None:
    """Write that what stayed frozen in a database is frozen again: it is about to become live.

    Where that can't be written it is warned of: thaw finds it all the same.
    """
    if context.incident is None:
        return
    try:
        journal = FreezeJournal(context)
        for freeze in journal.read().kept_freezes:
            if freeze.oid == live_oid:
                journal.frozen(freeze)
    except FsbackupError as error:
        context.report(Warned(f"It may be frozen in part, and thaw undoes that: {error.what}"))


def say_left_behind(context: JobContext, former: int, live: int, kept_as: str) -> None:
    """Write what is frozen no more since a copy took live's name, and warn of it.

    Tables are frozen in the ``former`` database (its OID, as ``live`` has one), and stay so in
    it, as ``kept_as``.
    Where that was gone before (OID 0), so is all that was frozen: the copy has the rights that
    were captured, and lets the application in.
    """
    if context.incident is None:
        return
    try:
        journal = FreezeJournal(context)
        for freeze in journal.read().freezes:
            inside = freeze.oid if freeze.place == "live" else 0
            if (inside and inside == live) or (former and inside != former):
                continue  # what keeps people out of live keeps them out of the copy as well
            journal.thawed(freeze, kept_in=kept_as, why="it stayed with the former database")
            where = f"it stays so in {kept_as}" if kept_as else "it went with the former database"
            context.report(Warned(f"Frozen no more in live: {freeze.what}; {where}."))
    except FsbackupError as error:
        context.report(Warned(f"It may be told as frozen, and is not: {error.what}"))


def refreshed(known: Freeze, planned: Freeze) -> Freeze:
    """Return a freeze that is taken once more, with what undoes both times.

    Settings that are planned now would restore what is frozen; only rights that were given since
    come to what is known.
    """
    new = [text for text in planned.undo if text.startswith("GRANT ") and text not in known.undo]
    return replace(known, undo=(*known.undo, *new))


async def take(server: LiveServer, freeze: Freeze, measure: Measure) -> None:
    """Take a measure where it belongs.

    Raises:
        RightsMissing, PostgresError: the server refuses; nothing was changed.
    """
    if freeze.place == "maintenance":
        async with server.in_maintenance() as admin:
            await run_measure(admin, measure)
        return
    try:
        async with server.in_live(freeze.database, oid=freeze.oid) as live:
            await run_measure(live, measure)
    except RightsMissing:
        # The administrator may be somebody who makes databases, and owns no table.
        if server.source.user == server.admin.user:
            raise
        async with server.in_live_as_source(freeze.database, oid=freeze.oid) as live:
            await run_measure(live, measure)


async def undo(server: LiveServer, freeze: Freeze, database: str) -> list[str]:
    """Undo a freeze by its stock SQL, its database being called ``database`` now.

    Returns the statements for which there is nothing to undo any more.

    Raises:
        RightsMissing, PostgresError: the server refuses; it is as frozen as it was.
    """
    if freeze.place == "maintenance":
        async with server.in_maintenance() as admin:
            return await undo_measure(admin, freeze.undo)
    oid = freeze.oid or None
    try:
        async with server.in_live(database, oid=oid) as live:
            return await undo_measure(live, freeze.undo)
    except RightsMissing:
        if server.source.user == server.admin.user:
            raise
        async with server.in_live_as_source(database, oid=oid) as live:
            return await undo_measure(live, freeze.undo)
