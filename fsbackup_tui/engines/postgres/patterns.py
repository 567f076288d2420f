"""What a backup leaves out, by the patterns of pg_dump and matched the way pg_dump does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsbackup_tui.engines.postgres.connection import Connection

_REGEX_SPECIAL = frozenset("|*+?()[]{}.^$\\")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Patterns of what is left out, as ``pg_dump -N``, ``-T`` and ``--exclude-table-data`` take.

    What is ``managed`` is left out since it belongs to the database's ``platform`` (empty: it
    has none), apart from what the config leaves out; see ``managed.py``.
    """

    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    table_data: tuple[str, ...] = ()
    platform: str = ""
    managed_schemas: tuple[str, ...] = ()
    managed_tables: tuple[str, ...] = ()
    managed_table_data: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def all_schemas(self) -> tuple[str, ...]:
        """The patterns for ``pg_dump --exclude-schema``."""
        return self.schemas + self.managed_schemas

    @property
    def all_tables(self) -> tuple[str, ...]:
        """The patterns for ``pg_dump --exclude-table``."""
        return self.tables + self.managed_tables

    @property
    def all_table_data(self) -> tuple[str, ...]:
        """The patterns for ``pg_dump --exclude-table-data``."""
        return self.table_data + self.managed_table_data


def exactly(*names: str) -> str:
    """Return the pattern that means this name alone: a schema's, or a schema's and a table's."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def pattern_parts(pattern: str) -> tuple[str, ...]:
    """Return a pattern's dotted parts as regular expressions for the server's ``~`` operator.

    The rules are those of ``patternToSQLRegex`` in PostgreSQL's fe_utils/string_utils.c: outside
    double quotes letters fold to lower case, ``*`` is any text, ``?`` any character, a dot parts
    the names, ``$`` is itself, the rest is regular expression; inside quotes all is literal.
    """
    parts = [""]
    quoted = False
    index = 0
    while index < len(pattern):
        character = pattern[index]
        if character == '"':
            if quoted and pattern[index + 1 : index + 2] == '"':
                parts[-1] += '"'
                index += 1
            else:
                quoted = not quoted
        elif quoted:
            parts[-1] += f"\\{character}" if character in _REGEX_SPECIAL else character
        elif character == ".":
            parts.append("")
        else:
            parts[-1] += {"*": ".*", "?": ".", "$": "\\$"}.get(character, character.lower())
        index += 1
    return tuple(f"^({part})$" for part in parts)


async def matching_schemas(connection: Connection, patterns: Sequence[str]) -> dict[int, str]:
    """Return the schemas (OID to name) that any of the patterns means."""
    if not patterns:
        return {}
    cursor = await connection.execute(
        "SELECT n.oid::pg_catalog.int8, n.nspname::pg_catalog.text"
        " FROM pg_catalog.pg_namespace AS n, pg_catalog.unnest(%s::pg_catalog.text[]) AS p(regex)"
        " WHERE n.nspname OPERATOR(pg_catalog.~) p.regex COLLATE pg_catalog.default",
        [[pattern_parts(pattern)[-1] for pattern in patterns]],
    )
    return dict(await cursor.fetchall())


async def matching_tables(connection: Connection, patterns: Sequence[str]) -> set[int]:
    """Return the OIDs of the tables that any of the patterns means.

    A pattern without a schema means only tables visible on the session's own search path, as
    with pg_dump, which resets the path it has emptied for just this.
    """
    if not patterns:
        return set()
    schemas: list[str | None] = []
    names: list[str] = []
    for pattern in patterns:
        parts = pattern_parts(pattern)
        schemas.append(parts[-2] if len(parts) > 1 else None)
        names.append(parts[-1])
    await connection.execute("RESET search_path")
    try:
        cursor = await connection.execute(_MATCHING_TABLES, [schemas, names])
        rows: list[tuple[Any, ...]] = await cursor.fetchall()
    finally:
        if connection.info.transaction_status.name != "INERROR":
            await connection.execute("SET search_path = ''")
    return {row[0] for row in rows}


_MATCHING_TABLES = """
SELECT DISTINCT c.oid::pg_catalog.int8
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
     ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]))
         AS p(schema_regex, name_regex)
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,S,v,m,f,p}'::pg_catalog."char"[])
  AND c.relname OPERATOR(pg_catalog.~) p.name_regex COLLATE pg_catalog.default
  AND CASE WHEN p.schema_regex IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
           ELSE n.nspname OPERATOR(pg_catalog.~) p.schema_regex COLLATE pg_catalog.default END
"""
