"""The measures about one table: its dead rows stay where they are, or nobody writes to it.

A partitioned table is meant with all its partitions: it holds no rows of its own, and whoever
writes to a partition by name needs no right to the parent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.freeze import Measure
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_TREE = (
    "WITH named AS (SELECT c.oid FROM pg_catalog.pg_class AS c"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'm', 'p')),"
    " tree AS (SELECT oid FROM named UNION"
    " SELECT p.relid::oid FROM named, pg_catalog.pg_partition_tree(named.oid) AS p)"
)
_SETTINGS = (
    _TREE  # noqa: S608 - fixed texts
    + " SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,"
    " coalesce(c.reloptions, '{}'),"
    " CASE WHEN t.oid IS NOT NULL THEN coalesce(t.reloptions, '{}') END"
    " FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid"
    " WHERE c.relkind IN ('r', 'm', 'p') ORDER BY 2, 3"
)
_RIGHTS = (
    _TREE  # noqa: S608 - fixed texts
    + ", rights AS (SELECT c.oid, c.relowner, a.grantee, a.privilege_type, a.is_grantable,"
    " NULL::name AS col FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid"
    " CROSS JOIN pg_catalog.aclexplode(coalesce(c.relacl,"
    " pg_catalog.acldefault('r', c.relowner))) AS a"
    " UNION ALL SELECT c.oid, c.relowner, a.grantee, a.privilege_type, a.is_grantable,"
    " t.attname FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid"
    " JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped"
    " CROSS JOIN pg_catalog.aclexplode(t.attacl) AS a WHERE t.attacl IS NOT NULL)"
    " SELECT DISTINCT n.nspname::text, c.relname::text, r.col::text,"
    " CASE WHEN r.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(r.grantee)::text END,"
    " r.privilege_type, r.is_grantable AND r.grantee <> r.relowner, r.grantee = r.relowner"
    " FROM rights AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.oid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE r.privilege_type = ANY(%(writes)s) ORDER BY 1, 2, 7 DESC, 4, 3 NULLS FIRST, 5"
)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table or partition as the catalogue has it; ``toast_options`` None: it has no TOAST."""

    oid: int
    schema: str
    name: str
    kind: str
    options: list[str]
    toast_options: list[str] | None


async def find_table(live: Connection, text: str) -> tuple[str, str]:
    """Return schema and name of the table that ``schema.name`` means, as it is written there.

    Raises:
        PostgresError: there is none.
    """
    rows = await fetch_all(
        live,
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname || '.' || c.relname = %s AND c.relkind IN ('r', 'm', 'p')",
        [text],
    )
    if len(rows) != 1:
        raise _missing(text)
    return rows[0][0], rows[0][1]


async def relations_of(live: Connection, schema: str, table: str) -> tuple[int, ...]:
    """Return the OIDs of a table and its partitions."""
    return tuple(each.oid for each in await _tables(live, schema, table))


async def most_changed(live: Connection, limit: int = 5) -> tuple[str, ...]:
    """Return the tables that lost or changed the most rows, by the statistics alone."""
    rows = await fetch_all(
        live,
        "SELECT schemaname || '.' || relname, n_tup_del, n_tup_upd"
        " FROM pg_catalog.pg_stat_user_tables WHERE n_tup_del + n_tup_upd > 0"
        " ORDER BY n_tup_del DESC, n_tup_upd DESC, 1 LIMIT %s",
        [limit],
    )
    return tuple(f"{name} ({gone} deleted, {changed} changed)" for name, gone, changed in rows)


async def plan_vacuum_off(live: Connection, schema: str, table: str) -> Measure:
    """Plan to leave a table's dead rows where they are: autovacuum off for it and its TOAST.

    It reads the catalogue alone: one look at the table itself prunes the evidence.
    """
    apply: list[str] = []
    undo: list[str] = []
    for each in await _tables(live, schema, table):
        if each.kind == "p":
            continue  # it has no storage, and no settings of it
        name = _identifier(live, each.schema, each.name)
        settings = [("autovacuum_enabled", each.options)]
        if each.toast_options is not None:
            settings.append(("toast.autovacuum_enabled", each.toast_options))
        off = ", ".join(f"{setting} = off" for setting, _options in settings)
        apply.append(f"ALTER TABLE {name} SET ({off});")
        for setting, options in settings:
            former = _option(options, "autovacuum_enabled")
            undo.append(
                f"ALTER TABLE {name} RESET ({setting});"
                if former is None
                else f"ALTER TABLE {name} SET ({setting} = {_text(live, former)});"
            )
    return Measure(
        "vacuum",
        f"autovacuum of {schema}.{table}",
        "Nobody notices; the table grows until it is undone.",
        "live",
        tuple(apply),
        tuple(undo),
    )


async def plan_table_read_only(live: Connection, schema: str, table: str) -> Measure:
    """Plan to let nobody but superusers write to a table; reading goes on.

    Raises:
        SafetyRefusal: nobody could be kept out: only superusers have the right to write.
    """
    await _tables(live, schema, table)
    rows = await fetch_all(
        live,
        _RIGHTS,
        {"schema": schema, "table": table, "writes": list(_WRITES)},
    )
    if not rows:
        raise SafetyRefusal(
            f"NOTHING TO FREEZE: nobody has the right to write to {schema}.{table}.",
            why="Only superusers write to it, and they can't be kept out of a table.",
            fix="Freeze everybody, or stop the application.",
        )
    # Whoever loses a right to the table loses it for every column, too.
    apply = dict.fromkeys(
        f"REVOKE {', '.join(_WRITES)} ON {_identifier(live, row[0], row[1])}"
        f" FROM {_role(live, row[3])} CASCADE;"
        for row in rows
    )
    undo = [
        f"GRANT {privilege}{f' ({_identifier(live, column)})' if column else ''}"
        f" ON {_identifier(live, in_schema, name)} TO {_role(live, grantee)}"
        f"{' WITH GRANT OPTION' if grantable else ''};"
        for in_schema, name, column, grantee, privilege, grantable, _own in rows
    ]
    return Measure(
        "table",
        f"writing to {schema}.{table}",
        "The application gets 'permission denied' when it writes to this table; it can read.",
        "live",
        tuple(apply),
        tuple(undo),
    )


async def _tables(live: Connection, schema: str, table: str) -> list[_Table]:
    """Return the table, and its partitions if it has any, with their settings."""
    rows = await fetch_all(
        live,
        _SETTINGS,
        {"schema": schema, "table": table},
    )
    if not rows:
        raise _missing(f"{schema}.{table}")
    return [_Table(*row) for row in rows]


def _missing(name: str) -> PostgresError:
    return PostgresError(
        f"TABLE MISSING: {name} is not in the live database.",
        why="It may be what was lost.",
        fix="If it was dropped, go past this step: nothing of it can be protected. If it is"
        " misspelt, name it again.",
    )


def _option(options: Iterable[str], name: str) -> str | None:
    return next(
        (text.partition("=")[2] for text in options if text.partition("=")[0] == name), None
    )


def _identifier(connection: Connection, *names: str) -> str:
    return sql.Identifier(*names).as_string(connection)


def _text(connection: Connection, value: str) -> str:
    return sql.Literal(value).as_string(connection)


def _role(connection: Connection, name: str) -> str:
    return _identifier(connection, name) if name else "PUBLIC"
