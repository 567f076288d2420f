"""The site's own integrity queries: asked at capture and of a copy, and judged (design §2).

A query is declared as a cursor through the extended protocol, which takes one statement alone and
of statements only those that read (no COMMIT, no SET); its transaction is READ ONLY besides.
Values are compared as PostgreSQL writes them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import psycopg
from psycopg import sql

from fsbackup_tui.config.model import Expectation, IntegrityQuery
from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.point import IntegrityResult, PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck, Verdict
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.search_path import (
    DEFAULT_SEARCH_PATH,
    database_search_path,
    set_search_path,
)

_CURSOR = "fsbackup_integrity"
_TIMED_OUT = "no answer within"
_LONGEST_VALUE = 500
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?")

# What a counting session has switched off would make the site's queries slow; a cursor is
# planned for its first rows unless told that all are wanted.
_AS_USUAL = """
SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;
SET LOCAL enable_bitmapscan = on; SET LOCAL cursor_tuple_fraction = 1
"""


def queries_about(queries: Iterable[IntegrityQuery], source: str) -> tuple[IntegrityQuery, ...]:
    """Return the queries that are asked of a source: its own, and those that name none."""
    return tuple(query for query in queries if query.source in (None, source))


async def run_integrity_query(
    connection: Connection,
    query: IntegrityQuery,
    *,
    search_path: str = DEFAULT_SEARCH_PATH,
    timeout_seconds: float = 300.0,
) -> IntegrityResult:
    """Return what a query answers: its number of rows and the first row's first column, as text.

    Runs in a transaction or savepoint of its own that is READ ONLY and rolled back. What the
    server refuses is in ``note``, ``rows`` then None; a value that is very long is cut, with its
    digest, which compares as well.

    Raises:
        psycopg.OperationalError: the session was lost.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SET LOCAL transaction_read_only = on")
            await connection.execute(_AS_USUAL)
            await connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(
                    sql.Literal(max(1, round(timeout_seconds * 1000)))
                )
            )
            await set_search_path(connection, search_path)
            rows, value = await _answer(connection, query.sql)
    except psycopg.errors.QueryCanceled as error:
        if connection.broken:
            raise
        note = f"{_TIMED_OUT} {timeout_seconds:g} s ({_message(error)})"
        return IntegrityResult(query.name, None, None, note)
    except psycopg.Error as error:
        if connection.broken:
            raise
        return IntegrityResult(query.name, None, None, _message(error))
    return IntegrityResult(query.name, rows, value)


async def _answer(connection: Connection, statement: str) -> tuple[int, str | None]:
    async with connection.cursor(name=_CURSOR) as declared:
        await declared.execute(statement.encode())
        first = await connection.execute(f"FETCH FORWARD 1 FROM {_CURSOR}".encode())
        result = first.pgresult
        if result is None or result.ntuples == 0:
            return 0, None
        content = result.get_value(0, 0) if result.nfields else None
        # Counted where they are: millions of rows never come here.
        rest = await connection.execute(f"MOVE FORWARD ALL FROM {_CURSOR}".encode())
        return 1 + rest.rowcount, None if content is None else _bounded(content)


def _bounded(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    if len(text) <= _LONGEST_VALUE:
        return text
    digest = hashlib.sha256(content).hexdigest()
    return f"{text[:_LONGEST_VALUE]}… ({len(text)} characters, SHA-256 {digest})"


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip().splitlines()[0]


async def ask_at_capture(
    connection: Connection,
    queries: Sequence[IntegrityQuery],
    *,
    search_path: str,
    report: Report,
    timeout_seconds: float = 120.0,
) -> tuple[IntegrityResult, ...]:
    """Return the answers of every query in the transaction at hand, the dump's snapshot.

    Whatever goes wrong is the answer's note, never the backup's failure.
    """
    answers: list[IntegrityResult] = []
    for query in queries:
        try:
            answer = await run_integrity_query(
                connection, query, search_path=search_path, timeout_seconds=timeout_seconds
            )
        except psycopg.Error as error:
            answer = IntegrityResult(query.name, None, None, f"not asked: {_message(error)}")
        if answer.note:
            report(Log(f"Integrity query '{query.name}' has no answer: {answer.note}"))
        answers.append(answer)
    return tuple(answers)


async def check_integrity(
    connection: Connection,
    facts: PostgresFacts,
    queries: Sequence[IntegrityQuery],
    *,
    timeout_seconds: float = 300.0,
) -> tuple[ProofCheck, ...]:
    """Ask every query of a copy and judge it; ``queries`` are those about the copy's source."""
    captured = {answer.name: answer for answer in facts.integrity}
    search_path = database_search_path(facts.settings, facts.identity.role)
    checks: list[ProofCheck] = []
    for query in queries:
        found = await run_integrity_query(
            connection, query, search_path=search_path, timeout_seconds=timeout_seconds
        )
        checks.append(judge_integrity(query, captured.get(query.name), found))
    return tuple(checks)


def judge_integrity(
    query: IntegrityQuery, captured: IntegrityResult | None, found: IntegrityResult
) -> ProofCheck:
    """Return whether a copy's answer is the expected one; an error is not, a time-out blocks."""
    verdict, note = _judged(query.expect, captured, found)
    if verdict == "different" and found.rows is not None and _same(captured, found):
        note = f"{note}; it answered the same at capture"
    return ProofCheck("query", query.name, verdict, note)


def _judged(
    expect: Expectation, captured: IntegrityResult | None, found: IntegrityResult
) -> tuple[Verdict, str]:
    if found.rows is None:
        return ("blocked" if found.note.startswith(_TIMED_OUT) else "different"), found.note
    if expect.kind == "no rows":
        if found.rows == 0:
            return "equal", "no rows"
        return "different", f"{_text(found)}; expected were none"
    if expect.kind == "same as at capture":
        if captured is None:
            return "unknown", f"{_text(found)}; it was not asked at capture"
        if captured.rows is None:
            return "unknown", f"{_text(found)}; at capture it had no answer: {captured.note}"
        if _same(captured, found):
            return "equal", _text(found)
        return "different", f"{_text(found)}; at capture {_text(captured)}"
    if expect.kind == "value":
        verdict: Verdict = "equal" if _equal(expect.value, found.value) else "different"
        return verdict, _answered(found, "equal", verdict, f"expected was {expect.value}")
    verdict = "equal" if _within(expect, found.value) else "different"
    return verdict, _answered(found, "equal", verdict, f"expected was {_range(expect)}")


def _answered(found: IntegrityResult, good: Verdict, verdict: Verdict, expected: str) -> str:
    return _text(found) if verdict == good else f"{_text(found)}; {expected}"


def _same(captured: IntegrityResult | None, found: IntegrityResult) -> bool:
    if captured is None or captured.rows is None or captured.rows != found.rows:
        return False
    return captured.value == found.value or _equal(captured.value, found.value)


def _equal(expected: str | None, found: str | None) -> bool:
    if expected is None or found is None:
        return False
    if expected == found:
        return True
    first, second = _number(expected), _number(found)
    return first is not None and first == second


def _within(expect: Expectation, found: str | None) -> bool:
    number = None if found is None else _number(found)
    bounds = (expect.minimum, expect.maximum)
    if number is None or any(bound is not None and math.isnan(bound) for bound in bounds):
        return False
    # By its shortest text: 0.1 means 0.1, not the binary fraction next to it.
    minimum, maximum = (None if bound is None else Decimal(repr(bound)) for bound in bounds)
    return (minimum is None or minimum <= number) and (maximum is None or number <= maximum)


def _number(text: str) -> Decimal | None:
    text = text.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _range(expect: Expectation) -> str:
    if expect.maximum is None:
        return f"at least {expect.minimum:g}"
    if expect.minimum is None:
        return f"at most {expect.maximum:g}"
    return f"{expect.minimum:g} to {expect.maximum:g}"


def _text(result: IntegrityResult) -> str:
    if not result.rows:
        return "no rows"
    value = "null" if result.value is None else result.value
    return value if result.rows == 1 else f"{result.rows} rows, the first {value}"
