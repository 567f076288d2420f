"""Whether what a copy defines would work: views planned, functions' bodies and foreign keys.

Nothing of the user's is called, but what planning itself inlines or computes beforehand: views
are planned with EXPLAIN, never read; a function's body is given to its language's own validator,
as CREATE FUNCTION does it, with no command that an event trigger could answer. Both see the
database's own search_path, in a transaction that is READ ONLY and rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck, Verdict
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.foreign_keys import check_foreign_keys
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.search_path import database_search_path, set_search_path

_PLANNING_TIMEOUT = "30s"
_BATCH = 100
_NOTES_AT_MOST = 20


async def check_soundness(
    connection: Connection,
    facts: PostgresFacts,
    report: Report,
    *,
    recheck_foreign_keys: bool = False,
) -> tuple[tuple[ProofCheck, ...], tuple[str, ...]]:
    """Return the checks of views and functions, and notes that are no failures.

    A body that fails its check is a note: it may have been broken at capture, and nothing was
    captured to compare with. ``recheck_foreign_keys`` is for a copy that was loaded with its
    triggers off; otherwise the server itself checked them when it made them.

    Raises:
        psycopg.OperationalError: the session was lost.
    """
    paths = await _search_paths(connection, facts)
    checks = await _check_views(connection, paths)
    functions, notes = await _check_functions(connection, paths)
    checks.append(functions)
    if recheck_foreign_keys:
        checks += await check_foreign_keys(connection)
    for note in notes:
        report(Log(note))
    return tuple(checks), notes


async def _search_paths(connection: Connection, facts: PostgresFacts) -> tuple[str, str]:
    """Return the database's search_path, and it with every schema of the site's behind.

    An application's role may have a path of its own, of which a backup knows nothing: what
    works with some path is sound.
    """
    own = database_search_path(facts.settings, facts.identity.role)
    rows = await fetch_all(
        connection,
        "SELECT string_agg(quote_ident(nspname), ', ' ORDER BY nspname) FROM pg_namespace"
        " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    )
    return own, ", ".join(filter(None, (own, rows[0][0])))


async def _check_views(connection: Connection, paths: Sequence[str]) -> list[ProofCheck]:
    views = await fetch_all(connection, _VIEWS)
    planned = 0
    failed: list[ProofCheck] = []
    for schema, name, far in views:
        label = f"{schema}.{name}"
        if far:
            note = "not planned: it reads a foreign table, whose server would be asked"
            failed.append(ProofCheck("view", label, "unknown", note))
            continue
        statement = sql.SQL("EXPLAIN SELECT * FROM {}").format(sql.Identifier(schema, name))
        error = await _refused(connection, statement, paths)
        if error is None:
            planned += 1
        else:
            failed.append(ProofCheck("view", label, *_judge_view(error)))
    return [ProofCheck("view", "views", "equal", f"{planned} can be planned"), *failed]


READS_FOREIGN = """WITH RECURSIVE leads_to AS (
    SELECT d.refobjid AS relation, r.ev_class AS reader
    FROM pg_rewrite AS r JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'v'
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
         AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    UNION ALL
    SELECT inhrelid, inhparent FROM pg_inherits
), far AS (
    SELECT c.oid AS relation FROM pg_class AS c WHERE c.relkind = 'f'
    UNION
    SELECT leads_to.reader FROM far JOIN leads_to ON leads_to.relation = far.relation
)"""
"""SQL to begin a query with: ``far`` holds each ``relation`` that reads a foreign table, or is one.

A foreign data wrapper may ask its server already when a view is planned.
"""

_VIEWS = "\n".join(
    (
        READS_FOREIGN,
        """
SELECT n.nspname::text, c.relname::text, c.oid IN (SELECT relation FROM far)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
""",
    )
)


def _judge_view(error: psycopg.Error) -> tuple[Verdict, str]:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return "unknown", f"it could not be planned within {_PLANNING_TIMEOUT}"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "unknown", f"not planned: {_message(error)}"
    if isinstance(error, psycopg.errors.InvalidObjectDefinition):
        # A view that reads itself: any copy of its definition does.
        return "expected", f"its own definition can't be planned: {_message(error)}"
    return "different", f"it can't be planned: {_message(error)}"


async def _refused(
    connection: Connection, statement: sql.Composed, paths: Sequence[str]
) -> psycopg.Error | None:
    """Return the error a statement ends with under every one of the paths, else None."""
    first: psycopg.Error | None = None
    for path in paths:
        try:
            async with connection.transaction(force_rollback=True):
                await _restrain(connection, path)
                await connection.execute(statement)
        except psycopg.Error as error:
            if connection.broken:
                raise
            first = first or error
        else:
            return None
    return first


_RESTRAINTS = f"""
SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout = '{_PLANNING_TIMEOUT}';
SET LOCAL check_function_bodies = on; SET LOCAL client_min_messages = error
""".encode()


async def _restrain(connection: Connection, search_path: str) -> None:
    await connection.execute(_RESTRAINTS)
    await set_search_path(connection, search_path)


@dataclass(frozen=True, slots=True)
class _Function:
    oid: int
    label: str
    validator: tuple[str, str]
    search_path: str | None


async def _check_functions(
    connection: Connection, paths: Sequence[str]
) -> tuple[ProofCheck, tuple[str, ...]]:
    functions = [
        _Function(oid, label, (schema, validator), path)
        for oid, label, schema, validator, path in await fetch_all(connection, _FUNCTIONS)
    ]
    failures: list[str] = []
    together = [function for function in functions if function.search_path is None]
    for start in range(0, len(together), _BATCH):
        failures += await _failures(connection, together[start : start + _BATCH], paths)
    for function in functions:
        if function.search_path is not None:
            failures += await _failures(connection, [function], (function.search_path,))
    good = len(functions) - len(failures)
    if not failures:
        note = f"{good} bodies hold" if good else "there are none to check"
        return ProofCheck("function", "functions", "equal", note), ()
    more = len(failures) - _NOTES_AT_MOST
    others = (f"and {more} more functions",) if more > 0 else ()
    note = f"{good} bodies hold, {len(failures)} don't; whether they did at capture is not known"
    check = ProofCheck("function", "functions", "unknown", note)
    return check, (*failures[:_NOTES_AT_MOST], *others)


_FUNCTIONS = """
SELECT p.oid::int8,
       n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       vn.nspname::text, v.proname::text,
       (SELECT substr(item, strpos(item, '=') + 1) FROM unnest(p.proconfig) AS item
        WHERE item LIKE 'search\\_path=%')
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname IN ('sql', 'plpgsql')
JOIN pg_proc AS v ON v.oid = l.lanvalidator
JOIN pg_namespace AS vn ON vn.oid = v.pronamespace
WHERE p.prokind IN ('f', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass
                  AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 2
"""


async def _failures(
    connection: Connection, functions: Sequence[_Function], paths: Sequence[str]
) -> list[str]:
    """Return a line for each body that fails; halves what fails until it is one by itself."""
    if not functions:
        return []
    calls = sql.SQL(", ").join(
        sql.SQL("{}({})").format(sql.Identifier(*function.validator), sql.Literal(function.oid))
        for function in functions
    )
    error = await _refused(connection, sql.SQL("SELECT {}").format(calls), paths)
    if error is None:
        return []
    if len(functions) == 1:
        return [f"function {functions[0].label}: its body fails its check: {_message(error)}"]
    half = len(functions) // 2
    return await _failures(connection, functions[:half], paths) + await _failures(
        connection, functions[half:], paths
    )


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip().splitlines()[0]
