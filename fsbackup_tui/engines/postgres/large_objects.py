"""The content of all large objects as one number, as tables have theirs (``fingerprint.py``).

Pages as they are stored differ between an original and its copy: one that was never written is
stored as zeros by a restore, and so are the gaps inside. So each page is hashed without its
trailing zeros, an empty one not at all, and every object's length besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.point import Fingerprint
from fsbackup_tui.engines.postgres.connection import Connection

METHOD = "fsb1-pages"


@dataclass(frozen=True, slots=True)
class LargeObjects:
    """How many there are, and their content; ``fingerprint`` None where it can't be read."""

    count: int
    fingerprint: Fingerprint | None
    note: str = ""


async def fingerprint_large_objects(connection: Connection, *, content: bool) -> LargeObjects:
    """Return the database's large objects, with the fingerprint where ``content`` asks for it.

    Raises:
        psycopg.OperationalError: the session was lost.
    """
    cursor = await connection.execute(
        "SELECT count(*), current_setting('block_size')::int8 / 4,"
        " has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')"
        " FROM pg_catalog.pg_largeobject_metadata"
    )
    row = await cursor.fetchone()
    count, page_bytes, readable = row or (0, 0, False)
    if not content:
        return LargeObjects(count, None)
    if not readable:
        return LargeObjects(count, None, "the role may not read pg_largeobject")
    try:
        async with connection.transaction(force_rollback=True):
            cursor = await connection.execute(_SUM, {"page": page_bytes})
            row = await cursor.fetchone()
    except psycopg.Error as error:
        if connection.broken:
            raise
        note = error.diag.message_primary or str(error).strip().splitlines()[0]
        return LargeObjects(count, None, note)
    value = row[0] if row is not None else "0"
    return LargeObjects(count, Fingerprint(f"{METHOD}-{page_bytes}", value))


async def capture_large_objects(connection: Connection, *, report: Report) -> Fingerprint | None:
    """Return their fingerprint in the transaction at hand, None where it can't be taken.

    Whatever goes wrong is logged, and never the backup's failure.
    """
    try:
        found = await fingerprint_large_objects(connection, content=True)
    except psycopg.Error as error:
        found = LargeObjects(0, None, str(error).strip().splitlines()[0])
    if found.note and found.count:
        report(Log(f"Large objects have no fingerprint: {found.note}"))
    return found.fingerprint


# One scan, without the index: what the dump reads page by page through it must be there.
_SUM = """
SELECT coalesce(sum(pages + hashint8extended(hash_record_extended(ROW(loid, bytes), 0), 0)), 0)
       ::text
FROM (SELECT loid, max(pageno::int8 * %(page)s + length(data)) AS bytes,
             coalesce(sum(hashint8extended(
                 hash_record_extended(ROW(loid, pageno, rtrim(data, '\\x00'::bytea)), 0), 0))
                 FILTER (WHERE rtrim(data, '\\x00'::bytea) <> ''::bytea), 0) AS pages
      FROM pg_catalog.pg_largeobject GROUP BY loid) AS objects
"""
