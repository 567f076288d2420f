"""Whether the orders that indexes were built in are still the server's: collation versions.

A new C library or ICU may sort otherwise. Indexes built before then miss rows that are there, let
duplicates in, and no page of them is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.domain.live_health import HealthFinding
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_NAMED = 5
_RECORDED_SINCE = 150000  # pg_database.datcollversion


async def check_collations(connection: Connection) -> tuple[bool, list[HealthFinding]]:
    """Return whether the version of the database's own collation is known, and what differs.

    Only collations that something in the database uses are told of. One without versions, such
    as C, never changes, and counts as known.
    """
    findings = []
    known = connection.info.server_version >= _RECORDED_SINCE
    if known:
        rows = await fetch_all(connection, _DATABASE)
        ((name, recorded, actual, unversioned, indexes),) = rows
        known = recorded is not None or unversioned
        if recorded is not None and recorded != actual:
            refresh = f"ALTER DATABASE {name} REFRESH COLLATION VERSION;"
            what = f"the database's own collation was of version {recorded}"
            findings.append(_finding(what, actual, indexes or (), refresh))
    else:
        ((known,),) = await fetch_all(connection, _UNVERSIONED)
    for name, recorded, actual, indexes in await fetch_all(connection, _COLLATIONS):
        refresh = f"ALTER COLLATION {name} REFRESH VERSION;"
        what = f"the collation {name} was of version {recorded}"
        findings.append(_finding(what, actual, indexes or (), refresh))
    return bool(known), findings


def _finding(what: str, actual: str | None, indexes: Sequence[str], refresh: str) -> HealthFinding:
    now = "none that it tells" if actual is None else actual
    if indexes:
        shown = ", ".join(indexes[:_NAMED])
        more = f" and {len(indexes) - _NAMED} more" if len(indexes) > _NAMED else ""
        number = f"{len(indexes)} index{'es' if len(indexes) != 1 else ''}"
        told = f"{number} may be in another order than the server's: {shown}{more}"
        first = "REINDEX what is named (a unique index fails where duplicates came in: mend those)"
    else:
        told = "no index depends on it, but what was sorted by it may be in another order"
        first = "Look at what is partitioned by it"
    return HealthFinding(
        "collations", None, f"{what}, the server's is {now}. {told}", f"{first}, then: {refresh}"
    )


# The default collation has the OID 100 in every version.
_INDEXES = """
SELECT array_agg(i.indexrelid::regclass::text ORDER BY i.indexrelid::regclass::text)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relkind = 'i' AND {collation} = ANY (i.indcollation::oid[])
"""
# As PostgreSQL itself tells the locales of the C library that never change.
_UNVERSIONED = """
SELECT datcollate IN ('C', 'POSIX') OR upper(datcollate) LIKE 'C.%'
FROM pg_database WHERE datname = current_database()
"""
_DATABASE = f"""
SELECT quote_ident(d.datname), d.datcollversion, pg_database_collation_actual_version(d.oid),
       pg_database_collation_actual_version(d.oid) IS NULL,
       ({_INDEXES.format(collation="100::oid")})
FROM pg_database AS d WHERE d.datname = current_database()
"""  # noqa: S608 - made of this module's own words
_COLLATIONS = f"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(l.collname),
       l.collversion, pg_collation_actual_version(l.oid),
       ({_INDEXES.format(collation="l.oid")})
FROM pg_collation AS l JOIN pg_namespace AS n ON n.oid = l.collnamespace
WHERE l.collversion IS DISTINCT FROM pg_collation_actual_version(l.oid)
  AND l.collversion IS NOT NULL
  AND l.collencoding IN (-1, (SELECT encoding FROM pg_database
                              WHERE datname = current_database()))
  AND (EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_collation'::regclass
               AND refobjid = l.oid AND deptype <> 'p')
       OR EXISTS (SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                  WHERE a.attcollation = l.oid AND c.relnamespace NOT IN
                    ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)))
ORDER BY 1
"""  # noqa: S608 - made of this module's own words
