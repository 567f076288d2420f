"""What the database servers say: can they be reached, is there a client, what holds their WAL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from fsbackup_tui.config.load import site_environment
from fsbackup_tui.domain.anomaly import size_words
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import (
    ClientUnsuitable,
    FsbackupError,
    PointDamaged,
    PointNotFound,
    PostgresError,
)
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.clients import choose_client, find_clients
from fsbackup_tui.engines.postgres.connection import connect
from fsbackup_tui.engines.postgres.slots import KeptSlot, kept_slots
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.restore_rights import known_restore_rights
from fsbackup_tui.operations.target import admin_address, source_address
from fsbackup_tui.repository.reader import PointReader

_CONNECT_SECONDS = "3"


def restore_rights(ground: Ground) -> Iterator[Finding]:
    """Yield that a restore is not known to be allowed on the server, or known not to be."""
    config = ground.loaded.config
    restored = [name for name, one in config.databases.items() if one.scope != "schema"]
    if not restored or not config.plans or config.read_only:
        return
    rights = known_restore_rights(ground.state, ground.loaded.digest, ground.now)
    if rights is False:
        yield Finding(
            "restore-rights",
            "critical",
            None,
            "RESTORE RIGHTS MISSING: a recovery beside the live database would fail.",
            "doctor tried it on an empty database.",
            "fsbackup doctor   names them; fsbackup doctor --sql   prints what gives them",
        )
    elif rights is None:
        yield Finding(
            "restore-rights",
            "warning",
            None,
            "RESTORE RIGHTS NOT KNOWN: nobody tried them in the last month, under this config.",
            "A role may back up and still not be allowed to restore.",
            "fsbackup doctor",
        )


async def clients(ground: Ground) -> list[Finding]:
    """Return each database whose server no client here fits, by the version in its newest point."""
    findings = []
    tools = None
    for name in ground.loaded.config.databases:
        facts = _facts(ground, name)
        if facts is None:
            continue
        if tools is None:
            tools = await find_clients(ground.loaded.config.clients, os.environ)
        try:
            choose_client(tools, facts.identity.server_version_num)
        except ClientUnsuitable as error:
            findings.append(
                Finding(
                    f"client:{name}",
                    "critical",
                    None,
                    error.what,
                    error.why or "Backups and restores need it.",
                    error.fix,
                    subject=name,
                )
            )
    return findings


def _facts(ground: Ground, source: str) -> PostgresFacts | None:
    """Return what the newest whole point tells of a source's server, None where none does."""
    if ground.repository is None:
        return None
    for point in ground.points()[:20]:
        if not point.whole or all(part.source != source for part in point.parts):
            continue
        try:
            return PointReader(ground.repository, point.id).part(source).postgres
        except (PointDamaged, PointNotFound):
            continue
    return None


async def servers(ground: Ground) -> list[Finding]:
    """Return which databases can't be reached, and which slots hold WAL for renamed ones."""
    findings: list[Finding] = []
    seen: set[str] = set()
    environment = site_environment(ground.loaded, ground.environ)
    for name in ground.loaded.config.databases:
        try:
            live = await source_address(ground.loaded, environment, Redactor(), name)
            admin = await admin_address(ground.loaded, environment, Redactor(), name)
            if live.display() in seen:
                continue
            seen.add(live.display())
            slots = await _kept_slots(admin, live)
        except FsbackupError as error:
            findings.append(_unreachable(name, error))
            continue
        for slot in slots:
            held = float(slot.retained_bytes or 0)
            ground.number("fsbackup_slot_retained_bytes", held, source=name, slot=slot.name)
        findings += [_holding(name, slot) for slot in slots]
    return findings


async def _kept_slots(admin: DatabaseAddress, live: DatabaseAddress) -> tuple[KeptSlot, ...]:
    # The administrator may be kept out where a backup's own role is not: that one decides.
    for address in (admin, live):
        soon = replace(
            address, parameters={**address.parameters, "connect_timeout": _CONNECT_SECONDS}
        )
        try:
            connection = await connect(soon, application_name="fsbackup/check")
        except PostgresError:
            if address is live:
                raise
            continue
        try:
            return await kept_slots(connection)
        finally:
            await connection.close()
    return ()


def _unreachable(name: str, error: FsbackupError) -> Finding:
    return Finding(
        f"database:{name}",
        "critical",
        None,
        error.what,
        error.why or "The next backup fails.",
        error.fix or "fsbackup doctor",
        subject=name,
    )


def _holding(name: str, slot: KeptSlot) -> Finding:
    held = "WAL" if slot.retained_bytes is None else f"{size_words(slot.retained_bytes)} of WAL"
    return Finding(
        f"slot:{slot.name}",
        "warning",
        None,
        f"SLOT HOLDS WAL: {slot.name} keeps {held} for {slot.database}.",
        "That database gave its name away in a recovery; the WAL grows until the disk is full.",
        "Nobody will roll back? fsbackup leftovers\n"
        f"SELECT pg_drop_replication_slot('{slot.name}')",
        subject=name,
    )
