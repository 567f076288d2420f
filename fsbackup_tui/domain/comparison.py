"""Judging a restored copy's tables and sequences against what was captured (design §2, *proven*).

What a correct restore may leave otherwise than captured is ``expected``: materialised views are
refreshed by it, a row may lie in another partition of the same table (a hash partition's rule is
the server's own), an unlogged table is emptied by a crash of the server it was restored on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.domain.point import Fingerprint, PostgresFacts, SequenceFacts, TableFacts
from fsbackup_tui.domain.proof import ProofCheck, TableProof, Verdict

TableName = tuple[str, str]
Basis = Literal["content", "counts", "none"]

_TABLE_TOO_MANY = "the copy has it, but it was not there at capture"


@dataclass(frozen=True, slots=True)
class Measured:
    """A table as found in the copy; ``blocked`` says that the role here may not read it.

    ``rows`` None: it could not be read, or there was nothing to be read; ``note`` says why.
    """

    rows: int | None
    fingerprint: Fingerprint | None = None
    note: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class FoundSequence:
    """A sequence's position in the copy; ``last_value`` None: it can't be read here.

    ``highest`` is what its owning column reaches in its direction, where an index tells.
    """

    last_value: int | None
    is_called: bool
    increment: int
    cycles: bool = False
    highest: int | None = None


def judge_tables(
    facts: PostgresFacts,
    found: Mapping[TableName, Measured],
    too_many: Mapping[TableName, str],
) -> tuple[TableProof, ...]:
    """Return the verdict on every captured table, and on those that the copy has too many.

    ``too_many`` has for each why it is no alarm, or an empty text. Sorted by schema and name.
    """
    if facts.scope == "schema":
        proofs = [_definition_only(table, found) for table in facts.tables]
    else:
        proofs = _with_rows(facts, found)
    proofs += [
        TableProof(
            schema,
            name,
            None,
            None,
            "expected" if reason else "different",
            note=reason or _TABLE_TOO_MANY,
        )
        for (schema, name), reason in too_many.items()
    ]
    return tuple(sorted(proofs, key=lambda proof: (proof.schema, proof.name)))


def _definition_only(table: TableFacts, found: Mapping[TableName, Measured]) -> TableProof:
    if (table.schema, table.name) not in found:
        return TableProof(table.schema, table.name, None, None, "missing")
    note = "only its definition was captured"
    return TableProof(table.schema, table.name, None, None, "expected", note=note)


def _with_rows(facts: PostgresFacts, found: Mapping[TableName, Measured]) -> list[TableProof]:
    roots = {
        (table.schema, table.name): _root(table, facts.tables, found)
        for table in facts.tables
        if table.kind == "partitioned" and table.partition_root is None
    }
    proofs: list[TableProof] = []
    for table in facts.tables:
        name = (table.schema, table.name)
        root = None if table.partition_root is None else roots.get(table.partition_root)
        if name in roots:
            proofs.append(roots[name][0])
        elif table.kind == "partitioned":
            proofs.append(_between(table, found.get(name), root[0] if root else None))
        else:
            proof = judge_table(table, found.get(name), count_note=facts.count_note)
            proofs.append(_in_its_root(table, proof, root))
    return proofs


def judge_table(table: TableFacts, found: Measured | None, *, count_note: str = "") -> TableProof:
    """Return the verdict on one table by itself; a partition's also depends on its root."""
    if found is None:
        return _proof(table, None, "missing")
    if table.kind == "foreign" and not found.note:
        return _proof(table, None, "expected", "not compared: its rows are on another server")
    if table.kind == "materialised view":
        return _materialised(table, found)
    if found.blocked:
        return _proof(table, found, "blocked", found.note)
    if found.rows is None:
        return _proof(table, found, "different", found.note or "it can't be read")
    if table.data_excluded:
        if found.rows:
            return _proof(table, found, "different", f"{found.rows} rows, which were left out")
        return _proof(table, found, "expected", table.note or "its rows were left out")
    if not table.counted:
        note = table.note or count_note or "not counted at capture"
        return _proof(table, found, "unknown", note)
    if found.rows != table.rows:
        if table.kind == "unlogged" and found.rows == 0:
            return _proof(table, found, "expected", "unlogged: a server's crash empties it")
        return _proof(table, found, "different")
    return _by_content(table, found)


def _by_content(table: TableFacts, found: Measured) -> TableProof:
    captured = table.fingerprint
    if captured is None:
        return _proof(table, found, "equal", "compared by its number of rows alone")
    if found.fingerprint is None and found.note:
        return _proof(table, found, "different", found.note)
    if found.fingerprint is None or found.fingerprint.method != captured.method:
        note = f"its fingerprint was taken by {captured.method}, which is unknown here"
        return _proof(table, found, "unknown", note)
    same = found.fingerprint.value == captured.value
    return _proof(table, found, "equal" if same else "different")


def _materialised(table: TableFacts, found: Measured) -> TableProof:
    same_rows = table.counted and table.rows == found.rows
    if same_rows and table.fingerprint is not None and table.fingerprint == found.fingerprint:
        return _proof(table, found, "equal")
    if found.blocked:
        return _proof(table, found, "expected", f"refreshed by the restore; {found.note}")
    note = "refreshed by the restore" if found.rows is not None else "not filled"
    return _proof(table, found, "expected", note)


def _proof(
    table: TableFacts, found: Measured | None, verdict: Verdict, note: str = ""
) -> TableProof:
    here = found.fingerprint if found is not None else None
    return TableProof(
        table.schema,
        table.name,
        table.rows if table.counted else None,
        found.rows if found is not None else None,
        verdict,
        table.fingerprint.value if table.fingerprint is not None else None,
        here.value if here is not None else None,
        note,
    )


def _root(
    root: TableFacts, tables: Iterable[TableFacts], found: Mapping[TableName, Measured]
) -> tuple[TableProof, Basis]:
    """Return the verdict on a partitioned table as a whole, and what it was compared by.

    Fingerprints are plain sums over rows: those of all partitions add up to the table's own.
    """
    name = (root.schema, root.name)
    if name not in found:
        return TableProof(root.schema, root.name, None, None, "missing"), "none"
    if found[name].note:
        return _proof(root, found[name], "different", found[name].note), "none"
    leaves = [
        table
        for table in tables
        if table.partition_root == name
        and table.kind in ("table", "unlogged")
        and not table.data_excluded
    ]
    here = [found.get((leaf.schema, leaf.name)) for leaf in leaves]
    if not all(leaf.counted for leaf in leaves):
        note = "not all of its partitions were counted at capture"
        return TableProof(root.schema, root.name, None, None, "unknown", note=note), "none"
    captured_rows = sum(leaf.rows or 0 for leaf in leaves)
    restored_rows = _sum(None if table is None else table.rows for table in here)
    captured = _fingerprint_sum([leaf.fingerprint for leaf in leaves])
    restored = _fingerprint_sum([None if table is None else table.fingerprint for table in here])
    by_content = captured is not None and (restored is None or restored.method == captured.method)
    same = captured_rows == restored_rows and (not by_content or captured == restored)
    blocked = any(table is not None and table.blocked for table in here)
    verdict: Verdict = "equal" if same else "blocked" if blocked else "different"
    proof = TableProof(
        root.schema,
        root.name,
        captured_rows,
        restored_rows,
        verdict,
        captured.value if captured is not None else None,
        restored.value if restored is not None else None,
        "" if same else "its partitions differ",
    )
    return proof, "content" if by_content else "counts"


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _fingerprint_sum(fingerprints: Sequence[Fingerprint | None]) -> Fingerprint | None:
    """Return the fingerprint of all rows together; None unless all are of one method."""
    known = [fingerprint for fingerprint in fingerprints if fingerprint is not None]
    methods = {fingerprint.method for fingerprint in known}
    if len(known) != len(fingerprints) or len(methods) != 1:
        return None
    return add_fingerprints(known)


def add_fingerprints(fingerprints: Sequence[Fingerprint]) -> Fingerprint:
    """Return the fingerprint of the rows of all, which are of one method; at least one."""
    total = sum(int(fingerprint.value) for fingerprint in fingerprints)
    return Fingerprint(fingerprints[0].method, str(total))


def _between(table: TableFacts, found: Measured | None, root: TableProof | None) -> TableProof:
    """A partition that is partitioned itself: compared with its root."""
    if found is None:
        return TableProof(table.schema, table.name, None, None, "missing")
    if root is None:
        return TableProof(
            table.schema, table.name, None, None, "unknown", note="its root was not captured"
        )
    note = f"its rows are compared with those of {root.qualified}"
    verdict: Verdict = "equal" if root.verdict == "equal" else "expected"
    return TableProof(table.schema, table.name, None, None, verdict, note=note)


def _in_its_root(
    table: TableFacts, proof: TableProof, root: tuple[TableProof, Basis] | None
) -> TableProof:
    if proof.verdict != "different" or root is None or root[0].verdict != "equal":
        return proof
    whole, basis = root
    if basis == "none" or (basis == "counts" and table.fingerprint is not None):
        return proof
    note = f"its rows lie in other partitions; {whole.qualified} is equal as a whole"
    return TableProof(
        proof.schema,
        proof.name,
        proof.captured_rows,
        proof.restored_rows,
        "expected",
        proof.captured_fingerprint,
        proof.restored_fingerprint,
        note,
    )


def judge_sequence(captured: SequenceFacts, found: FoundSequence | None) -> ProofCheck:
    """Return the verdict on a sequence: never behind where it stood, in its own direction.

    It may be ahead: sequences are outside every snapshot, and the dump reads them last. One
    that was behind its column at capture already is no alarm, but noted.
    """
    name = f"{captured.schema}.{captured.name}"
    if found is None:
        return ProofCheck("sequence", name, "missing", "it is not in the copy")
    if found.last_value is None:
        return ProofCheck("sequence", name, "blocked", "it may not be read here")
    if captured.last_value is None:
        return ProofCheck("sequence", name, "unknown", "its position was not read at capture")
    direction = 1 if captured.increment >= 0 else -1
    was = _next(captured.last_value, captured.increment, called=captured.is_called)
    now = _next(found.last_value, found.increment, called=found.is_called)
    behind = (now - was) * direction < 0
    if behind and not found.cycles:
        note = f"its next value is {now}, at capture it was {was}"
        return ProofCheck("sequence", name, "different", note)
    notes: list[str] = []
    if now != was:
        notes.append(f"its next value is {now}, it was {was} when the backup began")
    if found.highest is not None and (now - found.highest) * direction <= 0:
        column = captured.owned_by or "its column"
        notes.append(f"its next value {now} is not beyond {column}, which reaches {found.highest}")
    verdict: Verdict = "equal" if now == was else "expected"
    return ProofCheck("sequence", name, verdict, "; ".join(notes))


def _next(last_value: int, increment: int, *, called: bool) -> int:
    return last_value + increment if called else last_value


def unproven_reason(
    facts: PostgresFacts, tables: Sequence[TableProof], checks: Sequence[ProofCheck]
) -> str | None:
    """Return why a part whose comparison did not fail is still not proven; None: it is.

    Without counts there is nothing that the rows could be compared with, and without a schema
    digest nothing for the definitions: restored at most.
    """
    if facts.scope != "data":
        for check in checks:
            if check.kind == "schema" and check.verdict == "unknown":
                return f"the definitions could not be compared: {check.note}"
    if facts.scope == "schema":
        return None
    unknown = [table for table in tables if table.verdict == "unknown"]
    if not unknown:
        return None
    first = unknown[0]
    others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return f"rows were not compared: {first.qualified}{others} ({first.note})"
