"""What a copy's catalogue knows of a column that live lost, and of what went with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Table


@dataclass(frozen=True, slots=True)
class LostColumn:
    """A column's definition in the copy, and how its values are staged.

    ``filled`` rows of live get the copy's value; ``born_since`` are not in the copy, and want a
    value where ``not_null``. ``indexes`` and ``constraints`` (names, definitions) went with it and
    are made again; ``others`` did, too, or used it, and are left to a person.
    """

    table: TableName
    column: str
    type: str
    collation: tuple[str, str] | None
    default: str | None
    not_null: bool
    generated: str | None
    comment: str | None
    key: tuple[str, ...]
    staged_in: str
    filled: int
    born_since: int
    indexes: tuple[tuple[str, str], ...]
    constraints: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

    @property
    def label(self) -> str:
        """The column as people read it."""
        return f"{self.table[0]}.{self.table[1]}.{self.column}"

    @property
    def needs_value(self) -> bool:
        """Whether rows that were born since can't do without a value."""
        return self.not_null and self.generated is None and self.born_since > 0


async def read_definition(copy: Connection, table: Table, column: str) -> dict[str, Any]:
    """Return the fields of LostColumn that the copy's catalogue tells.

    Raises:
        SafetyRefusal: a sequence numbers the column.
    """
    rows = await fetch_all(copy, _COLUMN, [table.oid, column])
    kind, schema, collation, expression, not_null, generated, identity, comment, granted = rows[0]
    if identity or "nextval(" in (expression or ""):
        raise SafetyRefusal(
            f"NUMBERS ITSELF: {table.schema}.{table.name}.{column} is fed by a sequence.",
            why="The sequence went with the column, and where it stood can't be told from rows.",
            fix="Make the column and its sequence by hand, then fill it by a merge.",
        )
    indexes = await fetch_all(copy, _INDEXES, [table.oid, column])
    constraints = await fetch_all(copy, _CONSTRAINTS, [table.oid, column])
    others = [row[0] for row in await fetch_all(copy, _OTHERS, [table.oid, column])]
    if granted:
        others.append("privileges on the column itself")
    return {
        "type": kind,
        "collation": None if collation is None else (schema, collation),
        "default": None if generated else expression,
        "not_null": not_null,
        "generated": f"({expression}) {generated}" if generated else None,
        "comment": comment,
        "indexes": tuple((name, text) for name, text in indexes),
        "constraints": tuple((name, text) for name, text in constraints),
        "others": tuple(others),
    }


_COLUMN = """
SELECT format_type(a.atttypid, a.atttypmod)::text, cs.nspname::text, l.collname::text,
       pg_get_expr(d.adbin, d.adrelid), a.attnotnull,
       CASE a.attgenerated WHEN 's' THEN 'STORED' WHEN 'v' THEN 'VIRTUAL' ELSE '' END,
       a.attidentity <> '', col_description(a.attrelid, a.attnum), a.attacl IS NOT NULL
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation AS l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
LEFT JOIN pg_namespace AS cs ON cs.oid = l.collnamespace
WHERE a.attrelid::int8 = %s AND a.attname = %s AND NOT a.attisdropped
"""
# Dependencies tell of expressions and predicates as well.
_INDEXES = """
SELECT ic.relname::text, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i
JOIN pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_attribute AS a ON a.attrelid = i.indrelid
WHERE i.indrelid::int8 = %s AND a.attname = %s AND i.indisvalid
  AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid
                  AND c.contype IN ('p', 'u', 'x') AND c.conrelid = i.indrelid)
  AND EXISTS (SELECT FROM pg_depend AS d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                AND d.refobjsubid = a.attnum)
ORDER BY 1
"""
# First what a foreign key may refer to.
_CONSTRAINTS = """
SELECT c.conname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c
JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.conrelid::int8 = %s AND a.attname = %s AND c.contype IN ('u', 'x', 'c', 'f')
  AND c.conparentid = 0
ORDER BY c.contype = 'f', c.conname COLLATE "C"
"""
_OTHERS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_depend AS d
JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid::int8 = %s AND a.attname = %s
  AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass,
                     'pg_publication_rel'::regclass, 'pg_statistic_ext'::regclass)
       OR d.classid = 'pg_constraint'::regclass
          AND EXISTS (SELECT FROM pg_constraint AS c WHERE c.oid = d.objid
                      AND c.conrelid <> d.refobjid)
       OR d.classid = 'pg_attrdef'::regclass
          AND NOT EXISTS (SELECT FROM pg_attrdef AS f WHERE f.oid = d.objid
                          AND f.adnum = d.refobjsubid))
  AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE d.classid = 'pg_trigger'::regclass
                  AND t.oid = d.objid AND t.tgisinternal)
ORDER BY 1
"""
