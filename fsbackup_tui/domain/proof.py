"""What a trial restore showed: the values that proofs, records, faces and drills share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Verdict = Literal["equal", "expected", "different", "missing", "unknown", "blocked"]
"""How a comparison ended.

``equal``: as captured. ``expected``: not as captured, as a correct restore may leave it (a
refreshed materialised view). ``different``, ``missing``: the proof has failed. ``unknown``:
nothing was captured to compare with. ``blocked``: it can't be tried here.
"""

Outcome = Literal["ok", "failed", "blocked"]
CheckKind = Literal[
    "schema",
    "sequence",
    "large objects",
    "constraint",
    "index",
    "view",
    "function",
    "role",
    "query",
    "command",
]

_FAILED: frozenset[Verdict] = frozenset({"different", "missing"})


@dataclass(frozen=True, slots=True)
class TableProof:
    """One table, captured against restored; fingerprints are decimal strings."""

    schema: str
    name: str
    captured_rows: int | None
    restored_rows: int | None
    verdict: Verdict
    captured_fingerprint: str | None = None
    restored_fingerprint: str | None = None
    note: str = ""

    @property
    def qualified(self) -> str:
        """The name as people read it."""
        return f"{self.schema}.{self.name}"

    @property
    def failed(self) -> bool:
        """Whether this alone keeps the part from being proven."""
        return self.verdict in _FAILED


@dataclass(frozen=True, slots=True)
class ProofCheck:
    """Anything else that was compared or tried in the restored copy."""

    kind: CheckKind
    name: str
    verdict: Verdict
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether this alone keeps the part from being proven."""
        return self.verdict in _FAILED


@dataclass(frozen=True, slots=True)
class LinkProof:
    """How the rows of a column fit the stored files, in the copy against what was captured."""

    table: str
    column: str
    files: str
    verdict: Verdict
    rows: int | None = None
    missing: int | None = None
    differing: int | None = None
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether this alone keeps the files from being proven."""
        return self.verdict in _FAILED


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that the scratch server lacks: what, and what would help."""

    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where every entry of the archive ended; entries by their labels, with the reason."""

    restored: int
    benign: tuple[tuple[str, str], ...] = ()
    deferred: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """One part's trial restore: where, what came back, and how it compares.

    ``proven`` is None where only the restore was asked for, or where it did not get that far.
    ``phases`` are seconds by name (start, data, …, checks). ``links`` say nothing of this part,
    but of the files that its rows name.
    """

    place: str
    restored: Outcome
    proven: Outcome | None = None
    receipt: Receipt | None = None
    tables: tuple[TableProof, ...] = ()
    checks: tuple[ProofCheck, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    notes: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    links: tuple[LinkProof, ...] = ()

    def problems(self) -> list[tuple[str | None, str]]:
        """Return what failed, each with the table it is about (None for anything else)."""
        lost = [(None, text) for text in (self.receipt.lost if self.receipt else ())]
        tables = [
            (table.qualified, table_difference(table)) for table in self.tables if table.failed
        ]
        checks = [
            (None, f"{check.kind} {check.name}: {check.note or check.verdict}")
            for check in self.checks
            if check.failed
        ]
        return [*lost, *tables, *checks]

    def blocked(self) -> list[Blocker]:
        """Return what could not be tried: what the place lacks, and the checks it kept from."""
        checks = [
            Blocker(f"{check.kind} {check.name}: {check.note}")
            for check in self.checks
            if check.verdict == "blocked"
        ]
        tables = [
            Blocker(f"{table.qualified}: {table.note}")
            for table in self.tables
            if table.verdict == "blocked"
        ]
        return [*self.blockers, *tables, *checks]

    def summary(self) -> dict[str, object]:
        """Return the few figures of the proof that fit where thousands of tables don't."""
        verdicts = Counter(table.verdict for table in self.tables)
        return {
            "place": self.place,
            "restored": self.restored,
            "proven": self.proven,
            "entries": None
            if self.receipt is None
            else {
                "restored": self.receipt.restored,
                "benign": len(self.receipt.benign),
                "deferred": len(self.receipt.deferred),
                "lost": len(self.receipt.lost),
            },
            "tables": dict(sorted(verdicts.items())),
            "rows": sum(table.restored_rows or 0 for table in self.tables),
            "checks": len(self.checks),
            "links": dict(sorted(Counter(link.verdict for link in self.links).items())),
            "phases": dict(self.phases),
        }

    def document(self) -> dict[str, object]:
        """Return plain values for a record; ``parse_proof`` reads them again."""
        return asdict(self)


def table_difference(table: TableProof) -> str:
    """Return in words how a table differs from what was captured."""
    if table.note:
        return table.note
    if table.verdict == "missing":
        return "the table is not in the copy"
    if table.captured_rows != table.restored_rows:
        return f"{table.restored_rows} rows restored, {table.captured_rows} captured"
    return "as many rows as captured, but their content differs"


def conclude(tables: Sequence[TableProof], checks: Sequence[ProofCheck]) -> Outcome:
    """Return what all comparisons together say: one failure fails, else one block blocks."""
    verdicts = [table.verdict for table in tables] + [check.verdict for check in checks]
    if any(verdict in _FAILED for verdict in verdicts):
        return "failed"
    return "blocked" if "blocked" in verdicts else "ok"


def parse_proof(document: Mapping[str, Any]) -> Proof:
    """Return the proof that ``Proof.document`` wrote; ValueError where it is not one."""
    try:
        receipt = document.get("receipt")
        return Proof(
            place=str(document["place"]),
            restored=_outcome(document["restored"]),
            proven=None if document.get("proven") is None else _outcome(document["proven"]),
            receipt=None if receipt is None else _receipt(receipt),
            tables=tuple(TableProof(**table) for table in document.get("tables", ())),
            checks=tuple(ProofCheck(**check) for check in document.get("checks", ())),
            blockers=tuple(Blocker(**blocker) for blocker in document.get("blockers", ())),
            notes=tuple(str(note) for note in document.get("notes", ())),
            phases={str(k): float(v) for k, v in document.get("phases", {}).items()},
            links=tuple(LinkProof(**link) for link in document.get("links", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a proof: {error}") from error


def _outcome(value: object) -> Outcome:
    for outcome in get_args(Outcome):
        if value == outcome:
            return outcome  # type: ignore[no-any-return]
    raise ValueError(f"not an outcome: {value!r}")


def _receipt(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        restored=int(document["restored"]),
        benign=tuple((str(label), str(reason)) for label, reason in document.get("benign", ())),
        deferred=tuple(str(label) for label in document.get("deferred", ())),
        lost=tuple(str(label) for label in document.get("lost", ())),
    )
