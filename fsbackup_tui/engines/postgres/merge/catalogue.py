"""What a merge must know of a database's tables: columns, keys, who refers to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import Action, ForeignKey
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import RAW_HASH_TYPES

_ACTIONS: Mapping[str, Action] = {
    "a": "no action",
    "r": "restrict",
    "c": "cascade",
    "n": "set null",
    "d": "set default",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``type`` as format_type writes it, ``generated`` its expression where it has one.

    ``bare_type`` is the type without its length: a cast to it cuts nothing off.
    ``raw``: its value can be hashed without being written as text (fingerprint.py).
    """

    name: str
    type: str
    bare_type: str
    type_oid: int
    raw: bool
    not_null: bool
    has_default: bool
    default: str | None
    always_identity: bool
    generated: str | None
    virtual: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator by its schema: what ``=`` means must not depend on the search_path."""

    schema: str
    name: str
    collation: tuple[str, str] | None = None

    def compare(self, left: sql.Composable, right: sql.Composable) -> sql.Composable:
        """Return the comparison; the collation stands on the right, which no index is for."""
        if self.collation is not None:
            right = sql.SQL("({} COLLATE {})").format(right, sql.Identifier(*self.collation))
        operator = sql.SQL("OPERATOR({}.{})").format(
            sql.Identifier(self.schema), sql.SQL(self.name)
        )
        return sql.SQL("{} {} {}").format(left, operator, right)


@dataclass(frozen=True, slots=True)
class Index:
    """A unique or excluding index: no two rows may compare true in all of its columns.

    ``definitions`` are its columns or expressions, ``columns`` their names ('' for expressions).
    """

    name: str
    definitions: tuple[str, ...]
    columns: tuple[str, ...]
    operators: tuple[Operator, ...]
    predicate: str | None
    primary: bool
    excluding: bool
    nulls_equal: bool
    immediate: bool


@dataclass(frozen=True, slots=True)
class Link:
    """An enforced foreign key, with what compares a parent's value with a child's."""

    key: ForeignKey
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A plain or partitioned table; partitions are a part of theirs and not listed."""

    oid: int
    schema: str
    name: str
    partitioned: bool
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...]
    unfit: str
    estimated_rows: int

    @property
    def full_name(self) -> TableName:
        """Its schema and its name."""
        return self.schema, self.name

    def column(self, name: str) -> Column | None:
        """Return the column of that name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns whose values are given, not computed."""
        return tuple(column for column in self.columns if column.generated is None)

    @property
    def key(self) -> Index | None:
        """The primary key; where there is none, a unique index over columns that are never NULL."""
        usable = [
            index
            for index in self.indexes
            if not index.excluding
            and index.predicate is None
            and index.immediate
            and all(index.columns)
            and all(
                column.not_null and column.generated is None
                for column in map(self.column, index.columns)
                if column is not None
            )
        ]
        return next((index for index in usable if index.primary), usable[0] if usable else None)

    def unique_over(self, columns: tuple[str, ...]) -> Index | None:
        """Return an index that makes these columns, in any order, a key."""
        for index in self.indexes:
            if (
                not index.excluding
                and index.predicate is None
                and sorted(index.columns) == sorted(columns)
            ):
                return index
        return None

    def from_clause(self, alias: str) -> sql.Composable:
        """Return the table with its partitions, but without tables that inherit from it."""
        only = sql.SQL("" if self.partitioned else "ONLY ")
        return sql.SQL("{}{} AS {}").format(
            only, sql.Identifier(self.schema, self.name), sql.Identifier(alias)
        )

    @property
    def target(self) -> sql.Composable:
        """The table as a target of UPDATE and DELETE, under the alias ``r``."""
        return self.from_clause("r")


@dataclass(frozen=True, slots=True)
class Schema:
    """All tables of a database, and the foreign keys between them."""

    tables: Mapping[TableName, Table]
    links: tuple[Link, ...]
    encoding: str
    published_whole: bool
    server_version: int
    by_oid: Mapping[int, TableName] = field(default_factory=dict)

    def links_of(self, table: TableName) -> tuple[Link, ...]:
        """Return the foreign keys by which the table refers to others, or to itself."""
        return tuple(link for link in self.links if link.key.table == table)

    def links_to(self, table: TableName) -> tuple[Link, ...]:
        """Return the foreign keys by which others, or it itself, refer to the table."""
        return tuple(link for link in self.links if link.key.parent == table)


async def read_schema(connection: Connection) -> Schema:
    """Return what the database's catalogue says of its tables; ours, in staging, are left out."""
    columns: dict[int, list[Column]] = {}
    raw = {"raw": list(RAW_HASH_TYPES)}
    for oid, *values in await fetch_all(connection, _COLUMNS, raw):
        columns.setdefault(oid, []).append(Column(*values))
    indexes: dict[int, list[Index]] = {}
    for row in await fetch_all(connection, _INDEXES):
        indexes.setdefault(row[0], []).append(_index(row))
    tables: dict[TableName, Table] = {}
    by_oid: dict[int, TableName] = {}
    for oid, schema, name, partitioned, estimate, unfit in await fetch_all(connection, _TABLES):
        by_oid[oid] = (schema, name)
        tables[schema, name] = Table(
            oid,
            schema,
            name,
            partitioned,
            tuple(columns.get(oid, ())),
            tuple(indexes.get(oid, ())),
            unfit,
            max(0, estimate),
        )
    rows = await fetch_all(connection, _LINKS)
    links = tuple(_link(row, by_oid) for row in rows if row[1] in by_oid and row[2] in by_oid)
    ((encoding, published),) = await fetch_all(connection, _DATABASE)
    return Schema(tables, links, encoding, published, connection.info.server_version, by_oid)


def _index(row: tuple[Any, ...]) -> Index:
    _oid, name, primary, excluding, immediate, predicate, nulls_equal, *arrays = row
    definitions, columns, schemas, names, collation_schemas, collations = arrays
    operators = tuple(
        Operator(schema, operator, None if collation is None else (collation_schema, collation))
        for schema, operator, collation_schema, collation in zip(
            schemas, names, collation_schemas, collations, strict=True
        )
    )
    return Index(
        name=name,
        definitions=tuple(definitions),
        columns=tuple(columns),
        operators=operators,
        predicate=predicate,
        primary=primary,
        excluding=excluding,
        nulls_equal=nulls_equal,
        immediate=immediate,
    )


def _link(row: tuple[Any, ...], by_oid: Mapping[int, TableName]) -> Link:
    name, child, parent, columns, parent_columns, delete, update, *arrays = row
    schemas, names, collation_schemas, collations = arrays
    operators = tuple(
        Operator(schema, operator, None if collation is None else (collation_schema, collation))
        for schema, operator, collation_schema, collation in zip(
            schemas, names, collation_schemas, collations, strict=True
        )
    )
    key = ForeignKey(
        name,
        by_oid[child],
        tuple(columns),
        by_oid[parent],
        tuple(parent_columns),
        _ACTIONS[delete],
        _ACTIONS[update],
    )
    return Link(key, operators)


_DATABASE = """
SELECT pg_encoding_to_char(encoding)::text,
       EXISTS (SELECT FROM pg_publication AS p WHERE p.puballtables)
FROM pg_database WHERE datname = current_database()
"""
_TABLES = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind = 'p', c.reltuples::int8,
       CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'the role here may not read it'
            WHEN row_security_active(c.oid) THEN 'row security hides rows from the role here'
            WHEN EXISTS (SELECT FROM pg_rewrite AS w WHERE w.ev_class = c.oid
                         AND w.ev_enabled <> 'D') THEN 'it has rules, which rewrite what is done'
            WHEN c.relkind = 'p' AND EXISTS (
                 SELECT FROM pg_partition_tree(c.oid) AS t JOIN pg_class AS f ON f.oid = t.relid
                 WHERE f.relkind = 'f') THEN 'some of its partitions are on another server'
            ELSE '' END
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                    AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')))
  AND n.nspname !~ '^(pg_|fsbackup_merge_)' AND n.nspname <> 'information_schema'
ORDER BY 2, 3
"""
_COLUMNS = """
SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, a.atttypmod)::text,
       format_type(a.atttypid, -1)::text, a.atttypid::int8,
       a.atttypid = ANY (%(raw)s::oid[]) AND coalesce(l.collisdeterministic, true),
       a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       a.attidentity = 'a',
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       a.attgenerated = 'v'
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname !~ '^(pg_|fsbackup_merge_)' AND n.nspname <> 'information_schema'
ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid::int8, ic.relname::text, i.indisprimary, i.indisexclusion, i.indimmediate,
       pg_get_expr(i.indpred, i.indrelid),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       v.definitions, v.columns, v.schemas, v.operators, v.collation_schemas, v.collations
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_am AS am ON am.oid = ic.relam
CROSS JOIN LATERAL (
    SELECT array_agg(pg_get_indexdef(i.indexrelid, k, false) ORDER BY k) AS definitions,
           array_agg(coalesce(a.attname::text, '') ORDER BY k) AS columns,
           array_agg(os.nspname::text ORDER BY k) AS schemas,
           array_agg(o.oprname::text ORDER BY k) AS operators,
           array_agg(cs.nspname::text ORDER BY k) AS collation_schemas,
           array_agg(l.collname::text ORDER BY k) AS collations,
           bool_and(o.oid IS NOT NULL) AS known
    FROM generate_series(1, i.indnkeyatts::int) AS k
    JOIN pg_opclass AS p ON p.oid = i.indclass[k - 1]
    LEFT JOIN pg_constraint AS x ON x.conindid = i.indexrelid AND x.conexclop IS NOT NULL
    LEFT JOIN pg_amop AS m ON m.amopfamily = p.opcfamily AND m.amopstrategy = 3
         AND am.amname = 'btree' AND m.amoplefttype = p.opcintype
         AND m.amoprighttype = p.opcintype
    LEFT JOIN pg_operator AS o ON o.oid = coalesce(x.conexclop[k], m.amopopr)
    LEFT JOIN pg_namespace AS os ON os.oid = o.oprnamespace
    LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1]
         AND i.indkey[k - 1] > 0
    LEFT JOIN pg_collation AS l ON l.oid = nullif(i.indcollation[k - 1], 0)
    LEFT JOIN pg_namespace AS cs ON cs.oid = l.collnamespace
) AS v
WHERE (i.indisunique OR i.indisexclusion) AND i.indisready AND v.known
  AND n.nspname !~ '^(pg_|fsbackup_merge_)' AND n.nspname <> 'information_schema'
ORDER BY i.indrelid, ic.relname COLLATE "C"
"""
_LINKS = """
SELECT c.conname::text, c.conrelid::int8, c.confrelid::int8,
       array_agg(a.attname::text ORDER BY k), array_agg(p.attname::text ORDER BY k),
       c.confdeltype::text, c.confupdtype::text,
       array_agg(os.nspname::text ORDER BY k), array_agg(o.oprname::text ORDER BY k),
       array_agg(cs.nspname::text ORDER BY k), array_agg(l.collname::text ORDER BY k)
FROM pg_constraint AS c
CROSS JOIN LATERAL generate_subscripts(c.conkey, 1) AS k
JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[k]
JOIN pg_attribute AS p ON p.attrelid = c.confrelid AND p.attnum = c.confkey[k]
JOIN pg_operator AS o ON o.oid = c.conpfeqop[k]
JOIN pg_namespace AS os ON os.oid = o.oprnamespace
LEFT JOIN pg_collation AS l ON l.oid = nullif(p.attcollation, 0)
LEFT JOIN pg_namespace AS cs ON cs.oid = l.collnamespace
WHERE c.contype = 'f' AND c.conparentid = 0
  AND NOT coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false)
  AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)
GROUP BY c.oid, c.conname, c.conrelid, c.confrelid, c.confdeltype, c.confupdtype, to_jsonb(c)
ORDER BY c.conrelid, c.conname COLLATE "C"
"""
