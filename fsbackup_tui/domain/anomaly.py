"""The hard rules that make a part suspect: what vanished, emptied or fell (design §2).

Compared is a new part with the last good one of the same source. "Emptied" and "fell" are said
only of numbers that both parts have counted exactly: an estimate may be off by any factor, and
a false alarm every night is how alarms stop being read.

Small tables change by large shares on quiet days, so a fall must be one of ``LEAST_ROWS`` rows
or ``LEAST_BYTES`` bytes at least; for a table that had rows and has none there is no such
mercy. A table's size on disk may shrink without a loss (VACUUM FULL, a restore); where the
content fingerprints are equal nothing is lost, and nothing is said.

Partitions come and go by design (a month is dropped, the next one made): a partitioned table is
compared as a whole.

A dump of the wrong database may have all tables and as many rows: where another server or another
database was captured than before, a person has to say that it is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fsbackup_tui.domain.point import PartManifest, PostgresFacts, ServerIdentity, TableFacts
from fsbackup_tui.domain.text import plain_text

DEFAULT_FALL = 0.3
LEAST_ROWS = 10
LEAST_BYTES = 1_000_000
_COUNTED_KINDS = frozenset({"table", "partitioned", "unlogged", "materialised view"})


@dataclass(frozen=True, slots=True)
class _Reason:
    """A sentence, and how bad it is: sorted by kind, then by rows lost."""

    text: str
    kind: int
    lost: int
    table: str | None = None


def suspect_reasons(
    new: PartManifest,
    good: PartManifest | None,
    *,
    fall: float = DEFAULT_FALL,
    moved: bool = False,
) -> tuple[str, ...]:
    """Return why a postgres part is suspect against the last good one; empty when it is not.

    ``moved``: it was brought to another server on purpose, which speaks against nothing.

    ``fall`` is the share (0 to 1) by which rows or bytes may fall. The gravest reason comes
    first, in words like ``videos 5340 to 40``. Without a good part, or for parts of different
    scope, there is nothing to compare.
    """
    losses = tuple(text for _, text in losses_by_table(new, good, fall=fall))
    if moved or good is None or new.postgres is None or good.postgres is None:
        return losses
    return (*_origin(new.postgres.identity, good.postgres.identity), *losses)


def _origin(new: ServerIdentity, good: ServerIdentity) -> Iterator[str]:
    """Tell of another origin, as far as it is known of both (an adopted backup tells of none)."""
    if None not in (new.system_identifier, good.system_identifier) and (
        new.system_identifier != good.system_identifier
    ):
        yield (
            f"captured from another server: its system identifier is {new.system_identifier}, "
            f"was {good.system_identifier}"
        )
    if "" not in (new.database, good.database) and new.database != good.database:
        yield (
            f"captured from another database: {plain_text(new.database)}, "
            f"was {plain_text(good.database)}"
        )


def losses_by_table(
    new: PartManifest, good: PartManifest | None, *, fall: float = DEFAULT_FALL
) -> tuple[tuple[str | None, str], ...]:
    """Return the same reasons, each with the table it is about (None for all together)."""
    if good is None or new.postgres is None or good.postgres is None:
        return ()
    if new.postgres.scope != good.postgres.scope:
        return ()
    reasons = [*_tables(new.postgres, good.postgres, fall)]
    if not reasons and new.postgres.scope != "schema":
        reasons = [*_totals(new, good, fall)]
    ordered = sorted(reasons, key=lambda reason: (reason.kind, -reason.lost, reason.text))
    return tuple((reason.table, reason.text) for reason in ordered)


def _tables(new: PostgresFacts, good: PostgresFacts, fall: float) -> Iterator[_Reason]:
    now = _by_name(new)
    for name, before in _by_name(good).items():
        after = now.get(name)
        if after is None:
            if not _is_left_out(before, new, good):
                yield _vanished(before)
        elif new.scope != "schema" and not (after.data_excluded or before.data_excluded):
            reason = _emptied(before, after) or _fallen(before, after, fall)
            if reason is not None:
                yield reason


@dataclass(frozen=True, slots=True)
class RowChange:
    """A table's rows before and now; None: it was not there, or they are not known."""

    table: str
    before: int | None
    now: int | None
    vanished: bool = False


def row_changes(new: PartManifest, good: PartManifest) -> tuple[RowChange, ...]:
    """Return the tables whose rows are others than in the good part, the worst losses first.

    Partitioned tables count as a whole; what was estimated or left out is not compared.
    """
    if new.postgres is None or good.postgres is None or new.postgres.scope != good.postgres.scope:
        return ()
    now, before = _by_name(new.postgres), _by_name(good.postgres)
    changes = [
        RowChange(_shown(old), old.rows, None, vanished=True)
        for name, old in before.items()
        if name not in now and not _is_left_out(old, new.postgres, good.postgres)
    ]
    changes += [
        RowChange(_shown(table), before[name].rows, table.rows)
        for name, table in now.items()
        if name in before and _exact(before[name], table) and before[name].rows != table.rows
    ]
    changes += [
        RowChange(_shown(table), None, table.rows)
        for name, table in now.items()
        if name not in before and not _is_left_out(table, good.postgres, new.postgres)
    ]
    return tuple(sorted(changes, key=_by_loss))


def _by_loss(change: RowChange) -> tuple[bool, float, int, str]:
    lost = (change.before or 0) - (change.now or 0)
    share = lost / change.before if change.before else 0.0
    return not change.vanished, -share, -lost, change.table


def _by_name(facts: PostgresFacts) -> Mapping[tuple[str, str], TableFacts]:
    """Return what is compared: tables, and partitioned tables with all their partitions' rows."""
    tables = {
        (table.schema, table.name): table for table in facts.tables if table.kind in _COUNTED_KINDS
    }
    leaves: dict[tuple[str, str], list[TableFacts]] = {
        name: [] for name, table in tables.items() if table.kind == "partitioned"
    }
    for name, table in list(tables.items()):
        if table.partition_root in leaves:
            del tables[name]
            if table.kind != "partitioned":
                leaves[table.partition_root].append(table)
    for root, partitions in leaves.items():
        if root in tables:
            tables[root] = _with_partitions(tables[root], partitions)
    return tables


def _with_partitions(root: TableFacts, partitions: list[TableFacts]) -> TableFacts:
    return replace(
        root,
        rows=sum(table.rows or 0 for table in partitions),
        counted=all(table.counted for table in partitions),
        bytes=sum(table.bytes or 0 for table in partitions),
        data_excluded=any(table.data_excluded for table in partitions),
    )


def _is_left_out(table: TableFacts, new: PostgresFacts, good: PostgresFacts) -> bool:
    """Whether the config, not the database, may be why a table is no longer there.

    Patterns are pg_dump's, matched on the server; here it is enough to know that what is left
    out was changed between the two points and may name this table.
    """
    added = {
        *(set(new.excluded_schemas) - set(good.excluded_schemas)),
        *(set(new.managed_schemas) - set(good.managed_schemas)),
    }
    if any(_matches(pattern, table.schema) for pattern in added):
        return True
    return any(
        _matches_table(pattern, table)
        for pattern in set(new.excluded_tables) - set(good.excluded_tables)
    )


def _matches_table(pattern: str, table: TableFacts) -> bool:
    schema, dot, name = pattern.rpartition(".")
    return _matches(name, table.name) and (not dot or _matches(schema, table.schema))


def _matches(pattern: str, name: str) -> bool:
    import fnmatch

    if pattern.startswith('"') and pattern.endswith('"') and len(pattern) > 1:
        return pattern[1:-1].replace('""', '"') == name
    return fnmatch.fnmatchcase(name, pattern.lower())


def _shown(table: TableFacts) -> str:
    return plain_text(table.name if table.schema == "public" else table.qualified)


def _vanished(before: TableFacts) -> _Reason:
    had = f" (had {before.rows} rows)" if before.counted and before.rows is not None else ""
    return _Reason(f"{_shown(before)} vanished{had}", 0, before.rows or 0, before.qualified)


def _emptied(before: TableFacts, after: TableFacts) -> _Reason | None:
    if _exact(before, after) and before.rows and after.rows == 0:
        return _Reason(f"{_shown(before)} {before.rows} to 0", 1, before.rows, before.qualified)
    return None


def _fallen(before: TableFacts, after: TableFacts, fall: float) -> _Reason | None:
    if _exact(before, after) and fell(before.rows, after.rows, fall, LEAST_ROWS):
        lost = (before.rows or 0) - (after.rows or 0)
        text = f"{_shown(before)} {before.rows} to {after.rows}"
        return _Reason(text, 2, lost, before.qualified)
    same = before.fingerprint is not None and before.fingerprint == after.fingerprint
    if not same and fell(before.bytes, after.bytes, fall, LEAST_BYTES):
        sizes = f"{size_words(before.bytes)} to {size_words(after.bytes)}"
        return _Reason(f"{_shown(before)} {sizes}", 3, 0, before.qualified)
    return None


def _exact(before: TableFacts, after: TableFacts) -> bool:
    return before.counted and after.counted


def fell(before: int | None, after: int | None, fall: float, least: int) -> bool:
    """Whether a number fell by more than the share, and by ``least`` at least."""
    if before is None or after is None or before <= 0:
        return False
    lost = before - after
    return lost >= least and lost > fall * before


def _totals(new: PartManifest, good: PartManifest, fall: float) -> Iterator[_Reason]:
    """Rules on the whole, for what no single table shows: many small losses, or thinner rows."""
    if new.postgres is None or good.postgres is None:
        return
    before, after = _total_rows(new.postgres, good.postgres)
    if fell(before, after, fall, LEAST_ROWS):
        yield _Reason(f"all tables together {before} to {after} rows", 4, 0)
    if _dump_kind(new) == _dump_kind(good):
        stored, now = _dump_bytes(good), _dump_bytes(new)
        if fell(stored, now, fall, LEAST_BYTES):
            yield _Reason(f"the dump {size_words(stored)} to {size_words(now)}", 5, 0)


def _total_rows(new: PostgresFacts, good: PostgresFacts) -> tuple[int, int]:
    """Return the rows before and after of the tables that both have, and have counted."""
    now = _by_name(new)
    pairs = [
        (before, now[name])
        for name, before in _by_name(good).items()
        if name in now and _exact(before, now[name]) and not now[name].data_excluded
    ]
    return (
        sum(before.rows or 0 for before, _ in pairs),
        sum(after.rows or 0 for _, after in pairs),
    )


def _dump_kind(part: PartManifest) -> tuple[object, ...]:
    dumps = [artifact for artifact in part.artifacts if artifact.role == "dump"]
    made = part.postgres.format if part.postgres is not None else None
    left_out = part.postgres.excluded_table_data if part.postgres is not None else ()
    chain = sorted({(a.compression or "", a.encryption or "") for a in dumps})
    return (made, left_out, *chain)


def _dump_bytes(part: PartManifest) -> int:
    return sum(artifact.bytes for artifact in part.artifacts if artifact.role == "dump")


def size_words(count: int | None) -> str:
    """Return a size as the reasons have it."""
    if count is None:
        return "-"
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
