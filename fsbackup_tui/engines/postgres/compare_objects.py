"""What a copy holds beside its tables' rows, against what was captured."""

from __future__ import annotations

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import FoundSequence, judge_sequence
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import (
    fetch_all,
    list_sequences,
    read_sequences,
)
from fsbackup_tui.engines.postgres.large_objects import METHOD, fingerprint_large_objects

_NAMED_AT_MOST = 5


async def compare_objects(
    connection: Connection, facts: PostgresFacts, schema_sha256: str | None
) -> tuple[ProofCheck, ...]:
    """Return the checks of the schema, the sequences, large objects, indexes and constraints."""
    checks = [_schema(facts, schema_sha256, connection.info.server_version)]
    checks += await _indexes(connection)
    checks.append(await _constraints(connection))
    if facts.scope != "schema":
        checks += await _sequences(connection, facts)
        checks.append(await _large_objects(connection, facts))
    return tuple(checks)


def _schema(facts: PostgresFacts, found: str | None, server_version: int) -> ProofCheck:
    name = "definitions"
    if facts.schema_sha256 is None:
        return ProofCheck("schema", name, "unknown", "no digest of them was captured")
    if found is None:
        return ProofCheck("schema", name, "unknown", "the copy's have no digest to compare")
    if found == facts.schema_sha256:
        return ProofCheck("schema", name, "equal")
    here, there = server_version // 10000, facts.identity.server_version_num // 10000
    if here != there:
        note = f"PostgreSQL {here} here writes them otherwise than {there} at capture"
        return ProofCheck("schema", name, "unknown", note)
    return ProofCheck("schema", name, "different", "the definitions differ from the captured ones")


async def _indexes(connection: Connection) -> list[ProofCheck]:
    """Return one check for all valid indexes and one for each that is not.

    A dump leaves invalid indexes out, but those of partitioned tables: they are invalid as long
    as a partition lacks its part, which is as their definition has it.
    """
    rows = await fetch_all(connection, _INDEXES)
    invalid = [row for row in rows if not row[2]]
    checks = [
        ProofCheck("index", name, "expected", "of a partitioned table: not all partitions have it")
        if partitioned
        else ProofCheck("index", name, "different", "it is invalid")
        for name, partitioned, _valid in invalid
    ]
    note = f"{len(rows) - len(invalid)} are valid"
    return [ProofCheck("index", "indexes", "equal", note), *checks]


_INDEXES = """
SELECT n.nspname || '.' || c.relname, c.relkind = 'I', i.indisvalid AND i.indisready
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""


async def _constraints(connection: Connection) -> ProofCheck:
    """Return the check that names what is NOT VALID, which a restore leaves as defined.

    All others were checked by the server when it made them, after or while the rows came.
    """
    rows = await fetch_all(connection, _CONSTRAINTS)
    unvalidated = [name for name, validated in rows if not validated]
    checked = len(rows) - len(unvalidated)
    if not unvalidated:
        return ProofCheck("constraint", "constraints", "equal", f"{checked} hold")
    named = ", ".join(unvalidated[:_NAMED_AT_MOST])
    more = len(unvalidated) - _NAMED_AT_MOST
    others = f" and {more} more" if more > 0 else ""
    note = f"{checked} hold; NOT VALID by definition: {named}{others}"
    return ProofCheck("constraint", "constraints", "expected", note)


_CONSTRAINTS = """
SELECT n.nspname || '.' || coalesce(r.relname || '.', t.typname || '.', '') || c.conname,
       c.convalidated
FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
LEFT JOIN pg_class AS r ON r.oid = nullif(c.conrelid, 0)
LEFT JOIN pg_type AS t ON t.oid = nullif(c.contypid, 0)
WHERE c.contype <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
"""


async def _sequences(connection: Connection, facts: PostgresFacts) -> list[ProofCheck]:
    listed = await list_sequences(connection, schemas=[], tables=[])
    positions = {
        (sequence.schema, sequence.name): sequence
        for sequence in await read_sequences(connection, listed)
    }
    highest = await _highest_by_sequence(connection)
    cycles = {
        (schema, name)
        for schema, name in await fetch_all(
            connection,
            "SELECT n.nspname::text, c.relname::text FROM pg_sequence AS s"
            " JOIN pg_class AS c ON c.oid = s.seqrelid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE s.seqcycle",
        )
    }
    checks: list[ProofCheck] = []
    for captured in facts.sequences:
        name = (captured.schema, captured.name)
        found = positions.get(name)
        here = None
        if found is not None:
            here = FoundSequence(
                found.last_value,
                found.is_called,
                found.increment,
                name in cycles,
                highest.get(name),
            )
        checks.append(judge_sequence(captured, here))
    return checks


async def _highest_by_sequence(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how far the owning columns have got, in their sequences' direction.

    Only where a valid index leads with the column: it tells at once, and makes a number that
    comes twice an error.
    """
    reached: dict[tuple[str, str], int] = {}
    for schema, name, increment, table_schema, table, column in await fetch_all(
        connection, OWNED_SEQUENCES
    ):
        statement = sql.SQL("SELECT {}({}) FROM {} AS r").format(
            sql.SQL("pg_catalog.max" if increment > 0 else "pg_catalog.min"),
            sql.Identifier("r", column),
            sql.Identifier(table_schema, table),
        )
        try:
            row = await (await connection.execute(statement)).fetchone()
        except psycopg.Error:
            # Nothing to note then; a table that can't be read fails its own comparison.
            if connection.broken:
                raise
            continue
        if row is not None and row[0] is not None:
            reached[schema, name] = int(row[0])
    return reached


OWNED_SEQUENCES = """
SELECT DISTINCT n.nspname::text, c.relname::text, s.seqincrement, tn.nspname::text, t.relname::text,
       a.attname::text
FROM pg_sequence AS s
JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
JOIN pg_class AS t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p')
JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
     AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
JOIN pg_index AS i ON i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indisvalid
     AND i.indpred IS NULL
JOIN pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_am AS am ON am.oid = ic.relam AND am.amname = 'btree'
WHERE has_table_privilege(t.oid, 'SELECT') AND has_schema_privilege(tn.oid, 'USAGE')
  AND NOT row_security_active(t.oid)
"""


async def _large_objects(connection: Connection, facts: PostgresFacts) -> ProofCheck:
    captured = facts.large_object_fingerprint
    found = await fingerprint_large_objects(connection, content=captured is not None)
    name, count = "large objects", f"{found.count} objects"
    if facts.large_objects is None:
        return ProofCheck("large objects", name, "unknown", "they were not counted at capture")
    if found.count != facts.large_objects:
        note = f"{found.count} objects, {facts.large_objects} captured"
        return ProofCheck("large objects", name, "different", note)
    if found.count == 0:
        return ProofCheck("large objects", name, "equal", "there are none")
    if captured is None:
        note = f"{count}, as captured; no fingerprint of their content was"
        return ProofCheck("large objects", name, "unknown", note)
    if found.fingerprint is None:
        return ProofCheck("large objects", name, "blocked", found.note)
    if found.fingerprint.method != captured.method:
        known = captured.method.startswith(METHOD)
        why = "this server's block size is another" if known else f"by {captured.method}"
        return ProofCheck("large objects", name, "unknown", f"{count}; content not compared: {why}")
    if found.fingerprint.value != captured.value:
        note = f"{count}, as captured, but their content differs"
        return ProofCheck("large objects", name, "different", note)
    return ProofCheck("large objects", name, "equal", count)
