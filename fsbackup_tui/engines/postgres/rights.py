"""What a role lacks to back a database up, found out before the dump begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from fsbackup_tui.domain.errors import RightsMissing
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import (
    SequenceInspection,
    fetch_all,
    list_sequences,
)
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection
from fsbackup_tui.engines.postgres.managed import SUPABASE
from fsbackup_tui.engines.postgres.patterns import Exclusions, matching_schemas, matching_tables

_NAMED = 8


@dataclass(frozen=True, slots=True)
class MissingRights:
    """What the role can't read: names as ``schema.name``, large objects by number."""

    role: str
    tables: tuple[TableInspection, ...]
    hidden_rows: tuple[TableInspection, ...]
    sequences: tuple[SequenceInspection, ...]
    large_objects: tuple[int, ...]
    large_object_count: int
    platform: str = ""

    def __bool__(self) -> bool:
        return bool(self.tables or self.hidden_rows or self.sequences or self.large_objects)

    def error(self) -> RightsMissing:
        """Return the error that names what is missing and the SQL that grants it."""
        things = [
            *_things("table", [item.qualified for item in self.tables]),
            *_things("sequence", [f"{item.schema}.{item.name}" for item in self.sequences]),
            *_things(
                "large object",
                [str(number) for number in self.large_objects],
                self.large_object_count,
            ),
        ]
        reasons = []
        if things:
            reasons.append(f"The role '{self.role}' may not read {'; '.join(things)}.")
        if self.hidden_rows:
            hidden = _things("table", [item.qualified for item in self.hidden_rows])
            reasons.append(
                f"Row-level security hides rows of {hidden[0]} from '{self.role}':"
                " a dump would silently lack them."
            )
        return RightsMissing(
            "RIGHTS MISSING: this role can't back up the whole database.",
            why="\n".join(reasons),
            fix=self._fix(),
        )

    def _fix(self) -> str:
        fix = "As an administrator, in this database:\n" + "\n".join(self.grants())
        if self.platform != SUPABASE:
            return fix
        return (
            "Back up as the project's own role postgres, which may read all of the site's.\n"
            f"Or leave out on purpose what is named (exclude_schemas: [auth, storage]). Or:\n{fix}"
        )

    def grants(self) -> tuple[str, ...]:
        """Return the SQL to paste, for the role as it is, shortest first."""
        role = sql.Identifier(self.role)
        statements: list[sql.Composable] = []
        if len(self.tables) + len(self.sequences) > _NAMED:
            statements.append(sql.SQL("GRANT pg_read_all_data TO {};").format(role))
        else:
            schemas = sorted(
                {item.schema for item in self.tables} | {item.schema for item in self.sequences}
            )
            statements += [
                sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), role)
                for schema in schemas
            ]
            statements += [
                sql.SQL("GRANT SELECT ON TABLE {} TO {};").format(
                    sql.Identifier(item.schema, item.name), role
                )
                for item in self.tables
            ]
            statements += [
                sql.SQL("GRANT SELECT ON SEQUENCE {} TO {};").format(
                    sql.Identifier(item.schema, item.name), role
                )
                for item in self.sequences
            ]
        statements += [
            sql.SQL("GRANT SELECT ON LARGE OBJECT {} TO {};").format(number, role)
            for number in self.large_objects[:_NAMED]
        ]
        if self.hidden_rows:
            statements.append(sql.SQL("ALTER ROLE {} BYPASSRLS;").format(role))
        return tuple(statement.as_string(None) for statement in statements)


def _things(word: str, names: Sequence[str], count: int | None = None) -> list[str]:
    total = len(names) if count is None else count
    if not total:
        return []
    shown = ", ".join(names[:_NAMED])
    more = f" and {total - _NAMED} more" if total > _NAMED else ""
    return [f"{word}{'s' if total != 1 else ''} {shown}{more}"]


async def missing_backup_rights(
    connection: Connection,
    tables: Sequence[TableInspection],
    exclusions: Exclusions,
    *,
    with_rows: bool = True,
) -> MissingRights:
    """Return what of these tables, and of the sequences and large objects, can't be read.

    Foreign tables and materialised views need no rights: pg_dump reads no rows of them. A dump
    of the definitions alone (``with_rows`` False) still locks the tables, which needs SELECT.
    """
    schemas = await matching_schemas(connection, exclusions.all_schemas)
    excluded = await matching_tables(connection, exclusions.all_tables)
    sequences: tuple[SequenceInspection, ...] = ()
    large_objects: list[tuple[Any, ...]] = []
    if with_rows:
        sequences = await list_sequences(connection, schemas=list(schemas), tables=list(excluded))
        large_objects = await fetch_all(connection, _UNREADABLE_LARGE_OBJECTS, [_NAMED])
    rows = await fetch_all(connection, "SELECT current_user::text")
    return MissingRights(
        role=rows[0][0],
        tables=tuple(item for item in tables if item.lockable and not item.readable),
        hidden_rows=tuple(
            item for item in tables if with_rows and item.dumps_rows and item.row_security
        ),
        sequences=tuple(item for item in sequences if not item.readable),
        large_objects=tuple(row[0] for row in large_objects),
        large_object_count=large_objects[0][1] if large_objects else 0,
        platform=exclusions.platform,
    )


# has_largeobject_privilege() came with PostgreSQL 18 only.
_UNREADABLE_LARGE_OBJECTS = """
SELECT m.oid::int8, count(*) OVER ()
FROM pg_largeobject_metadata AS m
WHERE NOT current_setting('lo_compat_privileges')::bool
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) AS a
                  WHERE a.privilege_type = 'SELECT'
                    AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
ORDER BY m.oid LIMIT %s
"""


async def require_backup_rights(
    connection: Connection,
    tables: Sequence[TableInspection],
    exclusions: Exclusions,
    *,
    with_rows: bool = True,
) -> None:
    """Do nothing when the role can read all of it; RightsMissing, with the GRANTs, otherwise."""
    missing = await missing_backup_rights(connection, tables, exclusions, with_rows=with_rows)
    if missing:
        raise missing.error()
