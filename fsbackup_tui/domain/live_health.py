"""What looking at the live database showed: findings by table, and what such a look can't see.

No check proves that a database is sound; each sees some kinds of damage and is blind to others.
So a result always tells both (which check sees which damage was tried on a real server).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Check = Literal[
    "settings",
    "checksums",
    "collations",
    "amcheck",
    "read",
    "counts",
    "foreign keys",
    "integrity",
    "last point",
]

COPY_FIRST = (
    "Stop the server and copy its data directory before anything else (no VACUUM FULL, no"
    " REINDEX: they destroy what could still be saved). Then restore a good point beside it and"
    " compare."
)


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """Something wrong in the live database; ``table`` None where no single one is meant."""

    check: Check
    table: str | None
    what: str
    fix: str = COPY_FIRST

    def document(self) -> dict[str, object]:
        """Return the finding as ``verify --live --json`` has it."""
        return {"check": self.check, "table": self.table, "what": self.what, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A table that a check could not look at: neither good nor bad, but not known."""

    check: Check
    table: str
    why: str
    fix: str = ""

    def document(self) -> dict[str, object]:
        """Return it as ``verify --live --json`` has it."""
        return {"check": self.check, "table": self.table, "why": self.why, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class IndexCount:
    """How many rows an index knew of, in the very snapshot in which the table was read."""

    index: str
    rows: int


@dataclass(frozen=True, slots=True)
class TableHealth:
    """One table as it was read: its rows, and what its indexes say of them.

    ``counted_by`` is empty where no index could be asked; ``note`` then says why.
    """

    table: str
    rows: int
    counted_by: tuple[IndexCount, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A kind of damage that went unseen if it is there: what, why, and what would help."""

    what: str
    why: str
    fix: str = ""

    def document(self) -> dict[str, object]:
        """Return it as ``verify --live --json`` has it."""
        return {"what": self.what, "why": self.why, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Sight:
    """What the checks had at hand; each remedy is what a person could do to see more.

    ``amcheck_lacks`` is empty where amcheck could be called; ``refused`` are single checks that
    the server would not do.
    ``uncompared`` are tables with rows whose indexes could not be asked for a count,
    ``collation_known`` says whether the server records the version of the database's own order.
    ``unlisted`` counts tables outside the backup which the role may not read.
    """

    data_checksums: bool
    amcheck_lacks: str = ""
    amcheck_remedy: str = ""
    refused: tuple[Unchecked, ...] = ()
    uncompared: tuple[str, ...] = ()
    unlisted: int = 0
    foreign_tables: int = 0
    no_last_point: str = ""
    standby: bool = False
    collation_known: bool = True


def not_seen(sight: Sight) -> tuple[Unseen, ...]:
    """Return every kind of damage that the checks were blind to, the likeliest first."""
    refused = [
        Unseen(f"what {one.check} would tell of {one.table}", one.why) for one in sight.refused
    ]
    return (
        _changed_values(sight),
        *_amcheck(sight),
        *refused,
        *_counts(sight),
        *_collation(sight),
        *_last_point(sight),
        *_left_out(sight),
        _other_indexes(),
    )


def _changed_values(sight: Sight) -> Unseen:
    if sight.data_checksums:
        return Unseen(
            "a damaged page on the disk below one that the server has in its memory",
            "Data checksums are compared when a page is read from the disk, not before.",
            "pg_checksums --check on the stopped server, or pg_basebackup, reads the files.",
        )
    where = " that no b-tree has a copy of" if not sight.amcheck_lacks else ""
    return Unseen(
        f"a changed value{where}, still well formed, and rows hidden by a flipped bit",
        "data_checksums is off: nothing tells such bytes from what was written.",
        "A proof of the next point compares rows with the one before. pg_checksums --enable"
        " on the stopped server, once it is known to be sound.",
    )


def _amcheck(sight: Sight) -> list[Unseen]:
    if not sight.amcheck_lacks:
        return []
    return [
        Unseen(
            "an index in the wrong order, entries lost from partial or expression indexes,"
            " damaged row headers",
            sight.amcheck_lacks,
            sight.amcheck_remedy,
        )
    ]


def _counts(sight: Sight) -> list[Unseen]:
    unseen = [
        Unseen(
            "rows lost with a page zeroed since they were written, before any VACUUM",
            "For such rows an index asks the table itself, and finds nothing to miss.",
        )
    ]
    if sight.uncompared:
        unseen.append(
            Unseen(
                f"rows lost with a zeroed page of: {_names(sight.uncompared)}",
                "No index of these tables can count their rows by itself.",
                "VACUUM them; a table without a primary key has nothing to compare with.",
            )
        )
    return unseen


def _collation(sight: Sight) -> list[Unseen]:
    if sight.collation_known:
        return []
    return [
        Unseen(
            "indexes on texts in the order of another C library or ICU than the server's",
            "It has no record of the version that the database's own collation had.",
            "amcheck tells an index in the wrong order. PostgreSQL 15 and later keep a record.",
        )
    ]


def _last_point(sight: Sight) -> list[Unseen]:
    if not sight.no_last_point:
        return []
    return [Unseen("rows and tables that vanished without a trace", sight.no_last_point)]


def _left_out(sight: Sight) -> list[Unseen]:
    unseen = []
    if sight.unlisted:
        unseen.append(
            Unseen(
                f"anything in {sight.unlisted} system or managed tables",
                "The role may not read them; no backup of it holds them either.",
                "Run it as a superuser: url: of the source.",
            )
        )
    if sight.foreign_tables:
        unseen.append(
            Unseen(f"anything in {sight.foreign_tables} foreign tables", "They lie elsewhere.")
        )
    if sight.standby:
        unseen.append(
            Unseen(
                "damage on the primary",
                "This is a standby: its files are its own, and it has no unlogged tables.",
            )
        )
    return unseen


def _other_indexes() -> Unseen:
    return Unseen(
        "lost entries of indexes other than b-trees, and files that no table uses now",
        "Nothing in PostgreSQL compares them with their tables while the server runs.",
        "A proof builds every index anew.",
    )


def _names(tables: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(tables[:most])
    return shown if len(tables) <= most else f"{shown} and {len(tables) - most} more"
