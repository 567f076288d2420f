"""Noticing that sessions of ours keep others waiting."""

from __future__ import annotations

import asyncio

import psycopg

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.locking import BlockedSession, blocked_sessions

POLL_SECONDS = 1.0


async def until_blocking(
    monitor: Connection, application_name: str, *, longer_than_seconds: float
) -> list[BlockedSession]:
    """Return who has waited that long for a session of ours, as soon as there is somebody.

    ``monitor`` is a session in the same database, in no transaction. When it is lost nobody is
    noticed any more: the work itself then fails too, and tells why better.
    """
    while True:
        try:
            waiting = await blocked_sessions(monitor, application_name)
        except psycopg.Error:
            await asyncio.Event().wait()
            raise
        too_long = [
            session for session in waiting if session.waiting_seconds >= longer_than_seconds
        ]
        if too_long:
            return too_long
        await asyncio.sleep(POLL_SECONDS)
