"""Looking at a merge, and undoing it, with psql alone: SQL over its staging schema. Pure.

What undoes a merge lies there as a set of changes (engines/postgres/merge/staging.py): by table
the rows' keys with a class, ``o`` to be deleted, ``c`` to be set back, ``m`` to be inserted, and
their content. One statement made of it does as the product does, whatever refers to what; but it
takes no heed of what was written since.
"""

from __future__ import annotations

# A set that undoes the copy's, which is 0, is a merge's; one that undoes that one is its undoing's.
_LAST = "(SELECT max(number) FROM {s}.sets WHERE undoes = 0 AND applied_by IS NULL)"
_LOOK = "SELECT number, made FROM {s}.sets WHERE number = {last};"
_NOTED = "UPDATE {s}.sets SET applied_by = number WHERE number = {last};"
_MAKE = (
    "SELECT 'WITH ' || string_agg(format('w%s AS (%s RETURNING 1)', n, part), ', ' ORDER BY n)"
    " || ' SELECT ''undone'''"
    " FROM (SELECT row_number() OVER () AS n, part FROM {s}.sets AS x"
    " CROSS JOIN jsonb_array_elements(x.tables) AS t"
    " CROSS JOIN LATERAL (SELECT format('%I.%I', t->>'schema', t->>'name') AS live,"
    " format('%I.%I', {q}, format('s%s_rows_%s', x.number, t->>'number')) AS d,"
    " format('%I.%I', {q}, format('s%s_content_%s', x.number, t->>'number')) AS c) AS r"
    " CROSS JOIN LATERAL (SELECT string_agg(format('r.%I = d.k%s', k, i), ' AND ') AS same"
    " FROM jsonb_array_elements_text(t->'key') WITH ORDINALITY AS a(k, i)) AS keys"
    " CROSS JOIN LATERAL (SELECT string_agg(format('%I', k), ', ') AS names,"
    " string_agg(format('c.c%s', i), ', ') AS given,"
    " string_agg(format('%I = c.c%s', k, i), ', ') FILTER (WHERE p.attidentity <> 'a') AS sets"
    " FROM jsonb_array_elements_text(t->'columns') WITH ORDINALITY AS a(k, i)"
    " JOIN pg_attribute AS p ON p.attrelid = r.live::regclass AND p.attname = k"
    " AND p.attgenerated = '') AS columns"
    " CROSS JOIN LATERAL (VALUES"
    " (format('DELETE FROM %s AS r USING %s AS d WHERE d.wanted AND d.class = ''o'' AND %s',"
    " r.live, r.d, keys.same)),"
    " (format('UPDATE %s AS r SET %s FROM %s AS d JOIN %s AS c USING (id)"
    " WHERE d.wanted AND d.class = ''c'' AND %s', r.live, columns.sets, r.d, r.c, keys.same)),"
    " (format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS d"
    " JOIN %s AS c USING (id) WHERE d.wanted AND d.class = ''m''', r.live, columns.names,"
    " columns.given, r.d, r.c))) AS v(part)"
    " WHERE x.number = {last} AND NOT (t->>'whole_rows')::boolean AND part IS NOT NULL) AS w"
    " \\gexec"
)


def merge_look_sql(staging: str) -> str:
    """Return the query that tells whether a merge out of that schema is in force: one row."""
    return _filled(_LOOK, staging)


def merge_undo_sql(staging: str) -> tuple[str, ...]:
    """Return what undoes the last merge that is in force, as lines for psql in live.

    Rows of tables without a key stay, and so does what was defined again.
    """
    return ("BEGIN;", _filled(_MAKE, staging), _filled(_NOTED, staging), "COMMIT;")


def _filled(template: str, staging: str) -> str:
    schema, literal = staging.replace('"', '""'), staging.replace("'", "''")
    text = template.replace("{last}", _LAST)
    return text.replace("{s}", f'"{schema}"').replace("{q}", f"'{literal}'")
