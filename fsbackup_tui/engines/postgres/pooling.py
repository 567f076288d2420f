"""Whether an address keeps its client's session, found out before anything is set in one.

A transaction pooler hands the server process to the next client after every statement: what we
set for ourselves would reach the application's sessions, and a snapshot would be nobody's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import SafetyRefusal

Session = psycopg.AsyncConnection[tuple[Any, ...]]

# A session pooler whose pool is used up lets a second client wait: then the first has its own.
_SECOND_SECONDS = 5.0
_STATEMENT_POOLING = "statement pooling"  # PgBouncer's word where a transaction is not allowed
# By conninfo: one PgBouncer may keep the sessions of one database and not those of another.
_keeps_session: set[str] = set()


async def refuse_transaction_pooler(
    first: Session, address: DatabaseAddress, conninfo: str, password: str | None
) -> None:
    """Raise SafetyRefusal where the address keeps no session; nothing is set in any.

    ``first`` is a fresh session of the address in autocommit. A pooler makes up the process id
    that it tells its clients, which a server never does.
    """
    if conninfo in _keeps_session:
        return
    served = await _backend(first)
    if served != first.info.backend_pid and await _moves(first, served, conninfo, password):
        raise SafetyRefusal(
            f"TRANSACTION POOLER: {address.host}:{address.port} keeps no session. "
            "Nothing was done.",
            why="A snapshot lives in a session, and what fsbackup sets in its own would reach "
            "the application's.",
            fix="Name the server's own port, or a session pooler, in the URL (DIRECT_URL).",
        )
    _keeps_session.add(conninfo)


async def _moves(first: Session, served: int, conninfo: str, password: str | None) -> bool:
    """Whether another process serves ``first`` as soon as a second client holds on to one."""
    try:
        async with (
            asyncio.timeout(_SECOND_SECONDS),
            await psycopg.AsyncConnection.connect(
                conninfo, password=password, autocommit=True, prepare_threshold=None
            ) as second,
            second.transaction(),
        ):
            return await _backend(second) == served or await _backend(first) != served
    except TimeoutError:
        return False
    except psycopg.OperationalError as error:
        return _STATEMENT_POOLING in str(error)


async def _backend(session: Session) -> int:
    cursor = await session.execute("SELECT pg_catalog.pg_backend_pid()")
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0
