"""The search_path under which a site's own SQL (queries, functions, views) is meant to run."""

from __future__ import annotations

from collections.abc import Iterable

from fsbackup_tui.domain.point import DatabaseSetting
from fsbackup_tui.engines.postgres.connection import Connection

DEFAULT_SEARCH_PATH = '"$user", public'


def database_search_path(settings: Iterable[DatabaseSetting], role: str) -> str:
    """Return the database's own search_path, PostgreSQL's default where it has none.

    ``$user`` becomes ``role``, the one that captured: a copy is looked at by another role.
    """
    found = DEFAULT_SEARCH_PATH
    for setting in settings:
        if setting.role is None and setting.name.lower() == "search_path":
            found = setting.value
    name = role.replace('"', '""')
    return found.replace('"$user"', f'"{name}"')


async def set_search_path(connection: Connection, search_path: str) -> None:
    """Set it for the rest of the transaction at hand."""
    await connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [search_path])
