"""Proving a restored copy before it may take live's place (design §6): equal, sound, usable.

What a trial restore asks of its copy is asked of this one, and then it is tried as the
application's own role.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.domain.copy_check import CheckState, CopyCheck, CopyFinding
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import IdentityMismatch, SafetyRefusal
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.proof import ProofCheck, TableProof, Verdict, conclude, table_difference
from fsbackup_tui.engines.postgres.comparison import unproven_reason
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.operations.as_application import (
    AsApplication,
    application_of,
    live_database,
    try_copy,
    try_fenced,
)
from fsbackup_tui.operations.clients import client_for_restore, client_major
from fsbackup_tui.operations.comparing import check_by_site, check_sound, compare_rows
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Dump, Filling, account_again, dump_name
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.recovery_requests import CheckCopyRequest
from fsbackup_tui.operations.restore_from import RestoreSource, in_use, open_source, opened_source
from fsbackup_tui.operations.swap_spare import can_not_be_told, spare_of, why_not_as_proven
from fsbackup_tui.operations.target import check_target
from fsbackup_tui.repository.spares import Spare

_MOST_SESSIONS = 8
_STATES: Mapping[Verdict, CheckState] = {
    "different": "different",
    "missing": "different",
    "blocked": "blocked",
}


@dataclass
class _Check:
    """One check while it runs."""

    request: CheckCopyRequest
    context: JobContext
    source: RestoreSource
    app: AsApplication
    admin: Connection
    address: DatabaseAddress
    version_num: int
    live: Database | None
    live_open: bool
    findings: list[CopyFinding] = field(default_factory=list)
    deferred: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    tables: int = 0
    rows: int | None = None
    checks: int = 0

    @property
    def copy(self) -> Database:
        """The copy that is checked."""
        return Database(self.request.copy, self.request.copy_oid)

    @property
    def reachable_live(self) -> Database | None:
        """The live database, where sessions get in."""
        return self.live if self.live_open else None

    def find(self, state: CheckState, sort: str, name: str, detail: str) -> None:
        """Keep something that is not equal, or was not tried."""
        self.findings.append(CopyFinding(sort, name, state, detail))


async def run(request: CheckCopyRequest, context: JobContext) -> dict[str, object]:
    """Compare the copy with its point, ask the site's own checks, try it as the application.

    Returns the document of a CopyCheck. Nothing in the copy is changed, but by a check of the
    site's own that writes.

    Raises:
        IdentityMismatch: the server, or the copy, is not the one that was named.
        SafetyRefusal: the copy lets nobody in, and is no spare.
        PostgresError, PointDamaged: it could not be looked at.
    """
    started = time.monotonic()
    context.stage("compare")
    source = await open_source(request, context)
    async with in_use(source, context):
        app = await application_of(context, request.part, request.database)
        with plain_errors(app.admin):
            admin = await connect(app.admin, application_name=context.application_name)
            async with admin:
                identity = await read_identity(admin, app.admin)
                check_target(request.target, identity)
                live, live_open = await live_database(admin, app.login.database)
                check = _Check(
                    request,
                    context,
                    source,
                    app,
                    admin,
                    app.admin.with_database(request.copy),
                    identity.server_version_num,
                    live,
                    live_open,
                )
                await _check(check, identity.system_identifier)
    result = _result(check, time.monotonic() - started)
    context.report(Log(f"{result.copy}: {result.verdict}, {result.tables} tables compared"))
    return {"ok": True, **plain(result)}


async def _check(check: _Check, system_identifier: str | None) -> None:
    is_open = await _find_copy(check.admin, check.copy)
    repository = check.source.repository
    spare = (
        None
        if repository is None
        else await spare_of(check.admin, repository, check.request.part, check.copy)
    )
    if spare is not None and spare.system_identifier in (None, system_identifier):
        await _check_spare(check, spare)
        return
    if not is_open:
        raise SafetyRefusal(
            f"COPY NOT CHECKED: {check.copy.name} lets nobody in, and is no spare of this site.",
            fix=f'Open it: ALTER DATABASE "{check.copy.name}" ALLOW_CONNECTIONS true',
        )
    async with opened_source(check.source, check.context) as check.source:
        await _check_whole(check)


async def _find_copy(admin: Connection, copy: Database) -> bool:
    """Return whether the copy lets sessions in; IdentityMismatch where it is another, or gone."""
    rows = await fetch_all(
        admin,
        "SELECT oid::int8, datallowconn FROM pg_catalog.pg_database WHERE datname = %s",
        [copy.name],
    )
    if rows and rows[0][0] == copy.oid:
        return bool(rows[0][1])
    why = (
        f"Its OID is {rows[0][0]}, expected was {copy.oid}: it was made anew."
        if rows
        else "It was renamed or dropped since it was restored."
    )
    raise IdentityMismatch(
        f"ANOTHER DATABASE: {copy.name} is not the copy that was restored.",
        why=why,
        fix="Look at the server's databases (psql -l), then restore again.",
    )


async def _check_spare(check: _Check, spare: Spare) -> None:
    """Find a spare as it was proven, by its counters: nobody can have been in it."""
    facts = check.source.facts
    if spare.point != check.source.reader.id:
        raise IdentityMismatch(
            f"ANOTHER POINT: {spare.name} is the spare of {spare.point}.",
            why=f"It was to be checked against {check.source.reader.id}.",
            fix="Name the spare's own point, or restore this one.",
        )
    reason = await why_not_as_proven(check.admin, spare)
    if reason:
        state: CheckState = "blocked" if can_not_be_told(reason) else "different"
        check.find(state, "spare", spare.name, reason)
    else:
        check.notes.append(f"the spare was proven at {spare.proven_at}, and nobody was in it since")
    check.tables = len(facts.tables)
    check.rows = _sum(table.rows for table in facts.tables)
    check.deferred = spare.deferred
    check.context.stage("as the application")
    await try_fenced(check.app, check.admin, check.copy, check.live)


async def _check_whole(check: _Check) -> None:
    context, source, part = check.context, check.source, check.request.part
    facts = source.facts
    newest = max(facts, source.created_from, key=client_major)
    client = await client_for_restore(context, check.address, check.version_num, newest)
    filling = Filling(
        context=context,
        address=check.address,
        client=client,
        database_oid=check.copy.oid,
        jobs=min(max(2, os.cpu_count() or 1), _MOST_SESSIONS),
    )
    defining = source.schema or (source.part, source.reader)
    dump = Dump(
        defining[1].path_inside(defining[0].source, dump_name(defining[0])), source.created_from
    )
    accounting = await account_again(filling, dump)
    check.deferred = tuple(entry.label for entry in accounting.deferred)
    for problem in accounting.problems():
        check.find("different", "entry", problem.partition(":")[0], problem)
    compared = await compare_rows(filling, facts, accounting, sessions=filling.jobs)
    context.stage("integrity")
    sound = await check_sound(filling, facts, part)
    checks = (*compared.checks, *sound.checks, *await check_by_site(filling, facts))
    check.notes += dict.fromkeys((*accounting.notes, *compared.notes, *sound.notes))
    _keep_findings(check, compared.tables, checks)
    context.stage("as the application")
    definitions = [one.verdict for one in checks if one.kind == "schema"]
    await try_copy(
        check.app,
        check.admin,
        check.copy,
        check.reachable_live,
        grants_as_captured=definitions == ["equal"],
    )


def _keep_findings(
    check: _Check, tables: tuple[TableProof, ...], checks: tuple[ProofCheck, ...]
) -> None:
    facts = check.source.facts
    for table in tables:
        if (state := _STATES.get(table.verdict)) is not None:
            check.find(state, "table", table.qualified, table_difference(table))
    for one in checks:
        if (state := _STATES.get(one.verdict)) is not None:
            check.find(state, one.kind, one.name, one.note or one.verdict)
        elif one.verdict == "unknown":
            check.notes.append(f"{one.kind} {one.name}: {one.note}")
    reason = unproven_reason(facts, tables, checks)
    if conclude(tables, checks) != "failed" and reason is not None:
        check.find("blocked", "point", check.source.reader.id, reason)
    check.tables, check.checks = len(tables), len(checks)
    check.rows = _sum(table.restored_rows for table in tables)


def _sum(rows: Iterable[int | None]) -> int | None:
    known = [count for count in rows if count is not None]
    return sum(known) if known else None


def _result(check: _Check, seconds: float) -> CopyCheck:
    findings = (*check.findings, *check.app.findings)
    states = {finding.state for finding in findings}
    verdict: Literal["proven", "restored", "different"] = "proven"
    if "different" in states:
        verdict = "different"
    elif "blocked" in states:
        verdict = "restored"
    return CopyCheck(
        copy=check.copy.name,
        copy_oid=check.copy.oid,
        point=check.source.reader.id,
        verdict=verdict,
        tables=check.tables,
        rows=check.rows,
        role=check.app.role,
        differences=findings,
        deferred=check.deferred,
        seconds=round(seconds, 3),
        notes=tuple(dict.fromkeys((*check.notes, *check.app.notes))),
    )
