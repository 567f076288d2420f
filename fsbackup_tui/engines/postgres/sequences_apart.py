"""Moving a copy's sequences on, past those of the database whose place it takes.

Both go on from the point's position otherwise: rows written to the one since, and to the other
from now on, would get the same keys, and neither could ever be merged into the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

ROOM = 1000
"""So many numbers are left to what is still drawn before the swap."""

_POSITIONS = """
SELECT n.nspname::text, c.relname::text, s.seqincrement, s.seqmin, s.seqmax,
       CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END
FROM pg_catalog.pg_sequence AS s
JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT s.seqcycle AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
"""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a sequence was drawn from; ``last`` None: never, or nobody may see it."""

    increment: int
    least: int
    most: int
    last: int | None


def moved_on(copy: Position, live: Position | None) -> int | None:
    """Return the position that a copy's sequence is moved on to; None where it stays.

    It stays where live drew nothing since, and where what is left of its range is too little.
    """
    if live is None or live.last is None or live.increment != copy.increment:
        return None
    if copy.last is not None and (live.last - copy.last) * copy.increment <= 0:
        return None
    wanted = live.last + ROOM * copy.increment
    return wanted if copy.least <= wanted <= copy.most else None


async def keep_sequences_apart(copy: Connection, live: Connection) -> int:
    """Move the copy's sequences on past live's; return how many. Sequences that cycle stay.

    Raises:
        psycopg.Error: one can't be read or set; some may have been moved.
    """
    drawn = await _positions(live)
    wanted = {
        name: value
        for name, position in (await _positions(copy)).items()
        if (value := moved_on(position, drawn.get(name))) is not None
    }
    await copy.execute("SET default_transaction_read_only TO off")
    for name, value in wanted.items():
        await copy.execute(
            sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {})").format(
                sql.Literal(sql.Identifier(*name).as_string(copy)), sql.Literal(value)
            )
        )
    return len(wanted)


async def _positions(connection: Connection) -> dict[tuple[str, str], Position]:
    return {
        (schema, name): Position(increment, least, most, last)
        for schema, name, increment, least, most, last in await fetch_all(connection, _POSITIONS)
    }
