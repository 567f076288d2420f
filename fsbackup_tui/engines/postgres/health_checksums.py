"""What the server has counted of pages whose data checksum was wrong."""

from __future__ import annotations

from fsbackup_tui.domain.live_health import HealthFinding
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


async def check_checksums(connection: Connection) -> tuple[bool, list[HealthFinding]]:
    """Return whether the cluster has data checksums, and the failures counted so far.

    Failures in other databases of the server count too: their disk is the same.
    """
    rows = await fetch_all(connection, _FAILURES)
    findings = [
        HealthFinding(
            "checksums",
            None,
            f"{count} wrong checksums were read in {'this database' if here else place}, the last"
            f" at {last}",
        )
        for place, here, count, last in rows
        if count
    ]
    ((on,),) = await fetch_all(connection, "SELECT current_setting('data_checksums') = 'on'")
    return bool(on), findings


_FAILURES = """
SELECT coalesce('the database ' || datname, 'what all databases of the server share'),
       coalesce(datname = current_database(), false), checksum_failures,
       coalesce(to_char(checksum_last_failure, 'YYYY-MM-DD HH24:MI:SS "UTC"'), '-')
FROM pg_stat_database WHERE checksum_failures > 0 ORDER BY 2 DESC, 1
"""
