"""Damaging a throw-away copy in a scenario's way, so that a person can practise on it.

Which rows are hit depends on the rows and a seed alone: the same drill damages the same ones.
Nothing of it is physical. A server that has other databases stays sound, and a page that can't be
read can't be made in one of them without risking the others.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_SHARE_PERCENT = 3
_TEXT = ("text", "character varying", "character")
_NUMBERS = ("integer", "bigint", "smallint", "numeric", "double precision", "real")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with rows: is it referenced by others, and does deleting from it reach others."""

    schema: str
    name: str
    rows: int
    referenced: bool
    cascades: tuple[str, ...]

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


async def damage_copy(copy: Connection, scenario: str, seed: str) -> str:
    """Damage the session's database, in one transaction, and return in words what was done.

    Raises:
        UsageError: there is no such scenario to practise.
        PostgresError: the copy has nothing that could be damaged so.
    """
    way = _WAYS.get(scenario)
    if way is None:
        raise UsageError(
            f"NO SUCH DRILL: {scenario}.", why=f"There are: {', '.join(sorted(_WAYS))}."
        )
    async with copy.transaction():
        tables = await _tables(copy)
        done = await way(copy, tables, seed)
    if not done:
        raise PostgresError(
            f"NOTHING TO DAMAGE: no table of the copy fits the drill {scenario}.",
            fix="Practise another scenario, or with a point that holds rows.",
        )
    return "\n".join(done)


async def _tables(copy: Connection) -> list[_Table]:
    """Return the tables that hold rows, the largest first; partitions with their parents."""
    listed = await fetch_all(copy, _TABLES)
    tables = []
    for schema, name, referenced, cascades in listed:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))
        rows = (await (await copy.execute(query)).fetchall())[0][0]
        if rows:
            tables.append(_Table(schema, name, rows, referenced, tuple(cascades)))
    return sorted(tables, key=lambda table: (-table.rows, table.qualified))


_TABLES = """
SELECT n.nspname::text, c.relname::text,
       EXISTS (SELECT FROM pg_constraint AS k WHERE k.contype = 'f' AND k.confrelid = c.oid
               AND k.conrelid <> c.oid),
       array(SELECT DISTINCT kn.nspname || '.' || kc.relname FROM pg_constraint AS k
             JOIN pg_class AS kc ON kc.oid = k.conrelid
             JOIN pg_namespace AS kn ON kn.oid = kc.relnamespace
             WHERE k.contype = 'f' AND k.confrelid = c.oid AND k.confdeltype = 'c'
               AND k.conrelid <> c.oid ORDER BY 1)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
  AND c.relname <> '_prisma_migrations'
"""


async def _lose_data(copy: Connection, tables: Sequence[_Table], seed: str) -> list[str]:
    """Empty the largest table that no other refers to, and drop the next one."""
    free = [table for table in tables if not table.referenced]
    if not free:
        if not tables:
            return []
        table = tables[0]
        await copy.execute(sql.SQL("TRUNCATE {} CASCADE").format(table.identifier))
        return [f"TRUNCATE {table.qualified} CASCADE: {table.rows} rows of it, and all that refer"]
    emptied, *others = free
    done = []
    if await _try(copy, sql.SQL("DELETE FROM {}").format(emptied.identifier)) is not None:
        done.append(f"All {emptied.rows} rows of {emptied.qualified} are deleted (no WHERE).")
    for table in others:
        dropped = await _try(copy, sql.SQL("DROP TABLE {}").format(table.identifier))
        if dropped is not None:
            done.append(f"DROP TABLE {table.qualified}: {table.rows} rows")
            break
    return done


async def _lose_part(copy: Connection, tables: Sequence[_Table], seed: str) -> list[str]:
    """Delete some rows of a parent, with what hangs on them, and spoil a column elsewhere."""
    done: list[str] = []
    parents = [table for table in tables if table.cascades] or list(tables)
    for parent in parents:
        deleted = await _delete_some(copy, parent, seed)
        if deleted:
            text = f"DELETE of {deleted} of {parent.rows} rows of {parent.qualified}"
            if parent.cascades:
                text += f", and by CASCADE what belonged to them in {', '.join(parent.cascades)}"
            done.append(text)
            break
    for table in sorted(tables, key=lambda each: bool(each.cascades)):
        spoilt = await _spoil_some(copy, table, seed)
        if spoilt:
            done.append(spoilt)
            break
    return done


async def _delete_some(copy: Connection, table: _Table, seed: str) -> int:
    """Delete a share of the rows, at least one; 0 where another table's key forbids it."""
    first = sql.SQL("t.ctid = (SELECT min(ctid) FROM {})").format(table.identifier)
    for where in (_share(seed), first):
        query = sql.SQL("DELETE FROM {} AS t WHERE {}").format(table.identifier, where)
        deleted = await _try(copy, query)
        if deleted:
            return deleted
    return 0


async def _spoil_some(copy: Connection, table: _Table, seed: str) -> str:
    """Overwrite a column that is no key in a share of the rows; returns what was done, or ""."""
    columns = await fetch_all(copy, _PLAIN_COLUMNS, [table.schema, table.name])
    for name, kind in sorted(columns, key=lambda column: column[1] not in _TEXT):
        if kind in _TEXT:
            value = sql.SQL("pg_catalog.reverse(t.{})").format(sql.Identifier(name))
        elif kind in _NUMBERS:
            value = sql.SQL("{}").format(sql.Literal(0))
        else:
            continue
        query = sql.SQL("UPDATE {} AS t SET {} = {} WHERE {} AND t.{} IS DISTINCT FROM {}").format(
            table.identifier,
            sql.Identifier(name),
            value,
            _share(f"{seed} update"),
            sql.Identifier(name),
            value,
        )
        changed = await _try(copy, query)
        if changed:
            how = "written backwards" if kind in _TEXT else "set to 0"
            return f"UPDATE of {changed} rows of {table.qualified}: {name} {how}"
    return ""


_PLAIN_COLUMNS = """
SELECT a.attname::text, regexp_replace(format_type(a.atttypid, NULL), '\\(.*', '')
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' AND a.attidentity = ''
  AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid
                  AND a.attnum = ANY (i.indkey) AND i.indisunique)
  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.contype = 'f'
                  AND (k.conrelid = c.oid AND a.attnum = ANY (k.conkey)
                       OR k.confrelid = c.oid AND a.attnum = ANY (k.confkey)))
ORDER BY a.attnum
"""


async def _corrupt(copy: Connection, tables: Sequence[_Table], seed: str) -> list[str]:
    """Take out the rows of one block, as a page does that was lost, and break an index."""
    done = ["Nothing is physically damaged: the other databases of this server must stay sound."]
    superuser = (
        await fetch_all(copy, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    )[0][0]
    for table in sorted(tables, key=lambda each: (not each.referenced, -each.rows)):
        lost = await _lose_block(copy, table, seed, with_orphans=superuser)
        if lost:
            done.append(lost)
            break
    else:
        return []
    for schema, name in await fetch_all(copy, _INDEXES, [seed]):
        identifier = sql.Identifier(schema, name)
        if superuser:
            query = sql.SQL(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = {}::regclass"
            ).format(sql.Literal(identifier.as_string(copy)))
        else:
            query = sql.SQL("DROP INDEX {}").format(identifier)
        if await _try(copy, query) is not None:
            done.append(
                f"The index {schema}.{name} is {'marked invalid' if superuser else 'gone'}."
            )
            break
    return done


# Some index that is no constraint's, as the seed will have it.
_INDEXES = """
SELECT n.nspname::text, c.relname::text FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind = 'i'
  AND NOT c.relispartition AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid)
ORDER BY md5(n.nspname || '.' || c.relname || %s)
"""


async def _lose_block(copy: Connection, table: _Table, seed: str, *, with_orphans: bool) -> str:
    """Delete the rows of one block; ``with_orphans``: without minding what refers to them."""
    blocks = await fetch_all(
        copy,
        sql.SQL("SELECT DISTINCT (ctid::text::point)[0]::int8 FROM ONLY {} ORDER BY 1")
        .format(table.identifier)
        .as_string(copy),
    )
    if not blocks:
        return ""
    chosen = random.Random(f"{seed} {table.qualified}").choice(blocks)[0]  # noqa: S311 - a drill's
    where = sql.SQL("ctid >= {} AND ctid < {}").format(
        sql.Literal(f"({chosen},0)"), sql.Literal(f"({chosen + 1},0)")
    )
    if with_orphans:
        await copy.execute("SET LOCAL session_replication_role = replica")
    try:
        lost = await _try(
            copy, sql.SQL("DELETE FROM ONLY {} WHERE {}").format(table.identifier, where)
        )
    finally:
        if with_orphans:
            await copy.execute("SET LOCAL session_replication_role = origin")
    if not lost:
        return ""
    orphans = "; rows that refer to them are left without a parent" if with_orphans else ""
    return f"The rows of block {chosen} of {table.qualified} ({lost}) were taken out{orphans}."


def _share(seed: str) -> sql.Composed:
    """Return the condition on ``t`` that a few rows in a hundred fulfil, always the same ones."""
    return sql.SQL("('x' || substr(md5(t::text || {}), 1, 7))::bit(28)::int4 % 100 < {}").format(
        sql.Literal(seed), sql.Literal(_SHARE_PERCENT)
    )


async def _try(copy: Connection, query: sql.Composed) -> int | None:
    """Return how many rows a statement was about; None where the server refuses it."""
    try:
        async with copy.transaction():
            cursor = await copy.execute(query)
            return max(0, cursor.rowcount)
    except psycopg.Error:
        if copy.broken:
            raise
        return None


_Way = Callable[[Connection, Sequence[_Table], str], Awaitable[list[str]]]
_WAYS: dict[str, _Way] = {
    "data-loss": _lose_data,
    "partial-loss": _lose_part,
    "corruption": _corrupt,
}
SCENARIOS = tuple(_WAYS)
