"""What in the rest of a database holds on to a schema, and the SQL that lets it hold on anew.

Everything that PostgreSQL resolved when it was made (views, policies, triggers, foreign keys,
defaults) means tables and functions by OID and follows them into whatever name their schema gets
(reference/ops.md n: "views in other schemas follow the OLD tables by OID"); text that is resolved
when it runs (bodies of functions, search_path) finds the new ones by itself. So each dependency
that pg_depend knows from outside is written down as the server spells it while the schema still
has its name (``pg_get_viewdef`` and its like), and said again when another schema has that name.
What can't be said again in place (a column's type, an index, a materialised view) is in the way.

Sources: PostgreSQL's catalogs.sgml ("pg_depend"), ref/create_view.sgml, ref/create_trigger.sgml
and ref/create_function.sgml on OR REPLACE, which keeps OID, owner and grants; ref/create_trigger
on constraint triggers, which can't be replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema_marks import Tie

_HOMES: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("pg_class", "SELECT oid, relnamespace FROM pg_class"),
    ("pg_type", "SELECT oid, typnamespace FROM pg_type"),
    ("pg_proc", "SELECT oid, pronamespace FROM pg_proc"),
    ("pg_constraint", "SELECT oid, connamespace FROM pg_constraint"),
    ("pg_operator", "SELECT oid, oprnamespace FROM pg_operator"),
    ("pg_opclass", "SELECT oid, opcnamespace FROM pg_opclass"),
    ("pg_opfamily", "SELECT oid, opfnamespace FROM pg_opfamily"),
    ("pg_collation", "SELECT oid, collnamespace FROM pg_collation"),
    ("pg_conversion", "SELECT oid, connamespace FROM pg_conversion"),
    ("pg_statistic_ext", "SELECT oid, stxnamespace FROM pg_statistic_ext"),
    ("pg_ts_config", "SELECT oid, cfgnamespace FROM pg_ts_config"),
    ("pg_ts_dict", "SELECT oid, dictnamespace FROM pg_ts_dict"),
    ("pg_ts_parser", "SELECT oid, prsnamespace FROM pg_ts_parser"),
    ("pg_ts_template", "SELECT oid, tmplnamespace FROM pg_ts_template"),
    (
        "pg_amop",
        "SELECT a.oid, f.opfnamespace FROM pg_amop AS a JOIN pg_opfamily AS f"
        " ON f.oid = a.amopfamily",
    ),
    (
        "pg_amproc",
        "SELECT a.oid, f.opfnamespace FROM pg_amproc AS a JOIN pg_opfamily AS f"
        " ON f.oid = a.amprocfamily",
    ),
    (
        "pg_attrdef",
        "SELECT a.oid, c.relnamespace FROM pg_attrdef AS a JOIN pg_class AS c ON c.oid = a.adrelid",
    ),
    (
        "pg_rewrite",
        "SELECT r.oid, c.relnamespace FROM pg_rewrite AS r JOIN pg_class AS c"
        " ON c.oid = r.ev_class",
    ),
    (
        "pg_trigger",
        "SELECT t.oid, c.relnamespace FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid",
    ),
    (
        "pg_policy",
        "SELECT p.oid, c.relnamespace FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid",
    ),
)
_CROSSING: LiteralString = """
SELECT DISTINCT d.classid::regclass::text, d.objid::int8, d.refclassid::regclass::text,
       pg_describe_object(d.classid, d.objid, d.objsubid),
       pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
FROM pg_depend AS d
JOIN home AS there ON there.classid = d.refclassid AND there.objid = d.refobjid
     AND there.nsp = ANY (%(schemas)s::oid[])
LEFT JOIN home AS here ON here.classid = d.classid AND here.objid = d.objid
WHERE (here.nsp IS NULL OR here.nsp <> ALL (%(schemas)s::oid[]))
  AND here.nsp IS DISTINCT FROM 'pg_toast'::regnamespace
  AND here.nsp IS DISTINCT FROM pg_my_temp_schema()
  AND d.classid NOT IN ('pg_publication_rel'::regclass, 'pg_extension'::regclass)
  AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.deptype = 'e'
                  AND e.classid = d.refclassid AND e.objid = d.refobjid)
ORDER BY 1, 4, 5
"""


@dataclass(frozen=True, slots=True)
class Repoint:
    """One object of another schema, and what makes it mean the new schema's.

    ``before`` runs while the old schema has its name, ``after`` when the new one has it.
    ``check`` is a constraint (schema, table, name) that comes back NOT VALID.
    """

    what: str
    after: tuple[sql.Composable, ...]
    before: tuple[sql.Composable, ...] = ()
    check: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension inside a schema, which has to stay in the schema that has the name."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class PublishedSchema:
    """A publication of all tables in a schema, which means it by OID, too."""

    publication: str
    schema: str


@dataclass(frozen=True, slots=True)
class Ties:
    """What holds on to some schemas, and what they hold on to; ``blockers`` in words.

    ``fixed`` schemas keep their names, as an extension can't leave them (``schema_content.py``).
    """

    repoints: tuple[Repoint, ...] = ()
    extensions: tuple[Extension, ...] = ()
    published: tuple[PublishedSchema, ...] = ()
    ties: tuple[Tie, ...] = ()
    blockers: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


async def find_ties(connection: Connection, oids: Sequence[int]) -> Ties:
    """Return what has to be seen to when other schemas take these schemas' names.

    Nothing is locked but what reading the definitions locks for a moment. Ties between the
    schemas themselves are none: they go together.
    """
    parameters = {"schemas": list(oids)}
    homes = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT '" + name + "'::regclass::oid AS classid, h.objid, h.nsp FROM"
            " (" + query + ") AS h(objid, nsp)"
        )
        for name, query in _HOMES
    )
    statement = sql.SQL("WITH home AS MATERIALIZED ({}) {}").format(homes, sql.SQL(_CROSSING))
    cursor = await connection.execute(statement, parameters)
    rows = await cursor.fetchall()
    repoints: dict[tuple[str, int], Repoint] = {}
    blockers: dict[str, None] = {}
    for kind, oid, to_kind, what, to_what in rows:
        if (kind, oid) in repoints and not (kind == "pg_proc" and to_kind == "pg_type"):
            continue
        found = None
        if not (kind == "pg_proc" and to_kind == "pg_type"):
            found = await _repoint(connection, kind, oid, what)
        if found is None:
            blockers[f"{what} depends on {to_what}"] = None
        elif found.what:
            repoints[kind, oid] = found
    extensions = await fetch_all(connection, _EXTENSIONS, parameters)
    fixed = {schema for _name, schema, movable in extensions if not movable}
    return Ties(
        tuple(repoints.values()),
        tuple(Extension(name, schema) for name, schema, _can in extensions if schema not in fixed),
        tuple(
            item for item in await _published(connection, parameters) if item.schema not in fixed
        ),
        (
            *(Tie(*row) for row in await fetch_all(connection, _OUTWARD_KEYS, parameters)),
            *await _publications(connection, parameters),
        ),
        tuple(blockers),
        tuple(sorted(fixed)),
    )


# Who made a trusted extension owns it, but not what is in it: that is the superuser's (tried:
# "must be owner of type citext"), and moving it asks for each.
_EXTENSIONS = """
SELECT e.extname::text, n.nspname::text,
       e.extrelocatable AND NOT EXISTS (
           SELECT FROM pg_depend AS d
           LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
           LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
           LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
           WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
             AND NOT pg_has_role(coalesce(p.proowner, t.typowner, c.relowner, e.extowner), 'USAGE'))
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extnamespace = ANY (%(schemas)s::oid[]) ORDER BY 1
"""
_OUTWARD_KEYS = """
SELECT 'constraint', n.nspname::text, c.relname::text, k.conname::text,
       regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''), k.convalidated
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relnamespace = ANY (%(schemas)s::oid[])
  AND r.relnamespace <> ALL (%(schemas)s::oid[])
ORDER BY 2, 3, 4
"""


async def _published(
    connection: Connection, parameters: dict[str, list[int]]
) -> tuple[PublishedSchema, ...]:
    if connection.info.server_version < 150000:
        return ()
    rows = await fetch_all(
        connection,
        "SELECT p.pubname::text, n.nspname::text FROM pg_publication_namespace AS m"
        " JOIN pg_publication AS p ON p.oid = m.pnpubid JOIN pg_namespace AS n ON n.oid = m.pnnspid"
        " WHERE m.pnnspid = ANY (%(schemas)s::oid[]) ORDER BY 1, 2",
        parameters,
    )
    return tuple(PublishedSchema(*row) for row in rows)


async def _publications(
    connection: Connection, parameters: dict[str, list[int]]
) -> tuple[Tie, ...]:
    """Return the places in publications; column lists and row filters are from 15 on."""
    query = _PLACES_BEFORE_15 if connection.info.server_version < 150000 else _PLACES
    rows = await fetch_all(connection, query, parameters)
    return tuple(
        Tie(
            "publication",
            schema,
            table,
            name,
            (f"({columns})" if columns else "") + (f" WHERE ({where})" if where else ""),
        )
        for schema, table, name, columns, where in rows
    )


_PLACES_BEFORE_15 = """
SELECT n.nspname::text, c.relname::text, p.pubname::text, NULL::text, NULL::text
FROM pg_publication_rel AS m JOIN pg_publication AS p ON p.oid = m.prpubid
JOIN pg_class AS c ON c.oid = m.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s::oid[]) ORDER BY 1, 2, 3
"""
_PLACES = """
SELECT n.nspname::text, c.relname::text, p.pubname::text,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
        FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum = ANY (m.prattrs)),
       pg_get_expr(m.prqual, m.prrelid)
FROM pg_publication_rel AS m JOIN pg_publication AS p ON p.oid = m.prpubid
JOIN pg_class AS c ON c.oid = m.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s::oid[]) ORDER BY 1, 2, 3
"""


async def _repoint(connection: Connection, kind: str, oid: int, what: str) -> Repoint | None:
    """Return how an object is made to mean the new schema's; None: it can't be."""
    query = _DEFINITIONS.get(kind)
    if query is None:
        return None
    (row,) = await fetch_all(connection, query, [oid])
    if kind == "pg_rewrite":
        return _rule(row)
    if kind == "pg_constraint":
        return _constraint(row)
    if kind == "pg_policy":
        return _policy(row)
    if kind == "pg_trigger":
        return _trigger(row)
    if kind == "pg_attrdef":
        return _default(row)
    definition, plain = row
    return Repoint(what, (sql.SQL(definition),)) if plain else None


# A constraint's own triggers, and a partition's share of what its parent has, come and go with
# the constraint or the parent.
_DEFINITIONS: dict[str, LiteralString] = {
    "pg_rewrite": "SELECT n.nspname::text, c.relname::text, c.relkind::text, r.rulename::text,"
    " c.reloptions, CASE WHEN r.rulename = '_RETURN' THEN pg_get_viewdef(c.oid)"
    " ELSE pg_get_ruledef(r.oid) END FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE r.oid = %s",
    "pg_constraint": "SELECT n.nspname::text, c.relname::text, k.conname::text, k.contype::text,"
    " pg_get_constraintdef(k.oid), k.convalidated, k.conparentid = 0 AND k.coninhcount = 0,"
    " c.relkind::text, obj_description(k.oid, 'pg_constraint')"
    " FROM pg_constraint AS k LEFT JOIN pg_class AS c ON c.oid = k.conrelid"
    " LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE k.oid = %s",
    "pg_policy": "SELECT n.nspname::text, c.relname::text, p.polname::text,"
    " pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)"
    " FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE p.oid = %s",
    "pg_trigger": "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text,"
    " pg_get_triggerdef(t.oid), t.tgisinternal OR t.tgparentid <> 0, t.tgconstraint = 0"
    " FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE t.oid = %s",
    "pg_attrdef": "SELECT n.nspname::text, c.relname::text, a.attname::text,"
    " pg_get_expr(d.adbin, d.adrelid), a.attgenerated = '', c.relkind::text"
    " FROM pg_attrdef AS d JOIN pg_class AS c ON c.oid = d.adrelid"
    " JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE d.oid = %s",
    "pg_proc": "SELECT CASE WHEN prokind IN ('f', 'p') THEN pg_get_functiondef(oid) END,"
    " prokind IN ('f', 'p') FROM pg_proc WHERE oid = %s",
}
_NOTHING = Repoint("", ())
_ENABLED: dict[str, LiteralString] = {
    "D": "DISABLE TRIGGER",
    "R": "ENABLE REPLICA TRIGGER",
    "A": "ENABLE ALWAYS TRIGGER",
}


def _rule(row: tuple[Any, ...]) -> Repoint | None:
    schema, name, relkind, rule, options, definition = row
    table = sql.Identifier(schema, name)
    if rule != "_RETURN":
        text = "CREATE OR REPLACE " + definition.removeprefix("CREATE ")
        return Repoint(f"rule {rule} on {schema}.{name}", (sql.SQL(text),))
    if relkind != "v":
        return None
    # OR REPLACE drops the options that are not said again.
    given = [option.partition("=") for option in options or ()]
    words = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value))
        for key, _equals, value in given
    )
    with_options = sql.SQL(" WITH ({})").format(words) if given else sql.SQL("")
    statement = sql.SQL("CREATE OR REPLACE VIEW {}{} AS {}").format(
        table, with_options, sql.SQL(definition)
    )
    return Repoint(f"view {schema}.{name}", (statement,))


def _constraint(row: tuple[Any, ...]) -> Repoint | None:
    schema, table, name, kind, definition, checked, own, relkind, comment = row
    if schema is None or kind not in ("c", "f"):
        return None
    if not own:
        return _NOTHING
    before = drop_constraint(schema, table, name)
    tie = Tie("constraint", schema, table, name, definition, checked)
    after = [add_constraint(tie, partitioned=relkind == "p")]
    if comment is not None:
        after.append(
            sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                sql.Identifier(name), sql.Identifier(schema, table), sql.Literal(comment)
            )
        )
    what = "foreign key" if kind == "f" else "check"
    return Repoint(
        f"{what} {name} on {schema}.{table}",
        tuple(after),
        (before,),
        (schema, table, name) if checked else None,
    )


def drop_constraint(schema: str, table: str, name: str) -> sql.Composed:
    """Return the statement that takes a constraint away, which nothing depends on."""
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
        sql.Identifier(schema, table), sql.Identifier(name)
    )


def add_constraint(tie: Tie, *, partitioned: bool) -> sql.Composed:
    """Return the statement that makes a constraint, without looking at the rows that are there.

    Partitioned tables take no NOT VALID foreign key before 18: theirs is checked at once.
    """
    later = partitioned or tie.definition.endswith((" NOT VALID", " NOT ENFORCED"))
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}{}").format(
        sql.Identifier(tie.schema, tie.table),
        sql.Identifier(tie.name),
        sql.SQL(tie.definition),
        sql.SQL("" if later else " NOT VALID"),
    )


def _policy(row: tuple[Any, ...]) -> Repoint:
    schema, table, name, using, check = row
    parts = [sql.SQL("ALTER POLICY {} ON {}").format(sql.Identifier(name), _name(schema, table))]
    if using is not None:
        parts.append(sql.SQL("USING ({})").format(sql.SQL(using)))
    if check is not None:
        parts.append(sql.SQL("WITH CHECK ({})").format(sql.SQL(check)))
    return Repoint(f"policy {name} on {schema}.{table}", (sql.SQL(" ").join(parts),))


def _trigger(row: tuple[Any, ...]) -> Repoint | None:
    schema, table, name, enabled, definition, of_another, plain = row
    if of_another:
        return _NOTHING
    if not plain:
        return None
    statements: list[sql.Composable] = [
        sql.SQL("CREATE OR REPLACE " + definition.removeprefix("CREATE "))
    ]
    if enabled in _ENABLED:
        statements.append(
            sql.SQL("ALTER TABLE {} {} {}").format(
                _name(schema, table), sql.SQL(_ENABLED[enabled]), sql.Identifier(name)
            )
        )
    return Repoint(f"trigger {name} on {schema}.{table}", tuple(statements))


def _default(row: tuple[Any, ...]) -> Repoint | None:
    schema, table, column, expression, plain, relkind = row
    if not plain:
        return None
    verb: LiteralString = "ALTER VIEW" if relkind == "v" else "ALTER TABLE"
    statement = sql.SQL(verb + " {} ALTER COLUMN {} SET DEFAULT {}").format(
        _name(schema, table), sql.Identifier(column), sql.SQL(expression)
    )
    return Repoint(f"default of {schema}.{table}.{column}", (statement,))


def _name(schema: str, table: str) -> sql.Identifier:
    return sql.Identifier(schema, table)
