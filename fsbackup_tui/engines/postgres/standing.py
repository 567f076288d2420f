"""What stands on a server around a live database, asked from outside of it.

Everything is read in the maintenance database: the live one may be gone, closed or renamed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsbackup_tui.domain.standing import ClientSession, DatabaseKind, StandingDatabase
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.kept import kept_kind
from fsbackup_tui.engines.postgres.side import unfinished_job
from fsbackup_tui.engines.postgres.spare import bears_mark, spare_name
from fsbackup_tui.engines.postgres.swap import MAY_END, ROLES_OF_SESSIONS

ENVIRONMENT_SETTING = "fsbackup.environment"
"""What a database's own setting of that name says of it counts before all other signs."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """Whether the role may rename the live database; ``why`` says why not."""

    allowed: bool
    why: str = ""


async def list_standing(
    admin: Connection, live: str
) -> tuple[StandingDatabase | None, tuple[StandingDatabase, ...]]:
    """Return the live database by its name (None: there is none), and all that have to do with it.

    These are, by mark or name: what was kept of it, copies, spares, unfinished restores.
    """
    found: list[StandingDatabase] = []
    for name, oid, is_open, size, sessions, comment in await fetch_all(admin, _DATABASES):
        kind = _kind(name, comment, live)
        if kind is not None:
            found.append(StandingDatabase(name, oid, kind, is_open, size, sessions, comment))
    others = tuple(database for database in found if database.kind != "live")
    return next((database for database in found if database.kind == "live"), None), others


def _kind(name: str, comment: str, live: str) -> DatabaseKind | None:
    """Return what a database is to the live one; None: nothing."""
    if name == live:
        return "live"
    if (kept := kept_kind(comment, live)) is not None:
        return kept
    if unfinished_job(comment) is not None:
        return "unfinished"
    if bears_mark(comment) and name.startswith(spare_name(live, "")):
        return "spare"
    return "other" if name.startswith(f"{live}__") else None


# The size is asked for last, of what may be seen: it reads the database's directory.
_DATABASES = """
SELECT d.datname::text, d.oid::int8, d.datallowconn,
       CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
            OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_catalog.pg_database_size(d.oid) END,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity AS a
        WHERE a.datid = d.oid AND a.backend_type IS DISTINCT FROM 'autovacuum worker')::int4,
       coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), '')
FROM pg_catalog.pg_database AS d
WHERE NOT d.datistemplate
ORDER BY d.datname COLLATE "C"
"""


async def list_sessions(
    admin: Connection, live_oid: int, *, at_most: int
) -> tuple[tuple[ClientSession, ...], int, int]:
    """Return who is in the live database, how many more there are, and of how many nothing is told.

    Those who write come first, then the active ones, then the newest. ``since`` is the begin of
    the transaction, else of the state; ours are left out.
    """
    rows = await fetch_all(admin, _SESSIONS, [live_oid])
    shown = tuple(ClientSession(*row) for row in rows[:at_most])
    hidden = sum(1 for row in rows if row[4] == _HIDDEN)
    return shown, max(0, len(rows) - at_most), hidden


_HIDDEN = "not told"
_SESSIONS = f"""
SELECT a.pid, coalesce(a.usename::text, a.backend_type, '-'), coalesce(a.application_name, ''),
       coalesce(a.client_hostname, pg_catalog.host(a.client_addr),
                CASE WHEN a.backend_type IS NOT NULL THEN 'this server' ELSE '-' END),
       coalesce(a.state, CASE WHEN a.backend_type IS NULL THEN '{_HIDDEN}'
                              ELSE a.backend_type END),
       coalesce(a.xact_start, a.state_change, a.backend_start),
       a.backend_xid IS NOT NULL,
       {MAY_END}
FROM pg_catalog.pg_stat_activity AS a{ROLES_OF_SESSIONS}
WHERE a.datid::int8 = %s AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.application_name NOT LIKE 'fsbackup/%%'
  AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
ORDER BY a.backend_xid IS NOT NULL DESC, coalesce(a.state, '') = 'active' DESC,
         a.backend_start DESC NULLS LAST, a.pid
"""  # noqa: S608


async def list_standbys(admin: Connection) -> tuple[str, ...]:
    """Return the standbys that follow this server, each with its state and how far behind it is."""
    rows = await fetch_all(
        admin,
        "SELECT coalesce(nullif(r.application_name, ''), 'standby'),"
        " coalesce(r.client_hostname, pg_catalog.host(r.client_addr), 'this machine'),"
        " coalesce(r.state, '-'),"
        " pg_catalog.round(pg_catalog.date_part('epoch', r.replay_lag)::numeric)::int8"
        " FROM pg_catalog.pg_stat_replication AS r"
        " JOIN pg_catalog.pg_stat_activity AS a ON a.pid = r.pid"
        # A logical subscriber's sender is in a database, a standby's in none.
        " WHERE a.datid IS NULL AND coalesce(r.state, '') <> 'backup' ORDER BY 1, 2",
    )
    return tuple(
        f"{name} on {place}, {state}" + (f", {lag} s behind" if lag else "")
        for name, place, state, lag in rows
    )


async def may_rename(admin: Connection, live: str) -> Renaming:
    """Return whether the session's role may give the live database, or its copy, another name."""
    ((superuser, creates, owner, owns, here),) = await fetch_all(
        admin,
        "SELECT r.rolsuper, r.rolcreatedb, pg_catalog.pg_get_userbyid(d.datdba)::text,"
        " coalesce(pg_catalog.pg_has_role(d.datdba, 'USAGE'), true),"
        " d.datname IS NOT DISTINCT FROM pg_catalog.current_database()"
        " FROM pg_catalog.pg_roles AS r LEFT JOIN pg_catalog.pg_database AS d ON d.datname = %s"
        " WHERE r.rolname = current_user",
        [live],
    )
    if here:
        return Renaming(
            False, f"{live} is the maintenance database itself, which nobody can rename from inside"
        )
    if superuser or (creates and owns):
        return Renaming(True)
    lacks = [] if creates else ["it has no CREATEDB"]
    lacks += [] if owns else [f"it is not a member of the owner, {owner}"]
    return Renaming(False, " and ".join(lacks))


async def environment_set(admin: Connection, live: str) -> str:
    """Return what the live database's own setting says of its environment; empty: nothing."""
    rows = await fetch_all(
        admin,
        "SELECT pg_catalog.substr(item, pg_catalog.strpos(item, '=') + 1)"
        " FROM pg_catalog.pg_db_role_setting AS s"
        " JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase"
        " CROSS JOIN pg_catalog.unnest(s.setconfig) AS item"
        " WHERE d.datname = %s AND s.setrole = 0"
        " AND pg_catalog.lower(pg_catalog.split_part(item, '=', 1)) = %s",
        [live, ENVIRONMENT_SETTING],
    )
    return str(rows[0][0]).strip() if rows else ""
