"""Undoing what an incident has frozen, in the right database whatever it is called by now.

After a swap, rights to connect are undone by the live database's name: the swap copied them from
the former one, which stays closed. What was switched off for a table stays so in the database
that was put aside: its dead rows are evidence, and nobody writes there. It is undone when that
database is live again, or when it is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import FsbackupError, StaleLeader, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.incident import Freeze
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import FreezeJournal, undo
from fsbackup_tui.operations.live_server import (
    LiveServer,
    database_name,
    database_oid,
    find_live_server,
)
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import ThawRequest


@dataclass
class _Thawing:
    request: ThawRequest
    context: JobContext
    server: LiveServer
    journal: FreezeJournal
    thawed: list[str] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tell something about what was not simply undone."""
        self.notes.append(text)
        self.context.report(Log(text))


async def run(request: ThawRequest, context: JobContext) -> dict[str, object]:
    """Undo all that is frozen, the last first, or what is named; undone already is undone.

    The document has ``notes``, too: what stays as it is in a database that was put aside. ``ok``
    is false where something is left; each of ``left`` has ``what``, ``why`` and ``fix``.

    Raises:
        SafetyRefusal: there is no incident.
        UsageError: something is named that was never frozen.
        StaleLeader: somebody else leads by now.
        PostgresError: the server can't be reached.
    """
    refuse_if_read_only(context.loaded, "thaws nothing")
    journal = FreezeJournal(context)
    context.stage("thaw")
    server = await find_live_server(request, context)
    thawing = _Thawing(request, context, server, journal)
    async with server.in_maintenance() as admin:
        live_oid = await database_oid(admin, server.live_name)
        for freeze in reversed(_wanted(thawing, live_oid)):
            await _thaw(thawing, admin, freeze)
    return {
        "ok": not thawing.left,
        "thawed": thawing.thawed,
        "left": thawing.left,
        "notes": thawing.notes,
        "problems": [
            {"what": f"still frozen: {item['what']}: {item['why']}", "fix": item["fix"]}
            for item in thawing.left
        ],
    }


def _wanted(thawing: _Thawing, live_oid: int | None) -> list[Freeze]:
    """Return what to undo; of what was put aside with its database, what is live again."""
    incident, names = thawing.journal.read(), thawing.request.what
    if not names:
        again = [one for one in incident.kept_freezes if one.oid == live_oid]
        return [*again, *incident.freezes]
    found = [one for one in (*incident.kept_freezes, *incident.freezes) if one.what in names]
    for name in names:
        if any(one.what == name for one in found):
            continue
        if not thawing.journal.was_frozen(name):
            frozen = ", ".join(one.what for one in incident.freezes) or "nothing"
            raise UsageError(f"NOT FROZEN: {name}.", why=f"Frozen is: {frozen}.")
        thawing.thawed.append(name)  # by an earlier request
    return found


async def _thaw(thawing: _Thawing, admin: Connection, freeze: Freeze) -> None:
    try:
        await _thaw_where_it_is(thawing, admin, freeze)
    except StaleLeader:
        raise
    except FsbackupError as error:
        thawing.left.append(
            {"what": freeze.what, "why": error.why or error.what, "fix": _by_hand(error, freeze)}
        )
        thawing.context.report(Warned(f"Still frozen: {freeze.what}. {error.what}"))


def _by_hand(error: FsbackupError, freeze: Freeze) -> str:
    where = "in the maintenance database" if freeze.place == "maintenance" else freeze.database
    return "\n".join([error.fix, f"By hand, {where}:", *freeze.undo]).strip()


async def _thaw_where_it_is(thawing: _Thawing, admin: Connection, freeze: Freeze) -> None:
    server, journal = thawing.server, thawing.journal
    if freeze.place == "maintenance":
        await _open(thawing, admin, freeze)
        return
    name = await database_name(admin, freeze.oid) if freeze.oid else freeze.database
    name = name or ""
    if freeze.oid and not name:
        journal.thawed(freeze, why=f"its database, once {freeze.database}, is gone")
        thawing.note(f"Its database is gone, and with it: {freeze.what}.")
    elif name not in ("", server.live_name) and freeze.what not in thawing.request.what:
        journal.thawed(freeze, kept_in=name, why=f"{name} is live no more")
        thawing.note(f"It stays as it is in {name}, which was put aside: {freeze.what}.")
    else:
        gone = await undo(server, freeze, name or server.live_name)
        journal.thawed(freeze, why=f"nothing is there any more for: {gone[0]}" if gone else "")
        thawing.context.report(Log(f"Undone: {freeze.what}."))
    thawing.thawed.append(freeze.what)


async def _open(thawing: _Thawing, admin: Connection, freeze: Freeze) -> None:
    """Let those into a database who were kept out, whichever has its name now."""
    if await database_oid(admin, freeze.database) is None:
        thawing.note(f"There is no {freeze.database} any more: {freeze.what}.")
    else:
        await undo(thawing.server, freeze, freeze.database)
        thawing.context.report(Log(f"Undone: {freeze.what}."))
    thawing.journal.thawed(freeze)
    thawing.thawed.append(freeze.what)
    former = await database_name(admin, freeze.oid) if freeze.oid else None
    if former not in (None, freeze.database):
        thawing.note(f"{former}, which was live when it was frozen, stays closed as it was.")
